"""The grid that bands come to, and their pixels on it."""
