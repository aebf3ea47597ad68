"""Daemons with one promise broken on purpose: each must be caught by the test it is planted for."""
