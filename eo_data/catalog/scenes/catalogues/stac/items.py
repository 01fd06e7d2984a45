"""From an item of a STAC catalogue to a scene: its bands, what their numbers are, where and when."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs, urlsplit

from eo_data.catalog.hrefs import Href
from eo_data.catalog.scenes.catalogues.outlines import outline
from eo_data.catalog.scenes.catalogues.stac.presets import COLLECTIONS, KnownCollection
from eo_data.catalog.scenes.scene import Orbit, Scene, orbit_of
from eo_data.sensors.beside import Sidecar, asset_bands, cloud_share
from eo_data.sensors.sentinel2 import offset_is_applied
from eo_data.sensors.tables import SENSORS

if TYPE_CHECKING:
    from pystac import Item

#: Copernicus Data Space has an asset for each size of pixels: ``B02_10m``.
_SIZED = re.compile(r"(.+)_(\d+)m")
#: Containers of this store may be read with tokens.
_AZURE = ".blob.core.windows.net"


def scene_of_item(item: Item, *, tokens: str = "", store: str = "", cache: Path | None = None) -> Scene | None:
    """Return the scene that an item describes, with a file for each band.

    Parameters
    ----------
    item : pystac.Item
        Of a collection in `eo_data.catalog.scenes.catalogues.stac.presets.COLLECTIONS`.
    tokens, store : str
        As of `eo_data.catalog.scenes.catalogues.stac.presets.KnownCatalogue`.
    cache : Path, optional
        Folder in which is kept what is fetched of its files.

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
    files = tuple(replace(_href(item, key, tokens, store), cache=cache) for key in keys.values())
    bands, orbit = tuple(keys), _orbit(item, collection)
    return Scene(
        f"{name}/{item.id}",
        sensor,
        f"{name} {orbit}".rstrip(),
        files,
        bands,
        footprint,
        started.date(),
        started,
        bands,
        _tile(tags),
        _crs(tags),
        said,
        None if SENSORS[sensor].radar else cloud_share(tags),
        orbit,
    )


def _orbit(item: Item, collection: KnownCollection) -> Orbit | Literal[""]:
    """Return the way of the satellite where it matters, or an empty text."""
    return orbit_of(item.properties.get("sat:orbit_state")) if collection.by_orbit else ""


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
    said = []
    for key in keys:
        bands, sized = asset_bands(item.assets[key].to_dict(), applied=applied), _SIZED.fullmatch(key)
        metres = float(sized[2]) if sized else None
        own = (replace(band, unit=collection.unit, gsd=metres or band.gsd) for band in bands)
        said.append(Sidecar(tags, Path(item.id), tuple(own)))
    return tuple(said)


def _href(item: Item, key: str, tokens: str, store: str) -> Href:
    """Return where an asset is, and who signs what is read of it: never signed itself, see `Href.service`."""
    text = item.assets[key].get_absolute_href() or item.assets[key].href
    parts = urlsplit(text)
    if parts.scheme == "s3":
        return Href(text, service=store)
    in_azure = (parts.hostname or "").endswith(_AZURE) and "sig" not in parse_qs(parts.query)
    return Href(text, service=tokens if in_azure else "")


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
