"""Frames lie on one grid, and pixels have the size that the encoder is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer
from small_files import constant_bands, image_reader, record_of

from eo_data.raster.sample import SampleError
from eo_data.temporal.frame_policy import FramePolicy


def test_pixels_of_another_size_than_the_encoder_is_told_are_refused(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(1200, 3000), ("B2", "B3"), size=20)
    with pytest.raises(SampleError, match="'S2' has pixels of 20 m, but its bands have a GSD of 10 m.* pixel_size: 20"):
        image_reader().read(record_of(path))
    assert image_reader(pixel_size=20).read(record_of(path)).pixel_size == 20
    # Pixels in degrees are 10 m high, whatever their width at this latitude.
    degrees = Affine(8.983e-5, 0, 10, 0, -8.983e-5, 60)
    path = write_tif(tmp_path / "b.tif", constant_bands(1200, 3000), ("B2", "B3"), crs="EPSG:4326", transform=degrees)
    assert image_reader().read(record_of(path)).pixel_size == 10
    # No CRS, no size: that of the bands.
    path = write_tif(tmp_path / "c.tif", constant_bands(1200, 3000), ("B2", "B3"), crs=None)
    assert image_reader().read(record_of(path)).pixel_size == 10


class TestProjectionsThatStretch:
    """Web Mercator's units are half as long at 60 degrees north, and pixels of 5 m were handed on as 10 m."""

    @pytest.fixture
    def pixels(self, write_tif: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
        def write(side: float, latitude: float, crs: str = "EPSG:3857") -> Path:
            x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(12, latitude)
            bands = constant_bands(1200, 3000)
            place = Affine(side, 0, x, 0, -side, y)
            return write_tif(tmp_path / f"{side}_{latitude}.tif", bands, ("B2", "B3"), crs=crs, transform=place)

        return write

    @pytest.mark.parametrize(
        ("side", "latitude", "crs"),
        [(20, 60, "EPSG:3857"), (10, 5, "EPSG:3857"), (14.14, -45, "EPSG:3857"), (10, 75, "EPSG:3413"),
         (10, 60, "EPSG:6933")],
    )  # fmt: skip
    def test_what_is_ten_metres_on_the_ground_is_taken(
        self, side: float, latitude: float, crs: str, pixels: Callable[..., Path]
    ) -> None:
        """The last one is an equal-area grid, where squares become narrow and high, as they do in degrees."""
        assert image_reader().read(record_of(pixels(side, latitude, crs))).pixel_size == 10

    def test_another_size_is_refused_with_the_projection_as_the_cause(self, pixels: Callable[..., Path]) -> None:
        told = r"pixels of 5.* m on the ground .its projection, WGS 84 / Pseudo-Mercator, makes 10 m .* pixel_size: 5 "
        with pytest.raises(SampleError, match=told):
            image_reader().read(record_of(pixels(10, 60)))

    def test_a_size_that_is_nearly_right_is_told(self, pixels: Callable[..., Path]) -> None:
        with pytest.warns(UserWarning, match=r"about 7.7 m on the ground .*Pseudo-Mercator.* the encoder assumes 10 m"):
            image_reader().read(record_of(pixels(10, 40)))


def test_an_unknown_pixel_size_is_refused(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(1, 3), ("x", "y"), crs=None)
    with pytest.raises(SampleError, match="The pixel size of 'S2' is not known. Set pixel_size .metres. or sensor"):
        image_reader(sensor=None, bands=["x", "y"], unit="native").read(record_of(path))


def test_a_transform_that_is_no_place_is_refused(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(1, 3), ("B2", "B3"), crs="EPSG:4326")
    with pytest.raises(SampleError, match="'S2': .* is no place in 'WGS 84'"):
        image_reader().read(record_of(path))


@pytest.mark.parametrize(
    "other", [{"size": 20}, {"corner": (500010.0, 5000000.0)}, {"crs": "EPSG:32633"}, {"side": 5}, {"size": 10.01}]
)
def test_frames_on_different_grids_are_refused(
    write_tif: Callable[..., Path], tmp_path: Path, other: dict[str, object]
) -> None:
    side = other.pop("side", 4)
    one = write_tif(tmp_path / "S2_20210101.tif", constant_bands(1, 2), ("B2", "B3"))
    two = write_tif(tmp_path / "S2_20210102.tif", constant_bands(1, 2, side=int(str(side))), ("B2", "B3"), **other)
    with pytest.raises(SampleError, match="S2_20210102.tif .* lies on another grid than .*S2_20210101.tif .*warp them"):
        image_reader(FramePolicy(), pixel_size=10).read(record_of(one, two))


def test_rounding_makes_no_other_grid(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    one = write_tif(tmp_path / "S2_20210101.tif", constant_bands(1, 2), ("B2", "B3"))
    two = write_tif(
        tmp_path / "S2_20210102.tif", constant_bands(1, 2), ("B2", "B3"), corner=(500000.0 + 1e-6, 5000000.0)
    )
    assert image_reader(FramePolicy()).read(record_of(one, two)).raster.pixels.shape == (2, 2, 4, 4)


def test_cubes_of_one_date_each_are_a_series_by_their_time_axes(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    paths = []
    for day in ("2020-03-01", "2020-01-01"):
        coordinates = pixel_centres(4) | {"t": np.array([day], dtype="datetime64[ns]")}
        number = 100 * int(day[5:7])
        data = {band: (("t", "y", "x"), np.full((1, 4, 4), number, dtype=np.int16)) for band in ("B2", "B3")}
        paths.append(write_cube(tmp_path / f"{number}.nc", data, coordinates))
    image = image_reader(FramePolicy()).read(record_of(*paths))
    assert image.dates == (date(2020, 1, 1), date(2020, 3, 1))
    assert image.raster.pixels[:, 0, 0, 0] == pytest.approx([0.01, 0.03])


def test_several_cubes_of_one_sample_are_refused(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    coordinates = pixel_centres(4) | {"t": np.array(["2020-01-01"], dtype="datetime64[ns]")}
    data = {band: (("t", "y", "x"), np.full((1, 4, 4), 700, dtype=np.int16)) for band in ("B2", "B3")}
    paths = [write_cube(tmp_path / f"{i}.nc", data, coordinates) for i in (1, 2)]
    with pytest.raises(SampleError, match="1.nc is a cube of 1 frames; expected one cube per sample, got 2 files"):
        image_reader(FramePolicy()).read(record_of(*paths))


def test_pixels_that_are_far_from_square_are_refused_and_others_reported(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    """The encoder takes 10 x 1 m for 10 x 10 m: fields become stripes."""

    def read(across: float, down: float, crs: str = "EPSG:32632", top: float = 5e6, **options: float) -> None:
        left = 5e5 if crs == "EPSG:32632" else 9.0
        place = Affine(across, 0, left, 0, -down, top)
        path = write_tif(tmp_path / "a.tif", constant_bands(1000, 2000), ("B2", "B3"), crs=crs, transform=place)
        image_reader(**options).read(record_of(path))

    with pytest.raises(SampleError, match="'S2' has pixels that are 10 times as long as wide.*resample_to"):
        read(10, 1)
    with pytest.warns(UserWarning, match="'S2' has pixels that are 2 times as long as wide"):
        read(5, 10)
    read(10, 12)
    read(10, 1, pixel_size=10)
    # Near the poles, squares of degrees are narrow, and products widen them.
    read(8.98e-5, 8.98e-5, "EPSG:4326", 80.0)
    read(5 * 8.98e-5, 8.98e-5, "EPSG:4326", 80.0)


@pytest.mark.parametrize("numbers", [(1e300, 10), (5e5, 1e300), (5e12, 10), (float("inf"), 10), (5e5, 1e-13)])
def test_a_place_beyond_any_map_is_refused_though_the_pixel_size_is_stated(
    write_tif: Callable[..., Path], tmp_path: Path, numbers: tuple[float, float]
) -> None:
    corner, size = numbers
    place = Affine(size, 0, corner, 0, -size, 5e6)
    path = write_tif(tmp_path / "a.tif", constant_bands(1000, 2000), ("B2", "B3"), transform=place)
    with pytest.raises(SampleError, match=r"a.tif: its transform .* is no place"):
        image_reader(pixel_size=10).read(record_of(path))
