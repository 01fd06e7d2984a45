"""Harmonized Landsat and Sentinel-2 (HLS) 2.0: folders of one GeoTIFF a band.

Scale and missing numbers are those of the product by its name, see `eo_data.sensors.scaling`.

Source: NASA, HLS 2.0 user guide (names of files and bands; Fmask).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid
from eo_data.readers.formats.facts import BandFacts, FileFacts, OpenLayer, ProductFacts
from eo_data.readers.formats.file_raster import reading_errors
from eo_data.readers.formats.geotiff import open_raster
from eo_data.readers.formats.limits import check_file
from eo_data.readers.products.band_files import BandFile, BandFiles, wanted_bands
from eo_data.readers.products.package import Package
from eo_data.sensors.tables import SENSORS
from eo_data.sensors.units import InputUnit

_PRODUCT = re.compile(
    r"(?P<id>HLS\.(?P<kind>[LS]30)\.(?P<tile>T\d{2}[A-Z]{3})\.(?P<day>\d{7})T(?P<time>\d{6})\.v\d\.\d)(?:\.zip)?"
)
_BAND = re.compile(r"HLS\.[LS]30\.T\d{2}[A-Z]{3}\.\d{7}T\d{6}\.v\d\.\d\.(?P<band>B\d\d|B8A|Fmask)\.tif")
#: Whose bands, by their numbers, the products have.
_SENSORS: Mapping[str, str] = MappingProxyType({"S30": "sentinel2_l2a", "L30": "landsat8"})
_NUMBER = re.compile(r"B\d\d|B8A")
_FMASK = "Fmask"


def is_hls_product(href: Href) -> bool:
    """Whether a path is a product by its name: a folder of its bands, or an archive of one."""
    return href.is_local and _PRODUCT.fullmatch(href.name) is not None


@contextmanager
def open_hls(href: Href, source: ImageSource | None = None) -> Iterator[Sequence[OpenLayer]]:
    """Open a product: the bands that are wanted.

    Parameters
    ----------
    href : Href
        The folder, or an archive (zip) of it.
    source : ImageSource, optional
        Only its bands are opened, and one that is not there is an error; without a source all are.

    Raises
    ------
    ValueError
        If it has no bands, or lacks a wanted one.
    SampleError
        If the file of a band cannot be opened.
    """
    match = _PRODUCT.fullmatch(href.name)
    if match is None:
        msg = f"its name is not that of an HLS product ({_PRODUCT.pattern}). Give it its own name again."
        raise ValueError(msg)
    package = Package.of(href, lambda name: _BAND.fullmatch(name) is not None, f"{match['id']}.Fmask.tif")
    sensor = _SENSORS[match["kind"]]
    numbers = _numbers(sensor)
    files = {found["band"]: package.href(name) for name in package.names if (found := _BAND.fullmatch(name))}
    wanted = wanted_bands(source, sensor)
    for name in wanted & numbers.keys():
        if numbers[name] not in files:
            msg = (
                f"it lacks the file of the band {name} ({match['id']}.{numbers[name]}.tif): the product is "
                "incomplete. Download it again, or leave the band out."
            )
            raise ValueError(msg)
    there = {name: files[number] for name, number in numbers.items() if number in files}
    product = ProductFacts(
        f"HLS {match['kind']}",
        match["id"],
        sensor,
        InputUnit.DIGITAL_NUMBER,
        _FMASK if _FMASK in there else None,
        "fmask" if _FMASK in there else None,
        match["tile"],
        datetime.strptime(f"{match['day']}{match['time']}", "%Y%j%H%M%S"),
        absent=tuple(name for name in numbers if name not in there and name != _FMASK),
    )
    # With one that no product has, all are opened, so that the error can name them.
    chosen = wanted if source is not None and wanted <= there.keys() else there.keys()
    yield _layers(product, {name: href for name, href in there.items() if name in chosen})


def _numbers(sensor: str) -> dict[str, str]:
    """Return numbers of bands, as files have them, by canonical name, and the quality layer."""
    bands = {band.name: [alias for alias in band.aliases if _NUMBER.fullmatch(alias)] for band in SENSORS[sensor].bands}
    return {name: found[0] for name, found in bands.items() if found} | {_FMASK: _FMASK}


def _layers(product: ProductFacts, hrefs: Mapping[str, Href]) -> list[OpenLayer]:
    """Return the bands by their grids, of which a product has one."""
    layers: dict[PixelGrid, list[tuple[BandFacts, BandFile]]] = {}
    tags: Mapping[str, str] = {}
    for name, href in hrefs.items():
        with reading_errors(href):
            check_file(href)
            with open_raster(href) as (raster,):
                own = raster.facts
        tags = tags or own.tags
        layers.setdefault(own.grid, []).append((replace(own.bands[0], name=name), BandFile(href)))
    return [
        BandFiles(
            FileFacts(product.kind, grid, tuple(facts for facts, _ in bands), tags, named=True, product=product),
            tuple(file for _, file in bands),
            "GTiff",
        )
        for grid, bands in layers.items()
    ]
