"""A raster that is written part by part holds what was written, or does not get its name."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window

from eo_data.raster import geotiff_output
from eo_data.raster.geotiff_output import GeotiffInParts, write_geotiff

TRANSFORM = Affine(10, 0, 500_000.123456789, 0, -10, 5_000_000.987654321)
PROFILE: dict[str, Any] = {
    "driver": "GTiff", "count": 2, "height": 300, "width": 520, "dtype": "float32", "nodata": float("nan"),
    "transform": TRANSFORM, "crs": "EPSG:32633", "tiled": True, "blockxsize": 256, "blockysize": 256,
    "compress": "deflate",
}  # fmt: skip
WHOLE = np.random.default_rng(0).standard_normal((2, 300, 520)).astype(np.float32)
WINDOWS = [Window(x, y, 130, 150) for y in (0, 150) for x in (0, 130, 260, 390)]


def part(window: Window) -> np.ndarray:
    rows, columns = window.toslices()
    return WHOLE[:, rows, columns]


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read()


@contextmanager
def full(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("parked", [False, True])
def test_parts_are_the_whole(parked: bool, tmp_path: Path) -> None:
    path = tmp_path / "a" / "whole.tif"
    with GeotiffInParts(path, PROFILE, lambda file: file.update_tags(class_0="dry", empty="")) as file:
        for window in WINDOWS:
            file.write(part(window), window)
            if parked:
                file.park()
        assert not path.exists()
    np.testing.assert_array_equal(read(path), WHOLE)
    assert file.covered == 300 * 520
    with rasterio.open(path) as found:
        assert found.tags()["class_0"] == "dry"
        assert found.transform == TRANSFORM
    assert [entry.name for entry in path.parent.iterdir()] == ["whole.tif"]


def test_what_no_part_covers_is_no_data_and_no_error(tmp_path: Path) -> None:
    with GeotiffInParts(tmp_path / "a.tif", PROFILE) as file:
        file.write(part(WINDOWS[5]), WINDOWS[5])
    found = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(found[:, 150:, 130:260], part(WINDOWS[5]))
    assert np.isnan(found[:, :150]).all()


def test_parts_that_overlap_are_no_damage(tmp_path: Path) -> None:
    """The later one counts, as it always did; the checksum of the earlier one is of what is left of it."""
    late = Window(100, 100, 60, 60)
    with GeotiffInParts(tmp_path / "a.tif", PROFILE) as file:
        for window in (*WINDOWS, WINDOWS[0]):
            file.write(part(window), window)
        file.write(np.zeros((2, 60, 60), np.float32), late)
    expected = WHOLE.copy()
    expected[:, 100:160, 100:160] = 0
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), expected)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    "changed",
    [
        {"transform": Affine.identity(), "crs": None},
        {"transform": Affine(150.1, 20.3, 399960.5, 19.7, -150.2, 5300040.25)},
        {"transform": Affine(10, 0, 5, 0, 10, 7)},
        {"crs": "+proj=laea +lat_0=51.3 +lon_0=9.7 +ellps=GRS80 +units=m"},
        {"nodata": None},
        {"dtype": "float64"},
    ],
)
def test_no_file_is_refused_for_how_gdal_spells_it(changed: dict[str, Any], tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        file.descriptions = ("one\n", " two ")
        file.update_tags(name=" water\t", other="")

    with GeotiffInParts(tmp_path / "a.tif", PROFILE | changed, fill) as file:
        for window in WINDOWS:
            file.write(part(window), window)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), WHOLE)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 20] ^= 1  # in the first block, not in what pads the others
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3000])


def _zero_header(path: Path) -> None:
    path.write_bytes(bytes(16) + path.read_bytes()[16:])


def _other_pixels(path: Path) -> None:
    with rasterio.open(path, "r+") as file:
        file.write(np.full((1, 1), 7, np.float32), 2, window=Window(519, 299, 1, 1))


def _no_place(path: Path) -> None:
    with rasterio.open(path, "r+") as file:
        file.transform = Affine(10, 0, 500_010, 0, -10, 5_000_000)


def _no_tag(path: Path) -> None:
    with rasterio.open(path, "r+") as file:
        file.update_tags(class_0="")


DAMAGES: list[Callable[[Path], None]] = [_flip, _cut, _zero_header, _other_pixels, _no_place, _no_tag]


@pytest.mark.parametrize("compress", ["deflate", "none"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damage_between_writing_and_naming_is_an_error(
    damage: Callable[[Path], None], compress: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GDAL swallows what it cannot write when it closes a file, and another process may write there, too."""
    put_in_place = geotiff_output.put_in_place

    def damaged(partial: Path, path: Path, check: Any) -> None:
        damage(partial)
        put_in_place(partial, path, check)

    def write() -> None:
        profile = PROFILE | {"compress": compress}
        with GeotiffInParts(tmp_path / "a.tif", profile, lambda file: file.update_tags(class_0="dry")) as file:
            for window in WINDOWS:
                file.write(part(window), window)

    monkeypatch.setattr(geotiff_output, "put_in_place", damaged)
    with pytest.raises(OSError, match="a.tif does not hold what was written.*Is the disk full"):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("room", [0, 1000, 100_000, 300_000])
@pytest.mark.parametrize("full_at", range(8))
def test_a_disk_that_was_full_for_a_moment_is_not_forgotten(full_at: int, room: int, tmp_path: Path) -> None:
    """The blocks of that moment are lost, and all that follows is written: 4 of 4 such grids were kept as complete."""
    path = tmp_path / "a.tif"

    def write() -> None:
        with rasterio.Env(GDAL_CACHEMAX=400_000), GeotiffInParts(path, PROFILE) as file:
            for i, window in enumerate(WINDOWS):
                size = next(tmp_path.iterdir()).stat().st_size
                with full(size + room) if i == full_at else nullcontext():
                    file.write(part(window), window)
                    file.park()

    try:
        write()
    except OSError:
        assert list(tmp_path.iterdir()) == []
    else:
        np.testing.assert_array_equal(read(path), WHOLE)


def test_an_error_of_the_caller_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_text("old")

    def write(fail_at: str) -> None:
        def fill(_: object) -> None:
            raise KeyError(fail_at)

        with GeotiffInParts(path, PROFILE, fill if fail_at == "start" else None) as file:
            file.write(part(WINDOWS[0]), WINDOWS[0])
            raise KeyError(fail_at)

    for fail_at in ("start", "end"):
        with pytest.raises(KeyError, match=fail_at):
            write(fail_at)
        assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("a.tif", "old")]


def test_a_raster_by_way_of_the_memory_is_the_same_file(tmp_path: Path) -> None:
    write_geotiff(tmp_path / "a.tif", PROFILE, lambda file: file.write(WHOLE))
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), WHOLE)
    with pytest.raises(OSError, match="cannot be made, as .*a.tif is a file"):
        write_geotiff(tmp_path / "a.tif" / "b.tif", PROFILE, lambda file: file.write(WHOLE))
