"""For authors of criteria plugins: a test suite to inherit, invented patients, a new repository."""
