"""Image files: reading, telling drawings from photos, caches and data archives."""
