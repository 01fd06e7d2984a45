"""What of an export can be put on a map: its grids, or its pooled vectors as grids of one cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from affine import Affine

from eo_core.text import nearest
from eo_embed.reading.sampling import Item

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

#: What is read at a place.
Kind = Literal["grid", "pooled"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: Where a grid lies: transform, CRS and (rows, columns).
Place = tuple[Affine, str, tuple[int, int]]


def places_of_rows(rows: gpd.GeoDataFrame) -> dict[str, Place]:
    """Return by id where the grids of a table of pooled vectors lie; those without georeference are left out."""
    known = {"proj_transform", "proj_shape", "crs"} <= set(rows.columns)
    columns = (rows[name] for name in ("id", "proj_transform", "proj_shape", "crs")) if known else ()
    return {
        name: (Affine(*map(float, transform)), crs, (int(shape[0]), int(shape[1])))
        for name, transform, shape, crs in zip(*columns, strict=True)
        if transform is not None and shape is not None and isinstance(crs, str)
    }


def place_of_grid(grid: xr.DataArray) -> Place | None:
    """Return where a grid lies, ``None`` without georeference."""
    transform, crs = grid.attrs["transform"], grid.attrs["crs"]
    return (transform, str(crs), (grid.shape[1], grid.shape[2])) if transform is not None and crs else None


def pooled_items(rows: gpd.GeoDataFrame) -> list[Item]:
    """Return pooled vectors as grids of one cell, which is as large as the grid of the sample."""
    vectors = dict(zip(rows["id"], rows["embedding"], strict=True))
    items = []
    for name, (transform, crs, shape) in places_of_rows(rows).items():
        t, (rows, columns) = transform, shape
        whole = Affine(t.a * columns, t.b * rows, t.c, t.d * columns, t.e * rows, t.f)
        items.append(Item(name, whole, crs, (1, 1), lambda vector=vectors[name]: vector[:, None, None]))  # type: ignore[misc]
    return items


def grid_items(grids: Mapping[str, Callable[[], xr.DataArray]], places: Mapping[str, Place]) -> list[Item]:
    """Return grids as items; those without georeference are left out.

    Parameters
    ----------
    grids : mapping
        By id what reads a grid.
    places : mapping
        Where grids lie, as far as it is known; of the others it is read.
    """
    items = []
    for name, grid in grids.items():
        place = places.get(name) or place_of_grid(grid())
        if place is not None:
            items.append(Item(name, *place, lambda grid=grid: np.asarray(grid().values)))  # type: ignore[misc]
    return items


def in_order(items: Sequence[Item], ids: Sequence[str] | None, where: object) -> list[Item]:
    """Return items in the order of ``ids``, or sorted by id.

    Raises
    ------
    ValueError
        If there is none, or an id is unknown.
    """
    by_id = {item.id: item for item in items}
    if not by_id:
        msg = (
            f"Nothing in {where} has a georeference, so no place can be looked up. Export files with a CRS and a "
            "transform, or look vectors up by their ids."
        )
        raise ValueError(msg)
    wanted = sorted(by_id) if ids is None else list(ids)
    for name in wanted:
        if name not in by_id:
            near = nearest(name, by_id, cutoff=0.3) or sorted(by_id)[:3]
            msg = f"{where} has no item of id {name!r} with a georeference; nearest ids: {', '.join(near)}."
            raise ValueError(msg)
    return [by_id[name] for name in wanted]
