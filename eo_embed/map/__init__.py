"""An export as one HTML page with a map: ``python -m eo_embed.map EXPORT``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eo_core.lazy import lazy_attributes

if TYPE_CHECKING:
    from eo_embed.map.command import main, write_map

__all__ = ["main", "write_map"]

__getattr__, __dir__ = lazy_attributes(__name__, {"main": ".command", "write_map": ".command"})
