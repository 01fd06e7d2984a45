"""Grids as Zarr v3 stores of the embeddings convention, one a CRS: sharded, int8 with a scale for each cell.

The convention is ``geoemb:`` version 1 (README.md and schema.json of
github.com/geo-embeddings/embeddings-zarr-convention at 0655212), with ``proj:`` and ``spatial:`` beside it. Axes and
names are those that readers of it know (time, band, y, x; ``embeddings`` and ``scales``; a group ``utm33`` where the
CRS is a UTM zone).
"""

from __future__ import annotations

import datetime as dt
import shutil
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np
from pyproj import CRS

from eo_core.arguments import one_of
from eo_core.files import partial_path, put_in_place, remove_file_or_folder
from eo_core.fingerprint import fingerprint
from eo_embed.reading.publishing.change import Change
from eo_embed.reading.publishing.conventions import group_attributes, group_of, place_attributes, store_name
from eo_embed.reading.publishing.grids import ExportedGrid
from eo_embed.reading.publishing.lattice import Lattice, common, overlaps
from eo_embed.reading.publishing.told import Told
from eo_embed.writers.cubes import need_zarr
from eo_embed.writers.embedding import Cells
from eo_embed.writers.layout import cell_centres
from eo_embed.writers.quantise import INT8_NODATA, int8_of_cells

if TYPE_CHECKING:
    import zarr

ZarrType = Literal["int8", "float16", "float32"]
ZARR_TYPES: tuple[ZarrType, ...] = get_args(ZarrType)
#: Cells that lie on each other: an error, or the first item by id that has data there.
Overlap = Literal["refuse", "first"]
OVERLAPS: tuple[Overlap, ...] = get_args(Overlap)
#: Rows and columns of a chunk, which is what a reader fetches at least.
CHUNK = 32
#: Most rows and columns of a shard, and most numbers (128 MB of float32): one is in memory at once.
_MOST_SHARD, _SHARD_VALUES = 1024, 1 << 25


@dataclass(frozen=True)
class StoreSettings:
    """How a store is written.

    Parameters
    ----------
    dtype : {'int8', 'float16', 'float32'}
        Of the numbers; int8 with a scale for each cell, which is its largest magnitude over 127.
    overlap : {'refuse', 'first'}
        What happens to cells that several items of one year have.
    shards : bool
        Whether many chunks lie in one file, which GDAL 3.12 cannot read.

    Raises
    ------
    ValueError
        For another dtype or overlap.
    """

    dtype: ZarrType = "int8"
    overlap: Overlap = "refuse"
    shards: bool = True

    def __post_init__(self) -> None:
        one_of("dtype", self.dtype, ZARR_TYPES)
        one_of("overlap", self.overlap, OVERLAPS)


def write_store(
    folder: Path, lattice: Lattice, settings: StoreSettings, change: Change, told: Told, says: Mapping[str, Any]
) -> tuple[Path, bool]:
    """Write the store of one CRS, whole or not at all; one that is there and was made the same way stays.

    Parameters
    ----------
    folder : Path
        Where stores lie; the name says the CRS (``EPSG-32633.zarr``).
    lattice : Lattice
        The grids and their places.
    settings : StoreSettings
        How it is written.
    change : Change
        What is done to the vectors.
    told : Told
        What the store says of the encoder and the data.
    says : mapping
        What else the store says of how it was made, with ``made_of``.

    Returns
    -------
    Path, bool
        The store, and whether it was written now.

    Raises
    ------
    ImportError
        Without zarr.
    ValueError
        If items overlap, some have dates and others none, or there is another store of that name.
    OSError
        If it cannot be written, or does not hold afterwards what was written.
    """
    need_zarr()
    import zarr  # noqa: PLC0415

    path = folder / f"{store_name(lattice.crs)}.zarr"
    years = _years(lattice)
    _refuse_overlaps(lattice, years, settings)
    own = fingerprint({"made_of": says["made_of"], "crs": lattice.crs, **_plain(settings)})
    if path.is_dir() and any(path.iterdir()):
        if zarr.open_group(path, mode="r").attrs.get("eo_embed:made_of") == own:
            return path, False
        msg = f"{path} is there and was made of other things or in another way. Remove it, or give another folder."
        raise ValueError(msg)
    partial = partial_path(path)
    try:
        writer = _StoreWriter(partial, lattice, settings, change, years)
        said = {f"eo_embed:{name}": value for name, value in {**says, "made_of": own}.items()}
        writer.begin({**group_attributes(lattice, settings.dtype, change, told), **said})
        writer.fill()
        remove_file_or_folder(path)  # an empty folder is in the way of a rename on some systems
        put_in_place(partial, path, writer.check)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path, True


