"""Dates, time axes and frames."""
