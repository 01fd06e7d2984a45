"""Pixels have the size that they have on the ground, not the one that their projection gives them."""

from __future__ import annotations

import math

import pytest
from affine import Affine
from pyproj import CRS, Proj, Transformer

from eo_data.raster.ground import ground_pixel_area, ground_pixel_size, projected_pixel_size

UTM = CRS("EPSG:32630").to_wkt()


def square(crs: str, lon: float, lat: float, side: float = 10.0) -> Affine:
    """Pixels of the CRS's own ``side``, the upper left of which is at a place."""
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    return Affine(side, 0, x, 0, -side, y)


def rotated(transform: Affine, angle: float) -> tuple[float, ...]:
    """Square pixels turned around their upper left."""
    side, cosine, sine = transform.a, math.cos(angle), math.sin(angle)
    return side * cosine, side * sine, transform.c, side * sine, -side * cosine, transform.f


def test_projected_units_are_converted_to_metres() -> None:
    transform = Affine(10, 0, 500_000, 0, -20, 4_200_000)
    assert ground_pixel_size(transform, UTM, 100, 100) == (10, 20)
    # US survey feet of 1200 / 3937 m, in New York.
    foot = ground_pixel_size(Affine(10, 0, 980_000, 0, -20, 200_000), "EPSG:2263", 100, 100)
    assert foot == pytest.approx((12_000 / 3937, 24_000 / 3937), rel=1e-9)


def test_a_sen1floods11_chip_is_10_m_high_and_narrower_by_the_cosine_of_the_latitude(shared: object) -> None:
    import rasterio

    folder = f"{shared}/data/sen1floods11_v1.1/data/S1GRDHand"
    with rasterio.open(f"{folder}/Spain_7370579_S1Hand.tif") as file:
        x, y = ground_pixel_size(file.transform, file.crs.to_wkt(), file.height, file.width)
        latitude = (file.bounds.top + file.bounds.bottom) / 2
    assert y == pytest.approx(10, abs=0.03)
    assert x == pytest.approx(10 * math.cos(math.radians(latitude)), rel=5e-3)


def test_a_degree_on_the_wgs84_ellipsoid() -> None:
    # Length of one degree at the equator: 111 319.49 m of longitude, 110 574.28 m of latitude.
    x, y = ground_pixel_size(Affine(1, 0, -0.5, 0, -1, 0.5), "EPSG:4326", 1, 1)
    assert x == pytest.approx(111_319.49, abs=0.01)
    assert y == pytest.approx(110_574.28, abs=0.1)


def test_what_cannot_be_measured_is_refused() -> None:
    transform = Affine(10, 0, 500_000, 0, -10, 4_200_000)
    with pytest.raises(ValueError, match="needs an affine transform and a CRS"):
        ground_pixel_size(None, UTM, 1, 1)
    with pytest.raises(ValueError, match="needs an affine transform and a CRS"):
        ground_pixel_size(transform, None, 1, 1)
    with pytest.raises(ValueError, match="cannot be read"):
        ground_pixel_size(transform, "LOCAL nonsense", 1, 1)
    with pytest.raises(ValueError, match="neither geographic nor projected"):
        ground_pixel_size(transform, "EPSG:4978", 1, 1)
    with pytest.raises(ValueError, match="is no place in 'WGS 84'"):
        ground_pixel_size(transform, "EPSG:4326", 1, 1)


@pytest.mark.parametrize(("latitude", "side"), [(60, 20), (-60, 20), (60, 10), (40, 10), (75, 2)])
def test_web_mercator_is_stretched_by_the_cosine_of_the_latitude(latitude: float, side: float) -> None:
    """20 units at 60 degrees were taken for 20 m, and 10 units for 10 m."""
    x, y = ground_pixel_size(square("EPSG:3857", 12, latitude, side), "EPSG:3857", 1, 1)
    # Of the sphere; the ellipsoid differs by less than its flattening of 1 / 298, twice from equator to pole.
    assert (x, y) == pytest.approx((side * math.cos(math.radians(latitude)),) * 2, rel=2 / 298)


