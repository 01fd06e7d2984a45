"""From the work file of a raster to a cloud-optimised GeoTIFF, by GDAL's COG driver.

GDAL reads the raw files through a VRT. Overviews are made here, band by band: GDAL makes those of all bands at once,
which for 768 bands takes gigabytes.
"""

from __future__ import annotations

import os
import sys
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from eo_core.files import partial_path, put_in_place, remove_partial, write_text
from eo_embed.writers.quantise import INT8_NODATA, Encoding, band_scale, largest_of_bands
from eo_embed.writers.rasters.raw_cells import RawCells, groups_of
from eo_embed.writers.rasters.work import Whole, WorkFile

#: Side of the internal tiles of a raster's file: each holds all bands, so that larger ones take more memory. Those of
#: small rasters are small, as each band of each tile is unpacked whole. GDAL warns below 128.
BLOCK, _SMALL = 256, 128
#: ZSTD's level: 9, GDAL's own, takes four times as long and saves 6 %.
_LEVEL = 1
#: Bytes that GDAL may keep of what it has read, and threads that compress, each of which holds a tile.
_CACHE, _THREADS = 128 << 20, 4
_GDAL_ERRORS = (RasterioError, CPLE_BaseError, SystemError)
_TYPES = {"float32": "Float32", "float16": "Float16", "int8": "Int8"}


def write_cog(
    work: WorkFile,
    path: Path,
    tags: Mapping[str, str],
    before: Callable[[Path], object] | None = None,
    level: int = _LEVEL,
) -> None:
    """Make the file of a raster of its work file, whole or not at all.

    Parameters
    ----------
    work : WorkFile
        All its cells are written.
    path : Path
        The file.
    tags : mapping
        What it says of itself.
    before : callable, optional
        Called with the finished file before it gets its name.
    level : int
        Of ZSTD.

    Raises
    ------
    OSError
        If it cannot be written, or does not hold the cells afterwards.
    """
    whole = work.whole
    partial = partial_path(path)
    made: list[Path] = []
    try:
        stored, scale = _stored(work, whole, made)
        levels = [stored, *_overviews(stored, whole.encoding, made)]
        for grid in levels:
            made.append(_vrt_of(grid))
            write_text(made[-1], _vrt(whole, levels, grid, scale, tags))
        options = {
            "driver": "COG",
            "blocksize": BLOCK if max(whole.shape[1:]) > _SMALL else _SMALL,
            "interleave": "tile",  # all bands of a tile lie together; GDAL before 3.11 ignores it
            "compress": "zstd",
            "level": level,
            "predictor": 3 if whole.dtype == "float32" else 2,
            "bigtiff": "if_safer",
            "overviews": "force_use_existing" if len(levels) > 1 else "none",
            "num_threads": min(_THREADS, os.cpu_count() or 1),
        }
        try:
            with rasterio.Env(GDAL_CACHEMAX=_CACHE):
                rasterio.shutil.copy(_vrt_of(stored), partial, **options)
        except _GDAL_ERRORS as error:
            msg = f"GDAL could not make {path}: {error}. Is the disk full?"
            raise OSError(msg) from error

        def check(finished: Path) -> None:
            _check(finished, path, levels)
            if before is not None:
                before(finished)

        put_in_place(partial, path, check)
    finally:
        for file in (partial, *made):
            remove_partial(file)


def stored_blocks(path: Path) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield first band, first row and stored values of blocks of a file that `write_cog` has written."""
    with rasterio.open(path) as file:
        for group in groups_of(file.count):
            for row in range(0, file.height, BLOCK):
                window = Window(0, row, file.width, min(BLOCK, file.height - row))
                yield group.start, row, file.read([band + 1 for band in group], window=window)


def _stored(work: WorkFile, whole: Whole, made: list[Path]) -> tuple[RawCells, np.ndarray | None]:
    """Return the cells as the file will store them, with the scale of each band where there is one."""
    cells = work.raw
    if whole.held == whole.encoding:
        return cells, None
    path = work.path.with_name(f"{work.path.name}.int8")
    made.append(path)
    stored = RawCells(path, whole.shape, "int8")
    stored.create()
    largest = np.zeros(whole.shape[0])
    for group, _, rows in cells.blocks():
        largest[group] = np.maximum(largest[group], largest_of_bands(rows))
    scale = band_scale(largest)
    for group, first, rows in cells.blocks():
        stored.write(whole.encoding.encode(rows, scale[group]).array, first, 0, group.start)
    return stored, scale


def _overviews(base: RawCells, encoding: Encoding, made: list[Path]) -> list[RawCells]:
    """Make grids of half the size, until one fits a tile of the file."""
    levels = [base]
    while max(levels[-1].shape[1:]) > BLOCK:
        above = levels[-1]
        depth, height, width = above.shape
        path = base.path.with_name(f"{base.path.name}.{len(levels)}")
        made.append(path)
        below = RawCells(path, (depth, -(-height // 2), -(-width // 2)), base.dtype.name)
        below.create()
        for group, first, rows in above.blocks():
            below.write(halved(rows, encoding), first // 2, 0, group.start)
        levels.append(below)
    return levels[1:]


def halved(rows: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Return stored values ``(D, h, w)`` at half the size: the mean of those of four cells that hold data.

    A mean of AlphaEarth's numbers is not the number of the mean; of them one cell of four is taken.
    """
    if encoding.dtype == "int8_alphaearth":
        return rows[:, ::2, ::2]
    values = np.where(rows == INT8_NODATA, np.nan, rows) if encoding.storage == "int8" else rows.astype(np.float32)
    values = np.pad(values, [(0, 0), *((0, size % 2) for size in rows.shape[1:])], constant_values=np.nan)
    four = np.stack([values[:, row::2, column::2] for row in (0, 1) for column in (0, 1)])
    count = np.isfinite(four).sum(axis=0)
    mean = np.where(count > 0, np.nan_to_num(four).sum(axis=0) / np.maximum(count, 1), np.nan)
    if encoding.storage == "int8":
        return np.where(count > 0, np.rint(np.nan_to_num(mean)), INT8_NODATA).astype(np.int8)
    return mean.astype(rows.dtype)


