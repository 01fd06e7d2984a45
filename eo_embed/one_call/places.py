"""Places as the input of an encoder: one, or many."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from shapely.geometry.base import BaseGeometry

from eo_data.catalog.scenes.places import BBox, PointBuffer, Region
from eo_embed.export.opening import Export
from eo_embed.one_call.options import Request
from eo_embed.one_call.result import Embedded, EmbeddedPlaces

#: Files of places.
_TABLES = (".gpkg", ".geojson", ".parquet", ".geoparquet", ".shp", ".fgb")
_ONE = (PointBuffer, BBox, Region, BaseGeometry)


def are_places(given: object) -> bool:
    """Whether something is a place or many: a list of them, a table with geometries, or a file of one."""
    if isinstance(given, _ONE) or hasattr(given, "geometry"):
        return True
    if isinstance(given, str | os.PathLike):
        return PurePath(given).suffix.lower() in _TABLES
    return isinstance(given, list | tuple) and bool(given) and all(isinstance(one, _ONE) for one in given)


def embed_places(
    given: Any,  # noqa: ANN401
    request: Request,
    stated: Mapping[str, Any],
    source: Any,  # noqa: ANN401
    out: str | os.PathLike[str] | None,
    *,
    progress: bool,
    max_memory: int | str | None,
) -> Embedded | EmbeddedPlaces | Export:
    raise NotImplementedError
