"""What products say of their digital numbers: the scale and the offset of a band, by product name or metadata.

Sources: USGS, Landsat Collection 2 Level-2 Science Product Guides (reflectance 0.0000275 and -0.2, kelvin 0.00341802
and 149.0, fill 0) and Landsat 8-9 Data Users Handbook (level 1: rescaling factors and sun elevation of the MTL file);
NASA, HLS 2.0 user guide (reflectance 0.0001, thermal bands of L30 in 0.01 degrees Celsius, fill -9999).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from eo_data.sensors.tables import SENSORS, Band

_LANDSAT = ("landsat7", "landsat8")
_SENTINEL2 = ("sentinel2_l1c", "sentinel2_l2a")
#: 0 degrees Celsius in kelvin.
_CELSIUS = 273.15

#: ``LC09_L2SP_193024_20220615_20230411_02_T1``: instrument and satellite, level, path and row, dates, collection, tier.
_LANDSAT_ID = re.compile(
    r"(?P<platform>L[COTEM]0[4-9])_(?P<level>L[12])[A-Z]{2}_\d{6}_\d{8}_\d{8}_(?P<collection>\d\d)_(?:T1|T2|RT|A1|A2)"
    r"(?P<rest>[^/\\]*)",
    re.IGNORECASE,
)
#: Level 2 by other names: tiles of the US (``LC08_CU_003010_20210502_20210520_02_SR_B2``), and Earth Engine's ids.
_LANDSAT_LEVEL2 = re.compile(
    r"(?P<platform>L[COTEM]0[4-9])_(?:CU|AK|HI)_\d{6}_\d{8}_\d{8}_02_S[RT](?![A-Z])"
    r"|LANDSAT[/_](?P<platform_>L[COTEM]0[4-9])[/_]C02[/_]T[12]_L2",
    re.IGNORECASE,
)
#: ``HLS.L30.T33TWN.2022166T100559.v2.0.B04.tif``, and names in which the dots became underscores.
_HLS = re.compile(r"HLS[._](?P<sensor>[LS]30)[._]T\d{2}[A-Z]{3}[._]\d{7}T\d{6}", re.IGNORECASE)
#: What marks a file that was made from level 1: reflectance at the top or the bottom of the atmosphere, temperature.
_DERIVED = re.compile(r"(?<![a-z])(sr|toa|boa|refl|reflectance|bt|lst|st)(?![a-z])", re.IGNORECASE)

#: Of Collection 2 and of Collection 1.
_LEVEL1_GROUPS = ("LEVEL1_RADIOMETRIC_RESCALING", "RADIOMETRIC_RESCALING")
#: Level-2 group and the start of its keys, by the unit of a band.
_LEVEL2_GROUPS: Mapping[str, tuple[str, str, str]] = {
    "reflectance": ("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", "REFLECTANCE", "{number}"),
    "K": ("LEVEL2_SURFACE_TEMPERATURE_PARAMETERS", "TEMPERATURE", "ST_B{number}"),
}


@dataclass(frozen=True)
class Scaling:
    """Physical value = number * scale + offset.

    Parameters
    ----------
    scale : float
        Physical value of one digital number.
    offset : float
        In the physical unit, added after scaling: as GDAL, CF and STAC state it.
    origin : str
        What says so, for messages.
    missing : float or None
        The number that stands for no data by the definition of the product, if it is known.

    Raises
    ------
    ValueError
        If the scale is 0 or not finite, or the offset is not finite.
    """

    scale: float
    offset: float
    origin: str
    missing: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale != 0 and math.isfinite(self.offset)):
            msg = (
                f"A scale must be a finite number other than 0 and an offset finite, got {self.scale!r} and "
                f"{self.offset!r} by {self.origin}. State scale and offset in the config."
            )
            raise ValueError(msg)

    @property
    def number_offset(self) -> float:
        """The offset as configs state it: added to the number before it is scaled."""
        return self.offset / self.scale

    def same(self, other: Scaling, tolerance: float = 1e-3) -> bool:
        """Return whether both mean the same up to rounding of stored decimals.

        The scales may differ by a share ``tolerance``, the offsets by half a number: configs state them in numbers,
        often whole ones (-7273 for -7272.7).
        """
        scale = abs(self.scale)
        return abs(self.scale - other.scale) <= tolerance * scale and abs(self.offset - other.offset) <= 0.51 * scale

    def __str__(self) -> str:
        """Return the two settings as a config states them."""
        return f"scale: {self.scale:.6g}, offset: {self.number_offset:.6g}"


_REFLECTANCE = Scaling(2.75e-5, -0.2, "Landsat Collection 2 level 2", missing=0)
_KELVIN = Scaling(0.00341802, 149.0, "Landsat Collection 2 level 2", missing=0)


def product_scaling(sensor: str | None, band: str, product_name: str, metadata: Mapping[str, object]) -> Scaling | None:
    """Return what a product says of the digital numbers of one band.

    Parameters
    ----------
    sensor : str or None
        Key of `eo_data.sensors.tables.SENSORS`; with ``None`` the product tells.
    band : str
        Canonical name of the band.
    product_name : str
        Name or path of the file or product: names of USGS and HLS, also of copies that keep the id of the product.
    metadata : mapping
        Tags of the file or of what lies beside it: an MTL file of Landsat, nested as its JSON or flat with
        ``GROUP.KEY``, or properties of a STAC item.

    Returns
    -------
    Scaling or None
        ``None`` if the product is not known, needs an MTL file that is not there, or has no linear scale for the band
        (thermal bands of Landsat level 1). Sentinel-2: see `eo_data.sensors.sentinel2.sentinel2_offset`.

    Raises
    ------
    ValueError
        If name and metadata contradict each other, or the metadata are not numbers.
    """
    in_hls = _HLS.search(product_name)
    if in_hls:
        return _hls(sensor, band, in_hls)
    if sensor is not None and sensor not in _LANDSAT:
        return None
    tags = dict(_flat(metadata))
    matches = [*_LANDSAT_ID.finditer(product_name), *_LANDSAT_LEVEL2.finditer(product_name)]
    # The file's own name comes last in a path.
    match = max(matches, key=re.Match.start, default=None)
    product = _landsat_product(match, tags)
    if product is None:
        return None
    platform, level, rest = product
    own = "landsat7" if platform[2:4] in ("04", "05", "07") else "landsat8"
    found = _band(sensor or own, band)
    if found is None:
        return None
    if level == "L2":
        return _level2(found, _band(own, band), product_name, tags)
    return None if _DERIVED.search(rest) else _level1(found, _band(own, band), tags)


def assumed_scale(sensor: str | None, band: str) -> float | None:
    """Return the scale of a band that is used where nothing states one: 0.0001 of Sentinel-2, ``None`` of all else."""
    found = _band(sensor, band)
    return 1e-4 if sensor in _SENTINEL2 and found is not None and found.unit == "reflectance" else None


def fill_number(sensor: str | None, offset: float) -> float | None:
    """Return the number for no data of a sensor whose numbers have an offset: 0 of Landsat, else ``None``.

    Parameters
    ----------
    sensor : str or None
        Key of `eo_data.sensors.tables.SENSORS`.
    offset : float
        Added to a number before it is scaled. HLS has none, and 0 is a value there.
    """
    return 0.0 if sensor in _LANDSAT and offset else None


def scale_advice(sensor: str | None, band: str) -> str:
    """Return what to state where no scale is known: a sentence for errors.

    Parameters
    ----------
    sensor : str or None
        Key of `eo_data.sensors.tables.SENSORS`.
    band : str
        Canonical name of the band.
    """
    found = _band(sensor, band)
    if sensor in _LANDSAT and found is not None:
        if found.unit == "K":
            return (
                f"Landsat Collection 2 level 2 (surface temperature): {_KELVIN} (kelvin). Thermal bands of level 1 are "
                "not linear: convert them with K1 and K2 of the MTL file and declare unit: kelvin. HLS: scale: 0.01, "
                "offset: 27315."
            )
        return (
            f"Landsat Collection 2 level 2: {_REFLECTANCE} (reflectance), {_KELVIN} (kelvin). Level 1: keep the MTL "
            "file beside the band files under its own name. HLS: scale: 0.0001, offset: 0."
        )
    if sensor in _SENTINEL2:
        return "Sentinel-2: scale: 0.0001, offset: -1000 (processing baseline 04.00 and later) or offset: 0."
    if sensor == "sentinel1":
        return (
            "Numbers of a Sentinel-1 GRD product are uncalibrated amplitudes: calibrate them (SNAP, pyroSAR) and "
            "declare unit: linear_power or decibel. Decibel stored in hundredths: scale: 0.01, offset: 0. "
            "Amplitudes of WorldCereal: formula: worldcereal_s1."
        )
    if sensor in ("sentinel3_olci", "sentinel3_slstr"):
        return (
            "Sentinel-3 products state scale_factor and add_offset for each variable: read the NetCDF file itself, "
            "convert radiance to reflectance and declare unit: reflectance (kelvin for brightness temperature), or "
            "state scale and offset."
        )
    return (
        "State scale and offset: physical value = (number + offset) * scale; or declare unit: native to use the "
        "numbers as they are."
    )


def _hls(sensor: str | None, band: str, match: re.Match[str]) -> Scaling | None:
    landsat = match["sensor"].upper() == "L30"
    # Users of HLS name the bands by either sensor.
    if sensor is not None and sensor not in (*_LANDSAT, *_SENTINEL2):
        return None
    found = _band(sensor or ("landsat8" if landsat else "sentinel2_l2a"), band)
    if found is None:
        return None
    origin = f"HLS product {match[0]}"
    if found.unit == "K":
        return Scaling(0.01, _CELSIUS, origin, missing=-9999) if landsat else None
    return Scaling(1e-4, 0.0, origin, missing=-9999)


def _landsat_product(match: re.Match[str] | None, tags: Mapping[str, object]) -> tuple[str, str, str] | None:
    """Return satellite, level and what follows the product id in the name; ``None`` if it is none of Landsat."""
    if match is not None:
        groups = match.groupdict()
        platform = (groups.get("platform") or groups.get("platform_") or "").upper()
        level = (groups.get("level") or "L2").upper()
        if level == "L2" and groups.get("collection", "02") != "02":
            return None
        return platform, level, groups.get("rest", "")
    # The MTL file of level 2 also names the level-1 product that it was made from.
    said = _find(tags, "PRODUCT_CONTENTS.LANDSAT_PRODUCT_ID") or _find(tags, "LANDSAT_PRODUCT_ID") or ""
    in_tags = _LANDSAT_ID.search(str(said))
    if in_tags is not None:
        return _landsat_product(in_tags, {})
    level, collection = _find(tags, "landsat:correction"), _find(tags, "landsat:collection_number")
    platform = re.search(r"LANDSAT[_-](\d)", str(_find(tags, "platform") or ""), re.IGNORECASE)
    if platform is not None and str(level or "")[:2] == "L2" and str(collection or "") == "02":
        return f"Lx0{platform[1]}", "L2", ""
    return None


def _level2(band: Band, own: Band | None, product_name: str, tags: Mapping[str, object]) -> Scaling | None:
    if band.name in ("PANCHROMATIC", "CIRRUS"):
        return None
    by_definition = _REFLECTANCE if band.unit == "reflectance" else _KELVIN
    group, quantity, key = _LEVEL2_GROUPS[band.unit]
    said = _factors(tags, group, quantity, key.format(number=_number(own)) if own else None)
    if said is None:
        return by_definition
    if not by_definition.same(said):
        msg = (
            f"The scale of {band.name} is contradictory: {by_definition} by definition of {product_name}, {said} by "
            "its MTL file. State scale and offset in the config."
        )
        raise ValueError(msg)
    return replace(said, missing=0)


def _level1(band: Band, own: Band | None, tags: Mapping[str, object]) -> Scaling | None:
    """Return reflectance at the top of the atmosphere: (MULT * number + ADD) / sin(sun elevation)."""
    if band.unit != "reflectance" or own is None:
        return None
    found = (_factors(tags, group, "REFLECTANCE", _number(own)) for group in _LEVEL1_GROUPS)
    said = next((scaling for scaling in found if scaling), None)
    elevation = _find(tags, "SUN_ELEVATION")
    if said is None or elevation is None:
        return None
    degrees = _as_number("SUN_ELEVATION", elevation)
    if not 0 < degrees <= 90:
        msg = (
            f"SUN_ELEVATION of the MTL file is {degrees:g}, expected degrees above 0 and up to 90: without sun there "
            "is no reflectance. Leave the scene out, or state scale and offset."
        )
        raise ValueError(msg)
    sine = math.sin(math.radians(degrees))
    origin = f"{said.origin} and SUN_ELEVATION {degrees:g}"
    return Scaling(said.scale / sine, said.offset / sine, origin, missing=0)


def _factors(tags: Mapping[str, object], group: str, quantity: str, key: str | None) -> Scaling | None:
    names = [f"{group}.{quantity}_{kind}_BAND_{key}" for kind in ("MULT", "ADD")]
    mult, add = (_find(tags, name) for name in names)
    if key is None or mult is None or add is None:
        return None
    return Scaling(_as_number(names[0], mult), _as_number(names[1], add), f"{names[0]} of the MTL file")


def _number(band: Band) -> str:
    """Return the number of a band of Landsat in the keys of its MTL file: ``4``, ``6_VCID_2``."""
    numbers = [match[1] for alias in band.aliases if (match := re.fullmatch(r"B([1-9]\d?(?:_VCID_\d)?)", alias))]
    return numbers[0]


def _band(sensor: str | None, name: str) -> Band | None:
    table = SENSORS.get(sensor or "")
    canonical = table.canonical(name) if table else None
    return next((band for band in table.bands if band.name == canonical), None) if table else None


def _flat(tags: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    """Yield all values of nested mappings, the keys joined by dots."""
    for key, value in tags.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _find(tags: Mapping[str, object], name: str) -> object | None:
    """Return the value of a key, whatever groups it lies in."""
    return next((value for key, value in tags.items() if key == name or key.endswith(f".{name}")), None)


def _as_number(name: str, value: object) -> float:
    try:
        return float(str(value))
    except ValueError as error:
        msg = f"{name} must be a number, got {value!r}. Correct the metadata, or state scale and offset in the config."
        raise ValueError(msg) from error
