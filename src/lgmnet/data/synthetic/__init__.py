"""Data that is drawn on the fly, without end."""
