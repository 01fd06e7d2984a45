"""From an item of a STAC catalogue to a scene: its bands, what their numbers are, where and when."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from eo_data.catalog.hrefs import Href
from eo_data.catalog.scenes.catalogues.outlines import outline
from eo_data.catalog.scenes.catalogues.stac.presets import COLLECTIONS, KnownCollection
from eo_data.catalog.scenes.scene import Scene
from eo_data.sensors.beside import Sidecar, asset_bands
from eo_data.sensors.sentinel2 import offset_is_applied
from eo_data.sensors.tables import SENSORS

if TYPE_CHECKING:
    from pystac import Item

#: Copernicus Data Space has an asset for each size of pixels: ``B02_10m``.
_SIZED = re.compile(r"(.+)_(\d+)m")
#: The files of Planetary Computer lie there.
_AZURE = ".blob.core.windows.net"


def scene_of_item(item: Item, *, signed: bool = False) -> Scene | None:
    """Return the scene that an item describes, with a file for each band.

    Parameters
    ----------
    item : pystac.Item
        Of a collection in `eo_data.catalog.scenes.catalogues.stac.presets.COLLECTIONS`.
    signed : bool
        Whether Planetary Computer signs the addresses of the files.

    Returns
    -------
    Scene or None
        ``None`` for other collections, and for platforms of which the bands are not known.

    Raises
    ------
    ValueError
        If the item cannot be used, with its id and the reason.
    """
    name = item.collection_id or ""
    collection = COLLECTIONS.get(name.lower())
    tags = item.properties
    if collection is None:
        return None
    sensor = collection.sensor(re.sub(r"\W|_", "", str(tags.get("platform", ""))).lower())
    if sensor is None:
        return None
    where = f"The item {item.id} of {name}"
    keys = _keys(item, sensor, collection)
    if not keys:
        msg = f"{where} has no band of {sensor}; its assets: {', '.join(item.assets) or 'none'}."
        raise ValueError(msg)
    try:
        started = _started(item)
        footprint = outline(item.geometry)
        said = _said(item, list(keys.values()), collection)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        msg = f"{where} cannot be understood: {error}"
        raise ValueError(msg) from error
    files = tuple(_href(item, key, name, signed=signed) for key in keys.values())
    bands = tuple(keys)
    return Scene(
        f"{name}/{item.id}",
        sensor,
        f"{name} {_orbit(item, collection)}".rstrip(),
        files,
        bands,
        footprint,
        started.date(),
        started,
        bands,
        _tile(tags),
        _crs(tags),
        said,
    )


def _orbit(item: Item, collection: KnownCollection) -> str:
    """Return ``ascending`` or ``descending`` where it matters, or an empty text."""
    return str(item.properties.get("sat:orbit_state", "")).lower() if collection.by_orbit else ""


def _keys(item: Item, sensor: str, collection: KnownCollection) -> dict[str, str]:
    """Return the key of the asset of each band; of several sizes of pixels, that of the sensor."""
    table = SENSORS[sensor]
    usual = {band.name: band.gsd for band in table.bands}
    found: dict[str, list[tuple[bool, float, str]]] = {}
    mode = str(item.properties.get("sar:instrument_mode", "IW"))
    for key in item.assets:
        sized = _SIZED.fullmatch(key)
        text = sized[1] if sized else key
        band = table.canonical(f"{mode}_{text}" if sensor == "sentinel1" else text)
        if band is not None:
            metres = float(sized[2]) if sized else usual[band]
            found.setdefault(band, []).append((metres != usual[band], metres, key))
    bands = {band: min(found[band])[2] for band in usual if band in found}
    layers = {layer: key for key, layer in collection.quality.items() if key in item.assets}
    return {**bands, **layers} if bands else {}


def _said(item: Item, keys: Sequence[str], collection: KnownCollection) -> tuple[Sidecar, ...]:
    """Return what an item says of each file."""
    short = {key: value for key, value in item.properties.items() if isinstance(value, str | int | float)}
    tags: dict[str, object] = {**short, "stac:id": item.id, "stac:collection": item.collection_id or ""}
    applied = offset_is_applied(tags)
    orbit = _orbit(item, collection)
    note = f"only {orbit} passes of {item.collection_id}" if orbit else ""
    each = (asset_bands(item.assets[key].to_dict(), applied=applied) for key in keys)
    with_unit = (tuple(replace(band, unit=collection.unit) for band in bands) for bands in each)
    return tuple(Sidecar(tags, Path(item.id), bands, note) for bands in with_unit)


def _href(item: Item, key: str, collection: str, *, signed: bool) -> Href:
    text = item.assets[key].get_absolute_href() or item.assets[key].href
    if signed and (urlsplit(text).hostname or "").endswith(_AZURE):
        # A signature is good for about 45 minutes, so that it must not be asked for before the file is opened.
        return Href(f"/vsicurl?pc_url_signing=yes&pc_collection={quote(collection)}&url={quote(text, safe='')}")
    return Href(text)


def _started(item: Item) -> datetime:
    found = item.datetime or item.common_metadata.start_datetime
    if found is None:
        msg = "it states neither datetime nor start_datetime."
        raise ValueError(msg)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _tile(tags: Mapping[str, Any]) -> str:
    """Return the tile as the names of products have it: ``T33UXP``, path and row of Landsat."""
    grid = str(tags.get("s2:mgrs_tile") or str(tags.get("grid:code", "")).partition("MGRS-")[2])
    if grid:
        return grid if grid.startswith("T") else f"T{grid}"
    path, row = (str(tags.get(f"landsat:wrs_{part}", "")) for part in ("path", "row"))
    return f"{path}{row}"


def _crs(tags: Mapping[str, Any]) -> str:
    return str(tags.get("proj:code") or (f"EPSG:{tags['proj:epsg']}" if tags.get("proj:epsg") else ""))
