"""A grid for what has none: the zone of the middle, whole multiples of the pixels, and places where it is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eo_data.catalog.sources import ImageSource
from eo_data.readers.grids.local_grid import crs_around, grid_over


def points(*longitudes: float, latitude: float = 45.0) -> tuple[np.ndarray, np.ndarray]:
    return np.array(longitudes), np.full(len(longitudes), latitude) + np.linspace(0, 0.1, len(longitudes))


@pytest.mark.parametrize(
    ("longitudes", "latitude", "crs"),
    [
        ((12.1, 17.9), 45.0, "EPSG:32633"),
        ((17.0, 20.0), -30.0, "EPSG:32734"),
        # Points on both sides of the date line have their middle there, and not at Greenwich.
        ((179.0, -178.0), 10.0, "EPSG:32601"),
        ((178.0, -179.0), 10.0, "EPSG:32660"),
        ((180.0, 180.0), 10.0, "EPSG:32601"),
        ((10.0, 30.0), 86.0, "EPSG:5041"),
        ((10.0, 30.0), -82.0, "EPSG:5042"),
    ],
)
def test_the_zone_is_that_of_the_middle(longitudes: tuple[float, ...], latitude: float, crs: str) -> None:
    assert crs_around(*points(*longitudes, latitude=latitude)) == crs


def test_pixels_are_whole_multiples_and_reach_around_the_points() -> None:
    # The central meridian of zone 33 is at x = 500000; 0.0001 degrees further east are 7.9 m.
    grid = grid_over(np.array([15.0001, 15.0001]), np.array([45.0, 45.001]), 10.0, None)
    assert grid.transform is not None
    assert (grid.transform.a, grid.transform.e) == (10, -10)
    assert (grid.transform.c, grid.width) == (499990, 3)
    assert grid.transform.f % 10 == 0
    # 0.001 degrees are 111.1 m: 12 pixels or 13, and one on each side.
    assert grid.height in (14, 15)


@pytest.mark.parametrize(
    ("longitudes", "options", "message"),
    [
        ((15.0, 15.1), {"crs": "EPSG:4326"}, "in degrees, and the size .* State resample_to"),
        ((179.0, -179.0), {"crs": "EPSG:4326", "resample_to": 0.01}, "EPSG:4326.*reaches over the date line.*another"),
        ((15.0, 15.1), {"crs": "EPSG:x"}, "crs 'EPSG:x' cannot be read"),
    ],
)
def test_grids_that_would_be_wrong_are_refused(
    longitudes: tuple[float, ...], options: dict[str, Any], message: str
) -> None:
    source = ImageSource("x", ["VV"], sensor="sentinel1", unit="linear_power", **options)
    with pytest.raises(ValueError, match=message):
        grid_over(*points(*longitudes), 10.0, source)
