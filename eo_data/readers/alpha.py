"""Bands of opacity: GDAL's alpha, which tells missing pixels, unless it is a measurement that was only tagged so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from eo_data.catalog.sources import ImageSource
from eo_data.readers.formats.facts import OpenLayer, Part


def alpha_counts(layer: OpenLayer, wanted: Mapping[int, str], source: ImageSource, part: Part | None) -> bool:
    """Whether a band of opacity tells what is missing: not if it is a measurement that was only tagged so.

    GDAL tags the fourth band of four of 8 bits so, whatever it holds.

    Parameters
    ----------
    layer : OpenLayer
        Open file.
    wanted : mapping of int to str
        Names of the bands that are read as measurements, by position.
    source : ImageSource
        What the config says of the file.
    part : Part or None
        What is read.

    Raises
    ------
    ValueError
        If it is wanted as a measurement, but holds nothing but opaque and transparent.
    """
    alpha = layer.facts.alpha
    if alpha is None or part is None or not _is_spectral(layer, alpha, source):
        return True
    opaque = _opaque(layer.facts.bands[alpha].dtype)
    values = np.unique(layer.stored([alpha], part, alpha=False))
    if _is_opacity(values, opaque):
        # A tile may hold nothing but 255 of a measurement.
        values = np.unique([*values, *_here_and_there(layer, alpha)])
    opacity = _is_opacity(values, opaque)
    if opacity and alpha not in wanted:
        return True
    if opacity:
        msg = (
            f"band {alpha + 1} is tagged as alpha and holds only {values.tolist()}, which is opacity (transparency), "
            f"but the config reads it as {wanted[alpha]}. Name it '-' in file_bands; if it is a measurement, set its "
            "colour interpretation to undefined (gdal_edit.py -colorinterp_N undefined)."
        )
        raise ValueError(msg)
    return False


def _is_opacity(values: np.ndarray, opaque: set[float]) -> bool:
    return values.size <= 2 and values.max() in opaque and values.min() in (0, values.max())


def _here_and_there(layer: OpenLayer, band: int, count: int = 8, side: int = 32) -> Iterator[float]:
    """Values of a band in small windows all over the file."""
    grid = layer.facts.grid
    height, width = min(side, grid.height), min(side, grid.width)
    for top in np.unique(np.linspace(0, grid.height - height, count).astype(int)):
        for left in np.unique(np.linspace(0, grid.width - width, count).astype(int)):
            yield from np.unique(layer.stored([band], Part(int(top), int(left), height, width), alpha=False)).tolist()


def _opaque(dtype: str) -> set[float]:
    """Values that a band of opacity has where nothing shines through."""
    return {255.0, float(np.iinfo(dtype).max) if np.issubdtype(np.dtype(dtype), np.integer) else 1.0}


def _is_spectral(layer: OpenLayer, position: int, source: ImageSource) -> bool:
    """Whether the config names a band of the file as one of the sensor's."""
    declared = source.file_bands[position] if source.file_bands else layer.facts.bands[position].name
    name = str(declared or "-")
    if source.table is None:
        return name in source.bands
    return source.table.canonical(name) is not None
