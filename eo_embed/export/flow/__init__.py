"""What overlaps with the encoder: vectors on their way to the host, and the thread that writes them."""
