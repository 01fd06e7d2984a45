"""The AnySat encoder in plain PyTorch."""
