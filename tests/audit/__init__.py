"""Planted leaks of many kinds, and honest methods and data, for tests of the audit."""
