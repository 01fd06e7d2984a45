"""What every encoder shares: checkpoints, LoRA, features, the side that TerraTorch sees."""

from __future__ import annotations

from eo_core.lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(__name__, {})
