"""What computes the features of a batch in place of PyTorch, one operation after the other."""