def _plain(settings: StoreSettings) -> dict[str, Any]:
    return {"dtype": settings.dtype, "overlap": settings.overlap, "shards": settings.shards}


def _years(lattice: Lattice) -> tuple[int | None, ...]:
    """Return the year of each grid, that of its middle date; ``None`` for all if no grid has a date."""
    found = [_year(grid) for grid, _ in lattice.items]
    undated = [grid.id for (grid, _), year in zip(lattice.items, found, strict=True) if year is None]
    if undated and len(undated) < len(found):
        msg = (
            f"{len(undated)} of {len(found)} items have no date (first: {undated[0]}), so they have no place on the "
            "axis of time. Choose items with ids, or convert to cog."
        )
        raise ValueError(msg)
    return tuple(found)


def _year(grid: ExportedGrid) -> int | None:
    days = sorted(grid.dates)
    return dt.date.fromisoformat(days[(len(days) - 1) // 2]).year if days else None


def _refuse_overlaps(lattice: Lattice, years: Sequence[int | None], settings: StoreSettings) -> None:
    if settings.overlap == "first":
        return
    for year in set(years):
        own = [item for item, at in zip(lattice.items, years, strict=True) if at == year]
        for one, other in overlaps([cells for _, cells in own]):
            msg = (
                f"{own[one][0].id} and {own[other][0].id} have cells in common{f' in {year}' if year else ''}. Choose "
                "items with ids, or state overlap: first, which keeps those of the first id that has data."
            )
            raise ValueError(msg)


class _StoreWriter:
    """Writes a store shard by shard, and knows a checksum of each."""

    def __init__(
        self, path: Path, lattice: Lattice, settings: StoreSettings, change: Change, years: Sequence[int | None]
    ) -> None:
        self.path, self.lattice, self.settings, self.change = path, lattice, settings, change
        self.years = years
        self.steps: list[int | None] = [*sorted({year for year in years if year is not None})] or [None]
        self.depth = change.depth(lattice.items[0][0].depth)
        side = _MOST_SHARD
        while side > CHUNK and side * side * max(self.depth, lattice.items[0][0].depth) > _SHARD_VALUES:
            side //= 2
        self.side = side
        self._sums: dict[tuple[int, Cells], int] = {}

    def begin(self, attributes: dict[str, Any]) -> None:
        """Make the groups, the empty arrays and the coordinates."""
        import zarr  # noqa: PLC0415

        group = group_of(self.lattice.crs)
        place = place_attributes(self.lattice)
        root = zarr.open_group(self.path, mode="w", zarr_format=3)
        root.attrs.update({**place, **attributes})
        own = root.create_group(group, attributes=place) if group else root
        shape = (self.lattice.place.height, self.lattice.place.width)
        self._array(own, "embeddings", self.settings.dtype, shape, bands=True)
        if self.settings.dtype == "int8":
            self._array(own, "scales", "float32", shape, bands=False)
        self._coordinates(own, shape)

    def _array(self, group: zarr.Group, name: str, dtype: str, shape: tuple[int, int], *, bands: bool) -> None:
        from zarr.codecs import ZstdCodec  # noqa: PLC0415

        fill = INT8_NODATA if dtype == "int8" else np.inf if name == "scales" else np.nan
        axes = (len(self.steps), *([self.depth] if bands else []), *shape)
        lead = (1, *([self.depth] if bands else []))
        group.create_array(
            name,
            shape=axes,
            dtype=dtype,
            chunks=(*lead, CHUNK, CHUNK),
            shards=(*lead, self.side, self.side) if self.settings.shards else None,
            fill_value=np.dtype(dtype).type(fill),
            compressors=ZstdCodec(level=3),
            dimension_names=["time", *(["band"] if bands else []), "y", "x"],
            attributes={"grid_mapping": "spatial_ref"},
        )

    def _coordinates(self, group: zarr.Group, shape: tuple[int, int]) -> None:
        """Write the places of the cells' centres, the years, the numbers of the bands, and the CRS as CF has it."""
        values: dict[str, np.ndarray] = {**cell_centres(self.lattice.transform, shape)}
        values["band"] = np.arange(self.depth, dtype=np.int32)
        if self.steps != [None]:
            values["time"] = np.array(self.steps, np.int32)
        told: dict[str, dict[str, Any]] = {"time": {"long_name": "year of the middle date"}}
        for name, own in values.items():
            group.create_array(name, data=own, dimension_names=[name], attributes=told.get(name, {}))
        crs, t = CRS.from_user_input(self.lattice.crs), self.lattice.transform
        mapping: dict[str, Any] = {"crs_wkt": crs.to_wkt(), "spatial_ref": crs.to_wkt()}
        mapping["GeoTransform"] = " ".join(repr(float(v)) for v in (t.c, t.a, t.b, t.f, t.d, t.e))
        group.create_array("spatial_ref", data=np.array(0, np.int32), attributes=mapping)

    def fill(self) -> None:
        """Write each shard that an item has cells of, and then the metadata of all arrays in one place."""
        import zarr  # noqa: PLC0415

        group = self._opened("r+")
        for step, shard, items in self._shards():
            arrays = self._stored(self.change.apply(self._values(items, shard)))
            for name, stored in arrays.items():
                _array_of(group, name)[self._index(name, step, shard)] = stored[None]
            self._sums[step, shard] = _checksum(arrays)
        with warnings.catch_warnings():
            # Not yet in the specification of Zarr 3, and readers of the convention ask for it.
            warnings.filterwarnings("ignore", message="Consolidated metadata")
            zarr.consolidate_metadata(self.path)
            if group_of(self.lattice.crs):
                zarr.consolidate_metadata(self.path / group_of(self.lattice.crs))

    def check(self, path: Path) -> None:
        """Read all shards again.

        Raises
        ------
        OSError
            If one does not hold what was written.
        """
        group = self._opened("r", path)
        for (step, shard), expected in self._sums.items():
            names = ("embeddings", "scales") if self.settings.dtype == "int8" else ("embeddings",)
            found = {name: np.asarray(_array_of(group, name)[self._index(name, step, shard)])[0] for name in names}
            if _checksum(found) != expected:
                msg = (
                    f"{path} does not hold what was written, near row {shard.top}, column {shard.left}. Check the disk."
                )
                raise OSError(msg)

    def _opened(self, mode: Literal["r", "r+"], path: Path | None = None) -> zarr.Group:
        import zarr  # noqa: PLC0415

        return zarr.open_group(path or self.path, mode=mode, path=group_of(self.lattice.crs), use_consolidated=False)

    def _shards(self) -> Iterator[tuple[int, Cells, list[int]]]:
        """Yield the step of time, the cells and the numbers of the items of each shard that has any, in order."""
        wanted: dict[tuple[int, int, int], list[int]] = {}
        for number, ((_, cells), year) in enumerate(zip(self.lattice.items, self.years, strict=True)):
            for row in range(cells.top // self.side, (cells.top + cells.height - 1) // self.side + 1):
                for column in range(cells.left // self.side, (cells.left + cells.width - 1) // self.side + 1):
                    wanted.setdefault((self.steps.index(year), row, column), []).append(number)
        whole = Cells(0, 0, self.lattice.place.height, self.lattice.place.width)
        for (step, row, column), items in sorted(wanted.items()):
            shard = common(Cells(row * self.side, column * self.side, self.side, self.side), whole)
            if shard is not None:
                yield step, shard, items

    def _values(self, items: Sequence[int], shard: Cells) -> np.ndarray:
        """Return float32 ``(D, h, w)`` of a shard; of cells that several items have, those of the first with data."""
        depth = self.lattice.items[0][0].depth
        values = np.full((depth, shard.height, shard.width), np.nan, np.float32)
        for grid, cells in (self.lattice.items[number] for number in items):
            part = common(cells, shard)
            if part is None:
                continue
            read = grid.read(part._replace(top=part.top - cells.top, left=part.left - cells.left))
            if np.isinf(read).any():
                msg = f"{grid.path}: expected finite vectors or NaN, got infinite ones. Export it again."
                raise ValueError(msg)
            rows = slice(part.top - shard.top, part.top - shard.top + part.height)
            columns = slice(part.left - shard.left, part.left - shard.left + part.width)
            there = values[:, rows, columns]
            np.copyto(there, read, where=np.isnan(there))
        return values

    def _stored(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return the arrays of a store by name."""
        if self.settings.dtype != "int8":
            return {"embeddings": values.astype(self.settings.dtype)}
        numbers, scales = int8_of_cells(values)
        return {"embeddings": numbers, "scales": scales}

    def _index(self, name: str, step: int, shard: Cells) -> tuple[slice, ...]:
        rows = slice(shard.top, shard.top + shard.height)
        columns = slice(shard.left, shard.left + shard.width)
        bands = () if name == "scales" else (slice(None),)
        return (slice(step, step + 1), *bands, rows, columns)


def _array_of(group: zarr.Group, name: str) -> zarr.Array:
    return cast("zarr.Array", group[name])


def _checksum(arrays: dict[str, np.ndarray]) -> int:
    found = 0
    for name in sorted(arrays):
        found = zlib.crc32(np.ascontiguousarray(arrays[name]), found)
    return found
