"""Tiles cover a raster without gap or overlap, lie where they say, and are read by window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from eo_data.catalog.sources import ImageSource
from eo_data.catalog.tiles import Tiling, tiling_of
from eo_data.datamodules import ChipDataModule
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_data.raster.sample import SampleError
from thor_terratorch_ext import ThorPreprocess

UTM = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 4_000_000.0)


#: Sides of tiles, what they start at multiples of, and halos.
TILINGS = [(64, 16, 0), (64, 16, 16), (64, 8, 24), (32, 32, 0), (96, 16, 32), (24, 8, 8)]


@pytest.mark.parametrize(("tile", "align", "halo"), TILINGS)
def test_along_an_axis_of_any_length_cores_cover_it_once_and_windows_see_a_halo(
    tile: int, align: int, halo: int
) -> None:
    tiling = Tiling(tile, align, halo)
    for length in range(1, 5 * tile):
        found = tiling.axis(length)
        starts = [start for start, _, _ in found]
        assert [first for _, first, _ in found] == [0, *(end for _, _, end in found[:-1])]
        assert found[-1][2] == length
        assert len(set(starts)) == len(starts), "no window is encoded twice"
        for start, first, end in found:
            assert first < end
            assert (start % align, first % (tile - 2 * halo)) == (0, 0)
            assert start <= first
            assert end <= start + tile
            assert start == 0 or first - start >= halo
            assert end == length or start + tile - end >= halo
            if length >= tile:
                assert start + tile < length + align, "patches need less than one patch of padding"
            if length >= tile and length % align == 0:
                assert start + tile <= length, "shifted inwards, not padded"
        assert len(found) <= -(-length // (tile - 2 * halo))


def test_blending_needs_a_halo_of_a_quarter_of_the_tile_at_most() -> None:
    assert Tiling(64, 16, 16, "feather").step == 32
    for tile, align, halo, remedy in (
        (64, 16, 0, "State 16 to 16"),
        (96, 8, 32, "State 8 to 24"),
        (32, 16, 0, "to 64"),
    ):
        with pytest.raises(ValueError, match=f"blend: feather needs a halo above 0 and of at most a quarter.*{remedy}"):
            Tiling(tile, align, halo, "feather")
    with pytest.raises(ValueError, match="blend must be one of core, feather, got 'mean'"):
        Tiling(64, 16, 16, "mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"blend \(feather\) is of tiles, and there are none"):
        tiling_of(None, 16, None, "feather")


def test_tiles_of_a_raster_are_all_pairs_of_rows_and_columns() -> None:
    cores = np.zeros((130, 200), dtype=int)
    for window in Tiling(64, 16, 16).windows(130, 200):
        top, left, bottom, right = window.core_in_raster
        assert window.core == (top - window.top, left - window.left, bottom - window.top, right - window.left)
        cores[top:bottom, left:right] += 1
    assert (cores == 1).all()


def test_the_ends_of_a_raster_by_hand() -> None:
    # 150 px in tiles of 64, side by side: the last one sees the neighbours of what it stands for.
    assert Tiling(64, 16).axis(150) == [(0, 0, 64), (64, 64, 128), (96, 128, 150)]
    # Cells of 32 with a halo of 16: the last window sees all of 112..150, and begins where patches do.
    assert Tiling(64, 16, 16).axis(150) == [(0, 0, 32), (16, 32, 64), (48, 64, 96), (80, 96, 128), (96, 128, 150)]
    # 10 980 px of Sentinel-2 in tiles of 288: the last 36 px are seen by the window before, too.
    assert Tiling(288, 16, 48).axis(10980)[-2:] == [(10512, 10560, 10752), (10704, 10752, 10980)]
    assert Tiling(64, 16, 16).axis(60) == [(0, 0, 60)]


@pytest.mark.parametrize(("tile", "align"), [(0, 16), (60, 16), (64, 0), (-16, 16)])
def test_sizes_that_do_not_fit_together_are_refused(tile: int, align: int) -> None:
    with pytest.raises(ValueError, match="tile must be a positive multiple of tile_align"):
        tiling_of(tile, align, None)


@pytest.mark.parametrize(
    ("halo", "nearest"),
    [(40, "Nearest: 32 or 48"), (-16, "Nearest: 0 or 16"), (144, "at most 128, got 144. Nearest: 128")],
)
def test_a_halo_that_patches_do_not_divide_or_that_leaves_no_core_is_refused_with_its_neighbours(
    halo: int, nearest: str
) -> None:
    with pytest.raises(ValueError, match=f"halo must be a multiple of tile_align.*{nearest}"):
        Tiling(288, 16, halo)


@pytest.mark.parametrize(("name", "stated"), [("tile", ("96", 16)), ("tile", (96.0, 16)), ("halo", (96, 16, 16.0))])
def test_what_is_no_whole_number_of_pixels_is_named(name: str, stated: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} is a whole number of pixels"):
        Tiling(*stated)


def test_integers_of_numpy_are_whole_numbers() -> None:
    assert Tiling(np.int64(96), 16, np.int32(16)) == Tiling(96, 16, 16)


def test_a_halo_without_tiles_is_refused() -> None:
    with pytest.raises(ValueError, match="halo is of tiles, and there are none. State tile"):
        tiling_of(None, 16, 48)


@pytest.mark.parametrize("align", [1, 8, 16, 40])
def test_the_usual_halo_fits_every_tile(align: int) -> None:
    for tile in range(align, 40 * align, align):
        tiling = tiling_of(tile, align, None)
        assert tiling is not None
        assert abs(tiling.halo - tile / 6) <= align / 2


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    """A raster of 100 x 150 px whose values are its coordinates; its right third has no data."""
    rows, columns = np.mgrid[0:100, 0:150]
    pixels = np.stack([rows, columns, rows + columns]).astype(np.int16) + 1
    pixels[:, :, 100:] = 0
    path = tmp_path / "big.tif"
    profile = {"count": 3, "height": 100, "width": 150, "dtype": "int16", "nodata": 0}
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32631", transform=UTM, **profile) as file:
        file.write(pixels)
        file.descriptions = ("RED", "GREEN", "BLUE")
    return path


def module(root: Path, preprocess: Any = None, **arguments: Any) -> ChipDataModule:
    source = ImageSource("{id}.tif", ["RED", "GREEN", "BLUE"], sensor="sentinel2_l2a", unit="digital_number")
    stand_in = DatasetNormalise({"s2": [0.0] * 3}, {"s2": [1e-4] * 3})
    data = ChipDataModule(str(root), {"s2": source}, preprocess or stand_in, num_workers=0, **arguments)
    data.setup("predict")
    return data


@pytest.mark.parametrize("halo", [0, 16])
def test_the_cores_of_all_tiles_make_up_the_raster(raster: Path, halo: int) -> None:
    data = module(raster.parent, tile=64, tile_align=16, halo=halo, batch_size=1)
    whole = np.full((100, 150), np.nan)
    for batch in data.predict_dataloader():
        assert batch["raster_id"] == ["big"]
        x, _, _, y, _, _ = batch["geotransform"][0].tolist()
        row, column = round((UTM.f - y) / 10), round((x - UTM.c) / 10)
        assert batch["id"] == [f"big/r{row}_c{column}"]
        top, left, bottom, right = (batch["core"][0] * 64).round().int().tolist()
        own = batch["image"][0, 0, top:bottom, left:right].numpy()
        assert np.isnan(whole[row + top : row + bottom, column + left : column + right]).all()
        whole[row + top : row + bottom, column + left : column + right] = own
        valid = batch["valid"][0].numpy()
        assert not valid[:, max(0, 100 - column) :].any()
    rows = np.mgrid[0:100, 0:150][0] + 1.0
    rows[:, 100:] = 0
    np.testing.assert_allclose(whole, rows, rtol=1e-4)


def test_only_the_window_is_read(raster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eo_data.readers.formats import geotiff

    shapes = []
    inner = geotiff.as_floats

    def spy(stored: np.ndarray, *dtype: type) -> np.ndarray:
        shapes.append(stored.shape)
        return inner(stored, *dtype)

    monkeypatch.setattr(geotiff, "as_floats", spy)
    data = module(raster.parent, tile=64, tile_align=16)
    assert data.predict_dataset is not None
    for i in range(len(data.predict_dataset)):
        data.predict_dataset[i]
    assert max(np.prod(shape) for shape in shapes) <= 3 * 64 * 64


def test_a_tile_that_preprocessing_would_crop_is_refused(raster: Path) -> None:
    data = module(raster.parent, ThorPreprocess(), tile=60, tile_align=4)
    assert data.predict_dataset is not None
    with pytest.raises(SampleError, match="no longer fit together"):
        data.predict_dataset[0]


def test_dates_of_an_index_hold_for_all_tiles_of_a_raster(raster: Path) -> None:
    (raster.parent / "dates.csv").write_text("id,date\nbig,2021-03-04\n")
    source = ImageSource(
        "{id}.tif", ["RED"], sensor="sentinel2_l2a", unit="digital_number", dated=True, date_index="dates.csv"
    )
    stand_in = DatasetNormalise({"s2": [0.0]}, {"s2": [1.0]})
    data = ChipDataModule(str(raster.parent), {"s2": source}, stand_in, num_workers=0, tile=64, halo=0, batch_size=1)
    data.setup("predict")
    acquired = [batch["acquired"][0] for batch in data.predict_dataloader()]
    assert acquired == ["s2 2021-03-04 (index)"] * 6
