"""What one does with an export: sample, find similar places, cluster, compare."""
