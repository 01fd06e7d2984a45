"""Pooled vectors as one GeoParquet file for maps and databases: neighbours on the ground are neighbours in the file.

Rows lie along a Hilbert curve of their centres, so that each row group covers a small area, and the statistics of the
column ``bbox`` (the covering of GeoParquet 1.1) let a reader pass over all row groups that its window does not meet.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eo_core.arguments import one_of
from eo_core.files import PARTIAL, atomic_path
from eo_embed.reading.publishing.change import Change
from eo_embed.writers.geoparquet import COMPRESSION
from eo_embed.writers.quantise import Encoding, int8_of_cells

VectorType = Literal["float32", "float16", "int8"]
VECTOR_TYPES: tuple[VectorType, ...] = get_args(VectorType)
#: Bytes of a row group before compression, which is what the format's authors advise, and what a row has beside
#: its vector.
GROUP_BYTES, _BYTES_BESIDE = 128_000_000, 600
#: Bytes of rows that are sorted at once, and rows that are read at once.
_MEMORY, _READ = 256_000_000, 8192
#: Scale of each vector of int8: value = stored number * scale.
SCALE = "embedding_scale"
_POSITION = "__position"
_BOX = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class TableSettings:
    """How a table of vectors is written.

    Parameters
    ----------
    dtype : {'float32', 'float16', 'int8'}
        Of the vectors; int8 with a scale for each.
    order : {'hilbert', 'id'}
        Of the rows; by id as in the export.
    group : int
        Rows of a row group; 0 for about 128 MB.

    Raises
    ------
    ValueError
        For another dtype, or a negative number.
    """

    dtype: VectorType = "float32"
    order: Literal["hilbert", "id"] = "hilbert"
    group: int = 0

    def __post_init__(self) -> None:
        one_of("dtype", self.dtype, VECTOR_TYPES)
        if self.group < 0:
            msg = f"A row group holds at least one row, got {self.group}. 0 stands for about 128 MB."
            raise ValueError(msg)

    def rows_of_group(self, depth: int) -> int:
        """Return how many rows a row group has."""
        return self.group or max(GROUP_BYTES // (depth * np.dtype(self.dtype).itemsize + _BYTES_BESIDE), 1)


def write_table(
    source: Path, out: Path, layer: str, ids: str, settings: TableSettings, change: Change, told: Mapping[str, Any]
) -> tuple[Path, bool]:
    """Write the rows of one layer, whole or not at all; a file that is there and was made the same way stays.

    The table is read twice, a part at a time.

    Parameters
    ----------
    source : Path
        ``embeddings.parquet`` of an export.
    out : Path
        The file.
    layer : str
        Which rows.
    ids : str
        Pattern of the ids; empty for all.
    settings : TableSettings
        Dtype, order and row groups.
    change : Change
        What is done to the vectors.
    told : mapping
        What the file says of how it was made, with ``made_of``.

    Returns
    -------
    Path, bool
        The file, and whether it was written now.

    Raises
    ------
    ValueError
        If there is another file of that name.
    OSError
        If it cannot be written, or cannot be read again.
    """
    if out.is_file():
        known = json.loads((pq.read_schema(out).metadata or {}).get(b"eo_embed", b"{}"))
        if known.get("made_of") == told["made_of"]:
            return out, False
        msg = f"{out} is there and was made of other things or in another way. Remove it, or give another folder."
        raise ValueError(msg)
    chosen, position, bounds = _order(source, layer, ids, settings.order)
    depth = change.depth(pq.read_schema(source).field("embedding").type.list_size)
    columns = _columns(pq.read_schema(source), depth, settings.dtype, bounds, told)
    group = settings.rows_of_group(depth)
    at_once = max(_MEMORY // (4 * depth + _BYTES_BESIDE) // group, 1) * group
    count = int(chosen.sum())

    def check(partial: Path) -> None:
        with pq.ParquetFile(partial, page_checksum_verification=True) as file:
            found = sum(len(batch) for batch in file.iter_batches(_READ))
        if found != count:
            msg = f"{out} holds {found} rows where {count} were written. Check the disk, and run again."
            raise OSError(msg)

    with (
        tempfile.TemporaryDirectory(prefix=PARTIAL, dir=out.parent) as temporary,
        atomic_path(out, check) as partial,
        pq.ParquetWriter(partial, columns, compression=COMPRESSION, write_page_checksum=True) as writer,
    ):
        for table in _stretches(source, chosen, position, at_once, Path(temporary)):
            writer.write_table(_changed(table, columns, settings.dtype, change), row_group_size=group)
    return out, True


def _order(source: Path, layer: str, ids: str, order: str) -> tuple[np.ndarray, np.ndarray, list[float] | None]:
    """Return which rows are wanted, at which position each comes, and what their footprints cover."""
    names = ["layer", "centre_lon", "centre_lat", "bbox", *(["id"] if ids else [])]
    table = pq.read_table(source, columns=names)
    chosen = np.asarray(table["layer"]) == layer
    if ids:
        chosen &= np.array([fnmatchcase(name, ids) for name in table["id"].to_pylist()], bool)
    table = table.filter(pa.array(chosen))
    sides = [pc.struct_field(table["bbox"], side) for side in _BOX]
    bounds = [pc.min(side).as_py() for side in sides[:2]] + [pc.max(side).as_py() for side in sides[2:]]
    position = np.full(len(chosen), -1, np.int64)
    rank = np.arange(len(table))
    if order == "hilbert":
        lon, lat = (table[name].to_numpy() for name in ("centre_lon", "centre_lat"))
        # Rows without a place come last; of one place the order of ids stays.
        rank[np.argsort(_along_hilbert(lon, lat), kind="stable")] = np.arange(len(table))
    position[chosen] = rank
    return chosen, position, None if None in bounds else bounds


def _along_hilbert(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Return the distances of points along a Hilbert curve over what they cover; the largest without a place."""
    import geopandas as gpd  # noqa: PLC0415

    distance = np.full(len(lon), np.iinfo(np.int64).max)
    placed = np.isfinite(lon) & np.isfinite(lat)
    if placed.any():
        x, y = lon[placed], lat[placed]
        # A curve needs an area, which points on one line have not.
        bounds = (x.min(), y.min(), max(x.max(), x.min() + 1e-9), max(y.max(), y.min() + 1e-9))
        points = gpd.GeoSeries(gpd.points_from_xy(x, y), crs=4326)
        distance[placed] = points.hilbert_distance(total_bounds=bounds).to_numpy()
    return distance


