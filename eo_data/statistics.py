"""Per-band statistics of a data set, as a function and as the command ``python -m eo_data.statistics``.

Streaming: files are read block by block, missing pixels are left out, and memory does not grow with the data set.
The mean and the population standard deviation are those of all pixels together. The published loaders of AnySat
average over images instead: the mean of the images' means and the mean of their standard deviations.

Blocks are merged by the formula of Chan, Golub and LeVeque (1979) in float64.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from eo_data.preprocess.statistics import BandStatistics
from eo_data.sensors.bands import UNNAMED, band_order, select_bands
from eo_data.sensors.sentinel2 import sentinel2_offset
from eo_data.sensors.tables import SENSORS, Sensor
from eo_data.sensors.units import PHYSICAL_UNITS, InputUnit, UnitConversion, as_unit, check_range, to_physical

#: Values read at once, over all bands.
_BLOCK_VALUES = 1 << 22


def statistics_of_files(
    files: Sequence[str | Path],
    conversion: UnitConversion,
    *,
    sensor: Sensor | None = None,
    file_bands: Sequence[str] | None = None,
    select: Sequence[str] | None = None,
    target: InputUnit | str | None = None,
    nodata: float | None = None,
    progress: bool = False,
) -> BandStatistics:
    """Compute the statistics of raster files, block by block.

    Parameters
    ----------
    files : sequence of str or Path
        What rasterio reads, one image per file. Bands are matched by name, so their order may differ.
    conversion : UnitConversion
        What the stored numbers are.
    sensor : Sensor, optional
        By which spellings of band names and their units are known.
    file_bands : sequence of str, optional
        Band order of the files, where they do not describe it (`eo_data.sensors.bands.band_order`).
    select : sequence of str, optional
        Bands to keep, in this order; all bands of the first file by default.
    target : InputUnit or str, optional
        Unit of the statistics. By default what an image in that unit becomes in a datamodule: the physical unit of
        the sensor's bands; without a sensor reflectance for digital numbers, else the unit as it is.
    nodata : float, optional
        Value of missing pixels, instead of those that the files state.
    progress : bool
        Whether to show a bar, if the terminal can.

    Returns
    -------
    BandStatistics
        Over all valid pixels.

    Raises
    ------
    ValueError
        For no files, an unreadable file, an unknown band order, a missing band, values that contradict the unit, or
        bands of different units.
    """
    from tqdm import tqdm  # noqa: PLC0415  (only the command shows a bar)

    if not files:
        msg = "There are no files to compute statistics of. Give file names or a pattern such as 'images/*.tif'."
        raise ValueError(msg)
    order = _order(files[0], file_bands, sensor)
    wanted = select or [name for name in order if name != UNNAMED]
    bands = [order[i] for i in select_bands(order, wanted, sensor)]
    statistics = BandStatistics(bands, _target(conversion.unit, target, bands, sensor))
    layout = "{l_bar}{bar}| {n:.1f}/{total} files [{elapsed}<{remaining}]"
    with tqdm(total=len(files), disable=None if progress else True, bar_format=layout) as bar:
        for path in files:
            indexes = [i + 1 for i in select_bands(_order(path, file_bands, sensor), bands, sensor)]
            for block, share in _blocks(path, indexes, nodata):
                check_range(block, conversion.unit, str(path))
                statistics.update(to_physical(block, conversion, statistics.unit))
                bar.update(share)
    return statistics


def _target(unit: InputUnit, wanted: InputUnit | str | None, bands: Sequence[str], sensor: Sensor | None) -> InputUnit:
    if wanted is not None:
        return as_unit(wanted)
    if unit is InputUnit.NATIVE or sensor is None:
        return InputUnit.REFLECTANCE if unit is InputUnit.DIGITAL_NUMBER else unit
    names = {sensor.canonical(band) for band in bands}
    units = {PHYSICAL_UNITS[band.unit] for band in sensor.bands if band.name in names}
    if len(units) != 1:
        msg = (
            f"The bands {', '.join(bands)} have {' and '.join(sorted(units)) or 'no known unit'} in {sensor.name}. "
            "Select bands of one unit, or state the target unit."
        )
        raise ValueError(msg)
    return units.pop()


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    try:
        with rasterio.open(path) as file:
            yield file
    except RasterioError as error:
        msg = f"{path} cannot be read: {error}. It may be truncated or no raster; copy it again or leave it out."
        raise ValueError(msg) from error


def _order(path: str | Path, file_bands: Sequence[str] | None, sensor: Sensor | None) -> tuple[str, ...]:
    with _opened(path) as file:
        return band_order(file.count, file.descriptions, file_bands, str(path), sensor)


def _blocks(path: str | Path, indexes: Sequence[int], nodata: float | None) -> Iterator[tuple[np.ndarray, float]]:
    """Blocks of a file as float32 ``(C, H, W)`` with NaN where there is no data, and their share of the file."""
    with _opened(path) as file:
        windows = _windows(file, len(indexes))
        for window in windows:
            pixels = file.read(list(indexes), window=window, masked=nodata is None)
            values = np.ma.getdata(pixels).astype(np.float32)
            values[np.ma.getmaskarray(pixels) if nodata is None else pixels == nodata] = np.nan
            yield values, 1 / len(windows)


def _windows(file: Any, n_bands: int) -> list[Window]:  # noqa: ANN401  (rasterio is untyped)
    """Cover a file with windows of whole blocks, as many as fit into `_BLOCK_VALUES`; larger blocks are cut."""
    limit = max(1, _BLOCK_VALUES // n_bands)
    block_height, block_width = file.block_shapes[0]
    width = min(file.width, block_width * max(1, limit // (block_height * block_width)))
    height = min(file.height, block_height * max(1, limit // (block_height * width)), max(1, limit // width))
    return [
        Window(column, row, min(width, file.width - column), min(height, file.height - row))
        for row in range(0, file.height, height)
        for column in range(0, file.width, width)
    ]


def _expand(patterns: Sequence[str]) -> list[Path]:
    """Return the files that names and patterns stand for, sorted, each once."""
    files: set[Path] = set()
    for pattern in patterns:
        path = Path(pattern)
        if path.is_file():
            files.add(path)
            continue
        inside = str(path.relative_to(path.anchor))
        found = [] if path.is_dir() else [p for p in Path(path.anchor).glob(inside) if p.is_file()]
        if not found:
            fault = "is a folder" if path.is_dir() else "matches no file"
            msg = f"{pattern!r} {fault}. Give file names or a pattern such as 'images/*.tif' or 'images/**/*.tif'."
            raise ValueError(msg)
        files.update(found)
    return sorted(files)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eo_data.statistics",
        description="Mean, standard deviation and range per band of a data set, as YAML. Missing pixels do not count.",
    )
    parser.add_argument("files", nargs="+", help="raster files, or patterns in quotes: 'images/**/*_S2.tif'")
    parser.add_argument("--out", required=True, type=Path, help="YAML file to write")
    parser.add_argument("--unit", required=True, choices=[str(unit) for unit in InputUnit], help="of the stored values")
    parser.add_argument("--target", choices=[str(unit) for unit in InputUnit], help="of the statistics")
    parser.add_argument("--sensor", choices=list(SENSORS), help="by which names and units of bands are known")
    parser.add_argument("--bands", nargs="+", help="band order of the files, if they do not describe it")
    parser.add_argument("--select", nargs="+", help="bands to keep, in this order (all by default)")
    parser.add_argument("--scale", type=float, default=1e-4, help="of digital numbers (0.0001)")
    parser.add_argument("--offset", help="added to digital numbers before the scale: a number, or auto (0)")
    parser.add_argument("--formula", help="for digital numbers, instead of scale and offset: worldcereal_s1")
    parser.add_argument("--nodata", type=float, help="value of missing pixels, instead of those that the files state")
    return parser


def _offset(stated: str | None, files: Sequence[Path]) -> float:
    """Return the offset of digital numbers: as stated, or from the names and metadata of the products.

    Raises
    ------
    ValueError
        If it is to be found and files differ or do not say it; or if it is not stated, but the files have one.
    """
    if stated not in (None, "auto"):
        return float(str(stated))
    found: set[float | None] = set()
    for path in files:
        with rasterio.open(path) as file:
            found.add(sentinel2_offset(product_name=str(path), metadata=file.tags()))
    if stated is None and not any(found):
        return 0.0
    if stated is None or len(found) != 1 or None in found:
        shown = ", ".join("unknown" if offset is None else f"{offset:g}" for offset in found)
        msg = f"The products' offsets of digital numbers are: {shown}. State --offset -1000 or 0, or auto if all agree."
        raise ValueError(msg)
    return float(found.pop() or 0.0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; faults of the input end it with a message and exit code 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        files = _expand(given.files)
        given.out.parent.mkdir(parents=True, exist_ok=True)  # rather now than after hours of reading
        given.offset = _offset(given.offset, files) if given.unit == InputUnit.DIGITAL_NUMBER else 0.0
        conversion = UnitConversion(given.unit, given.scale, given.offset, given.formula)
        statistics = statistics_of_files(
            files,
            conversion,
            sensor=SENSORS[given.sensor] if given.sensor else None,
            file_bands=given.bands,
            select=given.select,
            target=given.target,
            nodata=given.nodata,
            progress=True,
        )
        provenance: dict[str, Any] = {
            "files": len(files),
            "patterns": list(given.files),
            "sensor": given.sensor,
            "unit": given.unit,
        }
        if conversion.unit is InputUnit.DIGITAL_NUMBER:
            provenance |= {"scale": given.scale, "offset": given.offset, "formula": given.formula}
        statistics.write_yaml(
            given.out, provenance | {"nodata": given.nodata, "std": "population, all pixels together"}
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
