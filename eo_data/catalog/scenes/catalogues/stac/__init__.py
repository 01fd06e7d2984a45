"""STAC catalogues as sources of scenes."""
