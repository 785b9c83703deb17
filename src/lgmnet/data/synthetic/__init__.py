"""Synthetic data sets with an unlimited number of classes."""
