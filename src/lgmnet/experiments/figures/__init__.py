"""The papers' figures: one module per figure, each with a function ``reproduce``."""
