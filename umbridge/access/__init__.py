"""PATH 3: a question to a redacted answer, after the entry that says who asked."""
