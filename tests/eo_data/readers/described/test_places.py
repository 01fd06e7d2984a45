"""Places over a folder of real Sentinel-2 images are what reading the same windows by hand gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.warp import calculate_default_transform, reproject
from rasterio.windows import Window

from eo_data.catalog.sources import ImageSource
from eo_data.dataset.chip_splits import SeriesSplits
from eo_data.dataset.dataset import EoDataset
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_data.raster.sample import SampleError
from eo_data.readers.described.places import Places
from eo_data.temporal.frame_policy import FramePolicy

#: The corner of the images, brought to whole pixels of 10 m.
LEFT, TOP = 465180, 5080260
ZONE33 = "EPSG:32633"
BANDS = ("B02", "B03", "B04", "B08")
NUMBERS = [2, 3, 4, 8]


def _write(
    path: Path, pixels: np.ndarray, names: tuple[str, ...], left: float, top: float = TOP, **options: Any
) -> None:
    profile = {"crs": ZONE33, "transform": Affine(10, 0, left, 0, -10, top), "nodata": 0} | options
    count, height, width = pixels.shape
    profile |= {"driver": "GTiff", "tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate"}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", count=count, height=height, width=width, dtype=pixels.dtype, **profile) as file:
        file.write(pixels)
        file.descriptions = names


@pytest.fixture(scope="module")
def scenes(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two days as overlapping tiles; of the second, the eastern tile is in zone 32. The east is brighter by 500."""
    root = tmp_path_factory.mktemp("set")
    series = shared / "data" / "s2_l1c_timeseries_eolearn"
    for time in ("20150711T100008", "20150830T100547"):
        with rasterio.open(series / f"S2L1C_{time}.tif") as file:
            pixels, names = file.read(), file.descriptions
        west, east = pixels[:, :, :60], np.where(pixels[:, :, 50:] > 0, pixels[:, :, 50:] + 500, 0).astype(np.uint16)
        _write(root / "scenes" / f"west_S2L1C_{time}.tif", west, names, LEFT)
        path = root / "scenes" / f"east_S2L1C_{time}.tif"
        if time.startswith("201507"):
            _write(path, east, names, LEFT + 500)
            continue
        here = rasterio.transform.array_bounds(101, 50, Affine(10, 0, LEFT + 500, 0, -10, TOP))
        transform, width, height = calculate_default_transform(ZONE33, "EPSG:32632", 50, 101, *here, resolution=10)
        warped = np.zeros((13, height, width), np.uint16)
        reproject(
            east,
            warped,
            src_transform=Affine(10, 0, LEFT + 500, 0, -10, TOP),
            src_crs=ZONE33,
            dst_transform=transform,
            dst_crs="EPSG:32632",
            src_nodata=0,
            resampling=Resampling.nearest,
        )
        _write(path, warped, names, 0, crs="EPSG:32632", transform=transform)
    return root


def _dataset(root: Path, places: Places, **arguments: Any) -> EoDataset:
    source = ImageSource(bands=BANDS, sensor="sentinel2_l1c", unit="digital_number", offset=0)
    plain = DatasetNormalise({"S2": [0.0] * 4}, {"S2": [1.0] * 4})
    given = {"frames": FramePolicy(), "georeference": "always"} | arguments
    return SeriesSplits(root=str(root), modalities={"S2": source}, preprocess=plain, samples=places, **given).dataset(
        "predict"
    )


def _box(column: int, row: int, width: int, height: int) -> list[float]:
    """A place in longitude and latitude that projects to about these pixels, a little within them."""
    left, top = LEFT + 10 * column + 4, TOP - 10 * row - 4
    lon, lat = rasterio.warp.transform(ZONE33, "EPSG:4326", [left + 5 * width], [top - 5 * height])
    return [lon[0], lat[0], 5 * min(width, height) - 8]


def test_places_are_the_windows_that_rasterio_reads(scenes: Path) -> None:
    """The place spans columns 40 to 80: the eastern tiles show 30 of them, the western ones 20."""
    places = Places([_box(40, 30, 40, 40)], "scenes", ("2015-07-01", "2015-09-01"), multiple=4)
    dataset = _dataset(scenes, places)
    (record,) = dataset.records
    grid = record.grids["S2"]
    transform = grid.transform
    assert transform is not None
    column, row = (transform.c - LEFT) / 10, (TOP - transform.f) / 10
    assert (column % 1, row % 1, transform.c % 40, transform.f % 40) == (0, 0, 0, 0)
    assert 36 <= column <= 40
    assert 40 <= grid.width <= 48
    image = dataset.read(0).images["S2"]
    assert [day.isoformat() for day in image.dates] == ["2015-07-11", "2015-08-30"]

    def by_hand(name: str, first: int) -> np.ndarray:
        with rasterio.open(scenes / "scenes" / name) as file:
            window = Window(column - first, row, grid.width, grid.height)
            return file.read(NUMBERS, window=window, boundless=True, fill_value=0)

    first, second = image.raster.pixels / np.float32(1e-4)
    west, east = by_hand("west_S2L1C_20150711T100008.tif", 0), by_hand("east_S2L1C_20150711T100008.tif", 50)
    np.testing.assert_allclose(first, np.where(east > 0, east, west), rtol=1e-6)
    west = by_hand("west_S2L1C_20150830T100547.tif", 0)
    with rasterio.open(scenes / "scenes" / "east_S2L1C_20150830T100547.tif") as file:
        east, corners = _bilinear(file.read(NUMBERS), file.transform, transform, grid.width)
    np.testing.assert_allclose(second[:, corners == 4], east[:, corners == 4], atol=0.05)
    np.testing.assert_allclose(second[:, corners == 0], west[:, corners == 0], rtol=1e-6)
    assert (corners == 4).mean() > 0.6
    assert (corners == 0).mean() > 0.2
    assert image.raster.valid.all()


