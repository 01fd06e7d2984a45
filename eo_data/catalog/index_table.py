"""Index tables: one row per sample with its files, dates, label and split."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from eo_core.paths import Roots
from eo_core.text import composed, read_text, table_errors
from eo_data.catalog.folder_patterns import FolderPatterns
from eo_data.catalog.hrefs import Href, is_there
from eo_data.catalog.records import SPLITS, Record, SampleRequest, SampleSource
from eo_data.catalog.sources import ImageSource
from eo_data.temporal.calendar_date import parse_date

#: A parameter of an address.
_PARAMETER = re.compile(r"[\w.-]+=[^/]*")
#: A row of an index, by column.
Row = dict[str, Any]


@dataclass(frozen=True)
class IndexTable:
    """A `eo_data.catalog.records.SampleSource` that lists its samples in a table.

    Parameters
    ----------
    file : str
        CSV, JSON or GeoParquet below the root folder, see `from_index`.
    """

    file: str

    def records(self, request: SampleRequest) -> list[Record]:
        """Return the samples in the order of the rows.

        Raises
        ------
        ValueError
            As `from_index`.
        """
        path = request.root / self.file
        roots = Roots((str(request.root), *request.other_roots))
        return from_index(path, request.root, request.modalities, incomplete=request.incomplete, roots=roots)


def choose_source(index: str | None = None, samples: SampleSource | None = None) -> SampleSource:
    """Return what was given, an index table, or the file patterns of the modalities.

    Parameters
    ----------
    index : str, optional
        Index table below the root folder.
    samples : SampleSource, optional
        Any other source.

    Raises
    ------
    ValueError
        If both are given.
    """
    if samples is not None and index is not None:
        msg = f"Both index ({index}) and samples ({type(samples).__name__}) tell which samples there are. Set only one."
        raise ValueError(msg)
    if samples is not None:
        return samples
    return FolderPatterns() if index is None else IndexTable(index)


def from_index(
    path: Path,
    root: Path,
    sources: Mapping[str, ImageSource],
    *,
    incomplete: bool = False,
    roots: Roots | None = None,
) -> list[Record]:
    """Read an index with one row per sample.

    Parameters
    ----------
    path : Path
        CSV, JSON (list of objects, or object of lists) or GeoParquet. Columns: ``id``; per modality a column of its
        name with where its file is, several separated by ``;`` (a file that has one in its name may stand alone, or in
        a list of JSON); optional ``<modality>_dates`` (ISO, ``;``), ``label`` (a file or a number) and ``split``. A
        file is a path below the root, a URL, a path such as ``/vsizip/...``, or a sub-dataset of GDAL such as
        ``NETCDF:"/data/x.nc":v``.
    root : Path
        Folder that paths start from.
    sources : mapping of str to ImageSource
        The modalities.
    incomplete : bool
        Let samples pass whose image files are not named or do not exist; reading them will fail.
    roots : Roots, optional
        Folders below which files on this machine must lie; ``root`` by default. A link below one counts as lying there.

    Raises
    ------
    ValueError
        For a file that cannot be read, missing columns, duplicate ids, files that do not exist, may be several or lie
        outside of the roots, bad dates or splits.
    """
    with table_errors("The index", path):
        rows = _rows(path)
        return _records(rows, path, _Place(root, roots or Roots((str(root),))), sources, incomplete=incomplete)


@dataclass(frozen=True)
class _Place:
    """The folder that paths start from, and those below which they must end."""

    root: Path
    roots: Roots


def _records(
    rows: Sequence[Row], path: Path, place: _Place, sources: Mapping[str, ImageSource], *, incomplete: bool
) -> list[Record]:
    if not rows:
        msg = f"The index {path} has no rows."
        raise ValueError(msg)
    needed = ["id", *(name for name, source in sources.items() if not source.optional)]
    missing = [name for name in needed if name not in rows[0]]
    if missing:
        msg = f"The index {path} has no columns {missing}; it has {list(rows[0])}."
        raise ValueError(msg)
    nameless = [i for i, row in enumerate(rows, start=1) if not _items(row.get("id"))]
    if nameless:
        msg = f"The index {path} has no id in the rows {nameless[:5]}. Every sample needs an id of its own."
        raise ValueError(msg)
    repeated = [str(sample) for sample, n in Counter(composed(str(row["id"])) for row in rows).items() if n > 1]
    if repeated:
        msg = f"The index {path} has duplicate ids: {', '.join(repeated[:5])}. Every sample needs an id of its own."
        raise ValueError(msg)
    return [_record(row, path, place, sources, incomplete=incomplete) for row in rows]


def _rows(path: Path) -> list[dict[str, object]]:
    if not path.is_file():
        msg = f"There is no index file {path}."
        raise ValueError(msg)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _csv_rows(path)
    if suffix == ".json":
        return _json_rows(path)
    if suffix in (".parquet", ".geoparquet"):
        import pandas  # noqa: PLC0415

        table = pandas.read_parquet(path)
        columns = [name for name in table.columns if name != "geometry"]
        return [{str(key): value for key, value in row.items()} for row in table[columns].to_dict("records")]
    msg = f"An index is a .csv, .json or .parquet file, got {path}."
    raise ValueError(msg)


def _csv_rows(path: Path) -> list[dict[str, object]]:
    table = csv.DictReader(io.StringIO(read_text("The index", path), newline=""))
    try:
        return [dict(row) for row in table]
    except csv.Error as error:
        msg = f"The index {path} cannot be read as CSV: {error} (after line {table.line_num}). Look at its quotes."
        raise ValueError(msg) from error


def _json_rows(path: Path) -> list[dict[str, object]]:
    try:
        content = json.loads(read_text("The index", path))
    except json.JSONDecodeError as error:
        msg = f"The index {path} cannot be read as JSON: {error}."
        raise ValueError(msg) from error
    if isinstance(content, list) and all(isinstance(row, dict) for row in content):
        return [dict(row) for row in content]
    columns = list(content.values()) if isinstance(content, dict) else []
    if columns and all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
        return [dict(zip(content, values, strict=True)) for values in zip(*columns, strict=True)]
    msg = (
        f"The index {path} must be a list of objects, one per sample, or an object of lists of equal length, one per "
        "column (pandas: to_json(orient='records'))."
    )
    raise ValueError(msg)


def _items(value: object) -> list[object]:
    """Entries of a cell: a list, or text separated by semicolons; none for an empty cell, NaN or NaT."""
    if isinstance(value, np.ndarray):
        return list(value.tolist())
    if isinstance(value, str):
        return [part.strip() for part in value.split(";") if part.strip()]
    if isinstance(value, Sequence):
        return list(value)
    return [] if value is None or value != value else [value]  # noqa: PLR0124


def _hrefs(cell: object, place: _Place, where: str) -> tuple[Href, ...]:
    """Files of a cell."""
    root = place.root
    try:
        items = _pieces(cell, root) if isinstance(cell, str) else [str(item) for item in _items(cell)]
        hrefs = tuple(Href.from_root(item, root) for item in items)
    except ValueError as error:
        msg = f"{where}: {error}"
        raise ValueError(msg) from error
    for href in hrefs:
        # A name for GDAL (`/vsizip/...`, `NETCDF:"..."`) says by itself that it is meant to lead elsewhere.
        if href.is_local and place.roots.hold(href.text):
            continue
        is_path = href.is_local or href.text.startswith("file://")
        outside = [path for path in href.containers if not place.roots.hold(path)] if is_path else []
        if outside:
            msg = (
                f"{where}: {href} lies outside of {place.roots.shown}, where an index may not reach. Correct the row, "
                f"or list its folder in other_roots of the data module: [{outside[0].parent}]."
            )
            raise ValueError(msg)
    return hrefs


def _pieces(cell: str, root: Path) -> list[str]:
    """Files in a text, separated by semicolons, unless the whole text is the name of one."""
    items = [str(item) for item in _items(cell)]
    whole = cell.strip()
    if len(items) < 2:
        return items
    if is_there(root / whole):
        if all(is_there(root / item) for item in items):
            msg = (
                f"{whole!r} may be one file or {len(items)}: all of them are below {root}. List files in an index of "
                "JSON ([...]), or rename the one with the semicolon."
            )
            raise ValueError(msg)
        return [whole]
    pieces: list[str] = []
    for item in items:
        # Of an address with parameters, such as ``https://x/a.tif?v=1;w=2``, a semicolon is a part.
        if pieces and "://" in pieces[-1] and _PARAMETER.fullmatch(item):
            pieces[-1] += f";{item}"
        else:
            pieces.append(item)
    return pieces


def _advice(names: Sequence[str]) -> str:
    """What to do about paths of Windows."""
    if not any("\\" in name for name in names):
        return ""
    return (
        " Backslashes, as Windows writes them, do not separate folders here: write forward slashes (s2/x.tif), and "
        "paths from the root folder on instead of those with a drive (C:)."
    )


def _record(
    row: Mapping[str, object], path: Path, place: _Place, sources: Mapping[str, ImageSource], *, incomplete: bool
) -> Record:
    sample = composed(str(row["id"]))
    files: dict[str, tuple[Href, ...]] = {}
    dates: dict[str, tuple[date, ...]] = {}
    for name, source in sources.items():
        hrefs = _hrefs(row.get(name), place, f"The index {path}: {sample!r}, {name!r}")
        absent = [str(href) for href in hrefs if href.is_missing]
        if not incomplete and (absent or (not hrefs and not source.optional)):
            fault = f"files that do not exist: {absent}" if absent else "no file"
            msg = f"The index {path} gives {sample!r} {fault} for {name!r}.{_advice(absent)}"
            raise ValueError(msg)
        if hrefs:
            files[name] = hrefs
        if stated := _dates(row.get(f"{name}_dates"), f"{sample!r} in {name}_dates", path):
            dates[name] = stated
    split = next((str(item) for item in _items(row.get("split"))), None)
    if split is not None and split not in SPLITS:
        msg = f"The index {path} puts {sample!r} into the split {split!r}. Valid: {', '.join(SPLITS)}."
        raise ValueError(msg)
    return Record(sample, files, {}, dates, _label(row.get("label"), sample, path, place), split)


def _dates(cell: object, where: str, path: Path) -> tuple[date, ...]:
    try:
        return tuple(parse_date(item) for item in _items(cell))
    except ValueError as error:
        msg = f"The index {path} has no usable date for {where}. {error}"
        raise ValueError(msg) from error


def _label(value: object, sample: str, path: Path, place: _Place) -> Href | float | int | None:
    if not (items := _items(value)):
        return None
    text = str(items[0] if not isinstance(value, str) else (_pieces(value, place.root) or items)[0])
    try:
        number = float(text)
    except ValueError:
        (href,) = _hrefs([text], place, f"The index {path}: the label of {sample!r}")
        if href.is_local_file or not href.is_local:
            return href
        msg = (
            f"The index {path} gives {sample!r} the label {text!r}, which is neither a number nor a file below "
            f"{place.root}. Add the file, correct the row, or leave it out.{_advice([text])}"
        )
        raise ValueError(msg) from None
    return int(number) if number.is_integer() and "." not in text else number
