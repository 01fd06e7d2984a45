"""Where a scene lies, as catalogues write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import shapely
from shapely.affinity import translate
from shapely.geometry import LinearRing, Polygon, box
from shapely.geometry.base import BaseGeometry


def outline(geometry: Mapping[str, Any] | None) -> BaseGeometry:
    """Return a footprint cut at the date line.

    One that seems to go around the earth crosses the date line, and so does one with longitudes beyond 180 degrees.

    Parameters
    ----------
    geometry : mapping or None
        GeoJSON, longitude first.

    Raises
    ------
    ValueError
        If there is none.
    """
    if not geometry:
        msg = "it has no geometry."
        raise ValueError(msg)
    found = shapely.geometry.shape(geometry)
    if isinstance(found, LinearRing):
        found = Polygon(found)
    west, _, east, _ = found.bounds
    if west >= -180 and east <= 180 and (east - west <= 180 or found.geom_type != "Polygon"):
        return shapely.make_valid(found)
    eastward = shapely.make_valid(shapely.transform(found, _eastward))
    west, _, east, _ = eastward.bounds
    if east - west > 180:  # around a pole: what it shows is left to the pixels
        return shapely.make_valid(found)
    sides = shapely.intersection(eastward, box(0, -90, 180, 90)), shapely.intersection(eastward, box(180, -90, 360, 90))
    return shapely.union(sides[0], translate(sides[1], -360))


def _eastward(points: np.ndarray) -> np.ndarray:
    """Return longitudes from 0 to 360 degrees."""
    return np.column_stack([np.where(points[:, 0] < 0, points[:, 0] + 360, points[:, 0]), points[:, 1]])
