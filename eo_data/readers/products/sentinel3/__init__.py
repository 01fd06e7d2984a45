"""Products of Sentinel-3: swaths of OLCI and SLSTR on a grid of a map."""
