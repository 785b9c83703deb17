"""Reproduction of the papers' tables and figures, and experiments on the reference code."""
