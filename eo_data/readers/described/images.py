"""What an image is by its own facts, where no config says so: sensor, bands, unit, pixel size.

What cannot be known is never guessed: the error says which argument to add.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from types import MappingProxyType

import numpy as np

from eo_core.text import did_you_mean
from eo_data.catalog.hrefs import Href
from eo_data.raster.georeference import PixelGrid
from eo_data.raster.ground import ground_pixel_size
from eo_data.raster.sample import SampleError
from eo_data.readers.files import facts_of
from eo_data.readers.formats.facts import FileFacts
from eo_data.readers.formats.sidecars import sidecar_of
from eo_data.sensors.bands import band_order
from eo_data.sensors.beside import Sidecar
from eo_data.sensors.quality_names import CloudKind, kind_of_name
from eo_data.sensors.sentinel2 import is_sentinel2, sentinel2_offset
from eo_data.sensors.tables import SENSORS, Sensor
from eo_data.sensors.units import InputUnit
from eo_data.temporal.dates import resolve_date

#: Sensors by the names of products and of collections.
_NAMES: tuple[tuple[str, str], ...] = (
    (r"S2[A-D]_MSIL1C|SENTINEL-?2-L1C|S2_L1C|S2L1C|COPERNICUS/S2(?:_HARMONIZED)?$", "sentinel2_l1c"),
    (r"S2[A-D]_MSIL2A|SENTINEL-?2-(?:C1-)?L2A|S2_L2A|S2L2A|S2_SR|HLS[._]S30", "sentinel2_l2a"),
    (r"S1[A-D]_(?:IW|EW|S\d)_|SENTINEL-?1|OPERA_L\d_RTC-S1|S1_GRD", "sentinel1"),
    (r"S3[A-D]_OL_", "sentinel3_olci"),
    (r"S3[A-D]_SL_", "sentinel3_slstr"),
    (r"LE07_|LANDSAT[-_]7", "landsat7"),
    (r"LC0[89]_|LANDSAT[-_][89]|HLS[._]L30", "landsat8"),
)
_BY_NAME = tuple((re.compile(rf"(?<![A-Z0-9])(?:{text})", re.IGNORECASE), key) for text, key in _NAMES)
#: Tags that name a platform or product, of GDAL's drivers, USGS, STAC and common exports.
_NAMING_TAGS = ("PRODUCT_URI", "PRODUCT_ID", "LANDSAT_PRODUCT_ID", "stac:collection", "stac:id", "collection", "sensor")
#: Units as files write them.
_UNITS: Mapping[str, InputUnit] = MappingProxyType(
    dict.fromkeys(("reflectance", "surface_reflectance", "toa_reflectance", "boa_reflectance"), InputUnit.REFLECTANCE)
    | dict.fromkeys(("db", "decibel", "decibels"), InputUnit.DECIBEL)
    | dict.fromkeys(("k", "kelvin"), InputUnit.KELVIN)
    | dict.fromkeys(("linear_power", "linear", "power", "gamma0", "sigma0"), InputUnit.LINEAR_POWER)
    | dict.fromkeys(("dn", "digital_number", "digital number", "counts", "count"), InputUnit.DIGITAL_NUMBER)
)
#: Measured pixels that are so near the nominal size count as it; the rest is rounding and projection.
_NEARLY = 0.1


class UnknownFactsError(SampleError):
    """A file does not say what must be known of it; the message has the line to add."""


@dataclass(frozen=True)
class Stated:
    """What a caller states of images, for what their files do not say.

    Parameters
    ----------
    bands : tuple of str, optional
        Names of the bands in the order of the file.
    sensor : str, optional
        Key of `eo_data.sensors.tables.SENSORS`.
    unit : InputUnit or str, optional
        What the numbers are.
    offset : float, optional
        In digital numbers.
    scale : float, optional
        Physical value of one digital number.
    date_pattern, date_format : str, optional
        As in `eo_data.catalog.sources.ImageSource`.
    """

    bands: tuple[str, ...] | None = None
    sensor: str | None = None
    unit: InputUnit | str | None = None
    offset: float | None = None
    scale: float | None = None
    date_pattern: str | None = None
    date_format: str | None = None


@dataclass(frozen=True)
class Description:
    """What an image is.

    Parameters
    ----------
    sensor : str
        Key of `eo_data.sensors.tables.SENSORS`.
    bands : tuple of str
        Names of its bands, canonical where the sensor knows them.
    file_bands : tuple of str or None
        The order to state to a reader; ``None`` where the file names its bands.
    unit : InputUnit
        What its numbers are.
    offset : str or None
        ``auto`` where the name or metadata of a product tells the offset.
    pixel_size : float or None
        Metres, where they are not those of the sensor's bands.
    quality_band, quality_kind : str or None
        Layer that tells clouds.
    series : bool
        Whether the file has a time axis.
    dates : tuple of date
        As far as its name, tags or time axis tell.
    all_bands : tuple of str
        Of a product, also the bands whose numbers have another unit.
    absent : tuple of str
        Of a product, bands that it lists, but whose files are not there; none where bands are stated.
    placed : bool
        Whether transform and CRS tell where its pixels lie, and so how large they are.
    """

    sensor: str
    bands: tuple[str, ...]
    file_bands: tuple[str, ...] | None
    unit: InputUnit
    offset: str | None = None
    pixel_size: float | None = None
    quality_band: str | None = None
    quality_kind: CloudKind | None = None
    series: bool = False
    dates: tuple[date, ...] = ()
    all_bands: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    placed: bool = True


def describe_image(href: Href, stated: Stated | None = None, said: Sidecar | None = None) -> Description:
    """Return what an image is, by what its file says and the caller states.

    Parameters
    ----------
    href : Href
        The file or product; of a series, one of its files.
    stated : Stated, optional
        What is stated counts; it must not contradict the file, which the readers check.
    said : Sidecar, optional
        What a catalogue says of the file, instead of what lies beside it.

    Raises
    ------
    UnknownFactsError
        If something is not known, with the line to add.
    SampleError
        If the file cannot be opened.
    """
    given = stated or Stated()
    layers = facts_of(href)
    if not layers:
        msg = f"{href} has no bands."
        raise SampleError(msg)
    beside = said or (sidecar_of(href.path) if href.is_local and href.path.is_file() else None)
    product = next((own.product for own in layers if own.product is not None), None)
    if product is not None:
        return replace(_of_product(layers, given), dates=_dates(href, layers, given))
    sensor = given.sensor or _sensor(href, layers, given, beside)
    bands = _bands(href, layers, given, sensor)
    unit = InputUnit(given.unit) if given.unit is not None else _unit(href, layers, beside)
    finest = max(layers, key=lambda own: own.grid.height * own.grid.width)
    return Description(
        sensor,
        bands,
        None if layers[0].named else given.bands and bands,
        unit,
        _offset(href, layers, given, beside, sensor, unit),
        measured_pixel_size(finest.grid, sensor, bands),
        *_quality(bands),
        series=any(own.frames is not None for own in layers),
        dates=_dates(href, layers, given),
        placed=finest.grid.transform is not None and finest.grid.crs is not None,
    )


def _quality(bands: Sequence[str]) -> tuple[str | None, CloudKind | None]:
    """Return the band whose name is that of a quality layer, and what such a layer holds."""
    return next(((band, kind) for band in bands if (kind := kind_of_name(band)) is not None), (None, None))


def _dates(href: Href, layers: Sequence[FileFacts], given: Stated) -> tuple[date, ...]:
    """Return the dates that a file tells; none where it tells none, or several that contradict each other."""
    first = layers[0]
    if first.frame_dates:
        return first.frame_dates
    pattern, form = given.date_pattern, given.date_format
    names = first.frame_names or (href.text,)
    try:
        return tuple(resolve_date(name, tags=first.tags, pattern=pattern, date_format=form).date for name in names)
    except ValueError:
        return ()


def _of_product(layers: Sequence[FileFacts], given: Stated) -> Description:
    """Describe a product: the unit is that of the first layer, or of the first that has one of the wanted bands."""
    own = [(layer, product) for layer in layers if (product := layer.product) is not None]
    table = SENSORS[own[0][1].sensor]
    wanted = {table.canonical(name) or name for name in given.bands or ()}
    first = next((product for layer, product in own if wanted & {band.name for band in layer.bands}), own[0][1])
    alike = [layer for layer, product in own if product.unit is first.unit]
    names = tuple(dict.fromkeys(str(band.name) for layer in alike for band in layer.bands))
    bands = tuple(name for name in names if table.canonical(name) and (not wanted or name in wanted))
    if not bands:
        msg = (
            f"{first.name} ({first.kind}) has none of the bands {', '.join(given.bands or ())}. It has "
            f"{', '.join(name for name in names if table.canonical(name))}."
        )
        raise UnknownFactsError(msg)
    unit = first.unit if given.unit is None else InputUnit(given.unit)
    if unit not in (first.unit, InputUnit.NATIVE):
        msg = f"{first.name} is a product ({first.kind}) in {first.unit}, and {unit} is stated. Leave unit out."
        raise UnknownFactsError(msg)
    finest = max(alike, key=lambda layer: layer.grid.height * layer.grid.width)
    everything = (str(band.name) for layer, _ in own for band in layer.bands)
    return Description(
        first.sensor,
        bands,
        None,
        unit,
        None,
        measured_pixel_size(finest.grid, first.sensor, bands),
        first.quality_band,
        first.quality_kind,
        all_bands=tuple(dict.fromkeys(name for name in everything if table.canonical(name))),
        absent=() if wanted else first.absent,
    )


def measured_pixel_size(grid: PixelGrid, sensor: str, bands: Sequence[str]) -> float | None:
    """Return the size of pixels on the ground in metres, or ``None`` where it is that of the sensor's bands.

    Parameters
    ----------
    grid : PixelGrid
        Of the image.
    sensor : str
        Key of `eo_data.sensors.tables.SENSORS`.
    bands : sequence of str
        Of the image.
    """
    if grid.transform is None or grid.crs is None:
        return None
    size = max(ground_pixel_size(grid.transform, grid.crs, grid.height, grid.width))
    known = {band.gsd for band in SENSORS[sensor].bands if band.name in bands}
    if known and abs(size / min(known) - 1) <= _NEARLY:
        return None
    return float(np.format_float_positional(size, precision=3, fractional=False, trim="-"))


def unit_of_text(text: str | None) -> InputUnit | None:
    """Return the unit that a file writes in one of the usual ways; ``None`` for anything else."""
    return _UNITS.get((text or "").strip().lower())


def sensor_of_text(text: str) -> str | None:
    """Return the sensor that the name of a product or collection says, as a key of `SENSORS`."""
    return next((key for pattern, key in _BY_NAME if pattern.search(text)), None)


def sensors_of_bands(names: Sequence[str | None]) -> list[str]:
    """Return the sensors that know all of the named bands, as keys of `SENSORS`; of one mission's levels, one.

    Of Sentinel-2 both levels have the same bands, but that only level 1C has the cirrus band.
    """
    texts = [name for name in names if name]
    if not texts:
        return []
    found = [key for key, table in SENSORS.items() if all(_known(table.canonical, text) for text in texts)]
    if "sentinel2_l1c" in found and "sentinel2_l2a" in found:
        found.remove("sentinel2_l1c")
    return found


def _known(canonical: object, text: str) -> bool:
    head = re.split(r"[\s,;:(\[]", text.strip())[0]
    return any(callable(canonical) and canonical(word) is not None for word in (text, head))


def _sensor(href: Href, layers: Sequence[FileFacts], given: Stated, beside: Sidecar | None) -> str:
    tags = {**layers[0].tags, **({} if beside is None else beside.tags)}
    texts = [href.name, *(str(tags[key]) for key in _NAMING_TAGS if key in tags)]
    said = next((key for key in map(sensor_of_text, texts) if key), None)
    if said is not None:
        return said
    names = given.bands or [band.name for own in layers for band in own.bands]
    candidates = sensors_of_bands(names)
    if len(candidates) == 1:
        return candidates[0]
    bands = ", ".join(str(name) for name in names if name) or "none"
    if not any(names):
        count = sum(len(own.bands) for own in layers)
        msg = (
            f"{href} does not say what its {count} bands are. Add their names in the order of the file, such as "
            'bands=["BLUE", "GREEN", ...], and sensor="..." if several sensors have such bands '
            f"({', '.join(SENSORS)})."
        )
    else:
        which = f"fit {', '.join(candidates)}" if candidates else "are those of no sensor"
        msg = (
            f"{href} does not say which sensor it is from: its bands ({bands}) {which}. Add "
            f'sensor="{candidates[0] if candidates else "..."}"; valid: {", ".join(SENSORS)}.'
        )
    raise UnknownFactsError(msg)


def _bands(href: Href, layers: Sequence[FileFacts], given: Stated, sensor: str) -> tuple[str, ...]:
    table = SENSORS[sensor]
    if all(own.named for own in layers):
        return tuple(table.canonical(str(band.name)) or str(band.name) for own in layers for band in own.bands)
    descriptions = [band.name for own in layers for band in own.bands]
    _refuse_misspelt(given.bands or (), table)
    try:
        return band_order(len(descriptions), descriptions, given.bands, str(href), table)
    except ValueError as error:
        msg = str(error).replace("file_bands: [...]", 'bands=["...", "..."]')
        raise UnknownFactsError(msg) from error


def _refuse_misspelt(stated: Sequence[str], table: Sensor) -> None:
    """Refuse a stated name that is nearly that of a band: the band would be left out as one that nobody knows.

    A name with another number is another layer (``BLUE_2``), and so is one beside the band that it resembles.
    """
    names, known = [band.name for band in table.bands], {table.canonical(str(name)) for name in stated}
    for name in stated:
        alike = [own for own in names if own not in known and _digits(own) == _digits(str(name))]
        hint = did_you_mean(str(name), alike, cutoff=0.8)
        if hint and table.canonical(str(name)) is None:
            msg = f"{table.name} has no band {name!r}.{hint} Its bands: {', '.join(names)}."
            raise UnknownFactsError(msg)


def _digits(name: str) -> str:
    return "".join(filter(str.isdigit, name))


def _unit(href: Href, layers: Sequence[FileFacts], beside: Sidecar | None) -> InputUnit:
    """Return the unit that a catalogue or a file states, or that its scale tells."""
    if beside and beside.bands and beside.bands[0].unit:
        return InputUnit(beside.bands[0].unit)
    bands = [band for own in layers for band in own.bands]
    written = {unit_of_text(band.unit) for band in bands} - {None}
    if len(written) == 1:
        unit = written.pop()
        # Whole numbers with a scale become the unit by it.
        packed = any(band.is_scaled and not band.dtype.startswith("float") for band in bands)
        return InputUnit.DIGITAL_NUMBER if packed or unit is None else unit
    whole = all(not band.dtype.startswith("float") for band in bands)
    if not written and whole:
        return InputUnit.DIGITAL_NUMBER
    types = ", ".join(sorted({band.dtype for band in bands}))
    msg = (
        f'{href} does not say the unit of its values ({types}). Add unit="reflectance" (a fraction), "decibel", '
        '"linear_power", "kelvin", or "digital_number" with scale and offset.'
    )
    raise UnknownFactsError(msg)


def _offset(
    href: Href, layers: Sequence[FileFacts], given: Stated, beside: Sidecar | None, sensor: str, unit: InputUnit
) -> str | None:
    """Return ``auto`` where the product has the offset; refuse Sentinel-2 of which nobody says whether it has one."""
    if unit is not InputUnit.DIGITAL_NUMBER or not is_sentinel2(sensor) or given.offset is not None:
        return None
    if any(band.is_scaled for own in layers for band in own.bands):
        return None
    tags = {**layers[0].tags, **({} if beside is None else beside.tags)}
    offset = sentinel2_offset(str(href), tags)
    if offset is None and (beside is None or beside.scaling(0) is None):
        msg = (
            f"{href} does not say whether its digital numbers have Sentinel-2's offset. Add offset=-1000 for products "
            "of processing baseline 04.00 and later as ESA ships them (from January 2022 on, and reprocessed ones), or "
            "offset=0 for older ones and where it has been taken off (harmonized collections)."
        )
        raise UnknownFactsError(msg)
    # Also where it is 0: the next file of a series may have the other one.
    return None if offset is None else "auto"
