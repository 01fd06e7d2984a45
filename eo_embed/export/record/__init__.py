"""What an export remembers of itself: which items are finished, what failed, and how all of it was made."""
