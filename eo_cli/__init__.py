"""What the command `eo` does around the other packages: recipes by name, a look at the machine, a quiet TerraTorch."""
