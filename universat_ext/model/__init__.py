"""The encoder itself, in plain PyTorch."""
