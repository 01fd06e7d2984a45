"""Features of a frozen encoder, computed once."""
