"""A grid of vectors as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from eo_embed.pictures.projection import fit_projection

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


def plot(grid: xr.DataArray, title: str, dates: Sequence[date]) -> Figure:
    """Draw three principal components of a grid as red, green and blue, cells without data transparent.

    Parameters
    ----------
    grid : DataArray
        Float32 ``(d, y, x)``.
    title : str
        Name of the place.
    dates : sequence of date
        Of the frames.

    Raises
    ------
    ValueError
        If no cell has a value.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  (half a second, which those who draw nothing need not wait)

    values = grid.to_numpy()
    vectors = values.reshape(len(values), -1).T
    projection = fit_projection(vectors[np.isfinite(vectors).all(axis=1)])
    colours = np.moveaxis(projection.colours(values), 0, -1)
    shares = ", ".join(f"{share:.0%}" for share in projection.explained)
    figure = Figure(figsize=(5.2, 5.4), layout="constrained")
    axes = figure.add_subplot()
    transform, (rows, columns) = grid.attrs["transform"], values.shape[1:]
    upright = transform is not None and not transform.b and not transform.d
    extent = None
    if upright:
        left, top = transform.c, transform.f
        extent = (left, left + columns * transform.a, top + rows * transform.e, top)
    axes.imshow(colours, interpolation="nearest", extent=extent)
    axes.ticklabel_format(style="plain", useOffset=False)
    axes.tick_params(labelsize=8)
    axes.set_xlabel("x (map units)" if upright else "column", fontsize=9)
    axes.set_ylabel("y (map units)" if upright else "row", fontsize=9)
    span = f"{dates[0]} to {dates[-1]}" if len(dates) > 1 else "".join(map(str, dates))
    axes.set_title(f"three principal components ({shares} of the variance)\n{span}".strip(), fontsize=9)
    figure.suptitle(title, fontsize=11)
    return figure
