"""Arrays as images: what xarray, numpy and attributes say of pixels is what a file of them would say."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine

from eo_embed.one_call.arrays import array_image, stated_of_array

BANDS = ("BLUE", "GREEN", "RED")
NUMBERS = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)
NORTH_UP = Affine(10, 0, 500_000, 0, -10, 4_000_000)


def _cube(pixels: np.ndarray = NUMBERS, **attributes: Any) -> xr.DataArray:
    coordinates = {"band": list(BANDS), "y": 3_999_995.0 - 10 * np.arange(4), "x": 500_005.0 + 10 * np.arange(5)}
    return xr.DataArray(pixels, coordinates, ("band", "y", "x"), attrs={"crs": "EPSG:32632", **attributes})


def _variables(*attributes: dict[str, Any]) -> xr.Dataset:
    planes = zip(BANDS, NUMBERS, attributes, strict=True)
    cube = xr.Dataset({name: (("y", "x"), plane, own) for name, plane, own in planes}, _cube().drop_vars("band").coords)
    return cube.assign(crs_of_cube=xr.DataArray(0, attrs={"crs_wkt": rasterio.CRS.from_epsg(32632).to_wkt()}))


def test_rows_that_run_north_are_turned_round_with_their_place() -> None:
    for turned in (
        array_image(_cube().isel(y=slice(None, None, -1)), None, None),
        array_image(NUMBERS[:, ::-1], BANDS, None, (10, 0, 500_000, 0, 10, 3_999_960), "EPSG:32632"),
    ):
        assert turned.transform == NORTH_UP
        np.testing.assert_array_equal(turned.pixels[0], NUMBERS)


def test_rows_that_are_only_counted_stay_as_they_are() -> None:
    counted = array_image(_cube().drop_vars(["x", "y"]).assign_coords(y=np.arange(4)), None, None)
    np.testing.assert_array_equal(counted.pixels[0], NUMBERS)


def test_scale_offset_unit_and_missing_number_of_each_variable_become_tags_of_the_file() -> None:
    packed = {"scale_factor": 1e-4, "add_offset": -0.1, "units": "1"}
    image = array_image(_variables(packed, {**packed, "_FillValue": -9999}, {"units": "K"}), None, None)
    with image.files() as (name,), rasterio.open(name) as file:
        assert file.descriptions == BANDS
        assert file.scales == (1e-4, 1e-4, 1)
        assert file.offsets == (-0.1, -0.1, 0)
        assert file.units == ("1", "1", "K")
        assert file.nodata == -9999
        np.testing.assert_array_equal(file.read(), NUMBERS)


def test_two_numbers_for_missing_pixels_are_refused() -> None:
    image = array_image(_variables({"_FillValue": -9999}, {"_FillValue": 0}, {}), None, None)
    with pytest.raises(ValueError, match="mask_and_scale=True"), image.files():
        pass


def test_a_fill_value_that_the_pixels_cannot_have_is_no_fault() -> None:
    image = array_image(_cube(NUMBERS.astype(np.uint8), _FillValue=-9999), None, None)
    with image.files() as (name,), rasterio.open(name) as file:
        assert file.nodata is None


def test_the_fill_value_of_the_packed_numbers_is_none_of_the_decoded_ones() -> None:
    decoded = _cube(NUMBERS.astype(np.float32))
    decoded.encoding["_FillValue"] = 0  # xarray has made those NaN; a decoded 0 is a number
    with array_image(decoded, None, None).files() as (name,), rasterio.open(name) as file:
        assert file.nodata is None


def test_what_a_masked_array_hides_is_missing() -> None:
    image = array_image(np.ma.masked_equal(NUMBERS, 7), BANDS, None)
    assert np.isnan(image.pixels).sum() == 1
    assert np.isnan(image.pixels[0, 0, 1, 2])


def test_the_date_of_one_frame_that_was_selected_is_kept() -> None:
    one = _cube().assign_coords(time=np.datetime64("2022-06-01"))
    assert array_image(one, None, None).dates == (date(2022, 6, 1),)


def test_band_names_of_rioxarray_count() -> None:
    named = _cube(long_name=BANDS).assign_coords(band=[1, 2, 3])
    assert array_image(named, None, None).bands == BANDS


def test_coordinates_without_a_crs_do_not_say_how_large_pixels_are() -> None:
    cube = _cube()
    del cube.attrs["crs"]
    image = array_image(cube, None, None)
    assert image.transform is not None
    with pytest.raises(ValueError, match="pixel_size=10"):
        stated_of_array(image, {})
    assert stated_of_array(image, {"pixel_size": 30})["pixel_size"] == 30