def _columns(
    source: pa.Schema, depth: int, dtype: VectorType, bounds: list[float] | None, told: Mapping[str, Any]
) -> pa.Schema:
    geo = json.loads((source.metadata or {})[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    column.pop("bbox", None)
    if bounds is not None:
        column["bbox"] = bounds
    kind = pa.from_numpy_dtype(np.dtype(dtype))
    place = source.get_field_index("embedding")
    fields = source.set(place, pa.field("embedding", pa.list_(kind, depth), nullable=False))
    if dtype == "int8":
        fields = fields.insert(place + 1, pa.field(SCALE, pa.float32(), nullable=False))
    return fields.with_metadata({"geo": json.dumps(geo), "eo_embed": json.dumps(dict(told))})


def _stretches(
    source: Path, chosen: np.ndarray, position: np.ndarray, at_once: int, folder: Path
) -> Iterator[pa.Table]:
    """Yield the chosen rows in order, ``at_once`` at a time: each is put down near its place, then sorted."""
    writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
    start = 0
    with pq.ParquetFile(source, page_checksum_verification=True) as file:
        for batch in file.iter_batches(_READ):
            own = slice(start, start + len(batch))
            start = own.stop
            table = pa.Table.from_batches([batch]).filter(pa.array(chosen[own])).replace_schema_metadata(None)
            places = position[own][chosen[own]]
            table = table.append_column(_POSITION, pa.array(places))
            for number in np.unique(places // at_once).tolist():
                if number not in writers:
                    writers[number] = pa.ipc.new_stream(folder / str(number), table.schema)
                writers[number].write_table(table.filter(pa.array(places // at_once == number)))
    for number in sorted(writers):
        writers[number].close()
        with pa.ipc.open_stream(folder / str(number)) as stream:
            table = stream.read_all()
        (folder / str(number)).unlink()
        yield table.take(np.argsort(table[_POSITION].to_numpy())).drop_columns([_POSITION])


def _changed(table: pa.Table, columns: pa.Schema, dtype: VectorType, change: Change) -> pa.Table:
    """Return rows with their vectors as they are stored."""
    vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    values = change.apply(vectors.T)
    names = table.column_names
    columns_of: dict[str, Any] = {name: table[name] for name in names}
    if dtype == "int8":
        numbers, scales = int8_of_cells(values[:, :, None])
        stored, columns_of[SCALE] = numbers[:, :, 0].T, pa.array(scales[:, 0])
    else:
        stored = Encoding(dtype).encode(values).array.T
    flat = pa.array(np.ascontiguousarray(stored).ravel())
    columns_of["embedding"] = pa.FixedSizeListArray.from_arrays(flat, stored.shape[1])
    return pa.table([columns_of[name] for name in columns.names], schema=columns)
