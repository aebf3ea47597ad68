"""Judgement: three-valued rules, the content they come from, and the workers that ask plugins."""
