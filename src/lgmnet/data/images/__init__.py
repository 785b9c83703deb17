"""Image files: reading them, telling drawings from photos, caches and data archives."""
