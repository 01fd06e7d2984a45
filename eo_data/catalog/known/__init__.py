"""Data sets whose layout is known."""
