"""What the page of a map is told of an export, as plain values for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from pyproj import Transformer
from shapely.affinity import translate
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from eo_embed.map.shown import Shown, corners
from eo_embed.map.thumbnails import Thumbnails, as_hex, components_of
from eo_embed.pictures.projection import fit_projection
from eo_embed.reading.items import Place
from eo_embed.reading.similar import neighbours
from eo_embed.reading.vectors import Vectors, comparable, lengths

#: Decimals of degrees: 0.1 m.
_DECIMALS = 6
#: Parts of its own extent by which an outline may be off.
_TOLERANCE = 1 / 500
_SCORE_DECIMALS = 6


def page_content(items: Sequence[Shown], made: Thumbnails, k: int) -> dict[str, Any]:
    """Return the items of a page by columns.

    Parameters
    ----------
    items : sequence of Shown
        In their order on the page.
    made : Thumbnails
        Their pictures.
    k : int
        Neighbours of each; fewer where there are fewer others.

    Returns
    -------
    dict
        ``ids``, ``dates``; ``rings`` (outer rings of the footprint, longitude and latitude in turn, not cut at the date
        line: they may go beyond 180), ``corners`` of items whose cells are drawn on the map; ``colours`` (or ``None``),
        ``explained`` (share of the variance that the colours of vectors show, ``None`` where colours come from cells);
        ``similar`` and ``scores``; ``cells`` and ``looks`` by number of the item.
    """
    vectors = np.stack([item.vector for item in items])
    usable = np.flatnonzero(comparable(lengths(vectors), "cosine"))
    middle = _middle([item.outline for item in items if item.outline is not None])
    similar, scores = _similar(items, vectors, usable, k)
    # Cells are drawn on the map where all items have them: a colour has one meaning there.
    whole = bool(made.colours) and all(i in made.colours for i in np.flatnonzero(np.isfinite(vectors).all(axis=1)))
    colours, explained = _of_cells(made, len(items)) if whole else _of_vectors(vectors)
    return {
        "ids": [item.id for item in items],
        "dates": [list(item.dates) for item in items],
        "rings": [[] if item.outline is None else _rings(item.outline, middle) for item in items],
        "corners": {i: _corners(place, middle) for i in made.cells if whole and (place := items[i].place) is not None},
        "colours": colours,
        "explained": explained,
        "similar": similar,
        "scores": scores,
        "cells": made.cells,
        "looks": made.looks,
    }


def _similar(
    items: Sequence[Shown], vectors: np.ndarray, usable: np.ndarray, k: int
) -> tuple[list[list[int]], list[list[float]]]:
    similar: list[list[int]] = [[] for _ in items]
    scores: list[list[float]] = [[] for _ in items]
    most = min(k, len(usable) - 1)
    if most > 0:
        known = Vectors([items[i].id for i in usable], vectors[usable])
        for i, (numbers, own) in zip(usable, neighbours(known, range(len(usable)), most), strict=True):
            similar[i] = usable[numbers].tolist()
            scores[i] = [round(float(score), _SCORE_DECIMALS) for score in own]
    return similar, scores


def _of_cells(made: Thumbnails, count: int) -> tuple[list[str | None], float | None]:
    return [made.colours.get(i) for i in range(count)], None


def _of_vectors(vectors: np.ndarray) -> tuple[list[str | None], float | None]:
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.any():
        return [None] * len(vectors), None
    projection = fit_projection(vectors[finite], components_of(vectors.shape[1]))
    painted = projection.colours(np.ascontiguousarray(vectors.T[:, None]))[:, 0]
    return [as_hex(one[:3]) if one[3] else None for one in painted.T], float(projection.explained.sum())


def _middle(outlines: Sequence[BaseGeometry]) -> float:
    """Return the longitude that the map is centred on: opposite to the widest gap without footprints."""
    west, _, east, _ = shapely.bounds(shapely.get_parts(np.array(outlines))).T
    order = np.argsort(west)
    reached = np.maximum.accumulate(east[order])
    gaps = np.append(west[order][1:] - reached[:-1], west.min() + 360 - reached[-1])
    widest = int(gaps.argmax())
    gap_middle = reached[widest] + gaps[widest] / 2
    return float((gap_middle + 180 + 180) % 360 - 180)


def _rings(outline: BaseGeometry, middle: float) -> list[list[float]]:
    """Return the outer rings of a footprint near a longitude, its halves at the date line put together."""
    parts = [translate(part, _turn(part.centroid.x, middle)) for part in shapely.get_parts(outline)]
    west, south, east, north = outline.bounds
    whole = shapely.union_all(parts)
    simple = shapely.simplify(whole, min(east - west, north - south) * _TOLERANCE)
    polygons = [part for part in shapely.get_parts(simple) if isinstance(part, Polygon)]
    return [np.round(shapely.get_coordinates(part.exterior)[:-1], _DECIMALS).ravel().tolist() for part in polygons]


def _corners(place: Place, middle: float) -> list[float]:
    xy = np.array(corners(place))
    lon, lat = Transformer.from_crs(place[1], 4326, always_xy=True).transform(xy[:, 0], xy[:, 1])
    lon = np.unwrap(lon, period=360)
    lon += _turn(float(lon.mean()), middle)
    return [float(value) for value in np.round(np.column_stack([lon, lat]), _DECIMALS).ravel()]


def _turn(lon: float, middle: float) -> float:
    """Return what brings a longitude within half a turn of another one."""
    return -360.0 * round((lon - middle) / 360)
