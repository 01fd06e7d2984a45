"""Every format gives the right band under the right name, NaN where nothing was observed, and says what is broken."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine

from eo_data.catalog.sources import ImageSource
from eo_data.raster.sample import SampleError
from eo_data.readers.files import choose_bands, read_file
from eo_data.readers.geotiff import read_bands

LEFT, TOP = 500000.0, 5000000.0


def _source(*bands: str, **options: object) -> ImageSource:
    return ImageSource("x.tif", bands or ("B2", "B3"), sensor="sentinel2_l2a", unit="digital_number", **options)  # type: ignore[arg-type]


def _bands(*values: float, side: int = 4, dtype: str = "uint16") -> np.ndarray:
    return np.stack([np.full((side, side), value, dtype=dtype) for value in values])


# Bands by name


def test_bands_come_by_name_not_by_place(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", _bands(11, 8, 2, 4), ("B11", "B8", "B2", "B4"))
    reading = read_file(path, _source("RED", "swir16", "BLUE"))
    assert reading.pixels[:, 0, 0].tolist() == [4, 11, 2]
    assert reading.pixels.dtype == np.float32
    unnamed = write_tif(tmp_path / "b.tif", _bands(11, 8, 2, 4))
    declared = _source("RED", "BLUE", file_bands=["SWIR_1", "-", "B02", "B4"])
    assert read_file(unnamed, declared).pixels[:, 0, 0].tolist() == [4, 2]


@pytest.mark.parametrize(
    ("descriptions", "options", "message"),
    [
        ((), {}, "The band order of .*a.tif .4 bands. is unknown"),
        ((), {"file_bands": ["B2", "B3"]}, "has 4 bands, but the config declares 2: B2, B3"),
        (("B2", "B3", "B4", "B8"), {"file_bands": ["B3", "B2", "B4", "B8"]}, "declared band order contradicts"),
        (("B4", "B5", "B6", "B8"), {}, "Wanted bands that are not there: B2, B3.*Available: RED, RED_EDGE_1"),
    ],
)
def test_wrong_bands_are_refused(
    write_tif: Callable[..., Path],
    tmp_path: Path,
    descriptions: tuple[str, ...],
    options: dict[str, object],
    message: str,
) -> None:
    path = write_tif(tmp_path / "a.tif", _bands(1, 2, 3, 4), descriptions)
    with pytest.raises(SampleError, match=f"a.tif.*{message}"):
        read_file(path, _source(**options))


def test_substitutes_and_the_quality_layer() -> None:
    source = _source("NIR_BROAD", "NIR_NARROW", "BLUE", substitutes={"NIR_NARROW": "NIR_BROAD"})
    assert choose_bands(["B2", "B8"], source) == [1, 1, 0]
    # The sensor has no band SCL, but its files do.
    with_clouds = _source("B3", "SCL", cloud_band="SCL")
    assert choose_bands(["SCL", "B2", "B3"], with_clouds) == [2, 0]
    with pytest.raises(ValueError, match="Wanted bands that are not there: SCL"):
        choose_bands(["B2", "B3"], with_clouds)


# Broken files


def test_unreadable_files_are_named(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "zero.tif").write_bytes(b"")
    (tmp_path / "text.tif").write_text("<html>404</html>")
    (tmp_path / "zero.nc").write_bytes(b"")
    (tmp_path / "zero.h5").write_bytes(b"")
    (tmp_path / "empty.zarr").mkdir()
    for name in ("zero.tif", "text.tif", "zero.nc", "zero.h5", "empty.zarr"):
        with pytest.raises(SampleError, match=f"{name}"):
            read_file(tmp_path / name, _source(dataset="x"))
    with pytest.raises(SampleError, match="There is no file .*/none.tif"):
        read_file(tmp_path / "none.tif", _source())


@pytest.mark.parametrize("layout", ["plain", "deflate", "cog"])
@pytest.mark.parametrize("resample_to", [None, 20])
def test_half_a_geotiff_is_refused_not_half_read(
    write_tif: Callable[..., Path], tmp_path: Path, layout: str, resample_to: float | None
) -> None:
    pixels = np.random.default_rng(0).integers(1, 4000, (2, 600, 600), dtype=np.uint16)
    path = write_tif(
        tmp_path / "whole.tif", pixels, ("B2", "B3"), **({"compress": "deflate"} if layout != "plain" else {})
    )
    if layout == "cog":
        rasterio.shutil.copy(str(path), str(tmp_path / "cog.tif"), driver="COG")
        path = tmp_path / "cog.tif"
    content = path.read_bytes()
    (tmp_path / "half.tif").write_bytes(content[: len(content) // 2])
    with pytest.raises(SampleError, match="half.tif cannot be read: .*The file may be truncated"):
        read_file(tmp_path / "half.tif", _source(resample_to=resample_to))


def test_half_a_cube_and_half_an_hdf5_are_refused(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(1, 4000, (64, 64)).astype(np.float32)
    write_cube(tmp_path / "a.nc", {"B2": (("y", "x"), noise)}, pixel_centres(64))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["d"] = noise[None]
    for name in ("a.nc", "a.h5"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / f"half_{name}").write_bytes(content[: len(content) // 2])
        with pytest.raises(SampleError, match=f"half_{name} cannot be read"):
            read_file(tmp_path / f"half_{name}", _source("B2", dataset="d"))


# Missing pixels


def _holes(value: float, dtype: str) -> np.ndarray:
    """First band missing at (0, 0), second at (0, 0) and (1, 1)."""
    pixels = _bands(100, 200, dtype=dtype)
    pixels[:, 0, 0] = value
    pixels[1, 1, 1] = value
    return pixels


@pytest.mark.parametrize(
    ("value", "dtype", "options"),
    [
        (0, "uint16", {"nodata": 0}),
        (-9999, "int16", {"nodata": -9999}),
        (-32768, "int32", {"nodata": -32768}),
        (np.nan, "float32", {}),
        (np.nan, "float32", {"nodata": np.nan}),
        (-1.7976931348623157e308, "float64", {"nodata": -1.7976931348623157e308}),
        (-3.4028234663852886e38, "float32", {"nodata": -3.4028234663852886e38}),
    ],
)
def test_no_data_of_the_file_is_nan_band_by_band(
    write_tif: Callable[..., Path], tmp_path: Path, value: float, dtype: str, options: dict[str, float]
) -> None:
    path = write_tif(tmp_path / "a.tif", _holes(value, dtype), ("B2", "B3"), **options)
    pixels = read_file(path, _source("B3", "B2")).pixels
    assert np.argwhere(np.isnan(pixels)).tolist() == [[0, 0, 0], [0, 1, 1], [1, 0, 0]]
    assert pixels[1, 1, 1] == 100


def test_no_data_of_the_config_takes_the_place_of_the_file_s(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", _holes(7, "uint16"), ("B2", "B3"), nodata=100)
    pixels = read_file(path, _source(nodata=7)).pixels
    assert np.isnan(pixels[1, 1, 1])
    assert pixels[0, 2, 2] == 100


def test_a_mask_of_the_data_set_hides_all_bands(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    mask = np.full((4, 4), 255, dtype=np.uint8)
    mask[2, 3] = 0
    path = write_tif(tmp_path / "a.tif", _bands(100, 200), ("B2", "B3"), mask=mask)
    pixels = read_file(path, _source()).pixels
    assert np.argwhere(np.isnan(pixels)).tolist() == [[0, 2, 3], [1, 2, 3]]


def test_no_data_of_one_band_does_not_become_zero_when_resampled(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    pixels = _bands(1000, 2000, side=40)
    pixels[0, :20] = 0
    path = write_tif(tmp_path / "a.tif", pixels, ("B2", "B3"), nodata=0)
    reading = read_file(path, _source(resample_to=20)).pixels
    assert reading.shape == (2, 20, 20)
    assert np.isnan(reading[0, :8]).all()
    assert not np.isnan(reading[0, 12:]).any()
    assert set(np.unique(reading[0, 12:])) == {1000}
    assert np.nanmin(reading[0]) == 1000
    assert set(np.unique(reading[1])) == {2000}


# Georeference


def test_resampling_keeps_the_ground(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    ramp = np.repeat(np.arange(8, dtype=np.float32)[None, None], 8, axis=1) * 100
    path = write_tif(tmp_path / "a.tif", ramp, ("B2",))
    reading = read_file(path, _source("B2", resample_to=20))
    assert reading.transform == Affine(20, 0, LEFT, 0, -20, TOP)
    # Triangular kernel over 10 m pixels at the centre of a 20 m pixel: the mean of a ramp is its value there.
    assert reading.pixels[0, 1, 1:3].tolist() == pytest.approx([250, 450])
    with pytest.raises(SampleError, match="resample_to is in the unit of the CRS .* covers 80 x 80; got 200"):
        read_file(path, _source("B2", resample_to=200))
    degrees = write_tif(tmp_path / "d.tif", ramp, ("B2",), crs="EPSG:4326", transform=Affine(9e-5, 0, 10, 0, -9e-5, 45))
    with pytest.raises(SampleError, match="In a geographic CRS it is in degrees"):
        read_file(degrees, _source("B2", resample_to=20))
    rotated = write_tif(tmp_path / "r.tif", ramp, ("B2",), transform=Affine(10, 1, LEFT, 1, -10, TOP))
    with pytest.raises(SampleError, match="resample_to needs a raster that is not rotated"):
        read_file(rotated, _source("B2", resample_to=20))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_file_without_georeference_has_none(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", _bands(1, 2), ("B2", "B3"), crs=None, transform=Affine.identity())
    reading = read_file(path, _source())
    assert (reading.transform, reading.crs) == (None, None)
    one = write_tif(tmp_path / "B2.tif", _bands(1), crs=None, transform=Affine.identity())
    reading = read_bands([one], ["B2"], _source("B2"))
    assert (reading.transform, reading.crs) == (None, None)


# One file per band


def test_a_file_per_band(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    names = ["B8A", "B02", "QA", "B11"]
    paths = [write_tif(tmp_path / f"{n}.tif", _bands(v), nodata=0) for n, v in zip(names, (8, 2, 9, 11), strict=True)]
    reading = read_bands(paths, names, _source("SWIR_1", "BLUE", "NIR_NARROW"))
    assert reading.pixels[:, 0, 0].tolist() == [11, 2, 8]
    with pytest.raises(SampleError, match="Wanted bands that are not there: RED.*Available: B8A, B02, QA, B11"):
        read_bands(paths, names, _source("RED"))


def test_bands_on_different_grids(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    fine = write_tif(tmp_path / "B2.tif", _bands(100, side=6), nodata=0)
    coarse = write_tif(tmp_path / "B5.tif", _bands(500, side=3), nodata=0, size=20)
    with pytest.raises(SampleError, match=r"B5.tif has 3 x 3 pixels of \(20.0, 20.0\), but .*B2.tif has another grid"):
        read_bands([fine, coarse], ["B2", "B5"], _source("B2", "B5"))
    reading = read_bands([fine, coarse], ["B2", "B5"], _source("B5", "B2", resample_to=10))
    assert reading.pixels.shape == (2, 6, 6)
    assert reading.transform == Affine(10, 0, LEFT, 0, -10, TOP)
    assert [np.unique(plane).tolist() for plane in reading.pixels] == [[500], [100]]
    # What lies elsewhere is not the same image, whatever resample_to says: it would come out as missing.
    elsewhere = write_tif(tmp_path / "B4.tif", _bands(400, side=6), corner=(LEFT + 6000, TOP))
    other_zone = write_tif(tmp_path / "B3.tif", _bands(300, side=6), crs="EPSG:32633")
    for path, band in ((elsewhere, "B4"), (other_zone, "B3")):
        with pytest.raises(SampleError, match=f"{band}.tif .*has another grid .size, transform or CRS"):
            read_bands([fine, path], ["B2", band], _source("B2", band, resample_to=10))


def test_broken_files_per_band_are_sample_errors(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    good = write_tif(tmp_path / "B2.tif", _bands(1))
    two = write_tif(tmp_path / "B3.tif", _bands(1, 2))
    (tmp_path / "B4.tif").write_bytes(good.read_bytes()[:200])
    with pytest.raises(SampleError, match="B3.tif has 2 bands, expected one"):
        read_bands([good, two], ["B2", "B3"], _source("B2", "B3"))
    with pytest.raises(SampleError, match="B4.tif cannot be read"):
        read_bands([good, tmp_path / "B4.tif"], ["B2", "B4"], _source("B2", "B4"))
    rotated = write_tif(tmp_path / "B5.tif", _bands(1), transform=Affine(10, 1, LEFT, 1, -10, TOP))
    with pytest.raises(SampleError, match="B5.tif: resample_to needs a raster that is not rotated"):
        read_bands([rotated], ["B5"], _source("B5", resample_to=20))


# Cubes


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
    reading = read_file(path, _source("BLUE", "GREEN", variables="S2-{band}"))
    assert reading.pixels.shape == (2, 2, 3, 3)
    assert reading.pixels[1, :, 0, 2].tolist() == [211, 311]
    assert reading.frame_dates == (date(2020, 12, 31), date(2021, 1, 1))
    assert reading.transform == Affine(10, 0, LEFT, 0, -10, TOP)
    assert (reading.crs, reading.tags["processing_level"]) == ("WKT", "L2A")
    with pytest.raises(SampleError, match="Wanted bands that are not there: RED. Available: B0"):
        read_file(path, _source("RED", variables="S2-{band}"))


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
    reading = read_file(path, _source("BLUE", "GREEN"))
    assert reading.pixels[1, :, 0, 2].tolist() == [22, 33]
    assert reading.frame_dates == (date(2021, 1, 5), date(2021, 1, 1))
    two = write_cube(tmp_path / "b.nc", {"s2": (axes, data), "other": (axes, data + 1)}, pixel_centres(3) | names)
    with pytest.raises(
        SampleError, match=r"the variables \['s2', 'other'\] all have bands; name the one .* in dataset"
    ):
        read_file(two, _source())
    assert read_file(two, _source("BLUE", dataset="other")).pixels[1, 0, 0, 2] == 23
    with pytest.raises(SampleError, match=r"it has no variable 'third' with bands .dataset.; it has \['s2', 'other'\]"):
        read_file(two, _source(dataset="third"))
    unnamed = write_cube(tmp_path / "c.nc", {"s2": (axes, data)}, pixel_centres(3) | {"time": names["time"]})
    with pytest.raises(SampleError, match="The band order of s2 .2 bands. is unknown"):
        read_file(unnamed, _source())
    assert read_file(unnamed, _source("B2", file_bands=["B3", "B2"])).pixels[1, 0, 0, 2] == 22


def test_rows_from_south_to_north_are_turned_round(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    """Labels and other modalities begin in the north; the bounds of both are the same."""
    data = np.zeros((3, 3), dtype=np.float32)
    data[0, 1] = 7  # the southernmost row of the file
    path = write_cube(tmp_path / "a.nc", {"B2": (("y", "x"), data)}, pixel_centres(3, north_up=False))
    reading = read_file(path, _source("B2"))
    assert reading.transform == Affine(10, 0, LEFT, 0, -10, TOP)
    assert np.argwhere(reading.pixels == 7).tolist() == [[0, 2, 1]]


def test_unsigned_numbers_of_netcdf_3(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    stored = np.array([[40000, 65535], [1, 2]], dtype=np.uint16).view(np.int16)
    path = write_cube(tmp_path / "a.nc", {"B2": (("y", "x"), stored, {"_Unsigned": "true"})}, pixel_centres(2))
    pixels = read_file(path, _source("B2", nodata=65535)).pixels
    np.testing.assert_array_equal(pixels[0], [[40000, np.nan], [1, 2]])


def test_a_fill_value_of_a_cube_is_missing(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    data = np.array([[-9999, 5], [6, 7]], dtype=np.int16)
    variables = {"B2": (("y", "x"), data, {"_FillValue": np.int16(-9999)})}
    path = write_cube(tmp_path / "a.nc", variables, pixel_centres(2))
    np.testing.assert_array_equal(read_file(path, _source("B2")).pixels[0], [[np.nan, 5], [6, 7]])


def test_cubes_without_an_even_grid_or_time(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    data = np.ones((4, 4), dtype=np.float32)
    uneven = pixel_centres(4) | {"x": np.array([0.0, 10, 20, 45])}
    path = write_cube(tmp_path / "a.nc", {"B2": (("y", "x"), data)}, uneven)
    with pytest.raises(SampleError, match="a.nc: the coordinate 'x' is not evenly spaced"):
        read_file(path, _source("B2"))
    path = write_cube(tmp_path / "b.nc", {"B2": (("row", "column"), data)}, {})
    with pytest.raises(SampleError, match=r"b.nc: the cube has the dimensions .*expected y and x"):
        read_file(path, _source("B2"))
    # Without time it is an image; without coordinates it has no place.
    path = write_cube(tmp_path / "c.nc", {"B2": (("y", "x"), data)}, {})
    reading = read_file(path, _source("B2"))
    assert (reading.pixels.shape, reading.frame_dates, reading.transform) == ((1, 4, 4), (), None)
    # A time axis of bare numbers is none.
    path = write_cube(tmp_path / "d.nc", {"B2": (("time", "y", "x"), data[None])}, {"time": [3]})
    with pytest.raises(SampleError, match="d.nc: A time axis of numbers needs its units"):
        read_file(path, _source("B2"))


def test_variables_on_different_grids_are_refused(write_cube: Callable[..., Path], tmp_path: Path) -> None:
    one, two = np.ones((2, 2), dtype=np.float32), np.ones((2, 3), dtype=np.float32)
    path = write_cube(tmp_path / "a.nc", {"B2": (("y", "x"), one), "B3": (("y", "x2"), two)}, {})
    with pytest.raises(SampleError, match="a.nc: "):
        read_file(path, _source())


# HDF5


def test_hdf5(tmp_path: Path) -> None:
    data = np.zeros((3, 2, 4, 4), dtype=np.int16)
    data[2, 0], data[2, 1], data[0, 1, 0, 0] = 3, 2, -1
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["s2"], file["names"], file["flat"] = data, [b"S2A_20200101", b"S2B_20200106", b"x"], np.zeros((4, 4))
        file["one"] = data[2]
    reading = read_file(tmp_path / "a.h5", _source(dataset="s2", products="names", file_bands=["B3", "B2"], nodata=-1))
    assert reading.pixels[2, :, 0, 0].tolist() == [2, 3]
    assert np.argwhere(np.isnan(reading.pixels)).tolist() == [[0, 0, 0, 0]]
    assert reading.frame_names == ("S2A_20200101", "S2B_20200106", "x")
    single = read_file(tmp_path / "a.h5", _source("B2", dataset="one", file_bands=["B3", "B2"]))
    assert single.pixels.shape == (1, 4, 4)
    for options, message in (
        ({}, r"a.h5: it has the arrays \['flat', 'names', 'one', 's2'\]; name the one to read in dataset"),
        ({"dataset": "s3"}, r"it has the arrays .*got \['s3'\]"),
        ({"dataset": "s2", "products": "no"}, r"it has the arrays .*got \['no'\]"),
        ({"dataset": "flat"}, r"'flat' has shape \(4, 4\); expected \(T, C, H, W\) or \(C, H, W\)"),
        ({"dataset": "s2"}, "The band order of .*a.h5 .2 bands. is unknown"),
    ):
        with pytest.raises(SampleError, match=message):
            read_file(tmp_path / "a.h5", _source(**options))


def test_an_empty_array_holds_no_pixels(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["s2"] = np.zeros((0, 2, 4, 4))
    with pytest.raises(SampleError, match=r"a.h5 holds no pixels: shape \(0, 2, 4, 4\)"):
        read_file(tmp_path / "a.h5", _source(dataset="s2", file_bands=["B2", "B3"]))
