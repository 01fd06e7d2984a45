"""Sensors, bands, units and quality layers."""