def _bilinear(pixels: np.ndarray, own: Affine, target: Affine, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Values of zone 32 at the centres of pixels of zone 33, and how many of the four around each have data."""
    rows, columns = np.mgrid[0:side, 0:side] + 0.5
    to32 = Transformer.from_crs(ZONE33, "EPSG:32632", always_xy=True)
    x, y = to32.transform(target.c + 10 * columns, target.f - 10 * rows)
    column, row = (x - own.c) / 10 - 0.5, (own.f - y) / 10 - 0.5
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)
    padded = np.pad(pixels, ((0, 0), (100, 100), (100, 100)))
    total, corners = np.zeros((len(pixels), side, side)), np.zeros((side, side), int)
    for down in (0, 1):
        for right in (0, 1):
            value = padded[:, top + down + 100, left + right + 100]
            total += value * (1 - abs(column - left - right)) * (1 - abs(row - top - down))
            corners += value[0] > 0
    return total, corners


def test_the_index_is_beside_the_scenes_and_the_second_run_opens_none(
    scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places([_box(40, 30, 40, 40)], "scenes")
    before = _dataset(scenes, places).records
    assert (scenes / "scenes" / ".scenes.parquet").is_file()

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("eo_data.readers.described.scenes.facts_of", refuse)
    assert _dataset(scenes, places).records == before


def test_half_a_place_tells_what_it_has_and_a_place_elsewhere_is_listed(scenes: Path, tmp_path: Path) -> None:
    half, far = _box(-20, 30, 40, 40), [10.0, 50.0, 200.0]
    places = Places([half, far], "scenes", ("2015-07-01", "2015-08-01"))
    with pytest.raises(ValueError, match=r"1 of 2 places cannot be used.*on_error: skip.*outside of all in .*scenes"):
        _dataset(scenes, places)
    with pytest.warns(UserWarning, match=r"1 of 2 samples of 'predict' are left out.*outside of all"):
        dataset = _dataset(scenes, places, on_error="skip", skipped_file=str(tmp_path / "skipped.csv"))
    image = dataset.read(0).images["S2"]
    assert 0.4 < image.raster.valid.mean() < 0.6
    assert "outside of all" in (tmp_path / "skipped.csv").read_text()
    with pytest.raises(ValueError, match=r"No place can be used. First reason: 0: 'S2' of .*nearest days are"):
        _dataset(scenes, Places([half], "scenes", ("2016-07-01", "2016-08-01")))


def test_tiles_of_a_place_are_parts_of_it(scenes: Path) -> None:
    places = Places([_box(20, 20, 60, 60)], "scenes", ("2015-07-01", "2015-08-01"), multiple=16)
    whole = _dataset(scenes, places).read(0).images["S2"].raster
    tiles = _dataset(scenes, places, tile=32, tile_align=16)
    for i, record in enumerate(tiles.records):
        window = record.window
        assert window is not None
        part = tiles.read(i).images["S2"].raster
        _, _, height, width = window.inside
        own = whole.crop(window.top, window.left, height, width)
        np.testing.assert_array_equal(part.pixels[..., :height, :width], own.pixels)


def test_rows_and_times_that_make_no_sense_are_refused(scenes: Path) -> None:
    with pytest.raises(ValueError, match=r"Place 0 must be \[lon, lat, buffer_m\]"):
        _dataset(scenes, Places([[1.0, 2.0]], "scenes"))
    with pytest.raises(ValueError, match="Swap them"):
        Places([], "scenes", ("2016-08-01", "2016-07-01"))
    with pytest.raises(ValueError, match=r"There is no folder .*nowhere"):
        _dataset(scenes, Places([[14.5, 45.8, 100.0]], "nowhere"))


def test_a_scene_that_is_gone_is_an_error_of_its_place(scenes: Path, tmp_path: Path) -> None:
    places = Places([_box(40, 30, 40, 40)], "scenes", index=str(tmp_path / "index.parquet"))
    dataset = _dataset(scenes, places)
    href = dataset.records[0].files["S2"][0]
    moved = tmp_path / "away.tif"
    href.path.rename(moved)
    try:
        with pytest.raises(SampleError, match=f"There is no file .*{href.name}"):
            dataset.read(0)
    finally:
        moved.rename(href.path)
