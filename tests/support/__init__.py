"""Configs, episodes and models that tests of several rooms share."""
