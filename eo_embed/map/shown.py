"""What a map shows of an export: items with their places, dates and vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from shapely.geometry.base import BaseGeometry

from eo_data.raster.footprint import footprint
from eo_embed.export.opening import Export
from eo_embed.export.record.manifest import Manifest
from eo_embed.reading.items import Place, place_of_grid, places_of_rows
from eo_embed.reading.vectors import chosen_layer, rows_of_layer


@dataclass(frozen=True, eq=False)
class Shown:
    """One item.

    Parameters
    ----------
    id : str
        Of the sample.
    vector : ndarray
        Float32 ``(D,)``: the pooled vector, or the mean over the cells of the grid.
    outline : BaseGeometry or None
        Footprint in EPSG:4326; ``None`` without georeference.
    place : tuple or None
        Transform, CRS and (rows, columns) of its grid.
    dates : tuple of str
        ISO dates.
    sources : tuple of str
        Files of the input.
    """

    id: str
    vector: np.ndarray
    outline: BaseGeometry | None
    place: Place | None
    dates: tuple[str, ...]
    sources: tuple[str, ...]


def shown_items(export: Export, layer: str, most: int) -> tuple[list[Shown], int]:
    """Return what a map shows, sorted by id, and how many items there are.

    Parameters
    ----------
    export : Export
        With pooled vectors or grids.
    layer : str
        One of its layers; may be empty where there is only one.
    most : int
        Of more items so many are drawn, with a fixed seed.

    Raises
    ------
    ValueError
        If there is no such layer, nothing to show, or nothing has a georeference.
    """
    dates = _dates(export, chosen_layer(export.layers, layer))
    # Raster files that were put together from tiles are no items of their own.
    of_rows = export.pooled is not None
    ids = rows_of_layer(export.pooled, layer, export.path)["id"].tolist() if of_rows else list(export.grids_of(layer))
    if not of_rows and dates:
        ids = [name for name in ids if name in dates]
    if not ids:
        msg = f"{export.path} has nothing to show: no pooled vectors and no grids. Run the export first."
        raise ValueError(msg)
    chosen = ids
    if len(ids) > most:
        picked = np.random.default_rng(0).choice(len(ids), most, replace=False)
        chosen = [ids[i] for i in sorted(picked)]
    items = list(_of_rows(export, layer, set(chosen), dates) if of_rows else _of_grids(export, layer, chosen, dates))
    if not any(item.outline for item in items):
        msg = (
            f"Nothing in {export.path} has a georeference, so there is no map of it. Export files with a CRS and a "
            "transform; similar() and cluster() of open_embeddings work without."
        )
        raise ValueError(msg)
    return items, len(ids)


def _dates(export: Export, layer: str) -> Mapping[str, tuple[str, ...]]:
    """Return the dates of all items that the manifest lists."""
    if not export.path.is_dir() or "inputs" not in export.manifest:
        return {}
    items = Manifest(export.path, export.manifest).items()
    return {str(item["id"]): tuple(item.get("dates") or ()) for item in items if item.get("layer", "") == layer}


def _of_rows(export: Export, layer: str, chosen: set[str], dates: Mapping[str, tuple[str, ...]]) -> Iterator[Shown]:
    rows = rows_of_layer(export.pooled, layer, export.path)
    places = places_of_rows(rows)
    for row in rows[rows["id"].isin(chosen)].to_dict("records"):
        name = row["id"]
        stated = (row.get("start_datetime"), row.get("end_datetime"))
        days = tuple(dict.fromkeys(f"{day:%Y-%m-%d}" for day in stated if day is not None and day == day))  # noqa: PLR0124 (NaT)
        source = row.get("source")
        files = tuple(source) if source is not None else ()
        yield Shown(name, row["embedding"], row["geometry"], places.get(name), dates.get(name) or days, files)


def _of_grids(export: Export, layer: str, chosen: list[str], dates: Mapping[str, tuple[str, ...]]) -> Iterator[Shown]:
    grids = export.grids_of(layer)
    for name in chosen:
        grid = grids[name]()
        place = place_of_grid(grid)
        cells = grid.values.reshape(len(grid), -1)
        known = cells[:, np.isfinite(cells).all(axis=0)]
        empty = np.full(len(grid), np.nan, np.float32)
        vector = known.mean(axis=1, dtype=np.float64).astype(np.float32) if known.size else empty
        outline = None if place is None else footprint(corners(place), place[1])
        yield Shown(name, vector, outline, place, dates.get(name) or grid.attrs["dates"], grid.attrs["sources"])


def corners(place: Place) -> tuple[tuple[float, float], ...]:
    """Return the map coordinates of the corners of a grid, from the upper left clockwise."""
    t, _, (rows, columns) = place
    return tuple(
        (t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f)
        for x, y in ((0, 0), (columns, 0), (columns, rows), (0, rows))
    )
