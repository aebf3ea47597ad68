"""SQL lives here and nowhere else in the daemon: the writer, the inbox, the stays."""
