"""Pixels of a swath, each with a latitude and a longitude of its own, on a grid of a map.

Every pixel of the grid has the value of the nearest sample of the swath, found exactly (a k-d tree over the samples in
the coordinates of the map, not GDAL's approximate inverse of geolocation arrays). Values are never interpolated, so
that a radiance and its flags stay together; the place of a value is within half a sample of the true one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from affine import Affine
from pyproj import CRS, Proj, Transformer

from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid
from eo_data.raster.raster import scaled
from eo_data.readers.formats.facts import FileFacts, Part, mark_missing
from eo_data.readers.grids.local_grid import grid_over
from eo_data.readers.grids.regrid import wkt_of

#: Every so many rows and columns a sample is kept by which a part of the swath is found.
_STRIDE = 16
#: Side of the parts of a grid that are searched at once.
_BLOCK = 512
#: How much farther than half the diagonal between samples a pixel may lie from the nearest: rounding, uneven samples.
_SLACK = 1.05
_DEGREES = "EPSG:4326"
ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Samples:
    """The samples of a swath that pixels of a grid take.

    Parameters
    ----------
    there : ndarray
        bool ``(H, W)`` of the grid: where there is a sample.
    rows, columns : ndarray
        int ``(N,)``: place in the swath of the sample of each pixel that has one.
    shape : tuple of int
        Rows and columns of the swath.
    """

    there: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    shape: tuple[int, ...]

    def of(self, read: Callable[[slice, slice], np.ndarray]) -> np.ndarray:
        """Return the values ``(N,)`` of the samples, of which no more is read than the rows and columns around them.

        Parameters
        ----------
        read : callable
            Gives rows and columns of an array of the swath's size.
        """
        rows, columns = (slice(int(axis.min()), int(axis.max()) + 1) for axis in (self.rows, self.columns))
        return np.asarray(read(rows, columns)[self.rows - rows.start, self.columns - columns.start])


@dataclass(frozen=True, eq=False)
class Swath:
    """Where the samples of a swath lie on a map.

    Parameters
    ----------
    longitude, latitude : ndarray
        ``(rows, columns)``, degrees, NaN where they are not known.
    crs : str
        The map, as WKT.

    Raises
    ------
    ValueError
        If the arrays are none of a swath, or no sample has a place on this map.
    """

    longitude: np.ndarray
    latitude: np.ndarray
    crs: str
    _every: tuple[np.ndarray, np.ndarray] = field(init=False)
    _coarse: tuple[np.ndarray, np.ndarray] = field(init=False)
    _reach: float = field(init=False)

    def __post_init__(self) -> None:
        """Find out where the swath lies, roughly."""
        _check_shapes(self.longitude, self.latitude)
        rows, columns = (np.unique([*range(0, length, _STRIDE), length - 1]) for length in self.latitude.shape)
        object.__setattr__(self, "_every", (rows, columns))
        x, y = self._on_map(rows[:, None], columns)
        object.__setattr__(self, "_coarse", (x, y))
        steps = [np.hypot(np.diff(x, axis=axis), np.diff(y, axis=axis)) for axis in (0, 1)]
        steps = [step[np.isfinite(step)] for step in steps]
        if not all(step.size for step in steps):
            msg = f"no part of its swath has a place on the map {CRS.from_wkt(self.crs).name}. Give another crs."
            raise ValueError(msg)
        object.__setattr__(self, "_reach", 2 * max(float(step.max()) for step in steps))

    @property
    def stretch(self) -> float:
        """By which part distances on the map are too long or too short, at most: 0.01 is 1 %; 0 for degrees."""
        system = CRS.from_wkt(self.crs)
        if not system.is_projected:
            return 0.0
        rows, columns = self._every[0][:, None], self._every[1]
        known = np.isfinite(self._coarse[0])
        places = self.longitude[rows, columns][known], self.latitude[rows, columns][known]
        factors = Proj(system).get_factors(*places, errcheck=False)
        scales = np.array([factors.tissot_semimajor, factors.tissot_semiminor])
        return float(np.nanmax(np.abs(scales[np.isfinite(scales)] - 1)))

    def nearest(self, grid: PixelGrid, part: Part) -> Samples:
        """Return the nearest sample of each pixel in a part of a grid on this map."""
        there = np.zeros((part.height, part.width), dtype=bool)
        rows, columns = (np.zeros(there.shape, dtype=np.int32) for _ in range(2))
        for top in range(0, part.height, _BLOCK):
            for left in range(0, part.width, _BLOCK):
                here = slice(top, min(top + _BLOCK, part.height)), slice(left, min(left + _BLOCK, part.width))
                height, width = (own.stop - own.start for own in here)
                window = grid.window(part.top + top, part.left + left, height, width)
                if (found := self._nearest(window)) is not None:
                    there[here], rows[here], columns[here] = found
        return Samples(there, rows[there], columns[there], self.latitude.shape)

    def _nearest(self, window: PixelGrid) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        from scipy.spatial import cKDTree  # noqa: PLC0415

        x, y = _centres(window)
        around = self._around(x, y)
        if around is None:
            return None
        own = self._on_map(*around)
        known = np.isfinite(own[0]).nonzero()
        if not known[0].size:
            return None
        # Neither balanced nor compact: twice as quick to build, and samples are as even as can be.
        tree = cKDTree(np.stack([axis[known] for axis in own], axis=-1), balanced_tree=False, compact_nodes=False)
        distance, found = tree.query(np.stack([x.ravel(), y.ravel()], axis=-1))
        near = distance <= _SLACK * _half_diagonals(*own)[known][found]
        rows, columns = (
            (place[found] + span.start).reshape(x.shape) for place, span in zip(known, around, strict=True)
        )
        return near.reshape(x.shape), rows, columns

    def _around(self, x: np.ndarray, y: np.ndarray) -> tuple[slice, slice] | None:
        """Rows and columns of the swath that may lie within a part of the map."""
        inside = np.ones(self._coarse[0].shape, dtype=bool)
        for own, wanted in zip(self._coarse, (x, y), strict=True):
            inside &= (own >= wanted.min() - self._reach) & (own <= wanted.max() + self._reach)
        if not inside.any():
            return None
        spans = []
        for axis, every in enumerate(self._every):
            met = inside.any(axis=1 - axis).nonzero()[0]
            spans.append(slice(int(every[max(met[0] - 1, 0)]), int(every[min(met[-1] + 1, len(every) - 1)]) + 1))
        return spans[0], spans[1]

    def _on_map(self, rows: slice | np.ndarray | int, columns: slice | np.ndarray | int) -> tuple[np.ndarray, ...]:
        """Map coordinates of samples; NaN where there are none."""
        transformer = Transformer.from_crs(_DEGREES, self.crs, always_xy=True)
        x, y = transformer.transform(self.longitude[rows, columns], self.latitude[rows, columns])
        lost = ~(np.isfinite(x) & np.isfinite(y))
        return np.where(lost, np.nan, x), np.where(lost, np.nan, y)


def _centres(window: PixelGrid) -> tuple[np.ndarray, np.ndarray]:
    t = window.transform or Affine.identity()
    columns, rows = np.meshgrid(np.arange(window.width) + 0.5, np.arange(window.height) + 0.5)
    return t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f


def _half_diagonals(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Half the diagonal between each sample and its neighbours, the farther ones of both sides."""
    squares = np.zeros(x.shape)
    for axis in (0, 1):
        step = np.diff(x, axis=axis) ** 2 + np.diff(y, axis=axis) ** 2
        step = np.where(np.isfinite(step), step, 0)
        ends = [(0, 0), (0, 0)]
        ends[axis] = (1, 1)
        padded = np.pad(step, ends)
        squares += np.maximum(*((padded[:-1], padded[1:]) if axis == 0 else (padded[:, :-1], padded[:, 1:])))
    return np.asarray(0.5 * np.sqrt(squares))


