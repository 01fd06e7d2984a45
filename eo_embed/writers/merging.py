"""Pooled vectors of all batches in one GeoParquet file, sorted by id and layer."""

from __future__ import annotations

import hashlib
import itertools
import json
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from eo_core.files import PARTIAL, atomic_path
from eo_core.memory import in_order
from eo_embed.writers.geoparquet import COMPRESSION, geo_metadata, part_files

#: Bytes of rows that a merge sorts at once, and what a row takes besides its vector.
_MERGE_MEMORY = 32_000_000
_BYTES_BESIDE = 600
_POSITION = "__position"
#: Most temporary files of a merge, all of which are open at once: most systems let a process open 1024.
_MOST_FILES = 500
#: Rows that are read at once to check a file, and to read its ids.
_CHECKED, _READ = 256, 10_000
#: How many files an error names.
_NAMED = 3
_REMEDY = "{}. Export again with overwrite: true."

#: Id and layer of a row.
type Key = tuple[str, str]
#: Id, layer, number of the file, number of the row group among those of all files, and row in it.
type _Row = tuple[str, str, int, int, int]


class _Source(NamedTuple):
    """One row group of one file."""

    path: Path
    row_group: int


class _Keys:
    """Which rows there are, in order: how many, and a digest of their ids and layers."""

    def __init__(self) -> None:
        self.count = 0
        self._digest = hashlib.blake2b(digest_size=16)

    def add(self, key: Key) -> None:
        """Count one more row."""
        self.count += 1
        self._digest.update(json.dumps(key, default=repr).encode())  # damaged text is read as bytes

    def same_as(self, other: _Keys) -> bool:
        """Tell whether the rows are the same, in the same order."""
        return self.count == other.count and self._digest.digest() == other._digest.digest()


class _Order(NamedTuple):
    """Where each row of the result comes from, in order: which of the row groups, and which row of it."""

    keys: _Keys
    sources: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, chosen: Iterable[_Row]) -> _Order:
        """Return the order of the rows that make the result."""
        keys, sources, rows = _Keys(), array("i"), array("i")
        for name, layer, _, source, row in chosen:
            keys.add((name, layer))
            sources.append(source)
            rows.append(row)
        return cls(keys, np.frombuffer(sources, np.int32), np.frombuffer(rows, np.int32))


