"""Files screened without a daemon: a sample of a feed, a plugin's vignettes."""
