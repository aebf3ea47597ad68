"""What the hospital sets: the daemon's settings and the site profile."""
