"""What scene files are, by what they say; what they do not say is a reason, with the line to add."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer
from shapely.geometry import Point
from small_files import constant_bands

from eo_data.readers.described.images import Stated
from eo_data.readers.described.scenes import folder_of_scenes

BANDS = ("B2", "B3")


def write_named(write_tif: Callable[..., Path], path: Path, **options: object) -> None:
    write_tif(path, constant_bands(1000, 2000, side=8), BANDS, **options)


def test_an_image_says_sensor_bands_date_time_and_place(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    write_named(write_tif, tmp_path / "S2L2A_20220601T102031.tif")
    (scene,) = folder_of_scenes(tmp_path).scenes
    assert (scene.id, scene.sensor, scene.kind, scene.crs) == (
        "S2L2A_20220601T102031.tif",
        "sentinel2_l2a",
        "file",
        "EPSG:32632",
    )
    assert scene.bands == ("BLUE", "GREEN")
    assert (scene.day, scene.started) == (date(2022, 6, 1), datetime(2022, 6, 1, 10, 20, 31, tzinfo=UTC))
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(500000, 5000000)
    assert scene.footprint.exterior.distance(Point(lon, lat)) < 1e-7  # type: ignore[attr-defined]


def test_files_of_bands_are_one_scene(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    for band in ("B02", "B03", "B8A", "SCL"):
        write_tif(tmp_path / f"T32UQV_20220601_{band}.tif", np.ones((1, 8, 8), np.uint16))
    (scene,) = folder_of_scenes(tmp_path).scenes
    assert (scene.id, scene.sensor) == ("T32UQV_20220601", "sentinel2_l2a")
    assert scene.bands == scene.band_files == ("B02", "B03", "B8A", "SCL")
    assert [href.name for href in scene.files] == [f"T32UQV_20220601_{band}.tif" for band in scene.band_files]


def test_a_name_that_ends_in_a_band_may_be_an_image_of_several(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    write_named(write_tif, tmp_path / "S2L2A_20220601_red.tif")
    (scene,) = folder_of_scenes(tmp_path).scenes
    assert (scene.bands, scene.band_files) == (("BLUE", "GREEN"), ())


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_what_is_not_known_is_a_reason(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    write_named(write_tif, tmp_path / "S2L2A.tif")
    write_tif(tmp_path / "nameless_20220601.tif", constant_bands(1, 2))
    write_named(write_tif, tmp_path / "S2L2A_20220602.tif", crs=None, transform=Affine.identity())
    (tmp_path / "S2L2A_20220603.tif").write_text("no image")
    write_named(write_tif, tmp_path / "S2L2A_20220604_B02.tif")
    write_tif(tmp_path / "S2L2A_20220604_B03.tif", np.ones((1, 8, 8), np.uint16))
    source = folder_of_scenes(tmp_path)
    reasons = {own.name: own.reason for own in source.unusable}
    assert source.scenes == []
    assert "does not say when it was acquired" in reasons["S2L2A.tif"]
    assert "date_pattern" in reasons["S2L2A.tif"]
    assert "does not say what its 2 bands are" in reasons["nameless_20220601.tif"]
    assert "has no georeference" in reasons["S2L2A_20220602.tif"]
    assert "cannot be read" in reasons["S2L2A_20220603.tif"]
    assert "2 bands, but lies beside files of single bands" in reasons["S2L2A_20220604"]


def test_what_is_stated_counts_where_files_say_nothing(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    write_tif(tmp_path / "2022_152.tif", constant_bands(1, 2))
    stated = Stated(("VV", "VH"), "sentinel1", date_pattern=r"(?P<year>\d{4})_(?P<doy>\d{3})")
    assert folder_of_scenes(tmp_path).scenes == []
    (scene,) = folder_of_scenes(tmp_path, stated).scenes  # and so the index is made anew
    assert (scene.sensor, scene.day) == ("sentinel1", date(2022, 6, 1))


def test_a_cube_of_dates_is_no_scene(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    times = np.array(["2022-06-01", "2022-06-02"], "datetime64[ns]")
    layer = (("time", "y", "x"), np.ones((2, 4, 4), np.float32))
    variables = {"B2": layer, "B3": layer, "crs": ((), 0)}
    write_cube(tmp_path / "S2L2A_cube.nc", variables, {"time": times} | pixel_centres(4))
    (own,) = folder_of_scenes(tmp_path).unusable
    assert "is a cube of several dates, and a scene has one" in own.reason
