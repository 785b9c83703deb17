"""Routes of the HTTP API and the page."""
