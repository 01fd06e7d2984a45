"""AnySat as a TerraTorch backbone. Nothing is here yet: the encoder comes with its own issue."""
