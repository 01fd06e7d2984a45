"""Products as the agencies ship them: folders and archives, one module a family."""
