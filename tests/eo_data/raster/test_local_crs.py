"""A point has the projection of the satellite tiles there, also where zones are irregular."""

from __future__ import annotations

import pytest

from eo_data.raster.local_crs import local_crs


@pytest.mark.parametrize(
    ("lon", "lat", "code"),
    [
        (15, 45, 32633),
        (12, 45, 32633),  # a zone begins at its western edge
        (11.999999, 45, 32632),
        (-180, 10, 32601),
        (180, 10, 32601),
        (179.999, 10, 32660),
        (15, -1e-9, 32733),
        (15, 0, 32633),
        (5.3, 60.4, 32632),  # Bergen: zone 31 by its longitude
        (5.3, 55.9, 32631),
        (15.6, 78.2, 32633),  # Longyearbyen
        (20.9, 78.2, 32633),
        (21.0, 78.2, 32635),
        (8.9, 78.2, 32631),
        (30, 83.999, 32635),
        (15, 84, 5041),
        (15, -80, 32733),
        (15, -80.001, 5042),
    ],
)
def test_a_point_has_the_zone_of_the_sentinel2_tiles_there(lon: float, lat: float, code: int) -> None:
    assert local_crs(lon, lat) == code
