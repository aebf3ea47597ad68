"""Clinical words: which facts are measurements, what facts are called, early-warning sums."""
