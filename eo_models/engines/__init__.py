"""What runs a frozen encoder: PyTorch as it is, PyTorch's compiler, or OpenVINO."""
