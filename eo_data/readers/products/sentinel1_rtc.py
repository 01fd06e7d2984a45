"""Sentinel-1 backscatter that others have corrected for terrain (RTC): a folder or zip with a GeoTIFF a polarisation.

Only folders and archives are products; a single file of one is an ordinary raster, as ever.

Sources: ASF, HyP3 RTC Product Guide and OPERA RTC-S1 Product Guide (names, scales, no data); collection
``sentinel-1-rtc`` of the Planetary Computer (``iw-vv.rtc.tiff``, float32, no data -32768, parts filled with 0).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.readers.formats.facts import BandFacts, FileFacts, OpenLayer, ProductFacts
from eo_data.readers.formats.geotiff import open_raster
from eo_data.readers.products.band_files import BandFile, BandFiles, wanted_bands
from eo_data.readers.products.package import Package
from eo_data.sensors.tables import SENSORS
from eo_data.sensors.units import InputUnit
from eo_data.temporal.calendar_date import parse_instant

_OPERA = r"OPERA_L2_RTC-S1_(?P<burst>T\d{3}-\d{6})-[A-Z]{2}\d_\d{8}T\d{6}Z_\w+_v\d+\.\d+"
#: ``S1A_IW_20180102T155531_DVP_RTC30_G_gpuned_5685``: gamma0 or sigma0 (g, s) in power, decibel or amplitude (p, d, a).
_HYP3 = r"S1[A-D]_[A-Z]{2}_\d{8}T\d{6}_[DS][VH][PRO]_RTC\d\d_\w_(?P<quantity>[gs])(?P<scale>[pda])\w{4}_\w{4}"
#: The id of an item, and the folder that its files lie in (in ``measurement``); GRD of ESA has a suffix.
_ITEM = (
    r"S1[A-D]_[A-Z]{2}_GRD[HMF]_1S[DS][VH]_\d{8}T\d{6}_\d{8}T\d{6}_[0-9A-F]{6}_[0-9A-F]{6}(?:_[0-9A-F]{4})?(?:_rtc)?"
)
_PRODUCT = re.compile(rf"(?:{_OPERA}|{_HYP3})(?:\.zip)?|{_ITEM}", re.IGNORECASE)
_IMAGE = re.compile(r"(?:.*[_-])?(?P<polarisation>VV|VH|HH|HV)(?:\.rtc)?\.tiff?", re.IGNORECASE)
_MODE = re.compile(r"^S1[A-D]_(IW|EW)_|-(IW|EW)\d_", re.IGNORECASE)
_MEASUREMENT = "measurement"
_UNITS: Mapping[str, InputUnit] = {"p": InputUnit.LINEAR_POWER, "d": InputUnit.DECIBEL}
#: No backscatter is exactly 0, and the logarithm of it would be none.
_NO_DATA: Mapping[InputUnit, tuple[float, ...]] = {
    InputUnit.LINEAR_POWER: (-32768.0, 0.0),
    InputUnit.DECIBEL: (-32768.0,),
}


def is_rtc_product(href: Href) -> bool:
    """Whether a path is a product by its name: a folder, or a zip of one."""
    return href.is_local and _PRODUCT.fullmatch(href.name) is not None


@contextmanager
def open_rtc(href: Href, source: ImageSource | None = None) -> Iterator[Sequence[OpenLayer]]:
    """Open a product; its polarisations are one layer.

    Parameters
    ----------
    href : Href
        The folder or its zip.
    source : ImageSource, optional
        A polarisation that it wants and that is not there is named.

    Raises
    ------
    ValueError
        If there are no images, several of one polarisation, or they hold amplitudes or whole numbers.
    """
    inner = href.path / _MEASUREMENT
    package = Package.of(
        Href(str(inner)) if inner.is_dir() else href, lambda name: _IMAGE.fullmatch(name) is not None, "..._VV.tif"
    )
    name = href.name.removesuffix(".zip")
    mode = next((text.upper() for text in _first(_MODE, name).groups() if text), "")
    bands: dict[str, str] = {}
    for file in package.names:
        match = _IMAGE.fullmatch(file) if "/" not in file else None
        if match is None:
            continue
        band = f"{mode}_{match['polarisation'].upper()}"
        if band in bands:
            msg = f"it has two images of {band} ({bands[band]}, {file}). Give each product a folder of its own."
            raise ValueError(msg)
        bands[band] = file
    lacking = sorted(band for band in wanted_bands(source, "sentinel1") if band not in bands and band[:2] == mode)
    if lacking:
        msg = (
            f"it has no image of {', '.join(lacking)}, only of {', '.join(bands)}: download its other polarisation, or "
            "leave the band out."
        )
        raise ValueError(msg)
    order = SENSORS["sentinel1"].band_names
    yield (_layer(package, name, {band: bands[band] for band in sorted(bands, key=order.index)}),)


def _first(pattern: re.Pattern[str], name: str) -> re.Match[str]:
    found = pattern.search(name)
    if found is None:
        msg = "it is of another mode than IW and EW, whose bands have no canonical names."
        raise ValueError(msg)
    return found


def _layer(package: Package, name: str, bands: Mapping[str, str]) -> OpenLayer:
    parts = _first(_PRODUCT, name).groupdict()
    unit = _UNITS.get((parts["scale"] or "p").lower())
    if unit is None:
        msg = "by its name it holds amplitudes: order it in power or decibel, or square them and read the files."
        raise ValueError(msg)
    files = tuple(BandFile(package.href(file)) for file in bands.values())
    # Any of them tells the grid; the others are compared with it when they are read.
    with open_raster(files[0].href) as (raster,):
        facts = raster.facts
    if not facts.bands[0].dtype.startswith("float"):
        msg = f"its numbers are {facts.bands[0].dtype}, expected float32: it is a picture of the product."
        raise ValueError(msg)
    quantity = "sigma0" if (parts["quantity"] or "").lower() == "s" else "gamma0"
    stated = re.search(r"\d{8}T\d{6}", name)
    product = ProductFacts(
        "Sentinel-1 RTC",
        name,
        "sentinel1",
        unit,
        tile=(parts["burst"] or "").upper(),
        started=None if stated is None else parse_instant(stated[0]),
        notes=(f"{quantity}, corrected for terrain by its producer; layover and shadow are not masked here",),
    )
    own = tuple(BandFacts(band, facts.bands[0].dtype, nodata=_NO_DATA[unit]) for band in bands)
    of_layer = FileFacts(
        "Sentinel-1 RTC", facts.grid, own, facts.tags, named=True, block_bytes=facts.block_bytes, product=product
    )
    return BandFiles(of_layer, files, "GTiff")
