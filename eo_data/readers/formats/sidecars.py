"""Metadata of a product that lie beside a raster: Landsat's MTL file, Sentinel-2's MTD file, a STAC item.

Only exact names are looked for, because a folder may hold a hundred thousand chips. Sources: USGS, Landsat Collection 2
Data Format Control Book (MTL); ESA, Sentinel-2 Products Specification Document (MTD); STAC item, ``raster`` and ``eo``
extensions (``raster:bands`` up to STAC 1.0, ``bands`` from 1.1 on).
"""

from __future__ import annotations

import functools
import json
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.parsers import expat

from eo_data.sensors.beside import Sidecar, SidecarBand, asset_bands
from eo_data.sensors.sentinel2 import offset_is_applied

#: Product id at the start of the name of a band file.
_LANDSAT_ID = re.compile(r"L[COTEM]0\d_L[12][A-Z]{2}_\d{6}_\d{8}_\d{8}_\d\d_[TRA][0-9T]")
_SENTINEL2_ID = re.compile(r"S2[A-D]_MSIL(?:1C|2A)_\d{8}T\d{6}(?:_N\d{4})?_R\d{3}_T\d{2}[A-Z]{3}_\d{8}T\d{6}")
_SENTINEL2_FILES = ("MTD_MSIL2A.xml", "MTD_MSIL1C.xml")
#: Bands of Sentinel-2 by ``band_id`` of the MTD file.
_BAND_IDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
_MTD_TEXTS = ("PROCESSING_BASELINE", "PRODUCT_URI", "PRODUCT_TYPE", "PRODUCT_START_TIME", "Cloud_Coverage_Assessment")
#: The last of level 2A up to baseline 02.07.
_MTD_NUMBERS = ("QUANTIFICATION_VALUE", "BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE")
_MTD_OFFSETS = ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")
#: A larger JSON file is no STAC item: labels have such names, too.
_LARGEST_ITEM = 8_000_000


def sidecar_of(path: Path) -> Sidecar | None:
    """Return the metadata that lie beside a raster on this machine.

    Looked for are, in this order: ``<product id>_MTL.json`` and ``_MTL.txt`` of Landsat; ``MTD_MSIL2A.xml`` and
    ``MTD_MSIL1C.xml`` of the product whose ``IMG_DATA`` the file lies in; STAC items ``<stem>.json``,
    ``<stem>.stac.json``, ``<stem>_stac.json``, ``<name>.json``, then those that may describe several files and count
    only if one of their assets is this file: ``<product id>.json``, ``<product id>_stac.json`` (``_SR_``, ``_ST_`` of
    Landsat), the stem without its last part (``..._B02``), ``<folder>.json`` and ``item.json``.

    Parameters
    ----------
    path : Path
        The raster.

    Raises
    ------
    ValueError
        If such a file is malformed, or an XML file has a document type (entities); the message names the file.
    """
    files = [(path.with_name(name), parse) for name, parse in _landsat_files(path.name)]
    for beside, parse in [*files, *((file, mtd_tags) for file in product_files(path.parent))]:
        tags = _parsed(beside, parse)
        if tags is not None:
            return Sidecar(dict(tags), beside)
    return _stac_sidecar(path)


def sidecar_names(name: str, folder: str) -> list[str]:
    """Return the names of files that `sidecar_of` looks for beside a raster, whether or not they are there.

    Parameters
    ----------
    name, folder : str
        Name of the raster, and of the folder that it lies in.
    """
    landsat = [beside for beside, _ in _landsat_files(name)]
    own, shared = _item_names(name, folder)
    return [*landsat, *own, *shared]


def product_files(folder: Path) -> list[Path]:
    """Return where `sidecar_of` looks for the metadata of a product that the rasters in a folder are part of."""
    root = _product_root(folder)
    return [] if root is None else [root / name for name in _SENTINEL2_FILES]


def _landsat_files(name: str) -> list[tuple[str, Any]]:
    """Return the names of the metadata files of a Landsat product, by the name of a band, and how to parse each."""
    landsat = _LANDSAT_ID.match(name)
    parsers = (("_MTL.json", _mtl_json), ("_MTL.txt", _mtl_text))
    return [] if landsat is None else [(f"{landsat[0]}{suffix}", parse) for suffix, parse in parsers]


