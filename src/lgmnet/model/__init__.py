"""A trained method as a folder."""
