"""Which files, dates and labels belong together."""
