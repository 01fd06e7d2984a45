"""Rasters that are encoded tile by tile: their cells go to one work file, of which one file of the format is made."""
