"""Parts of `benchmarks/export.py`: one export, or one start, in a process of its own."""
