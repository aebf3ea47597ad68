"""What the feed says about one stay: pure, no I/O."""
