"""Studio: the page and the HTTP API that fit, store, edit and use classifiers."""
