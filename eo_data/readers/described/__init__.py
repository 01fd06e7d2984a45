"""What files say of themselves, to read, to find by, and to go by where nobody states anything."""
