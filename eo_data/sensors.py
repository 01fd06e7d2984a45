"""Sensors and their bands: canonical names, the aliases that users write, GSD, wavelength and unit.

Bands are always addressed by name. The canonical name of a band is TerraTorch's (``BLUE``, ``VV``), or, where
TerraTorch has none, the name that the THOR extension gives to its band enums (``OA01_REFLECTANCE``).

Sources: ESA Sentinel-2 MSI, Sentinel-1 and Sentinel-3 user handbooks (wavelengths, GSD); the common names of the STAC
``eo`` extension and the band ids of Google Earth Engine (aliases).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType


@dataclass(frozen=True)
class Band:
    """One band of a sensor.

    Parameters
    ----------
    name : str
        Canonical name, upper case.
    gsd : int
        Ground sampling distance of the product in metres.
    unit : str
        Physical unit of the calibrated value: ``reflectance`` (fraction), ``dB`` or ``K``.
    wavelength_nm : float or None
        Central wavelength in nanometres; ``None`` for radar.
    aliases : tuple of str
        Other spellings, compared without regard to case.
    """

    name: str
    gsd: int
    unit: str
    wavelength_nm: float | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sensor:
    """A sensor and its bands in product order."""

    name: str
    bands: tuple[Band, ...]

    @property
    def band_names(self) -> tuple[str, ...]:
        """Canonical band names in product order."""
        return tuple(band.name for band in self.bands)


def _optical(name: str, gsd: int, wavelength_nm: float, *aliases: str) -> Band:
    return Band(name, gsd, "reflectance", wavelength_nm, aliases)


SENTINEL2 = Sensor(
    "Sentinel-2 MSI",
    (
        _optical("COASTAL_AEROSOL", 60, 442.7, "B1", "B01", "coastal", "S2:CoastAerosal"),
        _optical("BLUE", 10, 492.4, "B2", "B02", "S2:Blue"),
        _optical("GREEN", 10, 559.8, "B3", "B03", "S2:Green"),
        _optical("RED", 10, 664.6, "B4", "B04", "S2:Red"),
        _optical("RED_EDGE_1", 20, 704.1, "B5", "B05", "rededge1", "S2:RE1"),
        _optical("RED_EDGE_2", 20, 740.5, "B6", "B06", "rededge2", "S2:RE2"),
        _optical("RED_EDGE_3", 20, 782.8, "B7", "B07", "rededge3", "S2:RE3"),
        _optical("NIR_BROAD", 10, 832.8, "B8", "B08", "nir", "S2:NIR"),
        _optical("NIR_NARROW", 20, 864.7, "B8A", "nir08", "S2:RE4"),
        _optical("WATER_VAPOR", 60, 945.1, "B9", "B09", "nir09", "S2:WaterVapor"),
        _optical("CIRRUS", 60, 1373.5, "B10"),
        _optical("SWIR_1", 20, 1613.7, "B11", "swir16", "S2:SWIR1"),
        _optical("SWIR_2", 20, 2202.4, "B12", "swir22", "S2:SWIR2"),
    ),
)

#: Sentinel-1 GRD. A bare ``VV`` or ``VH`` means IW; HH and HV exist in both modes and must say which.
SENTINEL1 = Sensor(
    "Sentinel-1 SAR",
    (
        Band("IW_VV", 10, "dB", None, ("VV", "ASC_VV", "DSC_VV", "S1:IW-VV")),
        Band("IW_VH", 10, "dB", None, ("VH", "ASC_VH", "DSC_VH", "S1:IW-VH")),
        Band("IW_HV", 10, "dB", None, ("S1:IW-HV",)),
        Band("IW_HH", 10, "dB", None, ("S1:IW-HH",)),
        Band("EW_VV", 10, "dB", None, ("S1:EW-VV",)),
        Band("EW_VH", 10, "dB", None, ("S1:EW-VH",)),
        Band("EW_HV", 10, "dB", None, ("S1:EW-HV",)),
        Band("EW_HH", 10, "dB", None, ("S1:EW-HH",)),
    ),
)

#: Central wavelengths of OLCI Oa01..Oa21 in nm.
_OLCI_NM = (
    *(400.0, 412.5, 442.5, 490.0, 510.0, 560.0, 620.0, 665.0, 673.75, 681.25, 708.75),
    *(753.75, 761.25, 764.375, 767.5, 778.75, 865.0, 885.0, 900.0, 940.0, 1020.0),
)

SENTINEL3_OLCI = Sensor(
    "Sentinel-3 OLCI",
    tuple(
        _optical(f"OA{i:02d}_REFLECTANCE", 300, nm, f"Oa{i:02d}", f"S3:Oa{i:02d}_reflectance")
        for i, nm in enumerate(_OLCI_NM, start=1)
    ),
)

SENTINEL3_SLSTR = Sensor(
    "Sentinel-3 SLSTR",
    (
        *(
            _optical(f"S{i}_REFLECTANCE_AN", 500, nm, f"S3:S{i}_reflectance_an")
            for i, nm in enumerate((554.3, 659.5, 868.0, 1374.8, 1613.4, 2255.7), start=1)
        ),
        *(
            Band(f"S{i}_BT_IN", 1000, "K", nm, (f"S3:S{i}_BT_in",))
            for i, nm in enumerate((3742.0, 10854.0, 12022.5), start=7)
        ),
    ),
)

SENTINEL_SENSORS: tuple[Sensor, ...] = (SENTINEL2, SENTINEL1, SENTINEL3_OLCI, SENTINEL3_SLSTR)


def spelling(band: object) -> str:
    """Return the string behind a band given as a string or as an ``Enum`` whose value is a string.

    Raises
    ------
    TypeError
        If ``band`` is neither.
    """
    value = band.value if isinstance(band, Enum) else band
    if not isinstance(value, str):
        msg = f"A band is named by a string or a band enum, got {band!r} ({type(band).__name__}). Example: 'BLUE'."
        raise TypeError(msg)
    return value


def _alias_table(sensors: Iterable[Sensor]) -> Mapping[str, Band]:
    table: dict[str, Band] = {}
    for sensor in sensors:
        for band in sensor.bands:
            for name in (band.name, *band.aliases):
                table[name.upper()] = band
    return MappingProxyType(table)


def find_band(name: object, sensors: Iterable[Sensor] = SENTINEL_SENSORS) -> Band:
    """Look a band up by its canonical name or by an alias.

    Parameters
    ----------
    name : str or Enum
        Case is ignored.
    sensors : iterable of Sensor
        Where to look. Keep it to what the encoder knows: ``B2`` means other wavelengths on other sensors.

    Raises
    ------
    ValueError
        If no sensor has such a band; the message names the nearest matches and the valid names.
    """
    text = spelling(name)
    chosen = tuple(sensors)
    table = _alias_table(chosen)
    found = table.get(text.strip().upper())
    if found is None:
        near = difflib.get_close_matches(text.upper(), list(table), n=3, cutoff=0.5)
        hint = f" Nearest: {', '.join(near)}." if near else ""
        valid = "; ".join(f"{sensor.name}: {', '.join(sensor.band_names)}" for sensor in chosen)
        msg = f"Unknown band {text!r}.{hint} Valid names (aliases such as 'B2' work too): {valid}."
        raise ValueError(msg)
    return found
