"""Samples and batches."""
