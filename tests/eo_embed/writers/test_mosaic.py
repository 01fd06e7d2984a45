"""Tiles become one grid: every cell where it was, nothing blended, and no tile of another grid among them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from eo_embed.writers.embedding import Embedding
from eo_embed.writers.formats import FORMATS
from eo_embed.writers.geotiff import GridWriter
from eo_embed.writers.mosaic import merge_geotiffs
from eo_embed.writers.quantise import DType, Encoding

Make = Callable[..., Embedding]
ORIGIN = Affine(160.0, 0.0, 399960.0, 0.0, -160.0, 5300040.0)
#: Sides of two rows and two columns of tiles, the last ones smaller.
ROWS, COLUMNS = (slice(0, 6), slice(6, 10)), (slice(0, 6), slice(6, 13))


@pytest.fixture
def whole() -> np.ndarray:
    grid = np.random.default_rng(0).standard_normal((3, 10, 13)).astype(np.float32)
    grid[:, 7, 8] = np.nan
    return grid


def _tiles(
    folder: Path, whole: np.ndarray, make: Make, dtype: DType = "float32", origin: Affine = ORIGIN
) -> list[Path]:
    writer = GridWriter(folder, Encoding(dtype))
    paths = []
    for rows in ROWS:
        for columns in COLUMNS:
            part = whole[:, rows, columns]
            transform = origin * Affine.translation(columns.start, rows.start)
            name = f"big/r{rows.start}_c{columns.start}"
            item = make(name, shape=part.shape[1:], grid=part, valid=None, transform=transform)
            paths.append(writer.write(item))
    return paths


@pytest.mark.parametrize("origin", [ORIGIN, Affine(150.0, 20.0, 5.5, 19.0, -151.0, 7.25)], ids=["north up", "rotated"])
def test_tiles_are_the_whole_again(make_embedding: Make, tmp_path: Path, whole: np.ndarray, origin: Affine) -> None:
    tiles = _tiles(tmp_path, whole, make_embedding, origin=origin)
    assert merge_geotiffs(tiles[::-1], tmp_path / "big.tif", "big")
    with rasterio.open(tmp_path / "big.tif") as file:
        np.testing.assert_array_equal(file.read(), whole)
        np.testing.assert_allclose(file.transform[:6], origin[:6], atol=1e-6)
        assert file.crs.to_epsg() == 32633
        assert file.tags()["id"] == "big"
        assert file.descriptions == ("e000", "e001", "e002")


def test_a_missing_tile_is_no_data(make_embedding: Make, tmp_path: Path, whole: np.ndarray) -> None:
    first, *_, last = _tiles(tmp_path, whole, make_embedding)
    merge_geotiffs([first, last], tmp_path / "big.tif", "big")
    with rasterio.open(tmp_path / "big.tif") as file:
        found = file.read(masked=True)
    assert found[:, :6, 6:].mask.all()
    np.testing.assert_array_equal(found[:, :6, :6], whole[:, :6, :6])


def test_tiles_with_a_scale_of_their_own_stay_alone(make_embedding: Make, tmp_path: Path, whole: np.ndarray) -> None:
    """Put together, the numbers of one tile would be read by the scale of another."""
    tiles = _tiles(tmp_path, whole, make_embedding, "int8")
    assert not merge_geotiffs(tiles, tmp_path / "big.tif", "big")
    assert not (tmp_path / "big.tif").exists()


def test_a_tile_between_the_cells_is_refused(make_embedding: Make, tmp_path: Path, whole: np.ndarray) -> None:
    tiles = _tiles(tmp_path, whole, make_embedding)
    with rasterio.open(tiles[1], "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.transform = file.transform * Affine.translation(0.5, 0)
    with pytest.raises(ValueError, match="c6.tif lies on another grid than the other tiles of its raster"):
        merge_geotiffs(tiles, tmp_path / "big.tif", "big")
    assert not (tmp_path / "big.tif").exists()


def test_a_format_makes_mosaics_of_its_own_files_alone(make_embedding: Make, tmp_path: Path, whole: np.ndarray) -> None:
    files = [path.relative_to(tmp_path).as_posix() for path in _tiles(tmp_path, whole, make_embedding)]
    tiles = {("big", ""): [*files, "embeddings.parquet"], ("pooled", ""): ["embeddings.parquet"]}
    assert FORMATS["geotiff"].mosaics(tmp_path, tiles) == ["grids/big.tif"]
    assert FORMATS["npz"].mosaics(tmp_path, tiles) == []


def test_tiles_without_a_place_are_not_piled_up_in_one_corner(
    make_embedding: Make, tmp_path: Path, whole: np.ndarray
) -> None:
    writer = GridWriter(tmp_path, Encoding("float32"))
    tiles = [
        writer.write(
            make_embedding(f"big/{i}", shape=(6, 6), grid=whole[:, :6, :6], valid=None, transform=None, crs=None)
        )
        for i in range(2)
    ]
    assert not merge_geotiffs(tiles, tmp_path / "big.tif", "big")
    assert not (tmp_path / "big.tif").exists()
