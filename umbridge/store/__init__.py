"""SQL lives here and nowhere else in the daemon: the pen, the inbox, the stays."""
