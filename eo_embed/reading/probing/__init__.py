"""Labels on vectors."""
