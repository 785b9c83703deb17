"""Classifiers fitted to labelled samples: edits, files, validation, reports and export."""
