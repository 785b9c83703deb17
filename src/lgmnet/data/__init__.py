"""Data sets, synthetic data, and the sampler that draws tasks from them."""
