"""Labels for the vectors of an export: read, matched by id, checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd

from eo_embed.export.opening import Export
from eo_embed.reading.probing.groups import rasters_of
from eo_embed.reading.probing.ids import match_ids
from eo_embed.reading.probing.names import TASKS, Task
from eo_embed.reading.vectors import rows_of_layer

TRAIN, TEST = "train", "test"
#: Words in a split column, in small letters, and what they mean; rows that are neither are left out.
_SPLITS: Mapping[str, str] = {
    "train": TRAIN, "training": TRAIN, "test": TEST, "testing": TEST,
    "val": "", "valid": "", "validation": "", "predict": "", "": "",
}  # fmt: skip
_TABLES = (".csv", ".parquet", ".geoparquet", ".geojson", ".json", ".gpkg")
_SHOWN = 3


@dataclass(frozen=True)
class Columns:
    """What the columns of the label table are called.

    Parameters
    ----------
    label : str
        The class or the value.
    split : str, optional
        Column with ``train`` and ``test``.
    group : str, optional
        Column with the group of each sample; groups are never divided between training and test.
    """

    label: str = "label"
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True, eq=False)
class Labelled:
    """Vectors with their labels, sorted by id.

    Parameters
    ----------
    ids : ndarray
        Str ``(n,)``, ids of the export.
    vectors : ndarray
        Float64 ``(n, d)``, finite.
    labels : ndarray
        Str ``(n,)`` for classification, float64 ``(n,)`` for regression.
    groups : ndarray
        Str ``(n,)``; the ids if nothing is grouped.
    grouped_by : str
        What the samples are grouped by; empty if no two samples share a group.
    splits : ndarray or None
        Str ``(n,)``, ``train`` or ``test``, as the table states it.
    counts : mapping of str to int
        Rows of the table and vectors of the export, and how many were left out for which reason.
    notes : tuple of str
        What a reader should know.
    """

    ids: np.ndarray
    vectors: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    grouped_by: str
    splits: np.ndarray | None
    counts: Mapping[str, int]
    notes: tuple[str, ...]


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a label table: CSV, Parquet, GeoParquet, GeoJSON or GeoPackage.

    Everything in a CSV is text here: an id ``007`` stays one, and so does a class ``NA``.

    Raises
    ------
    ValueError
        If the file is missing, broken, or of another kind.
    """
    path = Path(path)
    if not path.is_file() or path.suffix.lower() not in _TABLES:
        fault = "it is of another kind" if path.is_file() else "there is no such file"
        msg = f"Expected a label table ({', '.join(_TABLES)}), got {path}: {fault}."
        raise ValueError(msg)
    if path.suffix.lower() == ".csv":
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    if path.suffix.lower() in (".parquet", ".geoparquet"):
        return pd.read_parquet(path)
    try:
        return gpd.read_file(path, ignore_geometry=True)
    except RuntimeError as error:  # of GDAL
        msg = f"{path} cannot be read: {error}."
        raise ValueError(msg) from error


def join(export: Export, table: pd.DataFrame, columns: Columns, task: Task, layer: str = "") -> Labelled:
    """Give the vectors of an export their labels.

    Parameters
    ----------
    export : Export
        With pooled vectors.
    table : DataFrame
        With ``id`` and the columns that ``columns`` names. An id is one of the export's, or the end of the path of one
        source file without its suffix.
    columns : Columns
        Names of the columns.
    task : {'classification', 'regression'}
        Kind of the labels.
    layer : str
        Layer whose vectors are taken; needed only if there are several.

    Raises
    ------
    ValueError
        If columns or vectors are missing, labels do not suit the task, or ids are ambiguous, have several different
        labels, or match none of the export.
    """
    pooled = pd.DataFrame(rows_of_layer(export.pooled, layer, export.path))
    rows = _rows(table, columns)
    counts = {"labels": len(rows), "embeddings": len(pooled)}
    rows["label"] = _classes(rows["label"]) if task == TASKS[0] else _values(rows["label"])
    rows = _kept(rows, (rows["id"] != "") & rows["label"].notna(), "without id or label", counts)
    rows["id"] = match_ids(rows["id"].tolist(), pooled)
    rows = _kept(rows, rows["id"] != "", "labels without embedding", counts)
    counts["embeddings without label"] = int((~pooled["id"].isin(rows["id"])).sum())
    if columns.split:
        rows["split"] = _splits(rows["split"], columns.split)
        rows = _kept(rows, rows["split"] != "", "neither train nor test", counts)
    rows = _kept(rows, ~_duplicates(rows), "duplicate rows", counts)
    rows = rows.sort_values("id").merge(pooled[["id", "embedding", "source"]], on="id")
    vectors = np.stack(rows["embedding"].to_list()).astype(np.float64) if len(rows) else np.empty((0, 0))
    finite = np.isfinite(vectors).all(axis=1)
    rows = _kept(rows, pd.Series(finite, rows.index), "vectors with NaN", counts)
    if rows.empty:
        msg = f"No label is left for the vectors of {export.path}: {_spelt(counts)}. Look at the ids and the labels."
        raise ValueError(msg)
    groups, grouped_by = _groups(rows, columns, export)
    return Labelled(
        rows["id"].to_numpy(dtype=str),
        vectors[finite],
        rows["label"].to_numpy(dtype=str if task == TASKS[0] else np.float64),
        groups,
        grouped_by,
        rows["split"].to_numpy(dtype=str) if columns.split else None,
        counts,
        tuple(_notes(counts)),
    )


