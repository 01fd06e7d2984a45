"""Sensors and their bands: canonical names, the aliases that users write, GSD, wavelength and unit.

Bands are always addressed by name. The canonical name of a band is TerraTorch's (``BLUE``, ``VV``), or, where
TerraTorch has none, the name that the THOR extension gives to its band enums (``OA01_REFLECTANCE``).

Sources: ESA Sentinel-2 MSI, Sentinel-1 and Sentinel-3 user handbooks, USGS Landsat 7 and 8 data users handbooks
(wavelengths, GSD); the common names of the STAC ``eo`` extension, the band ids of Google Earth Engine and of the USGS
products, and the variable names of openEO, WorldCereal and C2RCC files (aliases).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import Literal, get_args

from eo_core.text import nearest

BandUnit = Literal["reflectance", "dB", "K"]
#: Physical units that a band may have.
BAND_UNITS: tuple[BandUnit, ...] = get_args(BandUnit)


@dataclass(frozen=True)
class Band:
    """One band of a sensor.

    Parameters
    ----------
    name : str
        Canonical name, upper case.
    gsd : float
        Ground sampling distance of the product in metres.
    unit : {'reflectance', 'dB', 'K'}
        Physical unit of the calibrated value; reflectance as a fraction.
    wavelength_nm : float or None
        Central wavelength in nanometres; ``None`` for radar.
    aliases : tuple of str
        Other spellings, compared without regard to case.

    Raises
    ------
    ValueError
        For another unit.
    """

    name: str
    gsd: float
    unit: BandUnit
    wavelength_nm: float | None = None
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.unit not in BAND_UNITS:
            msg = f"The unit of band {self.name} must be one of {', '.join(BAND_UNITS)}, got {self.unit!r}."
            raise ValueError(msg)


@dataclass(frozen=True)
class Sensor:
    """A sensor and its bands in product order.

    Raises
    ------
    ValueError
        If two bands claim the same name or alias.
    """

    name: str
    bands: tuple[Band, ...]

    def __post_init__(self) -> None:
        owner: dict[str, Band] = {}
        for band in self.bands:
            for name in (band.name, *band.aliases):
                other = owner.setdefault(name.upper(), band)
                if other is not band:
                    msg = (
                        f"{self.name}: the name {name!r} is claimed by two bands, {other.name} and {band.name}. "
                        "Take it from one of them."
                    )
                    raise ValueError(msg)

    @property
    def band_names(self) -> tuple[str, ...]:
        """Canonical band names in product order."""
        return tuple(band.name for band in self.bands)

    @property
    def radar(self) -> bool:
        """Whether it sends its own waves, which go through clouds: its bands have no wavelength here."""
        return all(band.wavelength_nm is None for band in self.bands)

    def canonical(self, name: str) -> str | None:
        """Return the canonical name behind a name or alias, or ``None`` if the sensor has no such band."""
        found = self.by_name.get(name.strip().upper())
        return None if found is None else found.name

    @functools.cached_property
    def by_name(self) -> Mapping[str, Band]:
        """Each band by its name and its aliases, in capitals."""
        return {name.upper(): band for band in self.bands for name in (band.name, *band.aliases)}


def _optical(name: str, gsd: float, wavelength_nm: float, *aliases: str) -> Band:
    return Band(name, gsd, "reflectance", wavelength_nm, aliases)


def _with_product_aliases(bands: Iterable[Band], level: str) -> tuple[Band, ...]:
    """Add the names of openEO and WorldCereal files (``S2-L2A-B02``)."""
    return tuple(
        replace(band, aliases=(*band.aliases, *(f"S2-{level}-{a}" for a in band.aliases if a.startswith("B"))))
        for band in bands
    )


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

#: The products by name. Level 1C has all 13 bands; level 2A is without the cirrus band, which shows no surface.
SENTINEL2_L1C = Sensor("Sentinel-2 MSI L1C", _with_product_aliases(SENTINEL2.bands, "L1C"))
SENTINEL2_L2A = Sensor(
    "Sentinel-2 MSI L2A",
    _with_product_aliases((band for band in SENTINEL2.bands if band.name != "CIRRUS"), "L2A"),
)

#: Sentinel-1 GRD. A bare ``VV`` or ``VH`` means IW; HH and HV exist in both modes and must say which.
SENTINEL1 = Sensor(
    "Sentinel-1 SAR",
    (
        Band("IW_VV", 10, "dB", None, ("VV", "ASC_VV", "DSC_VV", "S1:IW-VV", "S1-SIGMA0-VV")),
        Band("IW_VH", 10, "dB", None, ("VH", "ASC_VH", "DSC_VH", "S1:IW-VH", "S1-SIGMA0-VH")),
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


def _olci(number: int, wavelength_nm: float) -> Band:
    oa = f"Oa{number:02d}"
    # Radiance is another quantity of the same band (`eo_data.sensors.units.toa_reflectance`).
    # `rtoa` is the reflectance of C2RCC.
    aliases = (oa, f"S3:{oa}_reflectance", f"{oa}_radiance", f"rtoa_{number}")
    return _optical(f"{oa.upper()}_REFLECTANCE", 300, wavelength_nm, *aliases)


SENTINEL3_OLCI = Sensor("Sentinel-3 OLCI", tuple(_olci(i, nm) for i, nm in enumerate(_OLCI_NM, start=1)))

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


def _landsat(name: str, wavelength_nm: float, number: int, *aliases: str) -> Band:
    return _optical(name, 30, wavelength_nm, f"B{number}", f"B{number:02d}", f"SR_B{number}", *aliases)


def _landsat_thermal(name: str, wavelength_nm: float, *aliases: str) -> Band:
    # Measured at 60 m (ETM+) or 100 m (TIRS); the products come resampled to 30 m.
    return Band(name, 30, "K", wavelength_nm, aliases)


#: ETM+. The thermal band comes at low and at high gain, as two layers of a level-1 product.
LANDSAT7 = Sensor(
    "Landsat 7 ETM+",
    (
        _landsat("BLUE", 477.0, 1),
        _landsat("GREEN", 560.0, 2),
        _landsat("RED", 661.0, 3),
        _landsat("NIR_BROAD", 835.0, 4, "nir", "nir08"),
        _landsat("SWIR_1", 1648.0, 5, "swir16"),
        _landsat_thermal("THERMAL_INFRARED_1", 11450.0, "B6", "B06", "ST_B6", "lwir", "lwir11", "B6_VCID_1"),
        _landsat_thermal("THERMAL_INFRARED_1_HIGH_GAIN", 11450.0, "B6_VCID_2"),
        _landsat("SWIR_2", 2206.0, 7, "swir22"),
        _optical("PANCHROMATIC", 15, 710.0, "B8", "B08", "pan"),
    ),
)

#: OLI and TIRS. TerraTorch's `HLSBands` call band 5 ``NIR_NARROW``.
LANDSAT8 = Sensor(
    "Landsat 8 OLI/TIRS",
    (
        _landsat("COASTAL_AEROSOL", 443.0, 1, "coastal"),
        _landsat("BLUE", 482.0, 2),
        _landsat("GREEN", 561.4, 3),
        _landsat("RED", 654.6, 4),
        _landsat("NIR_NARROW", 864.7, 5, "nir", "nir08"),
        _landsat("SWIR_1", 1608.9, 6, "swir16"),
        _landsat("SWIR_2", 2200.7, 7, "swir22"),
        _optical("PANCHROMATIC", 15, 589.5, "B8", "B08", "pan"),
        _optical("CIRRUS", 30, 1373.4, "B9", "B09"),
        _landsat_thermal("THERMAL_INFRARED_1", 10895.0, "B10", "ST_B10", "lwir11"),
        _landsat_thermal("THERMAL_INFRARED_2", 12005.0, "B11", "ST_B11", "lwir12"),
    ),
)

#: Aerial images of four bands. Cameras differ: the wavelengths are nominal, and 8-bit values are no calibrated
#: reflectance (declare their unit as ``native``).
AERIAL = Sensor(
    "aerial image",
    (
        _optical("RED", 0.2, 660.0, "R"),
        _optical("GREEN", 0.2, 560.0, "G"),
        _optical("BLUE", 0.2, 480.0, "B"),
        _optical("NIR_BROAD", 0.2, 840.0, "NIR", "N"),
    ),
)

#: Sentinel-1, -2 and -3: no name or alias means two bands among them.
SENTINEL_SENSORS: tuple[Sensor, ...] = (SENTINEL2, SENTINEL1, SENTINEL3_OLCI, SENTINEL3_SLSTR)

#: Solar irradiance F0 by band in mW m-2 nm-1, as the published reader of Sentinel-3 for THOR uses it.
SOLAR_FLUX: Mapping[str, float] = MappingProxyType(
    dict(
        zip(
            (*SENTINEL3_OLCI.band_names, *SENTINEL3_SLSTR.band_names[:6]),
            (
                *(1500.96, 1672.84, 1849.84, 1893.60, 1879.35, 1758.86, 1614.05, 1497.63, 1463.22, 1438.04, 1373.91),
                *(1239.14, 1221.16, 1213.50, 1202.85, 1149.11, 938.91, 911.24, 876.70, 808.90, 684.75),
                *(1798.94, 1488.56, 936.94, 358.14, 240.20, 75.82),
            ),
            strict=True,
        )
    )
)

#: All sensors by the short name that a config uses.
SENSORS: Mapping[str, Sensor] = MappingProxyType(
    {
        "sentinel2_l1c": SENTINEL2_L1C,
        "sentinel2_l2a": SENTINEL2_L2A,
        "sentinel1": SENTINEL1,
        "sentinel3_olci": SENTINEL3_OLCI,
        "sentinel3_slstr": SENTINEL3_SLSTR,
        "landsat7": LANDSAT7,
        "landsat8": LANDSAT8,
        "aerial": AERIAL,
    }
)


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


def find_band(name: object, sensors: Iterable[Sensor]) -> Band:
    """Look a band up by its canonical name or by an alias.

    Parameters
    ----------
    name : str or Enum
        Case is ignored.
    sensors : iterable of Sensor
        Where to look: ``B2`` means other wavelengths on other sensors. Of several that have the name, the last counts.

    Raises
    ------
    ValueError
        If no sensor has such a band; the message names the nearest matches and the valid names.
    """
    text = spelling(name)
    chosen = tuple(sensors)
    key = text.strip().upper()
    # Tables of each sensor stay with it: bands are looked up for every image that is prepared.
    found = next((sensor.by_name[key] for sensor in reversed(chosen) if key in sensor.by_name), None)
    if found is None:
        known = dict.fromkeys(name for sensor in chosen for name in sensor.by_name)
        near = nearest(text, known, cutoff=0.5)
        hint = f" Nearest: {', '.join(near)}." if near else ""
        valid = "; ".join(f"{sensor.name}: {', '.join(sensor.band_names)}" for sensor in chosen)
        msg = f"Unknown band {text!r}.{hint} Valid names (aliases such as 'B2' work too): {valid}."
        raise ValueError(msg)
    return found
