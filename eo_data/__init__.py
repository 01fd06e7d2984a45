"""Pixels in: sensors, bands and everything that feeds both encoders."""
