"""Catalogues and collections that are known: where they are, and what their items leave unsaid.

Sources: the catalogues' own descriptions of their collections (Element 84, Earth Search v1; Microsoft, Planetary
Computer; ESA, Copernicus Data Space Ecosystem, STAC v1; USGS, Landsat Collection 2 level 2). Scale, offset and no-data
are those that items state. The numbers of Planetary Computer's Sentinel-2 are as ESA ships them, and its items state
the processing baseline alone, which tells the offset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class KnownCollection:
    """A collection of items of one kind.

    Parameters
    ----------
    sensors : mapping of str to str
        Key of `eo_data.sensors.tables.SENSORS` by platform, as its items write it without punctuation
        (``landsat8``); the empty platform stands for all others.
    quality : mapping of str to str
        Key of the asset that tells clouds: the name of the layer.
    unit : str, optional
        What the values are, where neither item nor file says so.
    by_orbit : bool
        Whether ascending and descending passes are not to be mixed, as of radar.
    """

    sensors: Mapping[str, str]
    quality: Mapping[str, str] = MappingProxyType({})
    unit: str | None = None
    by_orbit: bool = False

    def sensor(self, platform: str) -> str | None:
        """Return the sensor of a platform, ``None`` if it is not known."""
        return self.sensors.get(platform, self.sensors.get(""))


@dataclass(frozen=True)
class KnownCatalogue:
    """A catalogue with an address that everybody shares.

    Parameters
    ----------
    url : str
        Root of its API.
    collections : tuple of str
        Those that are searched.
    tokens : str
        Address of the service that signs requests for its files in Azure's stores, if it has one.
    store : str
        Address of the store of its files ``s3://``, if that is not Amazon's.
    """

    url: str
    collections: tuple[str, ...]
    tokens: str = ""
    store: str = ""


_CLASSES = {"scl": "SCL", "SCL": "SCL", "SCL_20m": "SCL"}
_SENTINEL2 = KnownCollection({"": "sentinel2_l2a"}, _CLASSES)
_LANDSAT = KnownCollection(
    {"landsat7": "landsat7", "landsat8": "landsat8", "landsat9": "landsat8"}, {"qa_pixel": "QA_PIXEL"}
)

#: By id in lower case.
COLLECTIONS: Mapping[str, KnownCollection] = MappingProxyType(
    {
        "sentinel-2-l2a": _SENTINEL2,
        "sentinel-2-c1-l2a": _SENTINEL2,
        "sentinel-2-l1c": KnownCollection({"": "sentinel2_l1c"}),
        "sentinel-1-rtc": KnownCollection({"": "sentinel1"}, unit="linear_power", by_orbit=True),
        "sentinel-1-grd": KnownCollection({"": "sentinel1"}, by_orbit=True),
        "landsat-c2-l2": _LANDSAT,
        "landsat-c2l2-sr": _LANDSAT,
    }
)

CATALOGUES: Mapping[str, KnownCatalogue] = MappingProxyType(
    {
        # Of its `sentinel-2-l2a`, the flags about the offset are wrong in both directions.
        "earth-search": KnownCatalogue("https://earth-search.aws.element84.com/v1", ("sentinel-2-c1-l2a",)),
        "planetary-computer": KnownCatalogue(
            "https://planetarycomputer.microsoft.com/api/stac/v1",
            ("sentinel-2-l2a", "sentinel-1-rtc", "landsat-c2-l2"),
            tokens="https://planetarycomputer.microsoft.com/api/sas/v1/token",
        ),
        "copernicus": KnownCatalogue(
            "https://stac.dataspace.copernicus.eu/v1",
            ("sentinel-2-l2a",),
            store="https://eodata.dataspace.copernicus.eu",
        ),
    }
)
