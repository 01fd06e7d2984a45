"""How files are named and found: patterns with braces, and the files below a folder."""
