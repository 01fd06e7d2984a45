"""Places that are asked for, as a table with a CRS: from a table, a file, or longitudes and latitudes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely

from eo_data.catalog.scenes.place_tables import read_place_file
from eo_data.catalog.scenes.places import LONLAT

if TYPE_CHECKING:
    import geopandas as gpd

    #: Points and areas, as a table, the path of a vector file, or pairs of longitude and latitude in degrees.
    type Places = gpd.GeoDataFrame | gpd.GeoSeries | str | Path | Sequence[tuple[float, float]]


def place_table(places: Places) -> gpd.GeoDataFrame:
    """Return places as a table with a CRS.

    Parameters
    ----------
    places : GeoDataFrame, GeoSeries, str, Path, or sequence of (float, float)
        A table, the path of a vector file (GeoParquet, or what GDAL reads: GeoPackage, GeoJSON, ...), or pairs of
        longitude (-180..360) and latitude.

    Raises
    ------
    ValueError
        If the file cannot be read, there is no CRS, a pair is no place, or a row is neither a point nor an area.
    """
    import geopandas as gpd  # noqa: PLC0415  (a second)

    if isinstance(places, str | Path):
        table = read_place_file(Path(places))
    elif isinstance(places, gpd.GeoDataFrame):
        table = places
    elif isinstance(places, gpd.GeoSeries):
        table = gpd.GeoDataFrame(geometry=places)
    else:
        table = gpd.GeoDataFrame(geometry=_points(places), crs=LONLAT)
    if table.crs is None:
        msg = "The places have no CRS. Set the one that their coordinates are in: places.set_crs('EPSG:4326')."
        raise ValueError(msg)
    for row, geometry in zip(table.index, table.geometry, strict=True):
        if geometry is not None and geometry.geom_type not in ("Point", "Polygon", "MultiPolygon"):
            msg = (
                f"Expected points or areas, got a {geometry.geom_type} in row {row}. Use places.explode() or .buffer()."
            )
            raise ValueError(msg)
    return table


def _points(places: Sequence[tuple[float, float]]) -> np.ndarray:
    pairs = np.asarray(places, np.float64)
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        msg = f"Expected pairs of longitude and latitude, got values of shape {pairs.shape}: [(lon, lat), ...]."
        raise ValueError(msg)
    wrong = ~((pairs[:, 0] >= -180) & (pairs[:, 0] <= 360) & (np.abs(pairs[:, 1]) <= 90))
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        msg = (
            f"Place {first} is {tuple(pairs[first].tolist())}: expected (longitude -180..360, latitude -90..90) in "
            "degrees. Longitude comes first; for map coordinates give a GeoDataFrame with its CRS."
        )
        raise ValueError(msg)
    return np.asarray(shapely.points(pairs))
