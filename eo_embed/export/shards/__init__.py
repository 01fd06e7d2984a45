"""Shards of an export: which are finished, and the whole of them."""
