"""From an array, a file, a product or a place to an embedding in one call."""