def swath_grids(
    places: Sequence[tuple[np.ndarray, np.ndarray]], sizes: Sequence[float], source: ImageSource | None
) -> list[PixelGrid]:
    """Return a grid for each of some swaths over one ground, see `eo_data.readers.grids.local_grid.grid_over`.

    With a ``resample_to`` that is no larger than the samples, pixels have that size at once, so that nothing is
    resampled twice; larger ones are made of pixels of the size of the samples. The corners of finer pixels are those of
    the coarser ones, of 480 m those of 960 m, so that the bands of both grids of a product show one ground.

    Parameters
    ----------
    places : sequence of (ndarray, ndarray)
        Longitudes and latitudes ``(rows, columns)`` of each swath in degrees, NaN where they are not known.
    sizes : sequence of float
        Size of the samples of each, in metres.
    source : ImageSource, optional
        ``crs`` and ``resample_to``, if it states them.

    Raises
    ------
    ValueError
        If no sample has a place, or the stated CRS is none for them.
    """
    ends = [_ends(*place) for place in places]
    longitudes, latitudes = (np.concatenate([own[axis] for own in ends]) for axis in (0, 1))
    if not longitudes.size:
        msg = "no sample of its swath has a latitude and a longitude. Download the product again."
        raise ValueError(msg)
    stated = source.resample_to if source is not None else None
    crs = source.crs if source is not None else None
    if source is not None and stated is not None and crs is not None and CRS.from_wkt(wkt_of(crs)).is_geographic:
        return [grid_over(longitudes, latitudes, stated, source) for _ in sizes]
    grids = []
    for size in sizes:
        pixel = size if stated is None or stated > size else stated
        times = max(1, round(max(sizes) / pixel))
        own = None if source is None else replace(source, resample_to=None if stated is None else times * pixel)
        grids.append(_finer(grid_over(longitudes, latitudes, times * pixel, own), times))
    return grids


