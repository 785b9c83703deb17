"""Parts of networks that two methods, or a named ablation, share."""