def _vrt_of(cells: RawCells) -> Path:
    return cells.path.with_name(f"{cells.path.name}.vrt")


def _vrt(
    whole: Whole, levels: Sequence[RawCells], level: RawCells, scale: np.ndarray | None, tags: Mapping[str, str]
) -> str:
    """Return the VRT of a raw file: of the first level with overviews, and all that the file shall say of itself."""
    _, height, width = level.shape
    root = ET.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    if level is levels[0]:
        ET.SubElement(root, "SRS").text = whole.crs
        ET.SubElement(root, "GeoTransform").text = ", ".join(repr(float(v)) for v in whole.affine.to_gdal())
        metadata = ET.SubElement(root, "Metadata")
        for key, value in tags.items():
            ET.SubElement(metadata, "MDI", key=key).text = value
    for band, name in enumerate(whole.names):
        node = _raw_band(root, level, band)
        ET.SubElement(node, "Description").text = name
        ET.SubElement(node, "NoDataValue").text = str(whole.encoding.nodata)
        if scale is not None:
            ET.SubElement(node, "Offset").text = "0"
            ET.SubElement(node, "Scale").text = repr(float(scale[band]))
        for smaller in levels[1:] if level is levels[0] else ():
            overview = ET.SubElement(node, "Overview")
            ET.SubElement(overview, "SourceFilename", relativeToVRT="1").text = _vrt_of(smaller).name
            ET.SubElement(overview, "SourceBand").text = str(band + 1)
    return ET.tostring(root, encoding="unicode")


def _raw_band(root: ET.Element, cells: RawCells, band: int) -> ET.Element:
    kind = {"dataType": _TYPES[cells.dtype.name], "band": str(band + 1), "subClass": "VRTRawRasterBand"}
    node = ET.SubElement(root, "VRTRasterBand", kind)
    ET.SubElement(node, "SourceFilename", relativeToVRT="1").text = cells.path.name
    for key, value in (
        ("ImageOffset", cells.offset(band, 0, 0)),
        ("PixelOffset", cells.offset(band, 0, 1) - cells.offset(band, 0, 0)),
        ("LineOffset", cells.offset(band, 1, 0) - cells.offset(band, 0, 0)),
        ("ByteOrder", "LSB" if sys.byteorder == "little" else "MSB"),
    ):
        ET.SubElement(node, key).text = str(value)
    return node


def _check(partial: Path, path: Path, levels: Sequence[RawCells]) -> None:
    """Compare all pixels of a closed file, and of its overviews, with what it was made of."""
    for number, level in enumerate(levels):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            try:
                with (
                    rasterio.Env(GDAL_CACHEMAX=_CACHE),
                    rasterio.open(partial, **({"overview_level": number - 1} if number else {})) as file,
                ):
                    same = file.shape == level.shape[1:] and file.count == level.shape[0] and _holds(file, level)
            except _GDAL_ERRORS as error:
                msg = f"{path} does not hold what was written: {error}. Is the disk full?"
                raise OSError(msg) from error
        if not same:
            msg = f"{path} does not hold what was written. Is the disk full?"
            raise OSError(msg)


def _holds(file: DatasetReader, level: RawCells) -> bool:
    floating = level.dtype.kind == "f"
    return all(
        np.array_equal(
            file.read([band + 1 for band in group], window=Window(0, row, file.width, rows.shape[1])),
            rows,
            equal_nan=floating,
        )
        for group, row, rows in level.blocks(BLOCK)
    )
