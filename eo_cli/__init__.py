"""What the command `eo` does around the other packages: recipes by name, a look at the machine, a quiet TerraTorch."""

from __future__ import annotations

from eo_core.lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(__name__, {})