def _rows(table: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """Return id, label, split and group as text; what is missing is empty."""
    wanted = {"id": "id", "label": columns.label, "split": columns.split, "group": columns.group}
    named = {name: column for name, column in wanted.items() if column}
    missing = [column for column in named.values() if column not in table.columns]
    if missing:
        shown = ", ".join(map(str, table.columns))
        msg = (
            f"The label table has no column {', '.join(missing)}; it has: {shown}. A CSV needs commas between columns."
        )
        raise ValueError(msg)
    return pd.DataFrame({name: _texts(table[column]) for name, column in named.items()}, dtype=object)


def _texts(column: pd.Series) -> list[str]:
    # A whole number becomes a float where another row of its column is missing.
    whole = pd.api.types.is_float_dtype(column)
    texts = [
        "" if pd.isna(value) else str(int(value)) if whole and float(value).is_integer() else str(value).strip()
        for value in column
    ]
    return ["" if text.lower() == "nan" else text for text in texts]


def _classes(texts: pd.Series) -> pd.Series:
    """Return names of classes, ``None`` where missing; ``2.0`` is class 2.

    Raises
    ------
    ValueError
        If the labels are numbers that are not whole.
    """
    known = [text for text in texts if text]
    if all(map(_is_number, known)):
        fractions = [text for text in known if not float(text).is_integer()]
        if fractions:
            msg = f"Labels such as {fractions[0]} are no classes. Use task regression, or name the classes by words."
            raise ValueError(msg)
        if any("." in text for text in known):
            texts = texts.map(lambda text: str(int(float(text))) if text else text)
    return texts.where(texts != "", None)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _values(texts: pd.Series) -> pd.Series:
    """Return labels as numbers, NaN where missing or infinite.

    Raises
    ------
    ValueError
        If one is no number.
    """
    words = [text for text in texts if text and not _is_number(text)]
    if words:
        msg = f"Regression needs numbers as labels, got {words[0]!r} ({len(words)} such rows). Or task classification?"
        raise ValueError(msg)
    values = texts.map(lambda text: float(text or "nan")).astype(np.float64)
    return values.where(np.isfinite(values))


def _kept(rows: pd.DataFrame, keep: pd.Series, reason: str, counts: dict[str, int]) -> pd.DataFrame:
    counts[reason] = int((~keep).sum())
    return rows[keep].copy()


def _splits(texts: pd.Series, column: str) -> pd.Series:
    splits = texts.str.lower()
    unknown = sorted(set(splits) - set(_SPLITS))
    if unknown:
        valid = ", ".join(filter(None, _SPLITS))
        msg = f"The split column {column!r} holds {', '.join(map(repr, unknown[:_SHOWN]))}. Valid: {valid}, or empty."
        raise ValueError(msg)
    return splits.map(_SPLITS)


def _duplicates(rows: pd.DataFrame) -> pd.Series:
    """Mark rows that repeat another one.

    Raises
    ------
    ValueError
        If two rows of one id contradict each other.
    """
    several = rows.drop_duplicates()
    several = several[several["id"].duplicated(keep=False)]
    if len(several):
        ids = sorted(set(several["id"]))
        first = several[several["id"] == ids[0]].drop(columns="id").to_dict("records")
        msg = (
            f"{len(ids)} ids stand in several rows of the label table that differ, such as {ids[0]}: {first}. Leave "
            "one row for each id."
        )
        raise ValueError(msg)
    return rows["id"].duplicated()


def _groups(rows: pd.DataFrame, columns: Columns, export: Export) -> tuple[np.ndarray, str]:
    if columns.group:
        groups = rows["group"].to_numpy(dtype=str)
        empty = rows["id"][groups == ""].tolist()
        if empty:
            msg = f"{len(empty)} samples have no {columns.group!r}, such as {empty[0]}. Give each sample a group."
            raise ValueError(msg)
        named = f"column {columns.group!r}"
    else:
        groups, named = rasters_of(export, rows["id"].tolist(), rows["source"].tolist()), "source raster"
    return groups, named if len(np.unique(groups)) < len(groups) else ""


def _spelt(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _notes(counts: Mapping[str, int]) -> Iterator[str]:
    lost = {name: count for name, count in counts.items() if name not in ("labels", "embeddings") and count}
    if lost:
        yield f"Of {counts['labels']} labels and {counts['embeddings']} embeddings, not used: {_spelt(lost)}."
