"""Real data sets, one per file."""
