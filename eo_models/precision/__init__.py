"""In which numbers an encoder computes."""
