"""Per-band statistics of a data set, as a function and as the command ``python -m eo_data.statistics``.

Streaming: files are read block by block, missing pixels are left out, and memory does not grow with the data set.
The mean and the population standard deviation are those of all pixels together. The published loaders of AnySat
average over images instead: the mean of the images' means and the mean of their standard deviations.

Blocks are merged by the formula of Chan, Golub and LeVeque (1979) in float64.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import TileWindow
from eo_data.catalog.sources import ImageSource
from eo_data.preprocess.statistics import BandStatistics
from eo_data.readers.conversion import convert_frames, target_unit
from eo_data.readers.image_bands import band_names, grid_of, read_file
from eo_data.sensors.bands import UNNAMED, select_bands
from eo_data.sensors.scaling import assumed_scale
from eo_data.sensors.tables import SENSORS, Sensor
from eo_data.sensors.units import PHYSICAL_UNITS, InputUnit, UnitConversion, as_unit

#: Values read at once, over all bands.
_BLOCK_VALUES = 1 << 22
#: Side of a block in most files, in pixels.
_BLOCK = 256


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
    if not files:
        msg = "There are no files to compute statistics of. Give file names or a pattern such as 'images/*.tif'."
        raise ValueError(msg)
    hrefs = [Href(str(path)) for path in files]
    order = band_names(hrefs[0], file_bands, sensor)
    wanted = select or [name for name in order if name != UNNAMED]
    bands = [order[i] for i in select_bands(order, wanted, sensor)]
    packed = conversion.unit is InputUnit.DIGITAL_NUMBER
    source = ImageSource(
        bands=bands,
        sensor=_key(sensor),
        file_bands=file_bands,
        unit=conversion.unit,
        scale=conversion.scale if packed else None,
        offset=conversion.offset if packed else None,
        formula=conversion.formula,
        target_unit=_target(conversion.unit, target, bands, sensor),
        nodata=nodata,
    )
    return statistics_of_source(hrefs, source, progress=progress)


def statistics_of_source(hrefs: Sequence[Href], source: ImageSource, *, progress: bool = False) -> BandStatistics:
    """Compute the statistics of files as a data module would read them, block by block.

    Parameters
    ----------
    hrefs : sequence of Href
        One image per file.
    source : ImageSource
        Bands, unit, scale and offset; ``target_unit`` is the unit of the statistics.
    progress : bool
        Whether to show a bar, if the terminal can.

    Raises
    ------
    ValueError
        For an unreadable file, a missing band, or values that contradict config or unit.
    """
    from tqdm import tqdm  # noqa: PLC0415  (only the command shows a bar)

    statistics = BandStatistics(list(source.bands), target_unit("statistics", source))
    layout = "{l_bar}{bar}| {n:.1f}/{total} files [{elapsed}<{remaining}]"
    with tqdm(total=len(hrefs), disable=None if progress else True, bar_format=layout) as bar:
        for href in hrefs:
            grid = grid_of([href], None, source)
            windows = _windows(grid.height, grid.width, len(source.bands))
            for window in windows:
                reading = read_file(href, source, window)
                frames = reading.pixels if reading.pixels.ndim == 4 else reading.pixels[None]
                statistics.update(convert_frames("statistics", source, frames, [reading], [href])[0])
                bar.update(1 / len(windows))
    return statistics


def _key(sensor: Sensor | None) -> str | None:
    return next((key for key, known in SENSORS.items() if known is sensor), None)


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


def _windows(height: int, width: int, n_bands: int) -> list[TileWindow]:
    """Cover an image with squares of as many values as `_BLOCK_VALUES`, in whole blocks of most files."""
    side = max(1, math.isqrt(_BLOCK_VALUES // n_bands))
    side = side // _BLOCK * _BLOCK or side
    return [
        TileWindow(top, left, side, (0, 0, side, side), (height, width))
        for top in range(0, height, side)
        for left in range(0, width, side)
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


_EXAMPLES = """examples:
  eo statistics 'images/**/*_S2.tif' --unit digital_number --sensor sentinel2_l2a --offset auto --out statistics.yaml
  eo statistics a.tif b.tif --unit decibel --bands VV VH --out statistics_s1.yaml
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="eo statistics",
        description="Mean, standard deviation and range per band of a data set, as YAML. Missing pixels do not count.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", help="raster files, or patterns in quotes: 'images/**/*_S2.tif'")
    parser.add_argument("--out", required=True, type=Path, help="YAML file to write")
    parser.add_argument("--unit", required=True, choices=[str(unit) for unit in InputUnit], help="of the stored values")
    parser.add_argument("--target", choices=[str(unit) for unit in InputUnit], help="of the statistics")
    parser.add_argument("--sensor", choices=list(SENSORS), help="by which names and units of bands are known")
    parser.add_argument("--bands", nargs="+", help="band order of the files, if they do not describe it")
    parser.add_argument("--select", nargs="+", help="bands to keep, in this order (all by default)")
    parser.add_argument("--scale", type=float, help="of digital numbers; by default what the files or products say")
    parser.add_argument("--offset", help="added to digital numbers before the scale: a number, or auto (as the scale)")
    parser.add_argument("--formula", help="for digital numbers, instead of scale and offset: worldcereal_s1")
    parser.add_argument("--nodata", type=float, help="value of missing pixels, instead of those that the files state")
    return parser


def _source(given: argparse.Namespace, order: Sequence[str], sensor: Sensor | None) -> ImageSource:
    """Return what the arguments say, as a config would."""
    wanted = given.select or [name for name in order if name != UNNAMED]
    bands = [order[i] for i in select_bands(order, wanted, sensor)]
    packed = given.unit == InputUnit.DIGITAL_NUMBER
    offset = given.offset if given.offset in (None, "auto") else _number(given.offset)
    return ImageSource(
        bands=bands,
        sensor=given.sensor,
        file_bands=given.bands,
        unit=given.unit,
        scale=given.scale if packed else None,
        offset=offset if packed else None,
        formula=given.formula,
        target_unit=_target(as_unit(given.unit), given.target, bands, sensor),
        nodata=given.nodata,
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        msg = f"--offset must be a number of digital numbers, such as -1000, or auto, got {text!r}."
        raise ValueError(msg) from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; faults of the input end it with a message and exit code 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        files = _expand(given.files)
        given.out.parent.mkdir(parents=True, exist_ok=True)  # rather now than after hours of reading
        UnitConversion(given.unit, formula=given.formula)  # rather before a file is opened
        hrefs = [Href(str(path)) for path in files]
        sensor = SENSORS[given.sensor] if given.sensor else None
        source = _source(given, band_names(hrefs[0], given.bands, sensor), sensor)
        statistics = statistics_of_source(hrefs, source, progress=True)
        provenance: dict[str, Any] = {
            "files": len(files),
            "patterns": list(given.files),
            "sensor": given.sensor,
            "unit": given.unit,
        }
        if source.unit is InputUnit.DIGITAL_NUMBER:
            usual = assumed_scale(source.sensor, source.bands[0])
            default = {"scale": usual or "of the files", "offset": "of the files" if usual is None else 0.0}
            stated = {"scale": source.scale, "offset": source.offset}
            provenance |= {key: default[key] if value is None else value for key, value in stated.items()}
            provenance["formula"] = source.formula
        statistics.write_yaml(
            given.out, provenance | {"nodata": given.nodata, "std": "population, all pixels together"}
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
