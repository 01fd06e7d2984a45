"""Landsat products of Collection 2 (and level 1 of Collection 1) as USGS ships them: folders and archives.

Reflectance, and surface temperature of level 2, stay digital numbers: `eo_data.sensors.scaling` knows the factors of
the MTL file. Thermal bands of level 1 are not linear and become kelvin here. They are a layer of their own, as is the
panchromatic band with its finer pixels.

Source: USGS, Landsat 8-9 Data Users Handbook and Landsat 7 Data Users Handbook: L = RADIANCE_MULT * number +
RADIANCE_ADD, T = K2 / ln(K1 / L + 1); Landsat Collection 2 Data Format Control Books (names of files, MTL).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.readers.formats.facts import BandFacts, FileFacts, OpenLayer, Part, ProductFacts
from eo_data.readers.formats.geotiff import open_raster
from eo_data.readers.formats.sidecars import mtl_tags
from eo_data.readers.products.band_files import BandFile, BandFiles, wanted_bands
from eo_data.readers.products.package import Package
from eo_data.sensors.tables import SENSORS
from eo_data.sensors.units import InputUnit
from eo_data.temporal.calendar_date import parse_instant

_ID = r"L[COTEM]\d{2}_L[12][A-Z]{2}_\d{6}_\d{8}_\d{8}_\d{2}_(?:T1|T2|RT)"
_PRODUCT = re.compile(rf"{_ID}(?:\.tar|\.zip|_MTL\.(?:json|txt))?", re.IGNORECASE)
_METADATA = re.compile(rf"({_ID})_MTL\.(?:json|txt)", re.IGNORECASE)
#: What follows the id in names of files: ``SR_B2``, ``ST_B10``, ``B6_VCID_1``.
_BAND = re.compile(r"(?:S[RT]_)?(B\d+(?:_VCID_\d)?)\.TIF", re.IGNORECASE)
_QUALITY = "QA_PIXEL"
#: Sensor of the table by the satellite in the id. OLI and TIRS of Landsat 8 and 9 have the same bands.
_SENSORS: Mapping[str, str] = {"07": "landsat7", "08": "landsat8", "09": "landsat8"}
_AGAIN = "Download or unpack the product again"


def is_landsat_product(href: Href) -> bool:
    """Whether a path is a product by its name: a folder, an archive (tar, zip), or its MTL file."""
    return href.is_local and _PRODUCT.fullmatch(href.name) is not None


@dataclass(frozen=True)
class _Product:
    """A product whose MTL file is understood."""

    package: Package
    id: str
    sensor: str
    tags: Mapping[str, str]

    @property
    def level(self) -> int:
        return int(self.id.split("_")[1][1])

    def number(self, name: str) -> float:
        """Return a number of the MTL file by the end of its key."""
        text = self.text(name)
        try:
            return float(text)
        except ValueError as error:
            msg = f"its MTL file must state {name} as a number, got {text or 'nothing'!r}. {_AGAIN}."
            raise ValueError(msg) from error

    def text(self, name: str) -> str:
        return next((text for key, text in self.tags.items() if key.endswith(f".{name}")), "")

    def bands(self, names: Iterable[str]) -> dict[str, str]:
        """Files of bands among others: canonical name, or that of the quality layer, to name of the file."""
        found: dict[str, str] = {}
        start = f"{self.id}_".lower()
        for name in names:
            rest = name[len(start) :] if name.lower().startswith(start) else ""
            match = _BAND.fullmatch(rest)
            band = SENSORS[self.sensor].canonical(match[1]) if match else None
            if rest.upper() == f"{_QUALITY}.TIF":
                band = _QUALITY
            if band is not None:
                found[band] = name
        return found


@contextmanager
def open_landsat(href: Href, source: ImageSource | None = None) -> Iterator[Sequence[OpenLayer]]:
    """Open a product.

    Parameters
    ----------
    href : Href
        The folder, an archive of it, or its MTL file.
    source : ImageSource, optional
        A band that it wants, and that the product should have but has not, is an error.

    Raises
    ------
    ValueError
        If it is of another satellite, or its MTL file or a wanted band is not there or cannot be understood.
    """
    package = Package.of(href, lambda name: _METADATA.fullmatch(name) is not None, "..._MTL.txt or ..._MTL.json")
    product = _product(package, _metadata_of(package, href))
    there, listed = product.bands(package.names), product.bands(product.tags.values())
    for band in sorted(wanted_bands(source, product.sensor)):
        if band in listed and band not in there:
            msg = (
                f"it lacks the file of the band {band} ({listed[band]}): the product is incomplete. {_AGAIN}, or leave "
                "the band out."
            )
            raise ValueError(msg)
    if not there:
        msg = f"it has no file of a band ({product.id}_*B*.TIF): the product is incomplete. {_AGAIN}."
        raise ValueError(msg)
    yield _layers(product, there)


def _metadata_of(package: Package, href: Href) -> str:
    """Return the name of the MTL file that is meant: of a folder that holds several, the one that it is named after."""
    found = {name: match[1].lower() for name in package.names if (match := _METADATA.fullmatch(name))}
    wanted = next((own for own in set(found.values()) if href.name.lower().startswith(own)), None)
    ids = sorted(set(found.values()))
    if len(ids) > 1 and wanted is None:
        msg = f"it holds the metadata of {len(ids)} products ({', '.join(ids[:3])}). Give each a folder of its own."
        raise ValueError(msg)
    own = wanted or ids[0]
    return min(name for name, other in found.items() if other == own)


def _product(package: Package, metadata: str) -> _Product:
    match = _METADATA.fullmatch(metadata)
    own = match[1].upper() if match else ""
    sensor = _SENSORS.get(own[2:4])
    if sensor is None or own[1] == "M":
        msg = (
            f"it is a product of Landsat {int(own[2:4])}, of whose sensor there is no table; read are Landsat 7, 8 and "
            "9. Its bands can be read as single files, without sensor and with unit: native or the scale stated."
        )
        raise ValueError(msg)
    if own.split("_")[1].startswith("L2") and own.split("_")[5] != "02":
        msg = f"it is level 2 of Collection {int(own.split('_')[5])}, which has other scales. Use Collection 2."
        raise ValueError(msg)
    try:
        tags = {key: str(value) for key, value in mtl_tags(package.read(metadata), metadata).items()}
    except ValueError as error:
        msg = f"its {metadata} cannot be understood: {error}. {_AGAIN}."
        raise ValueError(msg) from error
    return _Product(package, own, sensor, tags)


def _layers(product: _Product, there: Mapping[str, str]) -> list[OpenLayer]:
    """Return bands by what they share: the pixels, and the unit."""
    table = {band.name: band for band in SENSORS[product.sensor].bands}
    groups: dict[str, list[str]] = {}
    for name in (*table, _QUALITY):
        if name not in there:
            continue
        own = table.get(name)
        thermal = own is not None and own.unit == "K" and product.level == 1
        fine = own is not None and own.gsd < 30
        groups.setdefault("thermal" if thermal else "fine" if fine else "", []).append(name)
    return [_layer(product, group, names, there) for group, names in groups.items()]


def _layer(product: _Product, group: str, names: Sequence[str], there: Mapping[str, str]) -> OpenLayer:
    files = tuple(BandFile(product.package.href(there[name])) for name in names)
    # Any of them tells the grid; the others are compared with it when they are read.
    with open_raster(files[0].href) as (raster,):
        facts = raster.facts
    stated = tuple(BandFacts(name, "uint16" if name == _QUALITY else facts.bands[0].dtype) for name in names)
    tags = {**product.tags, "DATE_ACQUIRED": product.text("DATE_ACQUIRED")}
    of_layer = FileFacts(
        "Landsat",
        facts.grid,
        stated,
        tags,
        named=True,
        block_bytes=facts.block_bytes,
        product=_facts(product, _QUALITY in there),
    )
    layer = BandFiles(of_layer, files, "GTiff")
    return _Kelvin(product, layer, [there[name] for name in names]) if group == "thermal" else layer


def _facts(product: _Product, has_quality: bool) -> ProductFacts:  # noqa: FBT001
    day, clock = (product.text(name) for name in ("DATE_ACQUIRED", "SCENE_CENTER_TIME"))
    path, row = (product.text(name) for name in ("WRS_PATH", "WRS_ROW"))
    return ProductFacts(
        # Landsat 8 and 9 are one kind, as they are one sensor: scenes of both may be merged.
        f"Landsat C{int(product.id.split('_')[5])} L{product.level}",
        product.id,
        product.sensor,
        InputUnit.DIGITAL_NUMBER,
        _QUALITY if has_quality else None,
        "qa_pixel" if has_quality else None,
        tile=f"{int(path):03}{int(row):03}" if path.isdigit() and row.isdigit() else "",
        started=parse_instant(f"{day}T{clock[:15].removesuffix('Z')}Z" if clock else day) if day else None,
    )


class _Kelvin:
    """Thermal bands of level 1 as brightness temperature; see `eo_data.readers.formats.facts.OpenLayer`."""

    def __init__(self, product: _Product, numbers: BandFiles, files: Sequence[str]) -> None:
        self._numbers = numbers
        # ``B10``, ``B6_VCID_1``: the keys end like the files.
        keys = [PurePosixPath(file).stem[len(product.id) + 2 :].upper() for file in files]
        names = ("RADIANCE_MULT", "RADIANCE_ADD", "K1_CONSTANT", "K2_CONSTANT")
        self._factors = [tuple(product.number(f"{name}_BAND_{key}") for name in names) for key in keys]
        facts = numbers.facts
        note = "brightness temperature at the top of the atmosphere, by K1 and K2 of the product"
        of_product = None if facts.product is None else replace(facts.product, unit=InputUnit.KELVIN, notes=(note,))
        bands = tuple(replace(band, dtype="float32") for band in facts.bands)
        self.facts = replace(facts, bands=bands, product=of_product)

    def stored(
        self,
        bands: Sequence[int],
        part: Part,
        *,
        nodata: float | None = None,
        alpha: bool = True,
        dtype: type = np.float32,
    ) -> np.ndarray:
        numbers = self._numbers.stored(bands, part, nodata=nodata, alpha=alpha, dtype=np.float64)
        # 0 is fill, and what is not above 0 has no temperature.
        numbers[numbers == 0] = np.nan
        for plane, band in zip(numbers, bands, strict=True):
            mult, add, k1, k2 = self._factors[band]
            radiance = mult * plane + add
            radiance[radiance <= 0] = np.nan
            plane[...] = k2 / np.log(k1 / radiance + 1)
        return numbers.astype(dtype)
