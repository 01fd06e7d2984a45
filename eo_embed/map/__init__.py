"""An export as one HTML file."""
