"""Sentinel-2 products of level 1C and 2A: ``.SAFE`` folders and archives of them.

Size and place of the pixels, scale and offset come from the product's own metadata, so that only the bands that are
read are opened.

Source: ESA, Sentinel-2 Products Specification Document (names of files, MTD files, special values; the masks
``MSK_CLASSI`` of processing baseline 04.00 and later).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from xml.parsers import expat

from affine import Affine
from rasterio.crs import CRS

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid, fault_of_transform
from eo_data.readers.formats.facts import BandFacts, FileFacts, OpenLayer, ProductFacts, stated_scale
from eo_data.readers.formats.sidecars import mtd_tags, xml_elements
from eo_data.readers.products.band_files import BandFile, BandFiles, wanted_bands
from eo_data.readers.products.package import Package
from eo_data.sensors.quality_names import CloudKind
from eo_data.sensors.sentinel2 import NO_DATA, SATURATED
from eo_data.sensors.tables import SENSORS, Band
from eo_data.sensors.units import InputUnit
from eo_data.temporal.calendar_date import parse_instant

#: Names since December 2016 (``S2A_MSIL2A_...``) and before (``S2A_OPER_PRD_MSIL1C_...``), of folders and archives.
_PRODUCT = re.compile(r"S2[A-D]_(?:\w{4}_PRD_)?MSIL(?:1C|2A)_\w+(?:\.SAFE)?(?:\.zip)?", re.IGNORECASE)
_METADATA = re.compile(r"(?:MTD_MSI|S2[A-D]_\w{4}_MTD_SAF)(L1C|L2A)\w*\.xml")
_GRANULE = re.compile(r"GRANULE/[^/]+/(?:MTD_TL|S2[A-D]_\w{4}_MTD_L(?:1C|2A)_\w+)\.xml")
#: ``T32UQV_20230823T095559_B02_10m.jp2``; images of level 1C have no pixel size in their names.
_IMAGE = re.compile(r"(?:.*_)?(?P<band>B0[1-9]|B1[0-2]|B8A|SCL)(?:_(?P<size>\d\d)m)?\.jp2")
_TILE = re.compile(r"_(T\d{2}[A-Z]{3})(?:_|$)")
#: Elements of the product's metadata that name an image, from the product's folder on and without a suffix.
_IMAGE_NAMES = ("IMAGE_FILE", "IMAGE_FILE_2A")
_PLACE = ("NROWS", "NCOLS", "ULX", "ULY", "XDIM", "YDIM")

_SCL, _SCL_SIZE = "SCL", 20
#: MSK_CLASSI: its file, the size of its pixels, and its bands.
_CLASSI_FILE, _CLASSI_SIZE = "QI_DATA/MSK_CLASSI_B00.jp2", 60
_CLASSI = ("MSK_CLASSI_OPAQUE", "MSK_CLASSI_CIRRUS", "MSK_CLASSI_SNOW")


@dataclass(frozen=True)
class _Metadata:
    """What the MTD file of a product says.

    Texts by element, the quantification value, offsets by number of the band (``B02``), and its images.
    """

    texts: Mapping[str, str]
    quantification: float
    offsets: Mapping[str, float]
    images: tuple[str, ...]


@dataclass(frozen=True)
class _Granule:
    """What the MTD file of a granule says: its tile, and its grids by the size of their pixels in metres."""

    tile: str
    grids: Mapping[int, PixelGrid]


@dataclass(frozen=True)
class _Product:
    """A product whose metadata are understood; ``folder`` is that of its granule."""

    package: Package
    level: str
    metadata: _Metadata
    folder: str
    granule: _Granule

    @property
    def sensor(self) -> str:
        return f"sentinel2_{self.level.lower()}"

    def images(self, names: Iterable[str]) -> dict[str, dict[int, str]]:
        """Files of the granule by number of the band and size of the pixels."""
        found: dict[str, dict[int, str]] = {}
        for name in names:
            match = _IMAGE.fullmatch(PurePosixPath(name).name)
            if match and name.startswith(f"{self.folder}/IMG_DATA/"):
                copies = found.setdefault(match["band"], {})
                copies[int(match["size"] or _own_size(match["band"]))] = name
        return found


def is_sentinel2_product(href: Href) -> bool:
    """Whether a path is a product by its name: a folder, an archive, or the metadata of one."""
    return href.is_local and (_PRODUCT.fullmatch(href.name) is not None or _is_metadata(href.name))


@contextmanager
def open_sentinel2(href: Href, source: ImageSource | None = None) -> Iterator[Sequence[OpenLayer]]:
    """Open a product; each band is there once, with pixels of its own size.

    Parameters
    ----------
    href : Href
        The ``.SAFE`` folder, an archive (zip) of it, or its MTD file.
    source : ImageSource, optional
        A band that it wants, and that the product should have but has not, is an error.

    Raises
    ------
    ValueError
        If the metadata, the granule or a wanted band are not there or make no sense, or there are several granules.
    OSError
        If the metadata cannot be read.
    """
    package = Package.of(href, _is_metadata, "MTD_MSIL1C.xml or MTD_MSIL2A.xml")
    name = href.name if _is_metadata(href.name) else next(filter(_is_metadata, package.names))
    match = _METADATA.fullmatch(name)
    level = match[1] if match else ""
    metadata = _understood(package, name, functools.partial(_parsed_metadata, level=level))
    of_granule = _granule_name(package)
    granule = _understood(package, of_granule, _parsed_granule)
    yield _layers(_Product(package, level, metadata, str(PurePosixPath(of_granule).parent), granule), source)


def _is_metadata(name: str) -> bool:
    return _METADATA.fullmatch(name) is not None


def _understood[T](package: Package, name: str, parse: Callable[[bytes], T]) -> T:
    """Return what one of the files of metadata says."""
    try:
        return parse(package.read(name))
    except (ValueError, expat.ExpatError) as error:
        msg = f"its {name} cannot be understood: {error}. Download or unpack the product again."
        raise ValueError(msg) from error


def _granule_name(package: Package) -> str:
    """Return the metadata of the only granule."""
    found = [name for name in package.names if _GRANULE.fullmatch(name)]
    if len(found) == 1:
        return found[0]
    if not found:
        msg = (
            "it has no granule (GRANULE/*/MTD_TL.xml): the product is incomplete. Download or unpack it again, as a "
            "whole."
        )
        raise ValueError(msg)
    folders = [str(PurePosixPath(name).parent) for name in found]
    msg = (
        f"it has {len(found)} granules ({', '.join(folders[:3])}), as products before December 2016 may have, and each "
        "is an image of its own. Name the band files of the granules, so that each is a sample: files: "
        f"'{package.name}/GRANULE/{{id}}/IMG_DATA/*_{{band}}.jp2'."
    )
    raise ValueError(msg)


# A product is opened again for each of its tiles: what has been parsed once is known by its text.
@functools.lru_cache(maxsize=8)
def _parsed_metadata(data: bytes, level: str) -> _Metadata:
    tags = mtd_tags(data)
    keys = ("QUANTIFICATION_VALUE",) if level == "L1C" else ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE")
    stated = [float(tags[key]) for key in keys if key in tags]
    if not stated or not stated[0] > 0:
        msg = f"{keys[0]} is {f'{stated[0]:g}' if stated else 'not there'}, expected a positive number"
        raise ValueError(msg)
    start = "RADIO_ADD_OFFSET_" if level == "L1C" else "BOA_ADD_OFFSET_"
    return _Metadata(
        MappingProxyType({key: value for key, value in tags.items() if isinstance(value, str) and value}),
        stated[0],
        MappingProxyType({key.removeprefix(start): float(tags[key]) for key in tags if key.startswith(start)}),
        tuple(f"{text}.jp2" for name, _, text in xml_elements(data) if name in _IMAGE_NAMES),
    )


@functools.lru_cache(maxsize=8)
def _parsed_granule(data: bytes) -> _Granule:
    code, tile = "", ""
    numbers: dict[str, float] = {}
    places: dict[int, dict[str, float]] = {}
    for name, attributes, text in xml_elements(data):
        if name in _PLACE:
            numbers[name] = float(text)
        elif name in ("Size", "Geoposition"):
            places.setdefault(int(attributes.get("resolution", "0")), {}).update(numbers)
            numbers = {}
        elif name == "HORIZONTAL_CS_CODE":
            code = text
        elif name in ("TILE_ID", "TILE_ID_2A") and (found := _TILE.search(text)):
            tile = found[1]
    if not code or not places:
        msg = f"it has no {'HORIZONTAL_CS_CODE' if places else 'Size and Geoposition'}, by which pixels have a place"
        raise ValueError(msg)
    crs = CRS.from_user_input(code).to_wkt()
    return _Granule(tile, MappingProxyType({size: _grid(size, place, crs) for size, place in places.items()}))


def _grid(size: int, place: Mapping[str, float], crs: str) -> PixelGrid:
    lacks = [key for key in _PLACE if key not in place]
    if lacks:
        msg = f"Size and Geoposition of {size} m have no {', '.join(lacks)}"
        raise ValueError(msg)
    transform = Affine(place["XDIM"], 0.0, place["ULX"], 0.0, place["YDIM"], place["ULY"])
    if fault := fault_of_transform(transform):
        raise ValueError(fault)
    return PixelGrid(int(place["NROWS"]), int(place["NCOLS"]), transform, crs)


def _layers(product: _Product, source: ImageSource | None) -> list[OpenLayer]:
    """Return the bands by the size of their pixels, the finest first."""
    there, listed = product.images(product.package.names), product.images(product.metadata.images)
    layers: dict[int, list[tuple[BandFacts, BandFile]]] = {}
    notes, absent = [], []
    wanted = wanted_bands(source, product.sensor)
    for name, number in _bands(product):
        size = _chosen(there.get(number, {}), number)
        best = _chosen({**listed.get(number, {}), **there.get(number, {})}, number)
        if size is None:
            if name in wanted:
                raise ValueError(_without(name, listed.get(number, {}).get(best or 0), product, number))
            absent += [name] if best else []
            continue
        if size != best:
            notes.append(f"{name} has pixels of {size} m, as its file of {best} m is not in the product")
        facts = BandFacts(_SCL, "uint8") if number == _SCL else _measured(name, number, product.metadata)
        layers.setdefault(size, []).append((facts, BandFile(product.package.href(there[number][size]))))
    classi = f"{product.folder}/{_CLASSI_FILE}"
    if classi in product.package.names:
        of_classi = [BandFile(product.package.href(classi), i) for i in range(len(_CLASSI))]
        both = zip((BandFacts(name, "uint8") for name in _CLASSI), of_classi, strict=True)
        layers.setdefault(_CLASSI_SIZE, []).extend(both)
    facts_of_product = _facts(product, {str(facts.name) for own in layers.values() for facts, _ in own}, notes, absent)
    return [_layer(product, facts_of_product, size, layers[size]) for size in sorted(layers)]


def _bands(product: _Product) -> list[tuple[str, str]]:
    """Bands that a product of this level has: canonical name, and number (``B02``) in names of files."""
    bands = [(band.name, _number(band)) for band in SENSORS[product.sensor].bands]
    return bands if product.level == "L1C" else [*bands, (_SCL, _SCL)]


def _number(band: Band) -> str:
    """Number of a band as files have it, with two digits."""
    return next(alias for alias in band.aliases if re.fullmatch(r"B\d\d|B8A", alias))


def _own_size(number: str) -> int:
    """Pixel size in metres at which a band is measured, or a class is made."""
    bands = SENSORS["sentinel2_l1c"].bands
    return _SCL_SIZE if number == _SCL else next(int(band.gsd) for band in bands if _number(band) == number)


def _chosen(copies: Mapping[int, str], number: str) -> int | None:
    """Size of the copy of a band that is nearest to its own: finer ones hold nothing more."""
    own = _own_size(number)
    return min(copies, key=lambda size: (abs(size - own), size), default=None)


def _without(name: str, file: str | None, product: _Product, number: str) -> str:
    expected = file or f"{product.folder}/IMG_DATA/*{number}*.jp2"
    return (
        f"it lacks the file of the band {name} ({expected}): the product is incomplete. Download or unpack it again, "
        "or leave the band out."
    )


def _measured(name: str, number: str, metadata: _Metadata) -> BandFacts:
    """Facts of a band: reflectance = (number + offset) / quantification value.

    0 is no data as long as an offset is in the numbers; else dark water is 0 in some bands, and only 0 in all bands is
    none, which `eo_data.sensors.sentinel2.special_numbers` knows.
    """
    offset = metadata.offsets.get(number, 0.0)
    scale, shift = stated_scale(1.0 / metadata.quantification, offset / metadata.quantification)
    missing = (float(NO_DATA), float(SATURATED)) if offset < 0 else (float(SATURATED),)
    return BandFacts(name, "uint16", None, scale, shift, missing)


def _facts(product: _Product, bands: set[str], notes: Sequence[str], absent: Sequence[str]) -> ProductFacts:
    kinds: dict[str, CloudKind] = {_SCL: "scl", _CLASSI[0]: "msk_classi"}
    quality = next((band for band in kinds if band in bands), None)
    start = product.metadata.texts.get("PRODUCT_START_TIME")
    name = product.metadata.texts.get("PRODUCT_URI", product.package.name)
    return ProductFacts(
        f"Sentinel-2 {product.level}",
        name.removesuffix(".SAFE"),
        product.sensor,
        InputUnit.DIGITAL_NUMBER,
        quality,
        None if quality is None else kinds[quality],
        tile=product.granule.tile,
        started=None if start is None else parse_instant(start),
        notes=tuple(notes),
        absent=tuple(absent),
    )


def _layer(product: _Product, facts: ProductFacts, size: int, bands: Sequence[tuple[BandFacts, BandFile]]) -> BandFiles:
    grid = product.granule.grids.get(size)
    if grid is None:
        sizes = ", ".join(map(str, sorted(product.granule.grids)))
        msg = (
            f"its granule states grids of {sizes} m, but has images of {size} m. Download or unpack the product again."
        )
        raise ValueError(msg)
    own = FileFacts(
        facts.kind, grid, tuple(band for band, _ in bands), dict(product.metadata.texts), named=True, product=facts
    )
    return BandFiles(own, tuple(file for _, file in bands), "JP2")
