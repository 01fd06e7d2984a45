"""TerraTorch with a quiet terminal: what a user needs, and errors that end with what to do."""
