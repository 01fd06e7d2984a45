"""The THOR encoder in plain PyTorch."""
