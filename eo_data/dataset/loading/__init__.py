"""How samples become batches while a run goes on: loaders of each split, and reading ahead."""
