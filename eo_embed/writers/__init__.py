"""Embeddings as files."""