@pytest.mark.parametrize(
    ("crs", "lon", "lat"),
    [
        ("EPSG:3413", 0, 60),
        ("EPSG:3413", -45, 85),
        ("EPSG:3031", 10, -80),
        ("EPSG:3395", 12, 60),
        ("EPSG:6933", 12, 60),
    ],
)  # fmt: skip
def test_sides_and_area_are_those_of_the_scales_that_proj_computes(crs: str, lon: float, lat: float) -> None:
    """Polar stereographic, Mercator on the ellipsoid, and an equal-area grid whose squares are narrow and high."""
    transform = square(crs, lon, lat)
    factors = Proj(crs).get_factors(lon, lat)
    sides = ground_pixel_size(transform, crs, 0, 0)
    scales = (factors.parallel_scale, factors.meridional_scale)
    assert sides == pytest.approx([10 / scale for scale in scales], rel=1e-4)
    assert ground_pixel_area(transform, crs, 0, 0) == pytest.approx(100 / factors.areal_scale, rel=2e-4)


def test_the_pole_itself_has_a_size() -> None:
    """Longitudes mean nothing there; the scale of polar stereographic true at 70 degrees is (1 + sin 70) / 2."""
    transform = Affine(10, 0, -50, 0, -10, 50)
    side = 10 * 2 / (1 + math.sin(math.radians(70)))
    assert ground_pixel_size(transform, "EPSG:3413", 10, 10) == pytest.approx((side, side), rel=1e-3)
    assert ground_pixel_area(transform, "EPSG:3413", 10, 10) == pytest.approx(side**2, rel=2e-3)
    x, y = ground_pixel_size(transform, "EPSG:3413", 10, 10)
    assert ground_pixel_area(transform, "EPSG:3413", 10, 10) == pytest.approx(x * y, rel=1e-4)


def test_a_sheared_pixel_keeps_its_area() -> None:
    """On MODIS's sinusoidal grid the left edge is longer than it is high; the grid is equal-area."""
    transform = square("ESRI:54008", 60, 45, 500)
    x, y = ground_pixel_size(transform, "ESRI:54008", 0, 0)
    assert x == pytest.approx(500, rel=1e-3)
    shear = math.radians(60) * math.sin(math.radians(45))
    assert y == pytest.approx(500 * math.hypot(1, shear), rel=0.01)
    assert ground_pixel_area(transform, "ESRI:54008", 0, 0) == pytest.approx(500**2, rel=1e-3)


@pytest.mark.parametrize(
    ("crs", "lon", "lat"),
    [
        ("EPSG:32633", 12, 60), ("EPSG:32633", 18.5, 70), ("EPSG:2154", -4, 48), ("EPSG:27572", 3, 47),
        ("EPSG:3035", 25, 65), ("EPSG:5070", -100, 40), ("EPSG:27700", -1, 52), ("EPSG:2056", 8, 47),
        ("EPSG:2193", 174, -41), ("EPSG:32633+5773", 12, 60), ("EPSG:3857", 12, 3), ("EPSG:3413", -45, 70),
    ],
)  # fmt: skip
@pytest.mark.parametrize("angle", [0, 30])
def test_where_a_projection_is_true_ten_metres_stay_ten(crs: str, lon: float, lat: float, angle: float) -> None:
    """9.996 m, as a UTM zone has in its middle, is no size that an encoder knows."""
    transform = square(crs, lon, lat)
    transform = Affine(*rotated(transform, math.radians(angle)))
    assert ground_pixel_size(transform, crs, 256, 256) == pytest.approx((10, 10), rel=1e-12)
    assert ground_pixel_area(transform, crs, 256, 256) == pytest.approx(100, rel=1e-12)


def test_pixels_smaller_than_a_hand_are_measured_as_well() -> None:
    """PROJ's inverse is iterated to about a millimetre."""
    x, y = ground_pixel_size(square("EPSG:3395", 12, 60, 0.02), "EPSG:3395", 1, 1)
    assert (x, y) == pytest.approx((0.02 / Proj("EPSG:3395").get_factors(12, 60).parallel_scale,) * 2, rel=1e-4)


def test_the_size_in_the_units_of_the_projection_is_in_metres_too() -> None:
    assert projected_pixel_size(Affine(10, 0, 0, 0, -20, 0), "EPSG:3857") == (10, 20)
    assert projected_pixel_size(Affine(1, 0, 980_000, 0, -1, 200_000), "EPSG:2263") == pytest.approx((1200 / 3937,) * 2)
    assert projected_pixel_size(Affine(1, 0, 0, 0, -1, 0), "EPSG:4326") is None


def test_a_place_that_the_projection_does_not_reach_is_refused() -> None:
    with pytest.raises(ValueError, match="is no place in 'WGS 84 / UTM zone 30N'"):
        ground_pixel_size(Affine(10, 0, 1e12, 0, -10, 1e12), UTM, 1, 1)
