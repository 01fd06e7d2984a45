"""From files to images and labels."""
