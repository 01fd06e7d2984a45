"""What every encoder shares: checkpoints, LoRA, features, the side that TerraTorch sees."""
