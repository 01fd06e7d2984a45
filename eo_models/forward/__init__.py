"""How an encoder's forward pass runs: what goes in, in which chunks, what it keeps between calls and computes again."""
