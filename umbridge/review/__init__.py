"""Which review opens, what it asks for, and when it is due."""
