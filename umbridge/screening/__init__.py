"""Criteria plugins asked: each in a confined process of its own, and the failure of each kept its own."""
