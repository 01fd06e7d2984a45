"""How an encoder runs its forward pass: what it keeps between calls, and what it computes again."""