def _product_root(folder: Path) -> Path | None:
    """Return the folder of the Sentinel-2 product whose ``GRANULE/*/IMG_DATA`` a folder is or lies in."""
    parents = [folder, *folder.parents]
    names = [parent.name for parent in parents]
    if "IMG_DATA" not in names or "GRANULE" not in names[names.index("IMG_DATA") :]:
        return None
    return parents[names.index("GRANULE")].parent


def _parsed(path: Path, parse: Any) -> dict[str, Any] | None:  # noqa: ANN401  (a cached function)
    """Return what a file says, or ``None`` if there is none. Parsed once for each state of the file."""
    try:
        state = path.stat()
    except OSError:  # not there, or a name that is too long to be
        return None
    if not stat.S_ISREG(state.st_mode):
        return None
    return _parsed_once(path, parse, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=64)
def _parsed_once(path: Path, parse: Any, _mtime: int, size: int) -> dict[str, Any] | None:  # noqa: ANN401
    if parse is _item and size > _LARGEST_ITEM:
        return None
    try:
        result: dict[str, Any] | None = parse(path.read_bytes(), path.name)
    except (ValueError, expat.ExpatError) as error:
        msg = f"{path} cannot be understood: {error}. Copy it again, or move it away and state what it says."
        raise ValueError(msg) from error
    return result


def mtl_tags(data: bytes, name: str) -> dict[str, Any]:
    """Return what an MTL file of Landsat says, as the tags of `Sidecar` have it.

    Parameters
    ----------
    data : bytes
        Its content.
    name : str
        Its name: of ``.json`` and ``.txt``, which are alike, the one that it is.

    Raises
    ------
    ValueError
        If it is malformed.
    """
    return (_mtl_json if name.lower().endswith(".json") else _mtl_text)(data, name)


def _mtl_json(data: bytes, _name: str) -> dict[str, Any]:
    content = json.loads(data)
    if not isinstance(content, dict) or not any(key.endswith("_METADATA_FILE") for key in content):
        msg = "expected LANDSAT_METADATA_FILE"
        raise ValueError(msg)
    return dict(_flat(content))


