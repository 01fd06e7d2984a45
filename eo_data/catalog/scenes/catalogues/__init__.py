"""Catalogues on servers as sources of scenes."""
