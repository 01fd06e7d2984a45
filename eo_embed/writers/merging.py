"""Pooled vectors of all batches in one GeoParquet file, sorted by id and layer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from eo_core.files import PARTIAL, atomic_path
from eo_embed.writers.geoparquet import COMPRESSION, geo_metadata, part_files

#: Bytes of rows that a merge sorts at once, and what a row takes besides its vector.
_MERGE_MEMORY = 32_000_000
_BYTES_BESIDE = 600
_POSITION = "__position"
#: Rows that are read at once to check a file.
_CHECKED = 256

#: Id and layer of a row.
type Key = tuple[str, str]


class _Source(NamedTuple):
    """One row group of one file."""

    path: Path
    row_group: int


class _Survey(NamedTuple):
    """What must be known before the first row is written."""

    order: dict[Key, tuple[_Source, int]]
    types: set[str]
    bounds: np.ndarray | None


def merge(
    folder: Path,
    out: Path,
    row_group_size: int = 1024,
    *,
    wanted: Mapping[Key, str] | None = None,
    before: Callable[[Path], None] | None = None,
    memory: int = _MERGE_MEMORY,
) -> Path | None:
    """Merge the parts of an export into one file, sorted by id and layer; return it, or ``None`` without any rows.

    If ``out`` exists, its rows are kept, but parts replace them: so an interrupted merge can be run again, and
    a finished export can grow. Of rows with the same id and layer the one of the highest part number stays. The parts
    stay as they are.

    Each part is read twice, whatever the order of the ids, and memory holds the ids and ``memory`` bytes of rows.

    Parameters
    ----------
    folder : Path
        Folder of the export.
    out : Path
        The GeoParquet file.
    row_group_size : int
        Rows of a row group.
    wanted : mapping of (str, str) to str, optional
        By id and layer, the file that has the row, relative to ``folder``; other rows are left out.
    before : callable, optional
        Gets the finished file just before it takes the place of ``out``.
    memory : int
        Bytes of rows that are sorted at once; more rows go through temporary files.

    Raises
    ------
    ValueError
        If the vectors of two files differ in length, a wanted row is missing, or the file does not hold its rows once
        it is written.
    """
    files = [*([out] if out.is_file() else []), *part_files(folder)]
    if wanted is not None:
        files = [file for file in files if file.relative_to(folder).as_posix() in set(wanted.values())]
    if not files and not wanted:
        out.unlink(missing_ok=True)  # rows that nobody wants any more
        return None
    survey = _survey(files, None if wanted is None else {key: folder / file for key, file in wanted.items()})
    columns = _common_schema(files).with_metadata({"geo": geo_metadata(survey.types, survey.bounds)})
    bytes_of_row = 4 * columns.field("embedding").type.list_size + _BYTES_BESIDE
    rows = max(memory // bytes_of_row // row_group_size, 1) * row_group_size

    def check(partial: Path) -> None:
        _check_rows(partial, survey.order)
        if before is not None:
            before(partial)

    with (
        atomic_path(out, check) as partial,
        pq.ParquetWriter(partial, columns, compression=COMPRESSION, write_page_checksum=True) as writer,
    ):
        for table in _sorted_tables(survey, rows, columns, folder):
            writer.write_table(table, row_group_size=row_group_size)
    return out


def keys_of(path: Path) -> set[Key]:
    """Return id and layer of each row of a file of vectors; none if there is no file."""
    if not path.is_file():
        return set()
    table = pq.read_table(path, columns=["id", "layer"])
    return set(zip(table["id"].to_pylist(), table["layer"].to_pylist(), strict=True))


def _common_schema(files: Sequence[Path]) -> pa.Schema:
    schemas = {path: pq.read_schema(path).remove_metadata() for path in files}
    first = schemas[files[0]]
    for path, other in schemas.items():
        if not other.equals(first):
            msg = (
                f"{path.name} and {files[0].name} differ: {other.field('embedding').type} and "
                f"{first.field('embedding').type}. They come from two settings; export with overwrite: true."
            )
            raise ValueError(msg)
    return first


def _survey(files: Sequence[Path], wanted: Mapping[Key, Path] | None) -> _Survey:
    """Return where each row of the result comes from, and what its footprints cover.

    Raises
    ------
    ValueError
        If a wanted row is not there.
    """
    rows: dict[Key, tuple[_Source, int]] = {}
    types: set[str] = set()
    bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])
    for path in files:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=["id", "layer", "geometry"])
                source = _Source(path, group)
                for i, key in enumerate(zip(table["id"].to_pylist(), table["layer"].to_pylist(), strict=True)):
                    if wanted is None or wanted.get(key) == path:
                        rows[key] = (source, i)
                geometries = shapely.from_wkb(table["geometry"].drop_null().to_numpy())
                if len(geometries):
                    found = shapely.total_bounds(geometries)
                    bounds = np.concatenate([np.minimum(bounds[:2], found[:2]), np.maximum(bounds[2:], found[2:])])
                    types |= {geometry.geom_type for geometry in geometries}
    if wanted is not None and (missing := sorted(wanted.keys() - rows.keys())):
        names = ", ".join(sorted({wanted[key].name for key in missing})[:3])
        msg = (
            f"{len(missing)} rows are recorded and are not in {names} (first: {missing[0]}). Export again with "
            "overwrite: true."
        )
        raise ValueError(msg)
    return _Survey({key: rows[key] for key in sorted(rows)}, types, bounds if types else None)


def _sorted_tables(survey: _Survey, most: int, columns: pa.Schema, folder: Path) -> Iterator[pa.Table]:
    """Yield the rows in order, ``most`` at once."""
    rows = list(survey.order.values())
    stretches = [_by_source(rows[start : start + most]) for start in range(0, len(rows), most)]
    if sum(map(len, stretches)) <= 2 * len({source for source, _ in rows}):  # nearly in order already
        for taken in stretches:
            tables = [_rows_of(source, own) for source, (own, _) in taken.items()]
            places = [position for _, positions in taken.values() for position in positions]
            yield _in_order(pa.concat_tables(tables), np.array(places), columns)
        return
    # Rows of a part may belong anywhere: each is put down near its place, and then every stretch is sorted.
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=folder) as temporary:
        put_down = _Stretches(Path(temporary), most, columns)
        for source, (own, positions) in _by_source(rows).items():
            put_down.put(_rows_of(source, own), np.array(positions))
        yield from put_down.in_order()


def _by_source(rows: Sequence[tuple[_Source, int]]) -> dict[_Source, tuple[list[int], list[int]]]:
    """Return which rows of each source are wanted, and at which positions."""
    found: dict[_Source, tuple[list[int], list[int]]] = {}
    for position, (source, row) in enumerate(rows):
        own, positions = found.setdefault(source, ([], []))
        own.append(row)
        positions.append(position)
    return found


class _Stretches:
    """Rows on their way into order, in one temporary file for each stretch of the result."""

    def __init__(self, folder: Path, most: int, columns: pa.Schema) -> None:
        self._folder, self._most, self._columns = folder, most, columns
        self._fields = columns.remove_metadata().append(pa.field(_POSITION, pa.int64()))
        self._writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}

    def put(self, table: pa.Table, positions: np.ndarray) -> None:
        placed = table.append_column(_POSITION, pa.array(positions, pa.int64())).cast(self._fields)
        numbers = positions // self._most
        for number in np.unique(numbers).tolist():
            if number not in self._writers:
                self._writers[number] = pa.ipc.new_stream(self._folder / str(number), self._fields)
            self._writers[number].write_table(placed.filter(pa.array(numbers == number)))

    def in_order(self) -> Iterator[pa.Table]:
        for writer in self._writers.values():
            writer.close()
        for number in sorted(self._writers):
            path = self._folder / str(number)
            with pa.ipc.open_stream(path) as stream:
                table = stream.read_all()
            yield _in_order(table.drop_columns([_POSITION]), table[_POSITION].to_numpy(), self._columns)
            path.unlink()


def _rows_of(source: _Source, rows: Sequence[int]) -> pa.Table:
    with pq.ParquetFile(source.path, page_checksum_verification=True) as file:
        return file.read_row_group(source.row_group).take(list(rows)).replace_schema_metadata(None)


def _in_order(table: pa.Table, positions: np.ndarray, columns: pa.Schema) -> pa.Table:
    return table.take(np.argsort(positions)).cast(columns)


def _check_rows(path: Path, order: Collection[Key]) -> None:
    """Read a finished file again: the checksums of its pages, and which rows it holds.

    Raises
    ------
    ValueError
        If it is not what was written.
    """
    keys: list[Key] = []
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(_CHECKED):
                keys += zip(batch["id"].to_pylist(), batch["layer"].to_pylist(), strict=True)
    except (OSError, pa.ArrowException) as error:
        msg = f"{path} cannot be read again after it was written: {error}. Check the disk, and run again."
        raise ValueError(msg) from error
    if keys != list(order):
        msg = f"{path} holds {len(keys)} rows where {len(order)} were written. Check the disk, and run again."
        raise ValueError(msg)