def _flat(groups: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in groups.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _mtl_text(data: bytes, _name: str) -> dict[str, Any]:
    """Parse ``GROUP = X``, ``KEY = VALUE``, ``END_GROUP = X`` up to ``END``."""
    tags: dict[str, Any] = {}
    groups: list[str] = []
    for number, line in enumerate(data.decode("utf-8").splitlines(), start=1):
        key, equals, value = (part.strip() for part in line.partition("="))
        if key == "END" and not groups:
            return tags
        if key == "GROUP":
            groups.append(value)
        elif key == "END_GROUP" and groups and groups[-1] == value:
            groups.pop()
        elif equals and key != "END_GROUP" and groups:
            tags[".".join((*groups, key))] = value.strip('"')
        elif line.strip():
            msg = f"line {number} is {line[:60]!r}, expected GROUP = ..., KEY = VALUE or END_GROUP = ..."
            raise ValueError(msg)
    msg = "it ends without END, so it is not complete"
    raise ValueError(msg)


def mtd_tags(data: bytes, _name: str = "") -> dict[str, Any]:
    """Return what the MTD file of a Sentinel-2 product says, as the tags of `Sidecar` have it.

    Raises
    ------
    ValueError
        If it has no processing baseline, a number is none, or it has a document type.
    xml.parsers.expat.ExpatError
        If it is no XML.
    """
    tags: dict[str, Any] = {}
    special = ""
    for name, attributes, text in xml_elements(data):
        if name in _MTD_TEXTS:
            tags.setdefault(name, text)
        elif name in _MTD_NUMBERS:
            tags[name] = _number(name, text)
        elif name in _MTD_OFFSETS:
            band_id = attributes.get("band_id", "")
            band = _BAND_IDS[int(band_id)] if band_id.isdigit() and int(band_id) < len(_BAND_IDS) else band_id
            tags[f"{name}_{band}".rstrip("_")] = _number(name, text)
        elif name == "SPECIAL_VALUE_TEXT":
            special = text
        elif name == "SPECIAL_VALUE_INDEX":
            tags[f"SPECIAL_VALUE_{special}"] = _number(name, text)
    if "PROCESSING_BASELINE" not in tags:
        msg = "it has no PROCESSING_BASELINE"
        raise ValueError(msg)
    return tags


def xml_elements(data: bytes) -> list[tuple[str, dict[str, str], str]]:
    """Return the elements of an XML file as local name, attributes and text, in the order in which they end.

    Raises
    ------
    ValueError
        If it has a document type.
    xml.parsers.expat.ExpatError
        If it is no XML.
    """
    leaves: list[tuple[str, dict[str, str], str]] = []
    opened: list[tuple[str, dict[str, str], list[str]]] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        opened.append((name.rpartition(":")[2], attributes, []))

    def end(_name: str) -> None:
        name, attributes, texts = opened.pop()
        leaves.append((name, attributes, "".join(texts).strip()))

    def refuse(*_: object) -> None:
        # Entities, which can blow a file up or reach for others, need one.
        msg = "it has a document type, which no file of a product has"
        raise ValueError(msg)

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = lambda text: opened[-1][2].append(text) if opened else None
    parser.StartDoctypeDeclHandler = refuse
    parser.Parse(data, True)
    return leaves


def _stac_sidecar(path: Path) -> Sidecar | None:
    own, shared = _item_names(path.name, path.parent.name)
    for name in (*own, *shared):
        beside = path.with_name(name)
        item = _parsed(beside, _item) if beside != path else None
        if item is None:
            continue
        bands = _bands_of_file(item, path, beside)
        if bands is not None or name in own:
            return Sidecar(_item_tags(item), beside, bands or ())
    return None


def _item_names(name: str, folder: str) -> tuple[list[str], list[str]]:
    """Return the names of STAC items that are of one raster, and of those that may describe several."""
    stem = name.rpartition(".")[0] or name
    own = [f"{stem}.json", f"{stem}.stac.json", f"{stem}_stac.json", f"{name}.json"]
    product = _LANDSAT_ID.match(stem) or _SENTINEL2_ID.match(stem)
    ids = [product[0]] if product else []
    ids += [f"{ids[0]}_SR", f"{ids[0]}_ST"] if ids and ids[0].startswith("L") else []
    shared = [f"{i}{ending}" for i in dict.fromkeys((*ids, stem.rpartition("_")[0])) if i for ending in _ITEM_ENDINGS]
    shared += [f"{folder}.json"] if folder else []
    return own, [name for name in dict.fromkeys((*shared, "item.json")) if name not in own]


_ITEM_ENDINGS = (".json", "_stac.json")


def _item(data: bytes, name: str) -> dict[str, Any] | None:
    """Return a STAC item, or ``None`` for other JSON: annotations, GeoJSON."""
    says_so = name.endswith(("_stac.json", ".stac.json"))
    if not says_so and b'"stac_version"' not in data:
        return None
    content = json.loads(data)
    if not (isinstance(content, dict) and content.get("type") == "Feature" and "stac_version" in content):
        if not says_so:
            return None
        msg = "expected a STAC item (type Feature with a stac_version)"
        raise ValueError(msg)
    if not isinstance(content.get("properties"), dict) or not isinstance(content.get("assets", {}), dict):
        msg = "expected a STAC item with properties and assets"
        raise ValueError(msg)
    return content


def _item_tags(item: Mapping[str, Any]) -> dict[str, object]:
    named = {f"stac:{key}": item[key] for key in ("id", "collection") if item.get(key)}
    return {**item["properties"], **named}


def _bands_of_file(item: Mapping[str, Any], path: Path, beside: Path) -> tuple[SidecarBand, ...] | None:
    """Return the bands of the asset that is a file, ``None`` if none is; by stem where only the format differs."""
    assets = [asset for asset in item.get("assets", {}).values() if isinstance(asset, dict)]
    names = [Path(unquote(urlsplit(str(asset.get("href", ""))).path)) for asset in assets]
    exact = [asset for asset, name in zip(assets, names, strict=True) if name.name == path.name]
    alike = [asset for asset, name in zip(assets, names, strict=True) if name.stem == path.stem]
    # The offset that an item states although it has been taken off: Earth Search, earth-search issue 9.
    applied = offset_is_applied(item["properties"])
    try:
        said = [asset_bands(asset, applied=applied) for asset in exact or alike]
    except (TypeError, ValueError, AttributeError) as error:
        msg = f"{beside} cannot be understood: scale, offset or no-data of an asset: {error}. Correct it."
        raise ValueError(msg) from error
    # Previews and metadata have the same stem, and say nothing of numbers.
    said = [bands for bands in said if any(band != SidecarBand(band.name) for band in bands)] or said[:1]
    if any(repr(bands) != repr(said[0]) for bands in said):
        msg = f"{beside}: several assets have the name {path.name}, and state different scales. Rename the files."
        raise ValueError(msg)
    return said[0] if said else None


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        msg = f"{name} must be a number, got {text!r}"
        raise ValueError(msg) from error