def merge(
    folder: Path,
    out: Path,
    row_group_size: int = 1024,
    *,
    wanted: Iterable[tuple[Key, str]] | None = None,
    before: Callable[[Path], None] | None = None,
    memory: int = _MERGE_MEMORY,
) -> Path | None:
    """Merge the parts of an export into one file, sorted by id and layer; return it, or ``None`` without any rows.

    If ``out`` exists, its rows are kept, but parts replace them: so an interrupted merge can be run again, and
    a finished export can grow. Of rows with the same id and layer the one of the highest part number stays. The parts
    stay as they are.

    Each part is read twice, whatever the order of the ids. Memory holds 8 bytes of each row, ``memory`` bytes of rows
    (more of more than 500 times as much), and some 10 000 ids; the rest goes through temporary files.

    Parameters
    ----------
    folder : Path
        Folder of the export.
    out : Path
        The GeoParquet file.
    row_group_size : int
        Rows of a row group.
    wanted : iterable of ((str, str), str), optional
        Id and layer of each row, sorted, and the file that has it, relative to ``folder``; other rows are left out.
    before : callable, optional
        Gets the finished file just before it takes the place of ``out``.
    memory : int
        Bytes of rows that are sorted at once.

    Raises
    ------
    ValueError
        If the vectors of two files differ in length, a wanted row is missing, or the file does not hold its rows once
        it is written.
    """
    files = [*([out] if out.is_file() else []), *part_files(folder)]
    survey = _Survey(files)
    names = {file.relative_to(folder).as_posix(): number for number, file in enumerate(files)}
    rows = in_order(survey.rows(), _key, folder) if files else iter(())
    chosen = _last_of_each(rows, survey) if wanted is None else _wanted_of(rows, wanted, names, survey)
    order = _Order.of(chosen)
    if not order.keys.count:
        out.unlink(missing_ok=True)  # rows that nobody wants any more
        return None
    used = [survey.sources[number] for number in np.unique(order.sources).tolist()]
    types, bounds = survey.covered(used)
    columns = _common_schema(files if wanted is None else list(dict.fromkeys(source.path for source in used)))
    columns = columns.with_metadata({"geo": geo_metadata(types, bounds)})
    bytes_of_row = 4 * columns.field("embedding").type.list_size + _BYTES_BESIDE
    most = max(memory // bytes_of_row, order.keys.count // _MOST_FILES)
    most = max(most // row_group_size, 1) * row_group_size

    def check(partial: Path) -> None:
        _check_rows(partial, order.keys)
        if before is not None:
            before(partial)

    with (
        atomic_path(out, check) as partial,
        pq.ParquetWriter(partial, columns, compression=COMPRESSION, write_page_checksum=True) as writer,
    ):
        for table in _sorted_tables(order, survey.sources, most, columns, folder):
            writer.write_table(table, row_group_size=row_group_size)
    return out


def keys_of(path: Path) -> Iterator[Key]:
    """Yield id and layer of each row of a file of vectors, in the file's order; none if there is no file."""
    if path.is_file():
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_READ, columns=["id", "layer"]):
                yield from zip(batch["id"].to_pylist(), batch["layer"].to_pylist(), strict=True)


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


class _Survey:
    """What the files hold, looked at while `rows` passes: their row groups, and what the footprints of each cover.

    A file that cannot be read is only noted, as a damaged one is not wanted: its items are made again.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.sources: list[_Source] = []
        self.unreadable: list[str] = []
        self._files = files
        self._covered: dict[_Source, tuple[set[str], np.ndarray]] = {}

    def rows(self) -> Iterator[_Row]:
        """Yield the rows of all files that can be read."""
        for number, path in enumerate(self._files):
            try:
                yield from self._rows_of(number, path)
            except (OSError, pa.ArrowException) as error:
                self.unreadable.append(f"{path} cannot be read: {error}")

    def _rows_of(self, number: int, path: Path) -> Iterator[_Row]:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=["id", "layer", "geometry"])
                source, at = _Source(path, group), len(self.sources)
                self._look_at(source, table["geometry"])
                self.sources.append(source)
                for row, key in enumerate(zip(table["id"].to_pylist(), table["layer"].to_pylist(), strict=True)):
                    yield *key, number, at, row

    def _look_at(self, source: _Source, column: pa.ChunkedArray) -> None:
        geometries = shapely.from_wkb(column.drop_null().to_numpy())
        if len(geometries):
            kinds = {geometry.geom_type for geometry in geometries}
            self._covered[source] = kinds, shapely.total_bounds(geometries)

    def covered(self, sources: Iterable[_Source]) -> tuple[set[str], np.ndarray | None]:
        """Return kinds and bounds of the footprints in row groups."""
        found = [self._covered[source] for source in sources if source in self._covered]
        if not found:
            return set(), None
        boxes = np.array([box for _, box in found])
        return set().union(*(kinds for kinds, _ in found)), np.r_[boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)]


def _key(row: Sequence[Any]) -> Key:
    return row[0], row[1]


def _last_of_each(rows: Iterator[_Row], survey: _Survey) -> Iterator[_Row]:
    """Yield the last row of each key.

    Raises
    ------
    ValueError
        After the last one, if a file cannot be read.
    """
    for _, group in itertools.groupby(rows, _key):
        *_, last = group
        yield last
    if survey.unreadable:
        raise ValueError(_REMEDY.format("; ".join(survey.unreadable[:_NAMED])))


def _wanted_of(
    rows: Iterator[_Row], wanted: Iterable[tuple[Key, str]], names: Mapping[str, int], survey: _Survey
) -> Iterator[_Row]:
    """Yield the row of each key in the file that has it; both are in order.

    Raises
    ------
    ValueError
        After the last one, if one is not there.
    """
    missing, files, first = 0, set[str](), None
    groups = itertools.groupby(rows, _key)
    key, group = next(groups, (None, iter(())))
    for identity, file in wanted:
        while key is not None and key < identity:
            key, group = next(groups, (None, iter(())))
        found = [row for row in group if row[2] == names.get(file)] if key == identity else []
        if found:
            yield found[-1]
            continue
        missing, first = missing + 1, first or identity
        files |= {Path(file).name} if len(files) < _NAMED else set()
    if missing:
        told = f"{missing} rows are recorded and are not in {', '.join(sorted(files))} (first: {first})"
        raise ValueError(_REMEDY.format("; ".join([told, *survey.unreadable[:_NAMED]])))


def _sorted_tables(
    order: _Order, sources: Sequence[_Source], most: int, columns: pa.Schema, folder: Path
) -> Iterator[pa.Table]:
    """Yield the rows in order, ``most`` at once."""
    starts = range(0, order.keys.count, most)
    reads = sum(len(np.unique(order.sources[start : start + most])) for start in starts)
    if reads <= 2 * len(np.unique(order.sources)):  # nearly in order already
        for start in starts:
            stretch = slice(start, start + most)
            taken = list(_by_source(order.sources[stretch], order.rows[stretch], sources))
            places = np.concatenate([positions for _, positions in taken])
            yield _placed(pa.concat_tables([table for table, _ in taken]), places, columns)
        return
    # Rows of a part may belong anywhere: each is put down near its place, and then every stretch is sorted.
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=folder) as temporary:
        put_down = _Stretches(Path(temporary), most, columns)
        for table, positions in _by_source(order.sources, order.rows, sources):
            put_down.put(table, positions)
        yield from put_down.in_order()


def _by_source(
    numbers: np.ndarray, rows: np.ndarray, sources: Sequence[_Source]
) -> Iterator[tuple[pa.Table, np.ndarray]]:
    """Yield the wanted rows of each source, and their positions in the result; a file is opened once."""
    by_source = np.argsort(numbers, kind="stable")
    ends = np.flatnonzero(np.diff(numbers[by_source])) + 1
    for path, stretches in itertools.groupby(
        np.split(by_source, ends), lambda positions: sources[numbers[positions[0]]].path
    ):
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for positions in stretches:
                group = file.read_row_group(sources[numbers[positions[0]]].row_group)
                yield group.take(rows[positions]).replace_schema_metadata(None), positions


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
            yield _placed(table.drop_columns([_POSITION]), table[_POSITION].to_numpy(), self._columns)
            path.unlink()


def _placed(table: pa.Table, positions: np.ndarray, columns: pa.Schema) -> pa.Table:
    return table.take(np.argsort(positions)).cast(columns)


def _check_rows(path: Path, expected: _Keys) -> None:
    """Read a finished file again: the checksums of its pages, and which rows it holds.

    Raises
    ------
    ValueError
        If it is not what was written.
    """
    keys = _Keys()
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(_CHECKED):
                for key in zip(batch["id"].to_pylist(), batch["layer"].to_pylist(), strict=True):
                    keys.add(key)
    except (OSError, pa.ArrowException) as error:
        msg = f"{path} cannot be read again after it was written: {error}. Check the disk, and run again."
        raise ValueError(msg) from error
    if not keys.same_as(expected):
        msg = f"{path} holds {keys.count} rows where {expected.count} were written. Check the disk, and run again."
        raise ValueError(msg)
