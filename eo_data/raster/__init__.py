"""Pixels with validity, affine transform and CRS; crops, pads and resizes of them."""
