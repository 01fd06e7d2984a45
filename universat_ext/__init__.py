"""UniverSat (any sensor by the wavelengths of its bands, any patch size) as a TerraTorch backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eo_core.lazy import lazy_attributes

if TYPE_CHECKING:
    from universat_ext.model.encoder import UniverSat

__all__ = ["UniverSat"]

__getattr__, __dir__ = lazy_attributes(__name__, {"UniverSat": ".model.encoder"})
