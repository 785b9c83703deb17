"""Building blocks that two methods, or a named ablation, share."""
