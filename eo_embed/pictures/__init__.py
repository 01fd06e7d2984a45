"""Pictures of an export: the principal components of its grids as colours, beside their source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eo_core.lazy import lazy_attributes

if TYPE_CHECKING:
    from eo_embed.pictures.command import main, render_pca

__all__ = ["main", "render_pca"]

__getattr__, __dir__ = lazy_attributes(__name__, {"main": ".command", "render_pca": ".command"})
