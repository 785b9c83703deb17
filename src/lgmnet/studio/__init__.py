"""The studio and its HTTP service: classifiers forged, kept, edited and asked."""
