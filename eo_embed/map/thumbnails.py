"""Small pictures that a page holds in itself: the cells of grids as colours, and the sources."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from eo_embed.map.shown import Shown
from eo_embed.pictures.projection import fit_projection
from eo_embed.pictures.quicklook import Ground, QuickLooks
from eo_embed.reading.clusters import sampled_cells

if TYPE_CHECKING:
    import xarray as xr

#: Longest sides in pixels. A picture of cells is enlarged by the page, each cell as a square.
_MOST_CELLS, _LOOK_SIDE = 96, 192
_JPEG_QUALITY = 80


@dataclass(frozen=True)
class Thumbnails:
    """Pictures by the number of their item, as addresses that hold their data.

    Parameters
    ----------
    cells : dict
        PNG of a grid, one pixel for a cell.
    looks : dict
        JPEG of a source.
    colours : dict
        Mean colour of the cells, ``#rrggbb``.
    """

    cells: dict[int, str] = field(default_factory=dict)
    looks: dict[int, str] = field(default_factory=dict)
    colours: dict[int, str] = field(default_factory=dict)


def thumbnails(
    items: Sequence[Shown], grids: Mapping[str, Callable[[], xr.DataArray]], looks: QuickLooks, most: int
) -> Thumbnails:
    """Make the pictures of items.

    Parameters
    ----------
    items : sequence of Shown
        All items of the page.
    grids : mapping
        By id what reads a grid.
    looks : QuickLooks
        Makes pictures of sources.
    most : int
        Of more items, every n-th gets pictures of its source and its cells, so that at most so many do.
    """
    made = Thumbnails()
    numbers = range(0, len(items), max(1, math.ceil(len(items) / most))) if most else range(0)
    drawn = {i: grids[items[i].id] for i in numbers if items[i].id in grids}
    if drawn:
        _draw_cells(drawn, made)
    for i in numbers:
        item = items[i]
        if item.place is not None:
            transform, crs, (rows, columns) = item.place
            look = looks.of(item.id, item.sources, Ground(transform, crs, rows, columns))
            if look is not None:
                made.looks[i] = _address(_shrunk(look), "jpeg")
    return made


def _draw_cells(grids: Mapping[int, Callable[[], xr.DataArray]], made: Thumbnails) -> None:
    """Draw grids by one analysis of their cells, so that a colour means the same on all of them."""
    cells = sum(math.prod(read().shape[1:]) for read in grids.values())
    sample = sampled_cells((read().values for read in grids.values()), cells)
    if not len(sample):
        return
    projection = fit_projection(sample, components_of(sample.shape[1]))
    for i, read in grids.items():
        painted = np.moveaxis(projection.colours(read().values), 0, -1)
        seen = painted[..., 3] > 0
        if seen.any():
            made.colours[i] = as_hex(painted[seen][:, :3].mean(axis=0))
        step = max(1, math.ceil(max(painted.shape[:2]) / _MOST_CELLS))
        made.cells[i] = _address(painted[step // 2 :: step, step // 2 :: step], "png")


def components_of(width: int) -> int:
    """Return how many components are shown: three colours, or grey for vectors of one or two numbers."""
    return 3 if width >= 3 else 1


def as_hex(colour: np.ndarray) -> str:
    """Return ``#rrggbb`` of three numbers 0..255."""
    return "#" + "".join(f"{round(float(value)):02x}" for value in colour)


def _shrunk(look: np.ndarray) -> np.ndarray:
    """Average pixels ``(h, w, 3)`` in 0..1, so that the longer side fits a thumbnail."""
    height, width = look.shape[:2]
    step = max(1, math.ceil(max(height, width) / _LOOK_SIDE))
    padded = np.pad(look, ((0, -height % step), (0, -width % step), (0, 0)), mode="edge")
    return padded.reshape(padded.shape[0] // step, step, padded.shape[1] // step, step, 3).mean(axis=(1, 3))


def _address(pixels: np.ndarray, kind: str) -> str:
    from matplotlib.image import imsave  # noqa: PLC0415  (half a second)

    memory = io.BytesIO()
    quality = {"quality": _JPEG_QUALITY} if kind == "jpeg" else {}
    shown = np.ascontiguousarray(pixels if pixels.dtype == np.uint8 else np.clip(pixels, 0, 1))
    imsave(memory, shown, format=kind, pil_kwargs=quality)
    return f"data:image/{kind};base64,{base64.b64encode(memory.getvalue()).decode()}"
