"""Which formats make one file of a raster that is encoded tile by tile, and how."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from eo_embed.writers.formats import FORMATS, Format, GridFormat
from eo_embed.writers.layout import MANIFEST, tags_of
from eo_embed.writers.rasters import cog, cube
from eo_embed.writers.rasters.blend import blended
from eo_embed.writers.rasters.work import Part, Whole, WorkFile


@dataclass(frozen=True)
class Maker:
    """How a format makes the file of a raster.

    Parameters
    ----------
    write : callable
        Makes it of a work file, with tags; calls back before it gets its name.
    blocks : callable
        Yields band, first row and stored values of the rows of a finished file.
    straight : bool
        Whether one process can write cells straight into what becomes the file.
    """

    write: Callable[[WorkFile, Path, Mapping[str, str], Callable[[Path], object]], None]
    blocks: Callable[[Path], Iterator[tuple[int, int, np.ndarray]]]
    straight: bool = False


#: Of other formats each tile has a file of its own.
MAKERS: Mapping[GridFormat, Maker] = MappingProxyType(
    {
        "geotiff": Maker(cog.write_cog, cog.stored_blocks),  # overviews of a COG lie before its cells
        "zarr": Maker(cube.write_group, cube.stored_blocks, straight=True),
    }
)


class RasterWriter:
    """Writes tiles straight into the rasters that they are of.

    Parameters
    ----------
    folder : Path
        Folder of the export.
    form : Format
        Format of the grids, one of `MAKERS`.
    again : collection of (str, str)
        Id and layer of rasters all of whose tiles are made again, so that a finished file does not count.
    alone : bool
        Whether no other process writes tiles of these rasters: they then go straight into the file, where the format
        can do that.
    """

    def __init__(
        self, folder: Path, form: Format, again: Collection[tuple[str, str]] = (), *, alone: bool = False
    ) -> None:
        self._folder, self._form, self._again, self._alone = folder, form, again, alone
        self._begun: dict[Path, WorkFile] = {}

    def write(
        self, whole: Whole, values: np.ndarray, row: int, column: int, plane: int | None = None
    ) -> tuple[Path, Part]:
        """Take the cells of a tile, and return the file of its raster, which is made in the end, and what they are.

        A tile that is blended with others has a plane.

        Raises
        ------
        ValueError
            If the encoding cannot hold the values, or tiles of two rasters have one name.
        OSError
            If they cannot be written.
        """
        path = self._form.path(self._folder, whole.id, whole.layer)
        work = self._begun.get(path)
        if work is None:
            work = self._begin(whole, path)
        elif not work.exists:
            msg = f"{work.path} has vanished while tiles of {whole.id} were written. Run the export again."
            raise OSError(msg)
        work.begin(whole)
        return path, work.write(values, row, column, plane)

    def flush(self) -> None:
        """Write the cells that are still in memory, of strips whose other cells did not come.

        Raises
        ------
        OSError
            If they cannot be written.
        """
        for work in self._begun.values():
            if work.exists:
                work.cells.flush()

    def _begin(self, whole: Whole, path: Path) -> WorkFile:
        """Begin the work file of a raster; one that is finished and gets more tiles is taken over."""
        work, maker = WorkFile(self._folder, whole.id, whole.layer), MAKERS[self._form.name]
        if (whole.id, whole.layer) not in self._again and not work.exists and self._form.is_grid(path):
            work.take_over(whole, maker.blocks(path))
        work.begin(replace(whole, straight=self._alone and maker.straight and whole.planes == 1))
        self._begun[path] = work
        return work


def finish_raster(
    folder: Path,
    form: Format,
    raster_id: str,
    layer: str,
    entries: Sequence[Mapping[str, Any]],
    before: Callable[[str, Path], object],
) -> str:
    """Make the file of a raster of the cells of its tiles, and remove its work file.

    Parameters
    ----------
    folder : Path
        Folder of the export.
    form : Format
        Format of the grids.
    raster_id, layer : str
        Of the raster, and the layer.
    entries : sequence of mapping
        Of its finished tiles, as the ledger holds them; what no tile covers becomes no-data.
    before : callable
        Called with the name of the file and the finished file before it gets that name.

    Returns
    -------
    str
        The file, relative to the folder.

    Raises
    ------
    ValueError
        If cells of a tile are not there any more.
    OSError
        If the file cannot be written.
    """
    work, path = WorkFile(folder, raster_id, layer), form.path(folder, raster_id, layer)
    name = path.relative_to(folder).as_posix()
    tiles = sorted(entries, key=lambda entry: tuple(entry["cells"]))
    parts = [Part.of_entry(entry) for entry in tiles]
    _check_intact(work, tiles, parts)
    made = work
    if work.whole.planes > 1:
        made = WorkFile(folder, raster_id, layer, ".blended")
        blended(work, made, tiles)
    elif work.fill_rest(parts) < 1 and work.whole.straight:
        _check_intact(work, tiles, parts)  # strips were written again
    tags = _tags(work.whole, path, folder, tiles)
    MAKERS[form.name].write(made, path, tags, lambda partial: before(name, partial))
    made.remove()
    work.remove()
    return name


def _check_intact(work: WorkFile, tiles: Sequence[Mapping[str, Any]], parts: Sequence[Part]) -> None:
    lost = [str(entry["id"]) for entry, whole in zip(tiles, work.intact(parts), strict=True) if not whole]
    if lost:
        msg = (
            f"{work.path} does not hold what was written of {len(lost)} of {len(tiles)} tiles (first: "
            f"{', '.join(lost[:3])}). Run again: they are then made again. If it happens again, check the disk."
        )
        raise ValueError(msg)


def _tags(whole: Whole, path: Path, folder: Path, tiles: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return what the file says of itself, from what is known of its tiles."""
    seen = sum(float(tile["valid_fraction"]) * tile["cells"][2] * tile["cells"][3] for tile in tiles)
    return tags_of(
        id=whole.id,
        layer=whole.layer,
        dates=sorted({day for tile in tiles for day in tile["dates"]}),
        sources=list(dict.fromkeys(str(source["path"]) for tile in tiles for source in tile["sources"])),
        valid_fraction=seen / (whole.shape[1] * whole.shape[2]),
        dtype=whole.dtype,
        manifest=folder / MANIFEST,
        path=path,
    )


def raster_file(entry: Mapping[str, Any]) -> str | None:
    """Return the file of the raster that holds the cells of an item; ``None`` of an item with a file of its own."""
    if "cells" not in entry:
        return None
    roots = {form.root for form in FORMATS.values()}
    return next((file for file in entry["files"] if file.split("/")[0] in roots), None)


def intact_tiles(folder: Path, entries: Iterable[Mapping[str, Any]]) -> dict[str, dict[Part, bool]]:
    """Tell by raster file, for rasters with a work file, which of the cells that entries tell of are there."""
    found: dict[str, tuple[WorkFile, list[Part]]] = {}
    for entry in entries:
        file = raster_file(entry)
        if file is None:
            continue
        if file not in found:
            found[file] = WorkFile(folder, entry["raster_id"], entry["layer"]), []
        found[file][1].append(Part.of_entry(entry))
    return {
        file: dict(zip(parts, work.intact(parts), strict=True)) for file, (work, parts) in found.items() if work.exists
    }
