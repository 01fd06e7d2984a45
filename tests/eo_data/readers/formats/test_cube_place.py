"""A cube keeps its place, in whichever of the many ways it is written; what contradicts itself is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from affine import Affine
from pyproj import CRS, Transformer
from small_cubes import LEFT, SIDE, TOP, UTM_33, by_variable, in_utm, numbers, places, stacked, written
from small_files import level2a, read

from eo_data.raster.raster import to_map
from eo_data.raster.sample import SampleError
from eo_data.readers.formats.file_raster import FileRaster

BANDS = ("B02", "B03", "B04")
NORTH_UP = (10.0, 0.0, LEFT, 0.0, -10.0, TOP)
GEO_TRANSFORM = "500000 10 0 5000000 0 -10"
PARAMETERS = {
    "grid_mapping_name": "transverse_mercator",
    "semi_major_axis": 6378137.0,
    "inverse_flattening": 298.257223563,
    "false_easting": 500000.0,
    "false_northing": 0.0,
    "latitude_of_projection_origin": 0.0,
    "longitude_of_central_meridian": 15.0,
    "scale_factor_at_central_meridian": 0.9996,
}


def _transform(reading: FileRaster) -> Affine:
    assert reading.transform is not None
    return reading.transform


def _cube(*, everywhere: dict[str, Any] | None = None, own: dict[str, Any] | None = None) -> xarray.Dataset:
    data = stacked(numbers(), own)
    data.attrs.update(everywhere or {})
    return data


def _mapped(**attributes: Any) -> xarray.Dataset:
    return _cube(own={"grid_mapping": "m"}).assign_coords(m=xarray.DataArray(0, attrs=attributes))


def _by_coordinates() -> xarray.Dataset:
    data = _cube()
    for name in "yx":
        data[name].attrs["crs"] = "EPSG:32633"
    return data


def _by_another_variable() -> xarray.Dataset:
    data = by_variable(numbers())
    data["B04"].attrs["crs"] = "EPSG:32633"
    return data


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(in_utm(_cube()), id="rioxarray"),
        pytest.param(
            _mapped(spatial_ref=CRS.from_epsg(32633).to_wkt("WKT1_GDAL"), GeoTransform=GEO_TRANSFORM), id="gdal"
        ),
        pytest.param(_mapped(**PARAMETERS), id="parameters"),
        pytest.param(_mapped(**PARAMETERS).assign_attrs(crs="EPSG:32633"), id="parameters_and_code"),
        pytest.param(_mapped(spatial_ref=CRS.from_epsg(32633).to_wkt("WKT1_ESRI")).assign_attrs(epsg=32633), id="esri"),
        pytest.param(_cube().assign_coords(epsg=32633), id="stackstac"),
        # A grid mapping variable called crs holds some number, which is no code.
        pytest.param(_cube().assign_coords(crs=xarray.DataArray(0, attrs={"crs_wkt": UTM_33})), id="variable_crs"),
        pytest.param(_cube(everywhere={"crs": "+init=epsg:32633"}), id="open_rasterio"),
        pytest.param(_cube(everywhere={"crs": "urn:ogc:def:crs:EPSG::32633"}), id="urn"),
        pytest.param(_cube(own={"crs": "epsg:32633"}), id="own_attribute"),
        pytest.param(_by_coordinates(), id="open_data_cube"),
        pytest.param(_by_another_variable(), id="another_variable"),
        pytest.param(_cube(everywhere={"proj:code": "EPSG:32633"}), id="geozarr"),
    ],
)
def test_the_crs_of_a_cube_is_found_however_it_is_written(tmp_path: Path, data: xarray.Dataset) -> None:
    reading = read(written(tmp_path / "a.nc", data), level2a("B02", "B03"))
    assert reading.crs is not None
    # By what a coordinate means: ESRI and CF's parameters have other names for one thing.
    there = Transformer.from_crs(reading.crs, 32633, always_xy=True).transform(LEFT, TOP)
    assert there == pytest.approx((LEFT, TOP), abs=0.01)
    assert tuple(_transform(reading))[:6] == NORTH_UP


@pytest.mark.parametrize("nearest", [True, False])
def test_groups_have_the_crs_and_coordinates_of_those_around_them(tmp_path: Path, *, nearest: bool) -> None:
    """CF 2.7; what a nearer group says counts, and a transform only for a raster of its size."""
    zarr = pytest.importorskip("zarr")
    path = written(tmp_path / "a.zarr", by_variable(numbers()), group="measured/r10m")
    far = {"proj:code": "EPSG:4326" if nearest else "EPSG:32633", "proj:transform": [20, 0, 0, 0, -20, 0]}
    zarr.open_group(path, mode="a").attrs.update(far | {"proj:shape": [4, 4]})
    if nearest:
        zarr.open_group(path / "measured", mode="a").attrs["proj:code"] = "EPSG:32633"
    reading = read(path, level2a())
    assert CRS(reading.crs).to_epsg() == 32633
    assert tuple(_transform(reading))[:6] == NORTH_UP


@pytest.mark.parametrize(
    ("attributes", "cause"),
    [
        ({"crs": "WGS84, zone 33"}, "attribute crs = 'WGS84, zone 33' cannot be read as a CRS"),
        ({"grid_mapping_name": "of_my_own"}, "grid mapping .* cannot be read as a CRS: Unsupported"),
    ],
)
def test_a_crs_that_nobody_can_read_is_lost_with_a_word(tmp_path: Path, attributes: dict[str, str], cause: str) -> None:
    path = written(
        tmp_path / "a.nc", _mapped(**attributes) if "grid_mapping_name" in attributes else _cube(everywhere=attributes)
    )
    with pytest.warns(UserWarning, match=f"a.nc is used without a CRS: its {cause}.*Write it as EPSG:32633"):
        reading = read(path, level2a())
    assert reading.crs is None
    np.testing.assert_array_equal(reading.pixels, numbers()[:2])


def test_two_crs_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.nc", in_utm(_cube(everywhere={"crs": "EPSG:4326"})))
    with pytest.raises(SampleError, match="a.nc: it states two CRS: .* by spatial_ref, .* by crs of the file. Remove"):
        read(path, level2a())


def _geotransform(text: str, side: int = SIDE) -> xarray.Dataset:
    return in_utm(stacked(numbers(side=side)), GeoTransform=text)


AFFINE_TEXT = "| 10.00, 0.00, 500000.00|\n| 0.00,-10.00, 5000000.00|\n| 0.00, 0.00, 1.00|"
CORNERS = places(shift=-0.5)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_geotransform(GEO_TRANSFORM), id="agree"),
        pytest.param(_geotransform(GEO_TRANSFORM).isel(y=slice(None, None, -1)), id="gdal_from_south_to_north"),
        pytest.param(_geotransform(GEO_TRANSFORM).drop_vars(["y", "x"]), id="attribute_alone"),
        pytest.param(stacked(numbers(), {"transform": list(NORTH_UP)}, **CORNERS), id="stackstac_corners"),
        pytest.param(stacked(numbers(), {"transform": AFFINE_TEXT}, **CORNERS), id="stackstac_as_text"),
        pytest.param(stacked(numbers(), {"transform": "log10", "GeoTransform": ""}), id="something_else"),
        pytest.param(
            stacked(numbers(), {"GeoTransform": GEO_TRANSFORM}, y=np.arange(SIDE), x=np.arange(SIDE)), id="counted"
        ),
        pytest.param(
            in_utm(stacked(numbers(), **{k: (k, v / 1000, {"units": "km"}) for k, v in places().items()})),
            id="kilometres",
        ),
    ],
)
def test_a_stated_transform_that_goes_with_the_coordinates_is_no_contradiction(
    tmp_path: Path, data: xarray.Dataset
) -> None:
    reading = read(written(tmp_path / "a.nc", data), level2a())
    assert tuple(_transform(reading))[:6] == pytest.approx(NORTH_UP)
    np.testing.assert_array_equal(reading.pixels, numbers()[:2])


@pytest.mark.parametrize(
    ("cut", "place"),
    [
        (lambda data: data.isel(y=slice(2, 8), x=slice(1, 9)), (10, 0, LEFT + 10, 0, -10, TOP - 20)),
        (lambda data: data.coarsen(y=2, x=2).mean(), (20, 0, LEFT, 0, -20, TOP)),
        (lambda data: data.isel(y=slice(3, 4)), (10, 0, LEFT, 0, -10, TOP - 30)),
    ],
    ids=["cut", "coarser", "one_row"],
)
def test_a_cube_that_was_cut_after_its_transform_was_written_lies_where_its_coordinates_say(
    tmp_path: Path, cut: Callable[[xarray.Dataset], xarray.Dataset], place: tuple[float, ...]
) -> None:
    data = cut(_geotransform(GEO_TRANSFORM, side=12))
    path = written(tmp_path / "a.nc", data)
    with pytest.warns(
        UserWarning,
        match="a.nc: its coordinates .* GeoTransform of spatial_ref says .*of which this is a part.*coordinates count",
    ):
        reading = read(path, level2a())
    assert tuple(_transform(reading))[:6] == pytest.approx(place)
    np.testing.assert_allclose(reading.pixels, data.s2.values[:2])


@pytest.mark.parametrize(
    "text", ["300003 10 0 5000000 0 -10", "600000 10 0 5000000 0 -10", "500000 20 0 5000000 0 -20"]
)
def test_a_transform_of_another_place_or_size_is_refused(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "a.nc", _geotransform(text))
    with pytest.raises(
        SampleError, match="a.nc: its coordinates 'y' and 'x' give .*: they contradict each other. Remove"
    ):
        read(path, level2a())


def test_rotated_rows_from_south_to_north_stay_on_their_ground(tmp_path: Path) -> None:
    data = _geotransform("500000 8 6 5000000 6 8").drop_vars(["y", "x"])
    reading = read(written(tmp_path / "a.nc", data), level2a())
    last = to_map(_transform(reading), 0.5, SIDE - 0.5)  # the first row of the file
    assert last == pytest.approx((LEFT + 4 + 3, TOP + 3 + 4))
    assert reading.pixels[0, -1, 0] == numbers()[0, 0, 0]


@pytest.mark.parametrize("rounded", [lambda v: v.astype("float32"), lambda v: np.round(v, 6)], ids=["float32", "text"])
def test_rounded_degrees_are_evenly_spaced(tmp_path: Path, rounded: Callable[[np.ndarray], np.ndarray]) -> None:
    steps = 8.98e-5 * np.arange(64)
    lat, lon = rounded(47 - steps), rounded(11 + steps)
    axes = {"lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", lon, {"units": "degrees_east"})}
    data = xarray.Dataset({"B02": (("lat", "lon"), numbers(1, 64)[0])}, coords=axes)
    reading = read(written(tmp_path / "a.nc", data), level2a("B02"))
    assert CRS(reading.crs).to_epsg() == 4326
    centre = to_map(_transform(reading), 40.5, 20.5)
    assert centre == pytest.approx((11 + 40 * 8.98e-5, 47 - 20 * 8.98e-5), abs=8.98e-6)


def test_angles_and_swaths_are_no_place(tmp_path: Path) -> None:
    angles = {k: (k, np.arange(SIDE, dtype="int16"), {"units": "rad", "scale_factor": 5.6e-5}) for k in "yx"}
    with pytest.raises(SampleError, match="coordinate 'y' is in radians .a scanning angle"):
        read(written(tmp_path / "goes.nc", stacked(numbers(), **angles)), level2a())
    swath = by_variable(numbers()).drop_vars(["y", "x"])
    swath = swath.assign_coords({k: (("y", "x"), np.ones((SIDE, SIDE))) for k in ("latitude", "longitude")})
    with pytest.raises(SampleError, match="only arrays of latitude and longitude say where its pixels lie"):
        read(written(tmp_path / "swath.nc", swath), level2a())
    with pytest.raises(SampleError, match="B02 .'rows', 'columns'.*a swath.: warp it to a map grid"):
        read(written(tmp_path / "olci.nc", swath.rename(y="rows", x="columns")), level2a())
