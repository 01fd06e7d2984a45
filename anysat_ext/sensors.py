"""AnySat's modalities as the reader of TerraTorch's batches sees them, and the sensors behind their band names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from anysat_ext.model.modalities import MODALITIES
from eo_data.sensors.tables import AERIAL, LANDSAT7, LANDSAT8, SENTINEL1, SENTINEL2, Sensor
from eo_models.forward.series import SeriesKind, SeriesTable

#: Sensor behind the band names of a modality; the names of others are known to no table.
SENSORS: Mapping[str, Sensor] = MappingProxyType(
    {"s2": SENTINEL2, "s1": SENTINEL1, "s1-asc": SENTINEL1, "l7": LANDSAT7, "l8": LANDSAT8}
    | dict.fromkeys(("aerial", "aerial-flair", "spot", "naip"), AERIAL)
)

TABLE = SeriesTable(
    "AnySat",
    MappingProxyType(
        {
            name: SeriesKind(name, m.bands, SENSORS.get(name), "series" if m.is_series else "image")
            for name, m in MODALITIES.items()
        }
    ),
)
