"""Collections of Earth Engine that are known: their bands, and what stands for masked pixels.

The scales are those of the products, which `eo_data.sensors.scaling` and `eo_data.sensors.sentinel2` know by the names
of these collections: reflectance of Sentinel-2 is a number times 0.0001 whatever the processing baseline, as Google has
taken the offset off (``HARMONIZED``); Landsat's reflectance is a number times 0.0000275, less 0.2.

Source: the pages of these collections in the Earth Engine Data Catalog (bands, units, properties).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from eo_data.sensors.quality_names import CloudKind
from eo_data.sensors.units import InputUnit


@dataclass(frozen=True)
class KnownCollection:
    """A collection of images of one kind.

    Parameters
    ----------
    sensor : str
        Key of `eo_data.sensors.tables.SENSORS`, which knows the ids of the bands.
    kind : str
        Scenes of one kind may be merged.
    bands : tuple of str
        Ids of the bands that are measurements.
    masked : float
        The number that masked pixels get: no pixel that is seen has it, or it is no value by the product's definition.
    quality : str or None
        Id of the band that tells clouds.
    quality_kind : str or None
        What it holds.
    quality_masked : float
        The number of it that means that there is no data.
    unit : InputUnit
        What the numbers are.
    tile : tuple of str
        Properties with the tile.
    only : mapping of str to str
        Properties that an image must have to count.
    by_orbit : bool
        Whether ascending and descending passes are not to be mixed.
    note : str
        What a user must know of the values.
    """

    sensor: str
    kind: str
    bands: tuple[str, ...]
    masked: float
    quality: str | None = None
    quality_kind: CloudKind | None = None
    quality_masked: float = 0.0
    unit: InputUnit = InputUnit.DIGITAL_NUMBER
    tile: tuple[str, ...] = ()
    only: Mapping[str, str] = MappingProxyType({})
    by_orbit: bool = False
    note: str = ""


_S2_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")
#: 65535 is saturated by the definition of the product, and so no value either.
_S2_MASKED = 65535.0
_S2_TILE = ("MGRS_TILE",)


def _landsat(sensor: str, *bands: str) -> KnownCollection:
    """Landsat: 0 is fill, and of QA_PIXEL 1."""
    tile = ("WRS_PATH", "WRS_ROW")
    return KnownCollection(sensor, "Landsat C2 L2", bands, 0.0, "QA_PIXEL", "qa_pixel", 1.0, tile=tile)


_OLI = tuple(f"SR_B{number}" for number in range(1, 8))
_ETM = tuple(f"SR_B{number}" for number in (1, 2, 3, 4, 5, 7))

#: By id.
COLLECTIONS: Mapping[str, KnownCollection] = MappingProxyType(
    {
        "COPERNICUS/S2_SR_HARMONIZED": KnownCollection(
            "sentinel2_l2a", "Sentinel-2 L2A", _S2_BANDS, _S2_MASKED, "SCL", "scl", tile=_S2_TILE
        ),
        # Its QA60 is masked from January 2022 to February 2024, and MSK_CLASSI before: no band tells clouds throughout.
        "COPERNICUS/S2_HARMONIZED": KnownCollection(
            "sentinel2_l1c", "Sentinel-2 L1C", (*_S2_BANDS, "B10"), _S2_MASKED, tile=_S2_TILE
        ),
        "COPERNICUS/S1_GRD": KnownCollection(
            "sentinel1",
            "Sentinel-1 GRD",
            ("VV", "VH"),
            -9999.0,
            unit=InputUnit.DECIBEL,
            only=MappingProxyType({"instrumentMode": "IW"}),
            by_orbit=True,
            note="sigma0, corrected for terrain by Google",
        ),
        "LANDSAT/LC08/C02/T1_L2": _landsat("landsat8", *_OLI, "ST_B10"),
        "LANDSAT/LC09/C02/T1_L2": _landsat("landsat8", *_OLI, "ST_B10"),
        "LANDSAT/LE07/C02/T1_L2": _landsat("landsat7", *_ETM, "ST_B6"),
    }
)
#: Those that are searched if none is asked for; of Sentinel-2, level 2A.
USUAL = tuple(name for name in COLLECTIONS if name != "COPERNICUS/S2_HARMONIZED")
