"""An image of which only some points say where it lies, brought to a grid by a thin plate spline through them."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from affine import Affine
from pyproj import Transformer
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.transform import GCPTransformer
from rasterio.warp import reproject

from eo_data.raster.georeference import PixelGrid
from eo_data.raster.raster import to_map
from eo_data.readers.formats.facts import Part
from eo_data.readers.grids.local_grid import crs_around
from eo_data.readers.grids.regrid import wkt_of

#: Error of GDAL's approximation in pixels: parts of an image must agree with the whole.
_TOLERANCE = 0.001
#: How far around a pixel others may weigh in its value, in pixels of the coarser of the two grids.
_REACH = 3
#: Places along a side of a part that are looked up in the image; between them the spline bends by less than `_SPARE`.
_LOOK_UPS, _SPARE = 17, 2
#: GDAL's name of the method. rasterio hands it to the transformer, and to the warper, which logs that it has no such
#: option.
_METHOD = {"SRC_METHOD": "GCP_TPS"}


@dataclass(frozen=True, eq=False)
class PointWarp:
    """Where an image lies by points of it.

    A polynomial through the points would miss them by more than a pixel where terrain moves them. The spline is laid in
    the local UTM zone, whatever the grid: in degrees it would bend too much between the points.

    Parameters
    ----------
    height, width : int
        Rows and columns of the image.
    rows, columns : ndarray, (N,)
        The points in the image, counted from the centre of its first pixel.
    longitudes, latitudes : ndarray, (N,)
        The same in degrees on WGS 84.
    """

    height: int
    width: int
    rows: np.ndarray
    columns: np.ndarray
    longitudes: np.ndarray
    latitudes: np.ndarray

    def pixel_size(self, crs: str) -> float:
        """Return the side of a pixel of the image in the unit of a CRS, in the mean."""
        terms = np.column_stack((np.ones(len(self.rows)), self.rows, self.columns))
        fit = np.linalg.lstsq(terms, np.column_stack(self._in(crs)), rcond=None)[0]
        return math.sqrt(abs(float(np.linalg.det(fit[1:]))))

    @functools.cached_property
    def _own_crs(self) -> str:
        return wkt_of(crs_around(self.longitudes, self.latitudes))

    def _in(self, crs: str) -> tuple[np.ndarray, np.ndarray]:
        return _moved(CRS.from_epsg(4326).to_wkt(), crs, self.longitudes, self.latitudes)

    def needed(self, target: PixelGrid) -> Part | None:
        """Return the rows and columns of the image that may weigh in pixels of a grid; ``None`` if there are none."""
        transform, crs = _place_of(target)
        steps = (np.linspace(0, side, _LOOK_UPS) for side in (target.width, target.height))
        across, down = (axis.ravel() for axis in np.meshgrid(*steps))
        x, y = zip(*(to_map(transform, *place) for place in zip(across, down, strict=True)), strict=True)
        here = _moved(crs, self._own_crs, np.array(x), np.array(y))
        if not np.isfinite(here).all():
            return Part(0, 0, self.height, self.width)
        with GCPTransformer(self._points(0, 0), tps=True) as transformer:
            rows, columns = transformer.rowcol(*here, op=float)
        margin = math.ceil(_REACH * max(1.0, transform.a / self.pixel_size(crs))) + _SPARE
        spans = []
        for found, length in ((rows, self.height), (columns, self.width)):
            start = max(0, math.floor(min(found)) - margin)
            stop = min(length, math.ceil(max(found)) + margin)
            if start >= stop:
                return None
            spans.append((start, stop - start))
        (top, height), (left, width) = spans
        return Part(top, left, height, width)

    def on_grid(self, pixels: np.ndarray, part: Part, target: PixelGrid, resampling: str) -> np.ndarray:
        """Bring pixels to a grid.

        Parameters
        ----------
        pixels : ndarray, (H, W)
            Float32, NaN where missing.
        part : Part
            Which rows and columns of the image they are.
        target : PixelGrid
            North up, in any CRS.
        resampling : str
            Name of `rasterio.enums.Resampling`.

        Returns
        -------
        ndarray
            Float32 of the size of the grid, NaN where nothing is.
        """
        result = self._warped(pixels, part, target, resampling)
        if resampling == "cubic" and np.isnan(pixels).any():
            # Beside gaps some weights of the kernel are negative, and their sum may be nearly 0.
            gaps = self._warped(np.isnan(pixels).astype(np.float32), part, target, "cubic")
            np.copyto(result, self._warped(pixels, part, target, "bilinear"), where=np.abs(gaps) > 1e-6)
        return result

    def _points(self, top: int, left: int) -> list[GroundControlPoint]:
        """Points for GDAL, which counts from the corner of the first pixel that is there."""
        places = zip(self.rows, self.columns, *self._in(self._own_crs), strict=True)
        return [GroundControlPoint(row + 0.5 - top, column + 0.5 - left, x, y) for row, column, x, y in places]

    def _warped(self, pixels: np.ndarray, part: Part, target: PixelGrid, resampling: str) -> np.ndarray:
        result = np.full((target.height, target.width), np.nan, dtype=np.float32)
        transform, crs = _place_of(target)
        ratio = self.pixel_size(crs) / transform.a
        with _without_complaint():
            reproject(
                pixels,
                result,
                gcps=self._points(part.top, part.left),
                src_crs=CRS.from_wkt(self._own_crs),
                dst_crs=CRS.from_wkt(crs),
                dst_transform=transform,
                src_nodata=np.nan,
                dst_nodata=np.nan,
                resampling=Resampling[resampling],
                tolerance=_TOLERANCE,
                # Else GDAL derives the ratio of the sizes from each window, and tiles differ from the whole.
                XSCALE=ratio,
                YSCALE=ratio,
                **_METHOD,
            )
        return result


def _place_of(grid: PixelGrid) -> tuple[Affine, str]:
    if grid.transform is None or grid.crs is None:
        msg = "a grid without transform and CRS is no place. State both."
        raise ValueError(msg)
    return grid.transform, grid.crs


def _moved(old: str, new: str, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring places from one CRS to another, x before y in both."""
    there = Transformer.from_crs(old, new, always_xy=True).transform(x, y)
    return np.asarray(there[0]), np.asarray(there[1])


@contextmanager
def _without_complaint() -> Iterator[None]:
    logger, complaint = logging.getLogger("rasterio._env"), _Complaint()
    logger.addFilter(complaint)
    try:
        yield
    finally:
        logger.removeFilter(complaint)


class _Complaint(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass but that of the method."""
        return next(iter(_METHOD)) not in record.getMessage()
