"""A cube gives the right band under the right name at the right time, whatever the order of its axes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from small_files import level2a, read

from eo_data.raster.sample import SampleError

LEFT, TOP = 500000.0, 5000000.0


def _times(*days: str) -> np.ndarray:
    return np.array(days, dtype="datetime64[ns]")


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_cube_with_a_variable_per_band(
    write_cube: Callable[..., Path],
    pixel_centres: Callable[..., dict[str, np.ndarray]],
    tmp_path: Path,
    suffix: str,
) -> None:
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    series = np.arange(2 * 3 * 3, dtype=np.int16).reshape(2, 3, 3)
    axes = ("t", "y", "x")
    variables = {"S2-B03": (axes, series + 300), "S2-B02": (axes, series + 200), "crs": ((), 0, {"crs_wkt": "WKT"})}
    coordinates = pixel_centres(3) | {"t": _times("2020-12-31", "2021-01-01")}
    path = write_cube(tmp_path / f"a{suffix}", variables, coordinates, processing_level="L2A")
    reading = read(path, level2a("BLUE", "GREEN", variables="S2-{band}"))
    assert reading.pixels.shape == (2, 2, 3, 3)
    assert reading.pixels[1, :, 0, 2].tolist() == [211, 311]
    assert reading.frame_dates == (date(2020, 12, 31), date(2021, 1, 1))
    assert reading.transform == Affine(10, 0, LEFT, 0, -10, TOP)
    assert (reading.crs, reading.tags["processing_level"]) == ("WKT", "L2A")
    with pytest.raises(SampleError, match="Wanted bands that are not there: RED. Available: B0"):
        read(path, level2a("RED", variables="S2-{band}"))


def test_a_cube_with_a_band_axis(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    # The axes in another order than (time, band, y, x).
    data = np.zeros((3, 2, 2, 3), dtype=np.float32)  # x, band, time, y
    data[2, 0, 1, 0] = 33
    data[2, 1, 1, 0] = 22
    names = {"band": ["B03", "B02"], "time": _times("2021-01-05", "2021-01-01")}
    axes = ("x", "band", "time", "y")
    path = write_cube(tmp_path / "a.nc", {"s2": (axes, data)}, pixel_centres(3) | names)
    reading = read(path, level2a("BLUE", "GREEN"))
    assert reading.pixels[1, :, 0, 2].tolist() == [22, 33]
    assert reading.frame_dates == (date(2021, 1, 5), date(2021, 1, 1))
    two = write_cube(tmp_path / "b.nc", {"s2": (axes, data), "other": (axes, data + 1)}, pixel_centres(3) | names)
    with pytest.raises(
        SampleError, match=r"the variables \['s2', 'other'\] all have bands; name the one .* in dataset"
    ):
        read(two, level2a())
    assert read(two, level2a("BLUE", dataset="other")).pixels[1, 0, 0, 2] == 23
    with pytest.raises(SampleError, match=r"it has no variable 'third' with bands .dataset.; it has \['s2', 'other'\]"):
        read(two, level2a(dataset="third"))
    unnamed = write_cube(tmp_path / "c.nc", {"s2": (axes, data)}, pixel_centres(3) | {"time": names["time"]})
    with pytest.raises(SampleError, match="The band order of .*c.nc .2 bands. is unknown"):
        read(unnamed, level2a())
    assert read(unnamed, level2a("B2", file_bands=["B3", "B2"])).pixels[1, 0, 0, 2] == 22


def test_rows_from_south_to_north_are_turned_round(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    """Labels and other modalities begin in the north; the bounds of both are the same."""
    data = np.zeros((3, 3), dtype=np.float32)
    data[0, 1] = 7  # the southernmost row of the file
    path = write_cube(tmp_path / "a.nc", {"B2": (("y", "x"), data)}, pixel_centres(3, north_up=False))
    reading = read(path, level2a("B2"))
    assert reading.transform == Affine(10, 0, LEFT, 0, -10, TOP)
    assert np.argwhere(reading.pixels == 7).tolist() == [[0, 2, 1]]


def test_unsigned_numbers_of_netcdf_3(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    stored = np.array([[40000, 65535], [1, 2]], dtype=np.uint16).view(np.int16)
    path = write_cube(tmp_path / "a.nc", {"B2": (("y", "x"), stored, {"_Unsigned": "true"})}, pixel_centres(2))
    pixels = read(path, level2a("B2", nodata=65535)).pixels
    np.testing.assert_array_equal(pixels[0], [[40000, np.nan], [1, 2]])


def test_a_fill_value_of_a_cube_is_missing(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    data = np.array([[-9999, 5], [6, 7]], dtype=np.int16)
    variables = {"B2": (("y", "x"), data, {"_FillValue": np.int16(-9999)})}
    path = write_cube(tmp_path / "a.nc", variables, pixel_centres(2))
    np.testing.assert_array_equal(read(path, level2a("B2")).pixels[0], [[np.nan, 5], [6, 7]])


def test_cubes_without_an_even_grid_or_time(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    data = np.ones((4, 4), dtype=np.float32)
    uneven = pixel_centres(4) | {"x": np.array([0.0, 10, 20, 45])}
    path = write_cube(tmp_path / "a.nc", {"B2": (("y", "x"), data)}, uneven)
    with pytest.raises(SampleError, match="a.nc: the coordinate 'x' is not evenly spaced"):
        read(path, level2a("B2"))
    path = write_cube(tmp_path / "b.nc", {"B2": (("row", "column"), data)}, {})
    with pytest.raises(
        SampleError,
        match=r"b.nc: no variable .* has the dimensions y and x.*B2 .'row', 'column'.*rename",
    ):
        read(path, level2a("B2"))
    # Without time it is an image; without coordinates it has no place.
    path = write_cube(tmp_path / "c.nc", {"B2": (("y", "x"), data)}, {})
    reading = read(path, level2a("B2"))
    assert (reading.pixels.shape, reading.frame_dates, reading.transform) == ((1, 4, 4), (), None)
    # A time axis of bare numbers is none.
    path = write_cube(tmp_path / "d.nc", {"B2": (("time", "y", "x"), data[None])}, {"time": [3]})
    with pytest.raises(SampleError, match="d.nc: A time axis of numbers needs its units"):
        read(path, level2a("B2"))


def test_variables_on_different_grids_are_refused(write_cube: Callable[..., Path], tmp_path: Path) -> None:
    one, two = np.ones((2, 2), dtype=np.float32), np.ones((2, 3), dtype=np.float32)
    path = write_cube(tmp_path / "a.nc", {"B2": (("y", "x"), one), "B3": (("y", "x2"), two)}, {})
    with pytest.raises(SampleError, match="a.nc: "):
        read(path, level2a())
