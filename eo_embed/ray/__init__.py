"""Exports on Ray: ``python -m eo_embed.ray --config CONFIG --concurrency 4``, or :func:`embed_on_ray`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eo_core.lazy import lazy_attributes

if TYPE_CHECKING:
    from eo_embed.ray.command import main
    from eo_embed.ray.driver import embed_on_ray

__all__ = ["embed_on_ray", "main"]

__getattr__, __dir__ = lazy_attributes(__name__, {"embed_on_ray": ".driver", "main": ".command"})
