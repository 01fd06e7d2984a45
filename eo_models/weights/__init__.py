"""Weights: files of them, checkpoints of trainings, and adapters."""
