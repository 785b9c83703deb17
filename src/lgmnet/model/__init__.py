"""Trained methods as folders, on disk and on the Hugging Face hub."""
