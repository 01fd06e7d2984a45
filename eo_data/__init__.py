"""Pixels in: sensors, bands and everything that feeds both encoders."""

from __future__ import annotations

from eo_core.lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(__name__, {})
