"""A footprint is where the grid is, also in degrees, over the antimeridian and around a pole."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from pyproj import CRS, Transformer
from shapely.geometry import Point, box

from eo_data.raster.footprint import Corners, centres, footprint, footprints


def test_edges_of_a_large_tile_are_curves_in_degrees() -> None:
    """The straight line between two corners of a 100 km tile at 78 degrees is 1 km off in its middle."""
    wkt = CRS.from_epsg(32633).to_wkt()
    corners = ((300000.0, 8700000.0), (400000.0, 8700000.0), (400000.0, 8600000.0), (300000.0, 8600000.0))
    polygon = footprint(corners, wkt)
    to_lonlat = Transformer.from_crs(32633, 4326, always_xy=True)
    for x in np.linspace(300000, 400000, 77):
        assert polygon.exterior.distance(Point(to_lonlat.transform(x, 8700000.0))) < 2e-5
    straight = shapely.Polygon([to_lonlat.transform(*corner) for corner in corners])
    assert straight.exterior.distance(Point(to_lonlat.transform(350000.0, 8700000.0))) > 5e-3


def test_a_rectangle_in_degrees_keeps_its_four_corners() -> None:
    polygon = footprint(((10.0, 50.0), (10.5, 50.0), (10.5, 49.5), (10.0, 49.5)), "EPSG:4326")
    assert polygon.equals(box(10, 49.5, 10.5, 50))
    assert len(polygon.exterior.coords) == 5


def test_the_antimeridian_is_not_crossed_the_long_way() -> None:
    """Fiji: a tile of 0.2 degrees must not become a belt around the Earth."""
    to_utm = Transformer.from_crs(4326, 32760, always_xy=True)
    x, y = to_utm.transform(179.95, -17.0)
    shape = footprint(((x, y), (x + 20000, y), (x + 20000, y - 20000), (x, y - 20000)), CRS.from_epsg(32760).to_wkt())
    assert shape.geom_type == "MultiPolygon"
    assert shape.is_valid
    assert shape.area < 0.05
    for lon in (179.99, -179.9):
        assert shape.contains(Point(lon, -17.1))
    assert not shape.contains(Point(0, -17.1))
    east = footprint(((190.0, 1.0), (191.0, 1.0), (191.0, 0.0), (190.0, 0.0)), "EPSG:4326")
    assert east.equals(box(-170, 0, -169, 1))


def test_a_tile_over_the_pole_holds_the_pole() -> None:
    shape = footprint(((-1e5, 1e5), (1e5, 1e5), (1e5, -1e5), (-1e5, -1e5)), CRS.from_epsg(3031).to_wkt())
    assert shape.is_valid
    for lon in (-170, -90, 0, 90, 170):
        assert shape.contains(Point(lon, -89.9))
        assert not shape.contains(Point(lon, -88))


def _square(x: float, y: float, side: float) -> Corners:
    return ((x, y), (x + side, y), (x + side, y - side), (x, y - side))


def test_outlines_do_not_depend_on_their_neighbours() -> None:
    """Around the pole, over the antimeridian, of a millimetre and plain ones together, in both directions."""
    squares = [_square(-2e6, 2e6, 4e6), _square(-1e5, 1.5e6, 2e5), _square(1e6, 1e6, 1e-3), _square(1e6, 5e5, 2560.0)]
    squares += [square[::-1] for square in squares]
    together = footprints(squares, "EPSG:3995")
    for square, found, (lon, lat) in zip(squares, together, centres(squares, "EPSG:3995").tolist(), strict=True):
        assert found.wkb == footprint(square, "EPSG:3995").wkb
        assert found.is_valid
        assert found.distance(Point(lon, lat)) < 1e-7
    assert together[0].bounds[3] == 90
    assert [shape.geom_type for shape in together[:4]] == ["Polygon", "MultiPolygon", "Polygon", "Polygon"]


def test_an_outline_is_right_to_a_centimetre_whatever_its_size() -> None:
    """Against each edge in 1 000 pieces, by PROJ alone."""
    to_lonlat = Transformer.from_crs(32633, 4326, always_xy=True)
    squares = [_square(300_000, 8_000_000, side) for side in (1.0, 30.0, 400.0, 2560.0, 10_000.0)]
    for square, found in zip(squares, footprints(squares, "EPSG:32633"), strict=True):
        for start, end in zip(square, (*square[1:], square[0]), strict=True):
            points = to_lonlat.transform(np.linspace(start[0], end[0], 1000), np.linspace(start[1], end[1], 1000))
            assert shapely.distance(found.exterior, shapely.points(*points)).max() < 1.2e-7


def test_a_place_beyond_the_map_is_named() -> None:
    bad = _square(1e9, 1e9, 10.0)
    with pytest.raises(ValueError, match=r"The corners \(\(1000000000.0, 1000000000.0\), .* have no longitude"):
        footprints([_square(3e5, 5e6, 10.0), bad], "EPSG:32633")
