"""The cells of a raster while its tiles are written: one raw file, in which every tile has a place of its own.

Where one process alone writes and the format has chunks, they go straight into what becomes the file of the raster
instead (`eo_embed.writers.rasters.strips`), and are written once.

The raw file holds the numbers as they are stored in the end (``int8``, whose scale only the whole raster tells, as
float32). It is sparse, tiles may come in any order and from several processes, and nothing is brought to the disk
before the end: of each tile a checksum is kept, by which a later run knows what is there.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from affine import Affine

from eo_core.files import partial_path, place_if_first, remove_file_or_folder, remove_partial, write_text
from eo_embed.writers.layout import PARTS, item_path
from eo_embed.writers.quantise import DType, Encoding
from eo_embed.writers.rasters.raw_cells import RawCells
from eo_embed.writers.rasters.strips import StripCells

#: Folder of the work files, below that of the export; it goes with the parts.
WORK = f"{PARTS}/rasters"
#: Work files of tiles that overlap hold one grid for each of four kinds of tiles, none of which overlap.
PLANES = 4


class Part(NamedTuple):
    """The cells that are written of a tile, and the checksum (CRC-32) of what is stored there.

    These are the cells that it stands for; of a tile that is blended with others, which has a plane, some around them,
    too.
    """

    row: int
    column: int
    rows: int
    columns: int
    crc32: int = 0
    plane: int | None = None

    @classmethod
    def of_entry(cls, entry: Mapping[str, Any]) -> Self:
        """Read what `entry` wrote."""
        row, column, rows, columns, *plane = map(int, entry.get("blended", entry["cells"]))
        return cls(row, column, rows, columns, int(entry["crc32"]), *plane)

    def entry(self) -> dict[str, Any]:
        """Return what the ledger holds of it, beside the ``cells`` that the tile stands for."""
        blended = {} if self.plane is None else {"blended": [*self[:4], self.plane]}
        return {**blended, "crc32": self.crc32}


@dataclass(frozen=True)
class Whole:
    """What the grid of a raster is.

    Parameters
    ----------
    id, layer : str
        Of the raster, and the layer.
    shape : tuple of int
        ``(D, h, w)``.
    dtype : {'float32', 'float16', 'int8', 'int8_alphaearth'}
        How its file will store it.
    transform : tuple of float
        Six numbers, from (column, row) of the cells to map coordinates.
    crs : str
        WKT.
    names : tuple of str
        What the D values are.
    planes : int
        Grids that the work file holds: `PLANES` of tiles that are blended in the end.
    unit : bool
        Whether vectors have length one when they are blended.
    straight : bool
        Whether the cells are in what becomes the file, to which one process writes, rather than in a raw file.
    """

    id: str
    layer: str
    shape: tuple[int, int, int]
    dtype: DType
    transform: tuple[float, ...]
    crs: str
    names: tuple[str, ...]
    planes: int = 1
    unit: bool = False
    straight: bool = False

    @property
    def affine(self) -> Affine:
        """The transform."""
        return Affine(*self.transform)

    @property
    def encoding(self) -> Encoding:
        """How the file stores it."""
        return Encoding(self.dtype)

    @property
    def held(self) -> Encoding:
        """How the work file holds it."""
        return Encoding("float32") if self.dtype == "int8" or self.planes > 1 else self.encoding

    def text(self) -> str:
        """Return what the file beside the cells holds: JSON and its checksum (CRC-32)."""
        content = json.dumps(asdict(self))
        return f"{content}\n{zlib.crc32(content.encode())}\n"

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Read what `text` gave.

        Raises
        ------
        ValueError
            If the file holds something else.
        """
        content, _, checksum = path.read_bytes().partition(b"\n")
        if checksum != b"%d\n" % zlib.crc32(content):
            msg = f"{path} is damaged. Run the export again: the tiles of this raster are then made again."
            raise ValueError(msg)
        found: dict[str, Any] = json.loads(content)
        plain: Any = {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
        return cls(**plain)


class WorkFile:
    """The work file of a raster and layer, with what its grid is beside it.

    Parameters
    ----------
    folder : Path
        Folder of the export.
    raster_id, layer : str
        Of the raster, and the layer.
    suffix : str
        Of the file; another one for what is made of it.

    Raises
    ------
    ValueError
        If the id cannot name a file.
    """

    def __init__(self, folder: Path, raster_id: str, layer: str, suffix: str = ".raw") -> None:
        self.path = item_path(folder / WORK, raster_id, layer, suffix)
        self._facts = _facts_of(self.path)
        self._strips: StripCells | None = None

    @property
    def exists(self) -> bool:
        """Whether tiles have been written since the last file of the raster was made."""
        return self.path.exists() and self._facts.is_file()

    @property
    def whole(self) -> Whole:
        """What the grid of the raster is."""
        return Whole.of_file(self._facts)

    @property
    def cells(self) -> RawCells | StripCells:
        """The cells as they are read and written."""
        whole = self.whole
        if not whole.straight:
            return self.raw
        if self._strips is None:  # it keeps cells in memory
            self._strips = StripCells(self.path, whole.shape)
            self._strips.create()
        return self._strips

    @property
    def raw(self) -> RawCells:
        """The raw file as it is read and written: the bands of one plane after those of another."""
        whole = self.whole
        depth, height, width = whole.shape
        return RawCells(self.path, (whole.planes * depth, height, width), whole.held.storage, whole.planes)

    def begin(self, whole: Whole) -> None:
        """Make the file, unless it is there; several processes may do so at once, each before its first tile.

        Raises
        ------
        ValueError
            If another raster has the same name.
        OSError
            If it cannot be made.
        """
        if self.exists:
            if self.whole != replace(whole, straight=self.whole.straight):
                msg = (
                    f"The tiles of {whole.id} are of two rasters: one of {self.whole.shape} cells (bands, rows, "
                    f"columns) from {self.whole.transform} on, one of {whole.shape} from {whole.transform} on. Give "
                    "each raster an id of its own."
                )
                raise ValueError(msg)
            return
        write_text(self._facts, whole.text())
        self.cells.create()

    def write(self, values: np.ndarray, row: int, column: int, plane: int | None = None) -> Part:
        """Write the cells of a tile, float32 ``(D, h, w)`` with NaN for no-data, and return what tells them.

        Raises
        ------
        ValueError
            If the encoding cannot hold the values.
        OSError
            If they cannot be written.
        """
        stored = np.ascontiguousarray(self.whole.held.encode(values).array)
        part = Part(row, column, stored.shape[1], stored.shape[2], zlib.crc32(stored), plane)
        self.cells.write(stored, row, column, self.bands(part).start)
        return part

    def bands(self, part: Part) -> range:
        """Return which bands of the file hold the cells of a part: those of its plane."""
        depth = self.whole.shape[0]
        return range((part.plane or 0) * depth, ((part.plane or 0) + 1) * depth)

    def intact(self, parts: Sequence[Part]) -> list[bool]:
        """Tell of each part whether its cells hold what was written; a row of tiles is read at a time."""
        sums: list[int] = [0] * len(parts)
        if not self.exists:
            return [False] * len(parts)
        try:
            cells = self.cells
        except ValueError:  # nobody knows any more where they lie
            return [False] * len(parts)
        strips: defaultdict[tuple[int, int, range], list[int]] = defaultdict(list)
        for number, part in enumerate(parts):
            strips[part.row, part.rows, self.bands(part)].append(number)
        try:
            with cells.reading() as rows_of:
                for (row, rows, bands), numbers in strips.items():
                    for group in (own for own in cells.groups if own.start in bands):
                        strip = rows_of(group, row, rows)
                        for number in numbers:
                            own = strip[:, :, parts[number].column : parts[number].column + parts[number].columns]
                            sums[number] = zlib.crc32(np.ascontiguousarray(own), sums[number])
        except OSError:
            return [False] * len(parts)
        return [found == part.crc32 for found, part in zip(sums, parts, strict=True)]

    def fill_rest(self, parts: Sequence[Part]) -> float:
        """Write no-data to all cells of which no part tells; return the share of the cells that parts cover."""
        cells, nodata = self.cells, self.whole.held.nodata
        depth, height, width = cells.shape
        missing = np.ones((height, width), dtype=bool)
        for part in parts:
            missing[part.row : part.row + part.rows, part.column : part.column + part.columns] = False
        for row in np.flatnonzero(missing.any(axis=1)):
            edges = np.flatnonzero(np.diff(missing[row].astype(np.int8), prepend=0, append=0))
            for first, end in zip(edges[::2], edges[1::2], strict=True):
                cells.write(np.full((depth, 1, end - first), nodata, cells.dtype), int(row), int(first))
        cells.flush()
        return float(1 - missing.mean())

    def take_over(self, whole: Whole, blocks: Iterator[tuple[int, int, np.ndarray]]) -> None:
        """Make the file from a raster that was finished, so that tiles can be added to it.

        Parameters
        ----------
        whole : Whole
            What its grid is.
        blocks : iterator
            First band, first row and stored values ``(d, rows, w)``, of whole groups of bands.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        partial = partial_path(self.path)
        raw = RawCells(partial, whole.shape, whole.held.storage)
        try:
            raw.create()
            for band, first, rows in blocks:
                raw.write(rows, first, 0, band)
            write_text(self._facts, whole.text())
            # Another process may have been faster, and have written to it since: a rename would undo that.
            place_if_first(partial, self.path)
        finally:
            remove_partial(partial)

    def add(self, other: WorkFile, parts: Sequence[Part]) -> None:
        """Copy the cells of parts from the work file of another process or shard, a part at a time.

        Raises
        ------
        ValueError
            If it is of another raster.
        OSError
            If cells cannot be read or written.
        """
        self.begin(other.whole)
        theirs, mine = other.raw, self.raw
        with other.path.open("rb") as file:
            for part in parts:
                columns = slice(part.column, part.column + part.columns)
                for group in (own for own in theirs.groups if own.start in self.bands(part)):
                    strip = theirs.rows(file.fileno(), group, part.row, part.rows)
                    mine.write(strip[:, :, columns], part.row, part.column, group.start)

    def remove(self) -> None:
        """Remove the file, once what is made of it is in place."""
        remove_file_or_folder(self.path)
        self._facts.unlink(missing_ok=True)


def remove_other_work(folder: Path, kept: Iterable[tuple[str, str]]) -> bool:
    """Remove the work files of an export but those of some rasters; tell whether there were others.

    Parameters
    ----------
    folder : Path
        Folder of the export.
    kept : iterable of (str, str)
        Id and layer of each; not looked at where there are no work files.
    """
    there = list((folder / WORK).rglob("*.raw"))
    files = {WorkFile(folder, *raster).path for raster in kept} if there else set()
    others = [path for path in there if path not in files]
    for path in others:
        remove_file_or_folder(path)
        _facts_of(path).unlink(missing_ok=True)
    return bool(others)


def share_work(folder: Path) -> None:
    """Turn what one process alone could write to into raw files, before several go on with an export.

    Parameters
    ----------
    folder : Path
        Folder of the export.

    Raises
    ------
    ValueError
        If what tells of one is damaged.
    OSError
        If one cannot be written.
    """
    for path in [path for path in (folder / WORK).rglob("*.raw") if path.is_dir()]:
        whole, alone = Whole.of_file(_facts_of(path)), partial_path(path)
        path.replace(alone)
        try:
            shared, cells = replace(whole, straight=False), StripCells(alone, whole.shape)
            cells.create()
            WorkFile(folder, whole.id, whole.layer).take_over(shared, cells.blocks())
        finally:
            remove_file_or_folder(alone)


def _facts_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
