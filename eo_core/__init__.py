"""Arguments, configs, files and fingerprints: what every room needs, without pixels or PyTorch."""

from __future__ import annotations

from eo_core.lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(__name__, {})
