"""Embedding export for `terratorch predict`. Nothing is here yet: the export comes with its own issue."""
