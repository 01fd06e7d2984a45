"""Parts of `benchmarks/gpu.py`: what is measured, each part on its own. PyTorch and our encoders' cores only."""
