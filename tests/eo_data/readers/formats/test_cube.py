"""A cube gives the right band under the right name at the right time, whatever the order of its axes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import xarray
from affine import Affine
from small_cubes import by_variable, in_utm, numbers, places, stacked, written
from small_files import hrefs, image_reader, level2a, read, record_of

from eo_data.catalog.records import Record, TileWindow
from eo_data.catalog.sources import LabelSource
from eo_data.raster.raster import Raster
from eo_data.raster.sample import SampleError
from eo_data.readers.labels import read_label
from eo_data.temporal.frame_policy import FramePolicy

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


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.zarr", {"encoding": {"s2": {"_FillValue": 4999}}}),
        ("a.zarr", {"zarr_format": 3, "encoding": {"s2": {"_FillValue": 4999}}}),
        ("a.zarr", {"zarr_format": 3, "encoding": {"s2": {"fill_value": 4999}}}),
        ("a.zarr", {"zarr_format": 3, "encoding": {"s2": {"chunks": (1, 4, 4), "shards": (1, 8, 8)}}}),
        ("a.zarr", {"zarr_format": 3}),
        ("a.zarr", {"consolidated": True}),
        ("a.nc", {"engine": "scipy", "format": "NETCDF3_CLASSIC"}),
        ("a.nc4", {}),
    ],
    ids=["zarr_2", "zarr_3_attribute", "zarr_3_array", "sharded", "default", "consolidated", "netcdf_3", "nc4"],
)
@pytest.mark.filterwarnings("ignore::UserWarning:zarr")
def test_stores_of_all_versions_are_read_with_their_fill_values(
    tmp_path: Path, name: str, options: dict[str, object]
) -> None:
    pytest.importorskip("scipy" if options.get("engine") else "zarr")
    pixels = numbers()
    pixels[:, 0, 0], pixels[:, 0, 1] = 4999, 0
    path = written(tmp_path / name, stacked(pixels), **options)
    truth = pixels.astype("float32")
    if "4999" in str(options):
        truth[truth == 4999] = np.nan  # and 0, which Zarr 3 has by default, is a number
    np.testing.assert_array_equal(read(path, level2a("B02", "B03", "B04")).pixels, truth)


def test_a_broken_chunk_is_an_error_of_its_file(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    path = written(tmp_path / "a.zarr", stacked(numbers()))
    chunk = next(part for part in (path / "s2").iterdir() if not part.name.startswith("."))
    whole = chunk.read_bytes()
    chunk.write_bytes(b"\xff" + whole[1:])  # a version of Blosc that there is not
    with pytest.raises(SampleError, match="a.zarr cannot be read: .*decompression.*copy it again"):
        read(path, level2a())


@pytest.mark.parametrize("name", ["a.nc", "a.zarr"])
@pytest.mark.parametrize("axes", [("band", "y", "x"), ("x", "band", "y")])
@pytest.mark.parametrize("north_up", [True, False])
def test_a_tile_costs_as_much_memory_as_itself(
    tmp_path: Path, name: str, axes: tuple[str, ...], *, north_up: bool
) -> None:
    pytest.importorskip("zarr")
    side, tile = 1024, 128
    pixels = numbers(side=side)
    data = in_utm(stacked(pixels)).isel(y=slice(None, None, 1 if north_up else -1)).transpose(*axes)
    chunks = tuple(1 if axis == "band" else tile for axis in axes)
    encoding = {"s2": {"chunksizes" if name == "a.nc" else "chunks": chunks}}
    path = written(tmp_path / name, data, encoding=encoding)
    window = TileWindow(512, 256, tile, (512, 256, tile, tile), (side, side))
    for resample_to in (None, 10.0):
        source = level2a("B02", "B04", resample_to=resample_to)
        read(path, source, window)  # what is imported and cached once
        tracemalloc.start()
        reading = read(path, source, window)
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        np.testing.assert_array_equal(reading.pixels, pixels[[0, 2], 512:640, 256:384])
        assert peak < 2, peak  # the tile has 0.1 MiB, the cube 12


class _Time:
    """A time as cftime has it."""

    calendar = "360_day"

    def __init__(self, month: int, day: int) -> None:
        self.year, self.month, self.day = 2020, month, day

    def __str__(self) -> str:
        return f"2020-{self.month:02}-{self.day:02}"


def test_times_of_another_calendar_are_dates_if_there_is_such_a_day() -> None:
    from eo_data.readers.formats.cube import _dates

    data = xarray.Dataset(coords={"time": np.array([_Time(2, 28), _Time(6, 1)], dtype=object)})
    assert _dates(data, "time") == (date(2020, 2, 28), date(2020, 6, 1))
    wrong = xarray.Dataset(coords={"time": np.array([_Time(2, 30)], dtype=object)})
    with pytest.raises(
        ValueError, match="2020-02-30 of its calendar '360_day' is no date of the usual.*convert_calendar"
    ):
        _dates(wrong, "time")


@pytest.mark.parametrize(("calendar", "days"), [("standard", ["2020-02-29", "2020-06-15"]), ("noleap", None)])
def test_days_are_counted_in_the_calendar_of_the_file(tmp_path: Path, calendar: str, days: list[str] | None) -> None:
    axis = ("time", [59, 166], {"units": "days since 2020-01-01", "calendar": calendar})
    path = written(tmp_path / "a.nc", stacked(np.stack([numbers(), numbers()]), time=axis))
    if days is None and find_spec("cftime") is None:
        with pytest.raises(SampleError, match="calendar 'noleap'.*cftime"):
            read(path, level2a())
        return
    found = [day.isoformat() for day in read(path, level2a()).frame_dates]
    assert found == (days or ["2020-03-01", "2020-06-16"])


def test_the_dates_of_frames_without_a_time_coordinate_come_from_an_index(tmp_path: Path) -> None:
    path = written(tmp_path / "a.nc", stacked(np.stack([numbers(), numbers(seed=1)])))
    days = [date(2020, 3, 1), date(2020, 2, 1)]
    frames = FramePolicy("all")
    image = image_reader(frames, {"x": days}).read(record_of(path))
    assert sorted(image.dates) == sorted(days)
    with pytest.raises(SampleError, match="2 frames and 1 names to take dates from. State the dates in an index"):
        image_reader(frames).read(record_of(path))


def test_a_lone_time_that_is_no_axis_is_the_date_of_an_image(tmp_path: Path) -> None:
    """What is left of a series after isel(time=0)."""
    data = stacked(numbers()).assign_coords(time=np.datetime64("2020-03-01T10:20:30", "ns"))
    assert image_reader(dated=True).read(record_of(written(tmp_path / "a.nc", data))).dates == (date(2020, 3, 1),)


def test_a_band_in_days_is_no_span_of_time(tmp_path: Path) -> None:
    path = written(tmp_path / "a.nc", by_variable(numbers(), {"units": "days"}))
    np.testing.assert_array_equal(read(path, level2a()).pixels, numbers()[:2])


def _label(path: Path, **options: object) -> Raster:
    source = LabelSource(**({"classes": 4} | options))
    found = read_label(Record("x", {}, label=hrefs(path)[0]), source, "segmentation", None)
    assert isinstance(found, Raster)
    return found


CLASSES = np.random.default_rng(0).integers(0, 4, (8, 8)).astype("uint8")


@pytest.mark.parametrize(
    "data",
    [
        by_variable(CLASSES[None, ::-1], names=("label",)).assign_coords(y=places()["y"][::-1]),
        by_variable(CLASSES[None], names=("label",)).expand_dims("band"),
        by_variable(CLASSES[None], names=("label",)).expand_dims(time=np.array(["2020-01-01"], "datetime64[ns]")),
        xarray.Dataset({"label": (("dim_0", "dim_1"), CLASSES)}),
    ],
    ids=["south_up", "one_band", "one_time", "no_coordinates"],
)
def test_labels_in_cubes(tmp_path: Path, data: xarray.Dataset) -> None:
    truth = CLASSES.astype("float32")
    np.testing.assert_array_equal(_label(written(tmp_path / "a.nc", data)).pixels[0], truth)
    truth[truth == 3] = -1
    path = written(tmp_path / "b.nc", data, encoding={"label": {"_FillValue": 3}})
    np.testing.assert_array_equal(_label(path, classes=3).pixels[0], truth)
    with pytest.raises(SampleError, match="states 3 as no-data, which is also a class"):
        _label(path)
