"""The items of a large export as a table in Parquet, beside the manifest: one row for each id and layer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

_SOURCE = pa.struct(
    [
        ("path", pa.string()),
        ("size", pa.int64()),
        ("mtime", pa.float64()),
        ("ctime", pa.float64()),
        ("digest", pa.string()),
    ]
)
#: Columns of the table; what an entry has besides is in ``other``, as JSON.
COLUMNS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("layer", pa.string(), nullable=False),
        ("files", pa.list_(pa.string())),
        ("sources", pa.list_(_SOURCE)),
        ("dates", pa.list_(pa.string())),
        ("valid_fraction", pa.float64()),
        ("raster_id", pa.string()),
        ("image_hw", pa.list_(pa.int32())),
        ("grid_hw", pa.list_(pa.int32())),
        ("area_m2", pa.float64()),
        ("other", pa.string()),
    ]
)
_OWN = frozenset(COLUMNS.names) - {"other"}
_ROWS = 10_000


def write_items(file: Path | BinaryIO, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write the entries of a manifest as a table.

    Parameters
    ----------
    file : Path or binary file
        Where to write.
    entries : sequence of mapping
        As `eo_embed.export.record.ledger.Ledger.inputs` gives them.
    """
    with pq.ParquetWriter(file, COLUMNS, compression="zstd") as writer:
        for start in range(0, len(entries), _ROWS):
            rows = [_row(entry) for entry in entries[start : start + _ROWS]]
            writer.write_table(pa.Table.from_pylist(rows, COLUMNS))


def read_items(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries that `write_items` has written, in order.

    Raises
    ------
    ValueError
        If the table is missing, or cannot be read.
    """
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS):
                yield from map(_entry, batch.to_pylist())
    except (OSError, pa.ArrowException) as error:
        msg = f"{path}, the table of the items of an export, cannot be read: {error}. Export again: overwrite: true."
        raise ValueError(msg) from error


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    other = {key: value for key, value in entry.items() if key not in _OWN}
    return {key: value for key, value in entry.items() if key in _OWN} | {"other": json.dumps(other) if other else None}


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    other = json.loads(row.pop("other") or "{}")
    known = {key: value for key, value in row.items() if value is not None}
    sources = [{key: value for key, value in source.items() if value is not None} for source in known["sources"]]
    return known | {"sources": sources} | other
