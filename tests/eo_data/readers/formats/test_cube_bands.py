"""A band is what its name says: not a mask of the same name in another group, nor what lies beside it in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import xarray
from small_cubes import NAMES, SIDE, by_variable, numbers, places, stacked, written
from small_files import level2a, read

from eo_data.catalog.sources import ImageSource
from eo_data.raster.sample import SampleError

TIMES = {"time": np.array(["2020-01-01", "2020-02-02"], dtype="datetime64[ns]")}
SERIES = np.stack([numbers(seed=0), numbers(seed=1)])
PLANE = ("y", "x")


def _beside(**variables: Any) -> xarray.Dataset:
    """Bands as variables, and something else before them."""
    return xarray.Dataset(variables, coords=places()).merge(by_variable(numbers()))


@pytest.mark.parametrize(
    "data",
    [
        _beside(corner=(("y", "x", "four"), np.zeros((SIDE, SIDE, 4)))),
        _beside(angles=(("detector", "angle", "y", "x"), np.zeros((2, 2, SIDE, SIDE)))),
        _beside(phase=(PLANE, np.zeros((SIDE, SIDE), "complex64"))),
        _beside(note=(PLANE, np.zeros((SIDE, SIDE)), {"scale_factor": "about 1"})),
        xarray.Dataset({name: (("band", *PLANE), own[None]) for name, own in zip(NAMES, numbers(), strict=True)}),
        stacked(numbers()).assign(angles=(("angle", *PLANE), np.zeros((2, SIDE, SIDE)))),
        stacked(numbers(), axis="spectral"),
        stacked(numbers(), {"long_name": list(NAMES)}, band=[1, 2, 3]),  # rioxarray
        stacked(numbers(), band=[0, 1, 2], asset=("band", list(NAMES))),
        stacked(numbers(), band=np.array([b"B02", b"B03", b"B04"])),
        stacked(numbers()).expand_dims("realization"),
        stacked(numbers()).assign(B02=(PLANE, np.zeros((SIDE, SIDE)))),
    ],
    ids=(
        "corners",
        "axes",
        "complex",
        "odd",
        "one_band",
        "stacks",
        "any_axis",
        "long_name",
        "labels",
        "bytes",
        "member",
        "axis_first",
    ),
)
def test_what_nobody_asks_for_is_left_alone(tmp_path: Path, data: xarray.Dataset) -> None:
    pytest.importorskip("zarr")
    np.testing.assert_array_equal(read(written(tmp_path / "a.zarr", data), level2a(*NAMES)).pixels, numbers())


def test_a_variable_that_does_not_change_goes_with_those_that_do(tmp_path: Path) -> None:
    height = np.arange(SIDE * SIDE, dtype="float32").reshape(SIDE, SIDE)
    series = {name: (("time", *PLANE), SERIES[:, i]) for i, name in enumerate(NAMES)}
    data = xarray.Dataset({"dem": (PLANE, height), **series}, coords=places() | TIMES)
    path = written(tmp_path / "a.nc", data)
    np.testing.assert_array_equal(read(path, level2a(*NAMES)).pixels, SERIES)
    both = read(path, ImageSource("x", ["B04", "dem"], unit="native"))
    np.testing.assert_array_equal(both.pixels[:, 1], np.stack([height, height]))
    np.testing.assert_array_equal(both.pixels[:, 0], SERIES[:, 2])
    alone = read(path, ImageSource("x", ["dem"], unit="native"))
    assert (alone.pixels.shape, alone.frame_dates) == ((1, SIDE, SIDE), ())


@pytest.mark.parametrize("group", [None, "quality"])
def test_a_layer_of_clouds_may_lie_beside_the_bands_or_in_a_group(tmp_path: Path, group: str | None) -> None:
    classes = np.full((2, SIDE, SIDE), 4, np.uint8)
    data = stacked(SERIES, **TIMES)
    layer = xarray.Dataset({"SCL": (("time", *PLANE), classes)}, coords=places() | TIMES)
    path = written(tmp_path / "a.nc", data if group else data.merge(layer))
    if group:
        written(path, layer, group=group, mode="a")
    pixels = read(path, level2a("B02", "SCL", cloud_band="SCL")).pixels
    np.testing.assert_array_equal(pixels, np.stack([SERIES[:, 0], classes], axis=1))


@pytest.mark.parametrize(("kind", "missing"), [("fmask", False), ("mask", False), ("scl", True)])
def test_the_fill_value_of_all_bands_is_no_cloud_where_it_means_clear(
    tmp_path: Path, kind: Literal["fmask", "mask", "scl"], *, missing: bool
) -> None:
    pixels = numbers()
    pixels[:, :2] = 0
    path = written(tmp_path / "a.nc", stacked(pixels, {"nodata": 0}, band=["B02", "B03", "layer"]))
    source = level2a("B02", "layer", cloud_band="layer", cloud_kind=kind)
    found = np.isnan(read(path, source).pixels[:, 0, 0])
    assert found.tolist() == [True, missing]


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """The groups of a Sentinel-2 product of EOPF: masks have the names of bands, and come first."""
    pytest.importorskip("zarr")
    path, lower = tmp_path / "a.zarr", ("b02", "b03", "b04")
    mask = by_variable(np.ones((3, SIDE, SIDE), np.uint8), names=lower)
    half = by_variable(numbers(2, SIDE // 2, seed=5), names=("b11", "b02"), pixel=20.0)
    angles = xarray.Dataset({"sun": (("angle", *PLANE), np.zeros((2, 2, 2)))}, coords=places(2, 40.0))
    scene = by_variable(np.full((1, SIDE // 2, SIDE // 2), 4, np.uint8), names=("scl",), pixel=20.0)
    view = xarray.Dataset({"tci": (("band", *PLANE), np.zeros((3, SIDE, SIDE), np.uint8))}, coords=places())
    for group, data in (
        ("conditions/geometry", angles),
        ("conditions/mask/detector_footprint/r10m", mask),
        ("conditions/mask/l2a_classification/r20m", scene),
        ("measurements/reflectance/r10m", by_variable(numbers(), names=lower)),
        ("measurements/reflectance/r20m", half),
        ("quality/l2a_quicklook/r10m", view),
        ("quality/mask/r10m", mask),
    ):
        written(path, data, group=group, mode="a")
    return path


def test_the_bands_of_a_product_are_what_was_measured_at_the_finest(product: Path) -> None:
    np.testing.assert_array_equal(read(product, level2a(*NAMES)).pixels, numbers())
    path = "measurements/reflectance/r20m/{band}"
    np.testing.assert_array_equal(
        read(product, level2a("B11", variables=path)).pixels, numbers(2, SIDE // 2, seed=5)[:1]
    )
    source = level2a("B02", "B11", "scl", resample_to=10.0, resampling="nearest", cloud_band="scl")
    pixels = read(product, source).pixels
    np.testing.assert_array_equal(pixels[0], numbers()[0])
    np.testing.assert_array_equal(pixels[1], np.kron(numbers(2, SIDE // 2, seed=5)[0], np.ones((2, 2))))
    assert (pixels[2] == 4).all()


def test_a_band_in_two_groups_of_one_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    for i, group in enumerate(("orbit_1", "orbit_2")):
        written(path, by_variable(numbers(seed=i)), group=group, mode="a")
    with pytest.raises(
        SampleError, match=r"both in 'orbit_1/' and in 'orbit_2/'. Name .* variables: 'orbit_1/\{band\}'"
    ):
        read(path, level2a())
    assert (read(path, level2a("B02", variables="orbit_2/{band}")).pixels == numbers(seed=1)[0]).all()


def test_dimensions_are_known_by_their_attributes(tmp_path: Path) -> None:
    names = {"y": "ydim", "x": "xdim", "time": "acquired"}
    data = stacked(SERIES, **TIMES).rename(names)
    for axis in "yx":
        data[names[axis]].attrs["standard_name"] = f"projection_{axis}_coordinate"
    reading = read(written(tmp_path / "a.nc", data), level2a(*NAMES))
    np.testing.assert_array_equal(reading.pixels, SERIES)
    assert [day.isoformat() for day in reading.frame_dates] == ["2020-01-01", "2020-02-02"]


def test_names_that_are_absent_or_come_twice_are_refused(tmp_path: Path) -> None:
    for name, bands, message in (
        ("a.nc", ["B02", "B02", "B04"], "B02"),
        ("b.nc", [1, 2, 3], "The band order of .*b.nc .3 bands. is unknown; descriptions: 1, 2, 3"),
    ):
        with pytest.raises(SampleError, match=message):
            read(written(tmp_path / name, stacked(numbers(), band=bands)), level2a("B02"))
