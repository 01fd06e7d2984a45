"""An image of Earth Engine: from its description to a scene, and to the address by which its pixels are read.

The address holds all that a reader must know, so that opening an image asks for nothing, in any process:
``earthengine://{project}:{service}@{id}?updated=...&grid={crs}/{a},{b},{c},{d},{e},{f}/{width}x{height}/{type}/{bands}``,
with a ``grid`` for each set of pixels. As it is shown, it begins with the id: who asks where makes no other pixels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode

from affine import Affine
from shapely.geometry.base import BaseGeometry

from eo_data.catalog.hrefs import Href
from eo_data.catalog.scenes.catalogues.earth_engine.presets import COLLECTIONS, KnownCollection
from eo_data.catalog.scenes.catalogues.earth_engine.session import HIGH_VOLUME, Session
from eo_data.catalog.scenes.catalogues.outlines import outline
from eo_data.catalog.scenes.scene import Scene, orbit_of
from eo_data.raster.footprint import footprint_of_grid
from eo_data.raster.georeference import PixelGrid, fault_of_transform
from eo_data.sensors.beside import cloud_share
from eo_data.sensors.tables import SENSORS

_ADDRESS = re.compile(r"earthengine://(?:(?P<project>[^/@:]*):(?P<service>[^/@:]*)@)?(?P<id>[^?]+)\??(?P<query>.*)")
#: Numbers of an affine transform, in the order of `affine.Affine`.
_TRANSFORM = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
_FRACTIONS = ("FLOAT", "DOUBLE")
#: Largest whole number of each type.
_WHOLE = {"uint8": 255, "uint16": 65535}


@dataclass(frozen=True)
class NativeGrid:
    """Bands that lie on one grid, in numbers of one type.

    Parameters
    ----------
    grid : PixelGrid
        As Earth Engine stores the image; its CRS as code.
    dtype : str
        ``uint8``, ``uint16`` or ``float32``, which fractions of any precision are asked for as.
    bands : tuple of str
        Ids.
    masked : float
        The number that masked pixels get.
    """

    grid: PixelGrid
    dtype: str
    bands: tuple[str, ...]
    masked: float


@dataclass(frozen=True)
class EngineImage:
    """An image, as far as its pixels are concerned.

    Parameters
    ----------
    id : str
        Such as ``COPERNICUS/S2_SR_HARMONIZED/20220601T102031_20220601T102555_T32TNR``.
    updated : str
        When it was last changed, as Earth Engine says it; empty if it does not.
    grids : tuple of NativeGrid
        The finest first.
    session : Session
        How it is asked for.
    """

    id: str
    updated: str
    grids: tuple[NativeGrid, ...]
    session: Session = field(default_factory=Session)

    @property
    def collection(self) -> KnownCollection:
        """What is known of its collection."""
        return COLLECTIONS[self.id.rpartition("/")[0]]

    @property
    def href(self) -> Href:
        """Its address."""
        who = f"{quote(self.session.project, safe='')}:{quote(self.session.url, safe='')}"
        query = urlencode([("updated", self.updated), *(("grid", _written(own)) for own in self.grids)], safe=":/,")
        return Href(f"earthengine://{who}@{self.id}?{query}")

    @classmethod
    def from_href(cls, href: Href) -> EngineImage:
        """Return the image of an address.

        Raises
        ------
        ValueError
            If it is not the address of an image of a known collection, or lacks something.
        """
        match = _ADDRESS.fullmatch(href.text)
        name, query = (match["id"], parse_qs(match["query"])) if match else ("", {})
        collection = COLLECTIONS.get(name.rpartition("/")[0])
        if match is None or collection is None or not query.get("grid"):
            msg = (
                f"it is no image of the collections of Earth Engine that are known ({', '.join(COLLECTIONS)}) with its "
                "grid: let source='earth-engine' find it."
            )
            raise ValueError(msg)
        session = Session(unquote(match["project"] or ""), unquote(match["service"] or HIGH_VOLUME))
        grids = tuple(_read(text, collection) for text in query["grid"])
        return cls(name, query.get("updated", [""])[0], grids, session)


def is_engine_image(href: Href) -> bool:
    """Whether a file is an image of Earth Engine, by its address."""
    return href.text.startswith("earthengine://")


def scene_of_image(said: Mapping[str, Any], session: Session) -> Scene | None:
    """Return the scene that the description of an image tells.

    Parameters
    ----------
    said : mapping
        As ``ee.data.listImages`` gives it: an ``EarthEngineAsset`` of the REST API.
    session : Session
        How its pixels are asked for.

    Returns
    -------
    Scene or None
        ``None`` for images that do not count, such as radar with other polarisations.

    Raises
    ------
    ValueError
        If the image cannot be used, with its id and the reason.
    """
    # `id` is for display only, by the reference of the API.
    name = str(said.get("name", "")).partition("/assets/")[2]
    collection = COLLECTIONS.get(name.rpartition("/")[0])
    tags = said.get("properties", {})
    if collection is None or any(tags.get(key) != value for key, value in collection.only.items()):
        return None
    if collection.by_orbit and not {*collection.bands} <= {band.get("id") for band in said.get("bands", ())}:
        return None
    try:
        image = EngineImage(name, str(said.get("updateTime", "")), _grids(said, collection), session)
        started = _started(said)
        footprint = _footprint(said, image)
        tile = _tile(tags, collection)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        msg = f"The image {name} cannot be understood: {reason}."
        raise ValueError(msg) from error
    orbit = orbit_of(tags.get("orbitProperties_pass")) if collection.by_orbit else ""
    return Scene(
        name,
        collection.sensor,
        f"{collection.kind} {orbit}".rstrip(),
        (image.href,),
        tuple(band_name(band, collection) for own in image.grids for band in own.bands),
        footprint,
        started.date(),
        started,
        tile=tile,
        crs=image.grids[0].grid.crs or "",
        cloud=cloud_share(tags),
        orbit=orbit,
    )


def band_name(band: str, collection: KnownCollection) -> str:
    """Return the canonical name of a band, or the name of a quality layer."""
    return band if band == collection.quality else SENSORS[collection.sensor].canonical(band) or band


def _grids(said: Mapping[str, Any], collection: KnownCollection) -> tuple[NativeGrid, ...]:
    """Return the bands that are known by what they share: pixels, type, and the number that masked ones get."""
    found: dict[NativeGrid, list[str]] = {}
    for band in said["bands"]:
        if band["id"] in (*collection.bands, collection.quality):
            masked = _masked(band["id"], collection)
            shared = NativeGrid(_grid(band["grid"]), _dtype(band["id"], band["dataType"]), (), masked)
            found.setdefault(shared, []).append(band["id"])
    if not any(band in collection.bands for bands in found.values() for band in bands):
        msg = f"it has none of the bands {', '.join(collection.bands)}"
        raise ValueError(msg)
    finest = sorted(found.items(), key=lambda own: -own[0].grid.height * own[0].grid.width)
    return tuple(NativeGrid(own.grid, own.dtype, tuple(bands), own.masked) for own, bands in finest)


def _masked(band: str, collection: KnownCollection) -> float:
    return collection.quality_masked if band == collection.quality else collection.masked


def _grid(said: Mapping[str, Any]) -> PixelGrid:
    """Return a grid; what is 0 is left out of the answer."""
    if "crsCode" not in said:
        msg = "it states no code of its CRS"
        raise ValueError(msg)
    size, transform = said["dimensions"], said["affineTransform"]
    return _checked(
        PixelGrid(
            int(size["height"]),
            int(size["width"]),
            Affine(*(float(transform.get(key, 0.0)) for key in _TRANSFORM)),
            str(said["crsCode"]),
        )
    )


def _checked(grid: PixelGrid) -> PixelGrid:
    if grid.transform is None or (fault := fault_of_transform(grid.transform)):
        raise ValueError(fault)
    return grid


def _dtype(band: str, said: Mapping[str, Any]) -> str:
    """Return the type in which the numbers of a band are asked for."""
    if said["precision"] in _FRACTIONS:
        return "float32"
    least, most = float(said["range"].get("min", 0)), float(said["range"]["max"])
    fits = [dtype for dtype, largest in _WHOLE.items() if least >= 0 and most <= largest]
    if not fits:
        msg = f"{band} holds whole numbers from {least:g} to {most:g}, expected some of {', '.join(_WHOLE)}"
        raise ValueError(msg)
    return fits[0]


def _started(said: Mapping[str, Any]) -> datetime:
    found = datetime.fromisoformat(said["startTime"])
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _footprint(said: Mapping[str, Any], image: EngineImage) -> BaseGeometry:
    """Return what an image shows; where nothing says it, the ground of its grid."""
    geometry = said.get("geometry")
    return outline(geometry) if geometry else footprint_of_grid(image.grids[0].grid)


def _tile(tags: Mapping[str, Any], collection: KnownCollection) -> str:
    """Return the tile as the names of products have it: ``T33UXP``, path and row of Landsat."""
    values = [tags[key] for key in collection.tile if key in tags]
    if len(values) == 1:
        return f"T{values[0]}"
    return "".join(f"{int(value):03}" for value in values)


def _written(own: NativeGrid) -> str:
    grid = own.grid
    numbers = ",".join(repr(number) for number in tuple(grid.transform or ())[:6])
    return f"{grid.crs}/{numbers}/{grid.width}x{grid.height}/{own.dtype}/{','.join(own.bands)}"


def _read(text: str, collection: KnownCollection) -> NativeGrid:
    try:
        crs, numbers, size, dtype, bands = text.split("/")
        width, height = (int(number) for number in size.split("x"))
        transform = Affine(*(float(number) for number in numbers.split(",")))
        names = tuple(bands.split(","))
    except (ValueError, TypeError) as error:
        msg = f"its address has the grid {text!r}, expected crs/transform/size/type/bands."
        raise ValueError(msg) from error
    return NativeGrid(_checked(PixelGrid(height, width, transform, crs)), dtype, names, _masked(names[0], collection))
