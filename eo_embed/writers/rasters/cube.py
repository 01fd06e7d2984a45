"""From the work file of a raster to a group of a Zarr store, whose chunks lie in shards."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eo_core.files import file_named, partial_path, put_in_place, remove_file_or_folder
from eo_embed.writers.cubes import as_dataset, make_room
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.rasters.raw_cells import RawCells
from eo_embed.writers.rasters.strips import ARRAY, create_array, open_array
from eo_embed.writers.rasters.work import WorkFile


def write_group(work: WorkFile, path: Path, tags: Mapping[str, str], before: Callable[[Path], object]) -> None:
    """Make the Zarr group of a raster of its work file, whole or not at all; shard by shard, so that memory is flat.

    Cells that went straight into a group stay where they are: it gets the rest, and its name.

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
    whole = work.whole
    make_room(path, whole.id)
    partial = work.path if whole.straight else partial_path(path)
    try:
        with file_named(path):
            for left in partial.iterdir() if whole.straight else ():  # by a run that was killed here
                if left.name not in (ARRAY, "zarr.json"):
                    remove_file_or_folder(left)
            _describe(work, partial, path, tags)
            if not whole.straight:
                _copy(work.raw, create_array(partial, whole.shape), path)
            for left in partial.rglob("*.partial"):  # of a file that Zarr was writing when it was killed
                left.unlink()

            def check(finished: Path) -> None:
                before(finished)
                if path.is_dir():  # the work file holds all that it held
                    shutil.rmtree(path)

            put_in_place(partial, path, check)
    finally:
        if not whole.straight:
            shutil.rmtree(partial, ignore_errors=True)


def _copy(cells: RawCells, array: Any, path: Path) -> None:  # noqa: ANN401
    """Copy all cells to an array, and read them again.

    Raises
    ------
    OSError
        If they are not what was written.
    """
    height, step = array.shape[1], array.shards[1]
    strips = [slice(first, min(first + step, height)) for first in range(0, height, step)]
    for rows in strips:
        array[:, rows] = _read(cells, rows)
    for rows in strips:
        if not np.array_equal(array[:, rows], _read(cells, rows), equal_nan=True):
            msg = f"{path} does not hold what was written. Is the disk full?"
            raise OSError(msg)


def stored_blocks(path: Path) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield first band, first row and stored values of blocks of a group that `write_group` has written."""
    array = open_array(path)
    step = array.chunks[1]
    for row in range(0, array.shape[1], step):
        yield 0, row, array[:, row : row + step]


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
    data = as_dataset(own, path, path).drop_vars(ARRAY)
    data.assign_attrs(tags).to_zarr(group, mode="a", zarr_format=3, consolidated=False)


def _read(cells: RawCells, rows: slice) -> np.ndarray:
    with cells.reading() as rows_of:
        return np.concatenate([rows_of(group, rows.start, rows.stop - rows.start) for group in cells.groups])
