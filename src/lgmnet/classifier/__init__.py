"""A person's classifier: made from labelled samples, edited, saved, measured and exported."""
