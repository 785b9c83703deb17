"""Real data sets, each in one file."""
