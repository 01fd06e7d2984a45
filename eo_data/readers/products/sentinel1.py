"""Sentinel-1 GRD as ESA ships it (``.SAFE``): digital numbers become sigma0, on a grid that is north up.

The measurements lie in the geometry of the radar, and a lattice of points of the annotation says where. They are the
GCPs of the measurement files, but there they are read as corners of pixels, half a pixel off: the lattice ends at the
last line and sample, so that its points are centres. A thin plate spline through them, in the CRS of the grid, brings
the backscatter to it, after the calibration: a mean of amplitudes is no mean of power.

Source: ESA, Sentinel-1 Product Specification (S1-RS-MDA-52-7441) and naming conventions.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from rasterio.windows import Window

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid
from eo_data.readers.formats.facts import BandFacts, FileFacts, OpenLayer, Part, ProductFacts, mark_missing
from eo_data.readers.formats.geotiff import open_dataset
from eo_data.readers.formats.limits import check_file
from eo_data.readers.grids.local_grid import grid_over
from eo_data.readers.grids.point_warp import PointWarp
from eo_data.readers.products.package import Package
from eo_data.readers.products.sentinel1_calibration import calibration_of, elements, noise_of, numbers, sigma0
from eo_data.sensors.units import InputUnit
from eo_data.temporal.calendar_date import parse_instant

_NAME = re.compile(r"S1[A-D]_(?P<mode>IW|EW|WV|S[1-6])_(?P<kind>\w{4})_\d\w{3}_\w+(?:\.SAFE)?(?:\.zip)?", re.IGNORECASE)
_MANIFEST = "manifest.safe"
_ANNOTATION = re.compile(r"annotation/s1[a-d]-\w\w-grd-(?P<polarisation>vv|vh|hh|hv)-[^/]*\.xml", re.IGNORECASE)
_MODES = ("IW", "EW")
_VERSION = re.compile(rb'name="Sentinel-1 IPF"\s+version="(\d+\.\d+)"')
#: Before, the noise is in other units (MPC-0392).
_NOISE_IN_NUMBERS = 2.5
_AGAIN = "Download or unpack the product again."


def is_sentinel1(href: Href) -> bool:
    """Whether this is a ``.SAFE`` folder of Sentinel-1, its zip, or the manifest in it, by its name."""
    if not href.is_local:
        return False
    if href.name.lower() == _MANIFEST:
        return _NAME.fullmatch(href.path.parent.name) is not None
    name = href.name.lower()
    return name.endswith((".safe", ".zip")) and _NAME.fullmatch(href.name) is not None


@contextmanager
def open_sentinel1(href: Href, source: ImageSource | None) -> Iterator[Sequence[OpenLayer]]:
    """Open a product; its polarisations are one layer, in linear power.

    Parameters
    ----------
    href : Href
        As `is_sentinel1` takes it.
    source : ImageSource, optional
        ``crs`` and ``resample_to`` of the grid, ``resampling``, and ``remove_noise``.

    Raises
    ------
    ValueError
        If it is no GRD of the modes IW and EW, or its annotation is missing or cannot be understood.
    """
    package = Package.of(href, lambda name: name.lower() == _MANIFEST, _MANIFEST)
    named = _NAME.match(package.name)
    if named is not None and not named["kind"].upper().startswith("GRD"):
        msg = (
            f"it is a product of the type {named['kind'].strip('_').upper()}, and of Sentinel-1 only GRD is read: "
            "detect and calibrate it first (SNAP), or use the GRD product of the same pass."
        )
        raise ValueError(msg)
    found = {match["polarisation"].upper(): name for name in package.names if (match := _ANNOTATION.fullmatch(name))}
    if not found:
        msg = f"it has no annotation of a GRD image (annotation/s1*-grd-*.xml): the product is incomplete. {_AGAIN}"
        raise ValueError(msg)
    # VV comes before VH, and HH before HV. Both have one geometry.
    polarisations = sorted(found, key=lambda own: (own[0] != own[1], own))
    image = _parsed(package, found[polarisations[0]], _image_of)
    yield (_Backscatter(package, polarisations, image, source),)


@dataclass(frozen=True, eq=False)
class _Image:
    """What an annotation says of its image; the points are centres of pixels, counted from 0."""

    mode: str
    started: str
    orbit: str
    height: int
    width: int
    spacing: float
    lines: np.ndarray
    pixels: np.ndarray
    longitudes: np.ndarray
    latitudes: np.ndarray


@functools.lru_cache(maxsize=8)
def _image_of(data: bytes) -> _Image:
    found: dict[str, list[Mapping[str, str]]] = {"adsHeader": [], "imageInformation": [], "geolocationGridPoint": []}
    for name, inside in elements(data, *found):
        found[name].append(inside)
    header, size = ({**next(iter(found[name]), {})} for name in ("adsHeader", "imageInformation"))
    points = found["geolocationGridPoint"]
    if len(points) < 4:
        msg = f"it has {len(points)} geolocationGridPoint, without which nothing says where its pixels lie"
        raise ValueError(msg)
    columns = [
        np.array([numbers(point, name)[0] for point in points]) for name in ("line", "pixel", "longitude", "latitude")
    ]
    spacing = max(float(numbers(size, f"{axis}PixelSpacing")[0]) for axis in ("range", "azimuth"))
    height, width = (int(numbers(size, name)[0]) for name in ("numberOfLines", "numberOfSamples"))
    mode, started = (header.get(name, "") for name in ("mode", "startTime"))
    # The general annotation stands between the two, without a name of its own here.
    return _Image(mode, started, size.get("pass", ""), height, width, spacing, *columns)


def _parsed[T](package: Package, name: str, parse: Callable[[bytes], T]) -> T:
    """Return what a file of the annotation says; errors name it."""
    try:
        return parse(package.read(name))
    except ValueError as error:
        msg = f"{name} cannot be understood: {error}. {_AGAIN}"
        raise ValueError(msg) from error


class _Backscatter:
    """Polarisations of a product on a grid; see `eo_data.readers.formats.facts.OpenLayer`."""

    def __init__(
        self, package: Package, polarisations: Sequence[str], image: _Image, source: ImageSource | None
    ) -> None:
        self._package = package
        self._polarisations = tuple(polarisations)
        self._image = image
        self._resampling = "bilinear" if source is None else source.resampling
        self._noise = source is not None and source.remove_noise
        if image.mode not in _MODES:
            msg = f"its mode is {image.mode!r}, and those with canonical bands are {', '.join(_MODES)}."
            raise ValueError(msg)
        if self._noise:
            self._refuse_old_noise()
        grid = grid_over(image.longitudes, image.latitudes, image.spacing, source)
        self._warp = PointWarp(image.height, image.width, image.lines, image.pixels, image.longitudes, image.latitudes)
        bands = tuple(BandFacts(f"{image.mode}_{polarisation}") for polarisation in polarisations)
        tags = {"START_DATETIME": image.started, "sat:orbit_state": image.orbit}
        self.facts = FileFacts("Sentinel-1 SAFE", grid, bands, tags, named=True, product=self._product(grid))

    def _product(self, grid: PixelGrid) -> ProductFacts:
        name = re.sub(r"\.SAFE$", "", self._package.name, flags=re.IGNORECASE)
        side = 0.0 if grid.transform is None else grid.transform.a
        notes = (
            f"sigma0 by the calibration table of the product, thermal noise {'subtracted' if self._noise else 'left'}",
            "not terrain corrected: brought to the grid by a thin plate spline through the points of the product "
            "(GCPs), between which terrain shifts pixels by tens to hundreds of metres",
            f"from the geometry of the radar to pixels of {side:g} by {self._resampling} resampling",
        )
        started = parse_instant(self._image.started)
        return ProductFacts("Sentinel-1 GRD", name, "sentinel1", InputUnit.LINEAR_POWER, started=started, notes=notes)

    def _refuse_old_noise(self) -> None:
        found = _VERSION.search(self._package.read(self._package.only(_MANIFEST, "manifest")))
        if found is not None and float(found[1]) < _NOISE_IN_NUMBERS:
            msg = (
                f"remove_noise is set, but it was processed by IPF {float(found[1]):.2f}, of which the noise is in "
                f"other units than from {_NOISE_IN_NUMBERS:.2f} on. Use the product as processed anew, or leave "
                "remove_noise out."
            )
            raise ValueError(msg)

    def stored(
        self,
        bands: Sequence[int],
        part: Part,
        *,
        nodata: float | None = None,
        alpha: bool = True,
        dtype: type = np.float32,
    ) -> np.ndarray:
        result = np.full((len(bands), part.height, part.width), np.nan, dtype=np.float32)
        target = self.facts.grid.window(part.top, part.left, part.height, part.width)
        needed = self._warp.needed(target)
        for plane, band in zip(result, bands, strict=True):
            if needed is None:
                break
            power = self._calibrated(self._polarisations[band].lower(), needed)
            plane[...] = self._warp.on_grid(power, needed, target, self._resampling)
            # What is darker than the noise has no power; in decibel it is missing.
            np.maximum(plane, 0, out=plane)
            if nodata is not None:
                mark_missing(plane, plane, self.facts.bands[band], nodata)
        return result.astype(dtype, copy=False)

    def _calibrated(self, polarisation: str, part: Part) -> np.ndarray:
        """Sigma0 of lines and pixels of the product, float32 ``(H, W)``."""
        package, what = self._package, polarisation.upper()
        tables = "annotation/calibration"
        table = package.only(f"{tables}/calibration-*-{polarisation}-*.xml", f"calibration of {what}")
        calibration = _parsed(package, table, calibration_of)
        noise = None
        if self._noise:
            name = package.only(f"{tables}/noise-*-{polarisation}-*.xml", f"noise annotation of {what}")
            noise = _parsed(package, name, noise_of)
        measurement = package.only(f"measurement/*-{polarisation}-*.tiff", f"measurement of {what}")
        href = package.href(measurement)
        check_file(href)
        with open_dataset(href) as file:
            if file.shape != (self._image.height, self._image.width):
                msg = (
                    f"{measurement} has {file.shape} lines and pixels, its annotation states "
                    f"{(self._image.height, self._image.width)}. {_AGAIN}"
                )
                raise ValueError(msg)
            stored = file.read(1, window=Window(part.left, part.top, part.width, part.height))
        return sigma0(stored, part, calibration, noise)
