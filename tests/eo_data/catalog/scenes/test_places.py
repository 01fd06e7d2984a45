"""What is no place is refused by its name, with the remedy."""

from __future__ import annotations

import math

import pytest
import shapely
from shapely.geometry import LineString, Point, box

from eo_data.catalog.scenes.places import BBox, PointBuffer, Region, centre_of


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((31.2, 121.5, 2048), r"lat must lie in -90..90, got 121.5. Longitude comes first: PointBuffer\(121.5, 31.2"),
        ((181, 0, 100), r"lon must lie in -180..180, got 181.*give -179"),
        ((10, 91, 100), r"lat must lie in -90..90, got 91"),
        ((10, 45, 0), r"buffer_m must be positive"),
        ((10, 45, -5), r"buffer_m must be positive"),
        ((math.nan, 45, 5), r"finite"),
        ((10, 45, math.inf), r"finite"),
    ],
)
def test_numbers_that_are_no_point_are_refused(numbers: tuple[float, float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PointBuffer(*numbers, id="here")


@pytest.mark.parametrize(
    ("box_", "message"),
    [
        ((10, 46, 11, 45), r"has no area"),
        ((10, 45, 10, 46), r"has no area"),
        ((45, 120, 46, 121), r"south and north must lie in -90..90"),
        ((179, -17, 181, -16), r"east must lie in -180..180, got 181.*give -179"),
        ((10, math.nan, 11, 45), r"finite"),
    ],
)
def test_numbers_that_are_no_box_are_refused(box_: tuple[float, float, float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BBox(*box_)
    with pytest.raises(ValueError, match="has no area"):
        BBox(2, 0, 1, 1, crs="EPSG:32633")
    with pytest.raises(ValueError, match="'EPSG:nonsense' of a place cannot be read"):
        BBox(0, 0, 1, 1, crs="EPSG:nonsense")


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        (shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]), r"field 7.*Self-intersection.*make_valid"),
        (shapely.Polygon(), r"is empty"),
        (None, r"is empty"),
        (LineString([(0, 0), (1, 1)]), r"is a LineString"),
        (Point(0, 0), r"give buffer_m"),
        (box(500000, 0, 500100, 100), r"another CRS than EPSG:4326"),
        (box(45, 100, 46, 101), r"does latitude come first"),
    ],
)
def test_geometries_that_are_no_region_are_refused(geometry: shapely.Geometry, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Region(geometry, id="field 7")


def test_the_middle_of_a_box_across_the_date_line_is_on_it() -> None:
    lon, lat = centre_of(BBox(179, -17, -178, -16))
    assert (lon, lat) == (-179.5, -16.5)
    assert centre_of(BBox(500000, -100, 500000.5, 100, crs="EPSG:32633")) == pytest.approx((15, 0), abs=1e-5)
