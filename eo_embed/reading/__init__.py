"""Questions to the vectors and grids of an export: what is at a place, what is alike, which groups, how two differ."""
