"""The orders of one stay: which of them are in force, and when."""
