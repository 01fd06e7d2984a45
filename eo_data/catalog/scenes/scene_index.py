"""The index of a folder of scenes: a GeoParquet file with a row for each, and the state of the files it was made of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eo_core.files import write_file
from eo_core.text import table_errors
from eo_data.catalog.hrefs import Href
from eo_data.catalog.scenes.scene import Scene
from eo_data.temporal.calendar_date import parse_date

#: Changes with the columns, and with what they mean: an index of another one is made anew.
_VERSION = 1
#: Lists of the scene, which are kept as JSON: plain columns suit every reader.
_LISTS = ("files", "bands", "band_files")


@dataclass(frozen=True, eq=False)
class Entry:
    """What a folder holds at one place.

    Parameters
    ----------
    name : str
        Path of the file from the folder on; of a scene with a file for each band, of the first one.
    state : str
        What tells the files, as they were, from others.
    scene : Scene or None
        ``None`` for what cannot be used.
    reason : str
        Why it cannot be used.
    """

    name: str
    state: str
    scene: Scene | None
    reason: str = ""


def read_index(path: Path, root: Path, settings: str) -> dict[str, Entry]:
    """Return the entries of an index by name; none if there is none of these settings.

    Parameters
    ----------
    path : Path
        The index.
    root : Path
        Folder of the scenes.
    settings : str
        What else the entries depend on.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    if not path.is_file():
        return {}
    import geopandas  # noqa: PLC0415  (takes a second)

    with table_errors("The index of scenes", path):
        table = geopandas.read_parquet(path)
        rows = table.to_dict("records")
        if not rows or rows[0]["settings"] != _settings(settings):
            return {}
        return {row["name"]: _entry(row, root) for row in rows}


def write_index(path: Path, root: Path, settings: str, entries: Sequence[Entry]) -> None:
    """Write an index whole or not at all.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    import geopandas  # noqa: PLC0415

    rows = [_row(entry, root) | {"settings": _settings(settings)} for entry in entries]
    shapes = [None if entry.scene is None else entry.scene.footprint for entry in entries]
    table = geopandas.GeoDataFrame(rows, geometry=shapes, crs="EPSG:4326")
    write_file(path, lambda file: table.to_parquet(file, index=False, write_covering_bbox=True))


def _settings(settings: str) -> str:
    return f"{_VERSION} {settings}"


def _row(entry: Entry, root: Path) -> dict[str, Any]:
    scene = entry.scene
    row: dict[str, Any] = {"name": entry.name, "state": entry.state, "reason": entry.reason}
    lists: Mapping[str, Sequence[str]] = {}
    if scene is not None:
        files = [href.path.relative_to(root).as_posix() for href in scene.files]
        lists = {"files": files, "bands": scene.bands, "band_files": scene.band_files}
    return row | {
        "id": scene.id if scene else "",
        "sensor": scene.sensor if scene else "",
        "kind": scene.kind if scene else "",
        "tile": scene.tile if scene else "",
        "crs": scene.crs if scene else "",
        "day": scene.day.isoformat() if scene else "",
        "started": scene.started.isoformat() if scene and scene.started else "",
        **{name: json.dumps(list(lists.get(name, ()))) for name in _LISTS},
    }


def _entry(row: Mapping[str, Any], root: Path) -> Entry:
    if row["reason"]:
        return Entry(row["name"], row["state"], None, row["reason"])
    files, bands, band_files = (tuple(json.loads(row[name])) for name in _LISTS)
    started = datetime.fromisoformat(row["started"]).astimezone(UTC) if row["started"] else None
    scene = Scene(
        row["id"],
        row["sensor"],
        row["kind"],
        tuple(Href(str(root / name)) for name in files),
        bands,
        row["geometry"],
        parse_date(row["day"]),
        started,
        band_files,
        row["tile"],
        row["crs"],
    )
    return Entry(row["name"], row["state"], scene)
