"""Sources packed into one mapped file each, kept fresh, opened safely."""