def _ends(longitude: np.ndarray, latitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitudes and latitudes of samples that reach as far as all do: the border, or all if that has gaps."""
    _check_shapes(longitude, latitude)
    known = np.isfinite(longitude) & np.isfinite(latitude)
    border = np.zeros(known.shape, dtype=bool)
    border[[0, -1]] = border[:, [0, -1]] = True
    wanted = known
    if known[border].all():
        border[::_STRIDE, ::_STRIDE] = True
        wanted = border & known
    return longitude[wanted], latitude[wanted]


def _check_shapes(longitude: np.ndarray, latitude: np.ndarray) -> None:
    if latitude.ndim != 2 or min(latitude.shape) < 2 or longitude.shape != latitude.shape:
        msg = f"its latitudes {latitude.shape} and longitudes {longitude.shape} are not those of one swath."
        raise ValueError(msg)


def _finer(grid: PixelGrid, times: int) -> PixelGrid:
    return PixelGrid(grid.height * times, grid.width * times, scaled(grid.transform, 1 / times, 1 / times), grid.crs)


def note_on_place(swath: Swath) -> str:
    """Return what a user must know of the place of pixels that come from a swath."""
    name, percent = CRS.from_wkt(swath.crs).name, 100 * swath.stretch
    wrong = f", in which distances are off by up to {percent:.1f} %" if percent >= 0.05 else ""
    return f"swath on a grid in {name}{wrong}; each pixel has the value of the nearest sample"


class SwathLayer:
    """Bands of a swath on a grid; see `eo_data.readers.formats.facts.OpenLayer`.

    Parameters
    ----------
    facts : FileFacts
        With the grid.
    swath : Swath
        Where the samples lie.
    values : callable
        Gives values ``(C, N)`` of the bands at some positions, for N samples; NaN where missing.
    """

    def __init__(self, facts: FileFacts, swath: Swath, values: Callable[[Sequence[int], Samples], np.ndarray]) -> None:
        self.facts = facts
        self._swath = swath
        self._values = values

    def stored(
        self,
        bands: Sequence[int],
        part: Part,
        *,
        nodata: float | None = None,
        alpha: bool = True,
        dtype: type = np.float32,
    ) -> np.ndarray:
        """Read bands on a part of the grid; ``alpha`` means nothing here."""
        pixels: np.ndarray = np.full((len(bands), part.height, part.width), np.nan, dtype=dtype)
        samples = self._swath.nearest(self.facts.grid, part)
        if samples.there.any():
            pixels[:, samples.there] = self._values(bands, samples)
        for plane, i in zip(pixels, bands, strict=True):
            mark_missing(plane, plane, self.facts.bands[i], nodata)
        return pixels
