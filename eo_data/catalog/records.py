"""The samples of a data set: which files, dates and label belong together, joined by name, never by sort order."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np

from eo_data.catalog.sources import FilePattern, ImageSource, LabelSource
from eo_data.temporal.calendar_date import parse_date

SPLITS = ("train", "val", "test", "predict")


@dataclass(frozen=True)
class TileWindow:
    """Part of a raster; all in pixels.

    Parameters
    ----------
    top, left, side : int
        Where it starts, and its side. It may reach over the end of the raster.
    owned : tuple of int
        Top, left, bottom and right of what this tile stands for, from its own corner.
    of : tuple of int
        Height and width of the raster.
    """

    top: int
    left: int
    side: int
    owned: tuple[int, int, int, int]
    of: tuple[int, int]

    @property
    def inside(self) -> tuple[int, int, int, int]:
        """Top, left, height and width of the part within the raster."""
        height, width = self.of
        return self.top, self.left, min(self.side, height - self.top), min(self.side, width - self.left)


@dataclass(frozen=True)
class Record:
    """One sample before anything is read.

    Parameters
    ----------
    id : str
        Unique; the path of its files without what the pattern fixes.
    files : mapping of str to tuple of Path
        Files per modality; a modality that the sample lacks is absent.
    bands : mapping of str to tuple of str
        Where every band has its own file: the band of each file.
    dates : mapping of str to tuple of date
        Dates per modality as far as an index states them.
    label : Path, float, int or None
        File of a label raster, or the label itself.
    split : str or None
        ``train``, ``val``, ``test`` or ``predict`` as an index states it.
    window : TileWindow or None
        The part of its rasters that the sample is.
    raster_id : str
        Id of the whole, for a part.
    """

    id: str
    files: Mapping[str, tuple[Path, ...]]
    bands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dates: Mapping[str, tuple[date, ...]] = field(default_factory=dict)
    label: Path | float | int | None = None
    split: str | None = None
    window: TileWindow | None = None
    raster_id: str = ""


def from_folders(root: Path, sources: Mapping[str, ImageSource], label: LabelSource | None) -> list[Record]:
    """Find samples by the file patterns of the modalities.

    Parameters
    ----------
    root : Path
        Folder that patterns start from.
    sources : mapping of str to ImageSource
        The modalities.
    label : LabelSource, optional
        Labels; samples without one have ``None``.

    Returns
    -------
    list of Record
        In the order of their ids; see `check_complete` for those that lack a modality.

    Raises
    ------
    ValueError
        If a folder is missing, a pattern finds nothing, or files of a sample collide.
    """
    if not root.is_dir():
        msg = f"There is no folder {root}. Set root to the folder of the data set."
        raise ValueError(msg)
    found: dict[str, dict[str, list[tuple[str | None, Path]]]] = {}
    for name, source in sources.items():
        if not source.files:
            msg = f"The modality {name!r} has no file pattern. Set files, or give an index."
            raise ValueError(msg)
        found[name] = _by_id(root, FilePattern(source.files), source.spellings)
        if not found[name] and not source.optional:
            msg = f"No file below {root} matches the pattern {source.files!r} of {name!r}."
            raise ValueError(msg)
    ids = sorted({sample for files in found.values() for sample in files})
    labels = _by_id(root, FilePattern(label.files)) if label and label.files else {}
    records = []
    for sample in ids:
        own = {name: files[sample] for name, files in found.items() if sample in files}
        own_label = labels.get(sample)
        _check_single(sample, own, sources)
        records.append(
            Record(
                sample,
                {name: tuple(path for _, path in pairs) for name, pairs in own.items()},
                {name: tuple(str(band) for band, _ in pairs) for name, pairs in own.items() if pairs[0][0]},
                label=_one_label(sample, own_label) if own_label else None,
            )
        )
    return records


def _by_id(root: Path, pattern: FilePattern, bands: Iterable[str] = ()) -> dict[str, list[tuple[str | None, Path]]]:
    """Files (with their bands) by sample."""
    files: dict[str, list[tuple[str | None, Path]]] = {}
    for match, path in pattern.find(root, bands):
        groups = match.groupdict()
        files.setdefault(groups.get("id") or root.resolve().name, []).append((groups.get("band"), path))
    return files


def check_complete(records: Sequence[Record], sources: Mapping[str, ImageSource]) -> None:
    """Refuse samples that lack a modality.

    Raises
    ------
    ValueError
        If a sample has no files of a modality that is not ``optional``, or no files at all.
    """
    for name, source in sources.items():
        lacking = [record.id for record in records if name not in record.files]
        if lacking and not source.optional:
            msg = (
                f"{len(lacking)} of {len(records)} samples have no {name!r} (first: {', '.join(lacking[:3])}; pattern "
                f"{source.files!r}). Add the files, name the complete samples in a split file, or declare the modality "
                "optional: true; or set on_error: skip."
            )
            raise ValueError(msg)


def _check_single(
    sample: str, own: Mapping[str, Sequence[tuple[str | None, Path]]], sources: Mapping[str, ImageSource]
) -> None:
    """Bands in files of their own must differ."""
    for name, pairs in own.items():
        if FilePattern(sources[name].files).by_band:
            doubled = [str(band) for band, n in Counter(band for band, _ in pairs).items() if n > 1]
            if doubled:
                paths = ", ".join(path.name for band, path in pairs if band in doubled)
                msg = f"{sample!r} has several files for the bands {doubled} of {name!r}: {paths}."
                raise ValueError(msg)


def _one_label(sample: str, pairs: Sequence[tuple[str | None, Path]]) -> Path:
    if len(pairs) > 1:
        msg = f"{sample!r} has {len(pairs)} label files: {', '.join(str(path) for _, path in pairs)}. Expected one."
        raise ValueError(msg)
    return pairs[0][1]


def from_index(path: Path, root: Path, sources: Mapping[str, ImageSource], *, incomplete: bool = False) -> list[Record]:
    """Read an index with one row per sample.

    Parameters
    ----------
    path : Path
        CSV, JSON (list of objects, or object of lists) or GeoParquet. Columns: ``id``; per modality a column of its
        name with a path below the root, several separated by ``;``; optional ``<modality>_dates`` (ISO, ``;``),
        ``label`` (a path or a number) and ``split``.
    root : Path
        Folder that paths start from.
    sources : mapping of str to ImageSource
        The modalities.
    incomplete : bool
        Let samples pass whose image files are not named or do not exist; reading them will fail.

    Raises
    ------
    ValueError
        For missing columns, doubled ids, files that do not exist, bad dates or splits.
    """
    rows = _rows(path)
    if not rows:
        msg = f"The index {path} has no rows."
        raise ValueError(msg)
    needed = ["id", *(name for name, source in sources.items() if not source.optional)]
    missing = [name for name in needed if name not in rows[0]]
    if missing:
        msg = f"The index {path} lacks the columns {missing}; it has {list(rows[0])}."
        raise ValueError(msg)
    nameless = [i for i, row in enumerate(rows, start=1) if not _items(row.get("id"))]
    if nameless:
        msg = f"The index {path} has no id in the rows {nameless[:5]}. Every sample needs an id of its own."
        raise ValueError(msg)
    doubled = [str(sample) for sample, n in Counter(str(row["id"]) for row in rows).items() if n > 1]
    if doubled:
        msg = f"The index {path} has doubled ids: {', '.join(doubled[:5])}. Every sample needs an id of its own."
        raise ValueError(msg)
    return [_record(row, path, root, sources, incomplete=incomplete) for row in rows]


def _rows(path: Path) -> list[dict[str, object]]:
    if not path.is_file():
        msg = f"There is no index file {path}."
        raise ValueError(msg)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [dict(row) for row in csv.DictReader(file)]
    if suffix == ".json":
        return _json_rows(path)
    if suffix in (".parquet", ".geoparquet"):
        import pandas  # noqa: PLC0415

        table = pandas.read_parquet(path)
        columns = [name for name in table.columns if name != "geometry"]
        return [{str(key): value for key, value in row.items()} for row in table[columns].to_dict("records")]
    msg = f"An index is a .csv, .json or .parquet file, got {path}."
    raise ValueError(msg)


def _json_rows(path: Path) -> list[dict[str, object]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
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


def _record(
    row: Mapping[str, object], path: Path, root: Path, sources: Mapping[str, ImageSource], *, incomplete: bool
) -> Record:
    sample = str(row["id"])
    files: dict[str, tuple[Path, ...]] = {}
    dates: dict[str, tuple[date, ...]] = {}
    for name, source in sources.items():
        paths = tuple(root / str(item) for item in _items(row.get(name)))
        absent = [str(item) for item in paths if not item.exists()]
        if not incomplete and (absent or (not paths and not source.optional)):
            fault = f"files that do not exist: {absent}" if absent else "no file"
            msg = f"The index {path} gives {sample!r} {fault} for {name!r}."
            raise ValueError(msg)
        if paths:
            files[name] = paths
        try:
            stated = tuple(parse_date(item) for item in _items(row.get(f"{name}_dates")))
        except ValueError as error:
            msg = f"The index {path} has no usable date for {sample!r} in {name}_dates. {error}"
            raise ValueError(msg) from error
        if stated:
            dates[name] = stated
    split = next((str(item) for item in _items(row.get("split"))), None)
    if split is not None and split not in SPLITS:
        msg = f"The index {path} puts {sample!r} into the split {split!r}. Valid: {', '.join(SPLITS)}."
        raise ValueError(msg)
    return Record(sample, files, {}, dates, _label(row.get("label"), sample, path, root), split)


def _label(value: object, sample: str, path: Path, root: Path) -> Path | float | int | None:
    items = _items(value)
    if not items:
        return None
    text = str(items[0])
    try:
        number = float(text)
    except ValueError:
        file = root / text
        if file.is_file():
            return file
        msg = (
            f"The index {path} gives {sample!r} the label {text!r}, which is neither a number nor a file below {root}. "
            "Add the file, correct the row, or leave it out."
        )
        raise ValueError(msg) from None
    return int(number) if number.is_integer() and "." not in text else number


def read_split(path: Path, records: Sequence[Record]) -> list[Record]:
    """Choose the samples that a split file names, in its order.

    Parameters
    ----------
    path : Path
        One sample per line: its id, the last part of its id, or the name of one of its files (TerraTorch's split
        files hold stems). Of a CSV the first column counts. Empty lines and ``#`` comments do not.
    records : sequence of Record
        All samples.

    Raises
    ------
    ValueError
        For a missing or empty file, a line that fits no sample or several, and for doubled samples.
    """
    if not path.is_file():
        msg = (
            f"There is no split file {path}. It names one sample a line and stands relative to root; to predict "
            "everything, set test_split and predict_split to null."
        )
        raise ValueError(msg)
    lines = [line.split(",")[0].strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    wanted = [line for line in lines if line and not line.startswith("#")]
    if not wanted:
        msg = f"The split file {path} names no sample."
        raise ValueError(msg)
    names = _names(records)
    chosen: dict[str, Record] = {}
    for line in wanted:
        fitting = {record.id: record for record in names.get(line, ())}
        if len(fitting) != 1:
            fault = f"fits {len(fitting)} samples: {', '.join(list(fitting)[:3])}" if fitting else "fits no sample"
            example = ", ".join(record.id for record in records[:3])
            msg = f"The line {line!r} of the split file {path} {fault}. Ids of samples look like: {example}."
            raise ValueError(msg)
        (record,) = fitting.values()
        if record.id in chosen:
            msg = f"The split file {path} names {record.id!r} twice."
            raise ValueError(msg)
        chosen[record.id] = record
    return list(chosen.values())


def _names(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Everything that a split file may call a sample."""
    names: dict[str, list[Record]] = {}
    for record in records:
        own = {record.id, record.id.rsplit("/", 1)[-1]}
        for paths in record.files.values():
            if len(paths) == 1:
                own |= {paths[0].name, paths[0].stem}
        if isinstance(record.label, Path):
            own |= {record.label.name, record.label.stem}
        for name in own:
            names.setdefault(name, []).append(record)
    exact = {record.id: [record] for record in records}
    return names | exact


def check_labelled(records: Sequence[Record]) -> None:
    """Refuse samples without a label, before a run rather than in the middle of it.

    Raises
    ------
    ValueError
        If there are some.
    """
    lacking = [record.id for record in records if record.label is None]
    if lacking:
        msg = (
            f"{len(lacking)} of {len(records)} samples have no label (first: {', '.join(lacking[:3])}). Add them, name "
            "the labelled samples in a split file, or set on_error: skip."
        )
        raise ValueError(msg)


def without_label(records: Sequence[Record]) -> list[Record]:
    """Records for prediction."""
    return [replace(record, label=None) for record in records]
