"""From the work file of a raster to a group of a Zarr store, whose chunks lie in shards."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eo_core.files import file_named, partial_path, put_in_place
from eo_embed.writers.cubes import as_dataset, make_room
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.rasters.raw_cells import RawCells
from eo_embed.writers.rasters.work import WorkFile

#: Rows and columns of a chunk, and chunks of a shard along an axis: all bands lie together, as a place is read with all
#: of them, and one file holds sixteen chunks.
_CHUNK, _IN_SHARD = 64, 4


def write_group(work: WorkFile, path: Path, tags: Mapping[str, str], before: Callable[[Path], object]) -> None:
    """Make the Zarr group of a raster of its work file, whole or not at all; shard by shard, so that memory is flat.

    Parameters
    ----------
    work : WorkFile
        All its cells are written.
    path : Path
        The folder of the group.
    tags : mapping
        What it says of itself.
    before : callable
        Called with the finished folder before it gets its name.

    Raises
    ------
    ValueError
        If one item would lie inside another.
    OSError
        If it cannot be written, or does not hold the cells afterwards.
    """
    import zarr  # noqa: PLC0415

    whole, cells = work.whole, work.cells
    make_room(path, whole.id)
    partial = partial_path(path)
    try:
        with file_named(path):
            _describe(work, partial, path, tags)
            depth, height, width = whole.shape
            chunk = min(height, _CHUNK), min(width, _CHUNK)
            shard = tuple(
                side * min(_IN_SHARD, -(-size // side)) for side, size in zip(chunk, (height, width), strict=True)
            )
            array: Any = zarr.open_group(partial, mode="r+", zarr_format=3).create_array(
                "embedding",
                shape=whole.shape,
                dtype=cells.dtype,
                chunks=(depth, *chunk),
                shards=(depth, *shard),
                fill_value=np.float32(np.nan),
                dimension_names=("d", "y", "x"),
                attributes={"grid_mapping": "spatial_ref", "coordinates": "spatial_ref"},
            )
            for rows, columns in _windows(height, width, shard):
                array[:, rows, columns] = _read(cells, rows, columns)

            def check(finished: Path) -> None:
                written = _array(finished)
                for rows, columns in _windows(height, width, shard):
                    if not np.array_equal(written[:, rows, columns], _read(cells, rows, columns), equal_nan=True):
                        msg = f"{path} does not hold what was written. Is the disk full?"
                        raise OSError(msg)
                before(finished)
                if path.is_dir():  # the work file holds all that it held
                    shutil.rmtree(path)

            put_in_place(partial, path, check)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def stored_blocks(path: Path) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield first band, first row and stored values of blocks of a group that `write_group` has written."""
    array = _array(path)
    step = array.chunks[1]
    for row in range(0, array.shape[1], step):
        yield 0, row, array[:, row : row + step]


def _array(group: Path) -> Any:  # noqa: ANN401
    import zarr  # noqa: PLC0415

    return zarr.open_group(group, mode="r", zarr_format=3)["embedding"]


def _describe(work: WorkFile, group: Path, path: Path, tags: Mapping[str, str]) -> None:
    """Write all of a group but the cells."""
    whole = work.whole
    nothing = np.broadcast_to(np.float32(np.nan), whole.shape)
    own = Embedding(
        whole.id,
        whole.layer,
        grid=nothing,
        transform=whole.affine,
        crs=whole.crs,
        shape=whole.shape[1:],
        names=whole.names,
    )
    data = as_dataset(own, path, path).drop_vars("embedding")
    data.assign_attrs(tags).to_zarr(group, mode="w", zarr_format=3, consolidated=False)


def _windows(height: int, width: int, shard: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    for row in range(0, height, shard[0]):
        for column in range(0, width, shard[1]):
            yield slice(row, min(row + shard[0], height)), slice(column, min(column + shard[1], width))


def _read(cells: RawCells, rows: slice, columns: slice) -> np.ndarray:
    with cells.path.open("rb") as file:
        count = rows.stop - rows.start
        bands = [cells.rows(file.fileno(), group, rows.start, count)[:, :, columns] for group in cells.groups]
    return np.concatenate(bands)
