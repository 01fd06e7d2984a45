"""What scene the files of an archive are, by their own facts: sensor, bands, date, and where it lies."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

from shapely.geometry.base import BaseGeometry

from eo_data.catalog.hrefs import Href
from eo_data.catalog.scenes.catalogues.earth_engine import source as earth_engine
from eo_data.catalog.scenes.catalogues.stac.presets import CATALOGUES
from eo_data.catalog.scenes.catalogues.stac.source import StacCatalogue, is_catalogue
from eo_data.catalog.scenes.product_names import product_of_name
from eo_data.catalog.scenes.scene import Scene, SceneSource, orbit_of
from eo_data.catalog.scenes.scene_folder import FolderOfScenes
from eo_data.raster.footprint import crs_name, footprint_of_grid
from eo_data.raster.georeference import PixelGrid
from eo_data.raster.sample import SampleError
from eo_data.readers.described.images import Stated, UnknownFactsError, describe_image, sensor_of_text, sensors_of_bands
from eo_data.readers.files import facts_of
from eo_data.readers.formats.facts import FileFacts
from eo_data.readers.formats.sidecars import sidecar_of
from eo_data.readers.grids.differences import refuse_unplaced
from eo_data.sensors.beside import cloud_share
from eo_data.sensors.quality_names import kind_of_name
from eo_data.sensors.tables import SENSORS
from eo_data.sensors.units import InputUnit

#: Of catalogues.
_NAMES = (*CATALOGUES, earth_engine.NAME)


def scenes_from(
    source: str | os.PathLike[str] | SceneSource | None,
    *,
    root: Path | None = None,
    stated: Stated | None = None,
    index: str | Path | None = None,
    collections: Sequence[str] = (),
    remote_cache: Path | None = None,
) -> SceneSource:
    """Return the source of scenes that somebody means.

    Parameters
    ----------
    source : str, Path or SceneSource
        The name of a known catalogue (`eo_data.catalog.scenes.catalogues.stac.presets.CATALOGUES`, or
        ``earth-engine``), the address of a STAC API or of a ``catalog.json``, the path of one, a folder of products or
        images, or anything that finds scenes, which is returned as it is.
    root : Path, optional
        Folder that relative paths start from.
    stated, index
        Of a folder, see `folder_of_scenes`.
    collections : sequence of str
        Of a catalogue, see `eo_data.catalog.scenes.catalogues.stac.source.StacCatalogue`.
    remote_cache : Path, optional
        Folder in which is kept what is fetched of files on servers.

    Raises
    ------
    ValueError
        If nothing says where, there is no such folder or catalogue, or the source cannot be told what is stated.
    """
    if source is None:
        msg = (
            "A place needs a source of scenes: add source, which is a folder with products or files, the name or "
            f"address of a catalogue ({', '.join(_NAMES)}), or an object with the method search "
            "(eo_data.catalog.scenes.scene.SceneSource)."
        )
        raise ValueError(msg)
    if source == earth_engine.NAME:
        return earth_engine.EarthEngine(collections=tuple(collections))
    if isinstance(source, str | os.PathLike) and is_catalogue(os.fspath(source)):
        where = os.fspath(source)
        local = where not in CATALOGUES and "://" not in where
        where = str((root or Path()) / where) if local else where
        return StacCatalogue(where, tuple(collections), remote_cache=remote_cache)
    if collections:
        msg = (
            f"collections are of a catalogue ({', '.join(_NAMES)}, the address of another, or a catalog.json), and "
            f"{source} is none. Leave them out."
        )
        raise ValueError(msg)
    if not isinstance(source, str | os.PathLike):
        return source
    folder = (root or Path()) / source
    if not folder.is_dir():
        msg = (
            f"There is no folder {folder}, and no catalogue is called {str(source)!r}. Expected a folder of scenes, a "
            f"catalogue ({', '.join(_NAMES)}), the address of another, or the path of a catalog.json."
        )
        raise ValueError(msg)
    return folder_of_scenes(folder, stated, index)


def folder_of_scenes(
    folder: str | Path, stated: Stated | None = None, index: str | Path | None = None
) -> FolderOfScenes:
    """Return a folder of products or images as a source of scenes.

    Parameters
    ----------
    folder : str or Path
        Where they are.
    stated : Stated, optional
        Sensor, bands and pattern of the date, for what files do not say themselves.
    index : str or Path, optional
        Where the index of the folder is, if not in it.
    """
    given = stated or Stated()
    known = None if index is None else Path(index)
    return FolderOfScenes(Path(folder), partial(describe_scene, given), known, f"{given!r} {_version()}")


def _version() -> str:
    """Version of the readers: a later one may know what an earlier one could not use."""
    try:
        return version("thor-anysat-terratorch")
    except PackageNotFoundError:
        return ""


def describe_scene(stated: Stated, name: str, files: Sequence[Href], bands: Sequence[str]) -> Scene:
    """Return what scene files are.

    Parameters
    ----------
    stated : Stated
        For what files do not say themselves.
    name : str
        Its id.
    files : sequence of Href
        One file, or a file for each band.
    bands : sequence of str
        The band of each file, by its name.

    Raises
    ------
    UnknownFactsError
        If the sensor, the bands or the date are not known, with the line to add.
    SampleError
        If a file cannot be opened, has no place on the map, or holds several dates.
    """
    layers = facts_of(files[0])
    count = sum(len(own.bands) for own in layers)
    if bands and count > 1:
        if len(files) > 1:
            msg = f"{files[0]} has {count} bands, but lies beside files of single bands of its name ({files[1].name})."
            raise SampleError(msg)
        bands = ()  # the name only looks like that of a band
    # A scene is listed whatever its unit; those who read it must know.
    given = replace(stated, unit=stated.unit or InputUnit.NATIVE)
    if bands:
        given = replace(given, bands=(bands[0],), sensor=given.sensor or _sensor(files[0], bands))
    found = describe_image(files[0], given)
    if found.series or len(found.dates) > 1:
        msg = f"{files[0]} is a cube of several dates, and a scene has one. Write a file for each date."
        raise SampleError(msg)
    if not found.dates:
        msg = (
            f"{files[0]} does not say when it was acquired: there is no date in its name or tags. Name it such as "
            "scene_20220601.tif, or state date_pattern."
        )
        raise UnknownFactsError(msg)
    product = next((own.product for own in layers if own.product is not None), None)
    grid = max((own.grid for own in layers), key=lambda own: own.height * own.width)
    day = found.dates[0]
    # Files of bands are named after their product.
    named = product or (product_of_name(PurePosixPath(name).name) if bands else None)
    started = product.started if product else _started(name if named else files[0].name, day)
    tags = _tags(files[0], layers)
    return Scene(
        name,
        found.sensor,
        named.kind if named else "file",
        tuple(files),
        tuple(SENSORS[found.sensor].canonical(band) or band for band in bands) or found.bands,
        _footprint(files[0], grid),
        day,
        started if started is None or started.tzinfo else started.replace(tzinfo=UTC),
        tuple(bands),
        named.tile if named else "",
        crs_name(grid.crs or ""),
        cloud=None if SENSORS[found.sensor].radar else cloud_share(tags),
        orbit=orbit_of(tags.get("sat:orbit_state")) if SENSORS[found.sensor].radar else "",
    )


def _tags(href: Href, layers: Sequence[FileFacts]) -> dict[str, object]:
    """Return what a file, its product and the metadata beside it say."""
    beside = sidecar_of(href.path) if href.is_local and href.path.is_file() else None
    own = {name: value for layer in reversed(layers) for name, value in layer.tags.items()}
    return {**own, **(beside.tags if beside else {})}


def _sensor(href: Href, bands: Sequence[str]) -> str | None:
    """Sensor by the name of a file, or the only one that has bands of these names."""
    found = sensors_of_bands([band for band in bands if kind_of_name(band) is None])
    return sensor_of_text(href.name) or (found[0] if len(found) == 1 else None)


def _started(name: str, day: date) -> datetime | None:
    """Time that stands behind the date in a name, as in those of products: ``20220601T102031``, ``2022152T102031``."""
    match = re.search(rf"(?<!\d)(?:{day:%Y%m%d}|{day:%Y%j})T((?:[01]\d|2[0-3])[0-5]\d[0-5]\d)(?!\d)", name)
    return None if match is None else datetime.combine(day, time.fromisoformat(match[1]), UTC)


def _footprint(href: Href, grid: PixelGrid) -> BaseGeometry:
    try:
        refuse_unplaced(grid)
        return footprint_of_grid(grid)
    except ValueError as error:
        msg = f"{href}: {error}"
        raise SampleError(msg) from error
