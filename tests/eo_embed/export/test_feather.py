"""Tiles that are blended where they overlap: linear weights, no seams, and one file a raster whatever happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiled_runs import CELLS, FORMATS, PATCH, encode, export, write_raster

from eo_data.catalog.shards import Shard
from eo_embed.export.opening import open_embeddings
from eo_embed.export.record.manifest import read_manifest
from eo_embed.export.shards.whole import merge_shards
from eo_models.features import Features

FEATHER = {"blend": "feather"}
#: Half a tile overlaps: each boundary of cores has a ramp of eight cells.
WIDE: dict[str, Any] = {"blend": "feather", "tile": 64, "halo": 16}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_raster(tmp_path / "data" / "big.tif", blank=(slice(20, 60), slice(70, 130)))
    return tmp_path / "data"


def _grid(out: Path) -> np.ndarray:
    found: np.ndarray = open_embeddings(out).grid("big").values
    return found


def _vectors(out: Path) -> np.ndarray:
    table = open_embeddings(out).pooled
    assert table is not None
    return np.stack(table.sort_values("id").embedding.tolist())


def _bytes(out: Path) -> dict[str, bytes]:
    grids = [path for path in sorted(out.rglob("*")) if path.is_file() and "grids" in path.relative_to(out).parts[0]]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in grids}


class Numbered:
    """An encoder of which each window gives its own number everywhere: what is mixed shows."""

    def __init__(self) -> None:
        self.windows = 0

    def __call__(self, image: torch.Tensor, **_: Any) -> list[Features]:
        """Return 1, 2, 3 ... for the windows, and twice that."""
        self.windows += 1
        sides = [side // PATCH for side in image.shape[-2:]]
        grid = torch.tensor([self.windows, 2.0 * self.windows])[None, :, None, None].expand(1, 2, *sides)
        return [Features(grid.flatten(2).transpose(1, 2), None, grid)]


def test_along_an_overlap_weights_fall_linearly(tmp_path: Path) -> None:
    """Four windows of 64 px of a raster of 128 px, with cores of eight cells: ramps are as long as cores."""
    write_raster(tmp_path / "data" / "big.tif", shape=(64, 128))
    export(tmp_path / "data", tmp_path / "out", encoder=Numbered(), tiles=WIDE)
    sixteenths = np.arange(1, 16, 2) / 16
    expected = np.concatenate([np.full(4, 1.0), 1 + sixteenths, 2 + sixteenths, 3 + sixteenths, np.full(4, 4.0)])
    grid = _grid(tmp_path / "out")
    np.testing.assert_allclose(grid[0], np.tile(expected, (16, 1)), rtol=1e-6)
    np.testing.assert_allclose(grid[1], 2 * grid[0], rtol=1e-6)


def test_at_a_corner_of_four_tiles_weights_are_multiplied(tmp_path: Path) -> None:
    write_raster(tmp_path / "data" / "big.tif", shape=(80, 80))  # two by two windows, cores from 0 and 32 px on
    export(tmp_path / "data", tmp_path / "out", encoder=Numbered(), tiles=WIDE)
    grid = _grid(tmp_path / "out")[0]
    assert grid[0, 0] == 1
    assert grid[-1, -1] == 4
    down, across = 3 / 16, 13 / 16  # of the second row and column, at cell (5, 10) of ramps from 4 to 12
    of_row = [(1 - across) * 1 + across * 2, (1 - across) * 3 + across * 4]
    assert grid[5, 10] == pytest.approx((1 - down) * of_row[0] + down * of_row[1], rel=1e-6)


@pytest.mark.parametrize(
    ("grid_format", "dtype", "tiles"), [("geotiff", "float32", FEATHER), *((*own, WIDE) for own in FORMATS)]
)
def test_of_an_encoder_that_looks_at_a_patch_alone_the_blend_is_the_whole(
    root: Path, tmp_path: Path, grid_format: str, dtype: str, tiles: dict[str, Any]
) -> None:
    """With a part without data, at whose border the weights of what is there count more."""
    kind: dict[str, Any] = {"grid_format": grid_format, "dtype": dtype}
    export(root, tmp_path / "core", **kind)
    export(root, tmp_path / "out", tiles=tiles, **kind)
    core, found = _grid(tmp_path / "core"), _grid(tmp_path / "out")
    assert found.shape == (2, *CELLS)
    assert np.isnan(found).any()
    np.testing.assert_allclose(found, core, rtol=1e-3 if dtype == "float16" else 1e-6, atol=0.01 * (dtype == "int8"))
    if tiles is FEATHER:  # vectors are over the same cores in any case
        np.testing.assert_array_equal(_vectors(tmp_path / "out"), _vectors(tmp_path / "core"))


@pytest.mark.parametrize("grid_format", ["geotiff", "zarr"])
def test_killed_runs_shards_and_tiles_that_came_later_end_with_the_same_bytes(
    root: Path, tmp_path: Path, grid_format: str
) -> None:
    kind: dict[str, Any] = {"grid_format": grid_format, "tiles": WIDE}
    export(root, tmp_path / "whole", **kind)
    whole = _bytes(tmp_path / "whole")
    for most in (1, 4, 9):
        with pytest.raises(KeyboardInterrupt):
            export(root, tmp_path / "out", most, **kind)
    export(root, tmp_path / "out", **kind)
    assert _bytes(tmp_path / "out") == whole
    export(root, tmp_path / "late", broken=3, **kind)
    assert _bytes(tmp_path / "late") != whole
    export(root, tmp_path / "late", **kind)
    assert _bytes(tmp_path / "late") == whole
    for index in range(3):
        export(root, tmp_path / "shards", shard=Shard(index, 3), **kind)
    merge_shards(tmp_path / "shards")
    assert _bytes(tmp_path / "shards") == whole
    assert not list((tmp_path / "out").glob("parts"))


def test_cells_that_were_lost_before_the_end_are_made_again(root: Path, tmp_path: Path) -> None:
    """Those of the last plane, too."""
    export(root, tmp_path / "whole", tiles=WIDE)
    with pytest.raises(KeyboardInterrupt):
        export(root, tmp_path / "out", 9, tiles=WIDE)
    (work,) = (tmp_path / "out" / "parts" / "rasters").glob("*.raw")
    with work.open("rb+") as file:
        content = np.frombuffer(file.read(), np.float32)
        last = int(np.flatnonzero(content)[-1])
        assert last > 3 * 2 * CELLS[0] * CELLS[1]
        file.seek(4 * last)
        file.write(b"\0" * 4)
    export(root, tmp_path / "out", tiles=WIDE)
    assert _bytes(tmp_path / "out") == _bytes(tmp_path / "whole")


@pytest.mark.parametrize("dtype", ["float32", "int8_alphaearth"])
def test_blended_vectors_of_length_one_have_it_again(root: Path, tmp_path: Path, dtype: str) -> None:
    """The mean of two vectors is shorter than they are."""

    def turned(image: torch.Tensor, **_: Any) -> list[Features]:
        grid = encode(image)[0].grid
        assert grid is not None
        turned.count = -turned.count  # type: ignore[attr-defined]
        grid = torch.stack([grid[:, 0], turned.count * grid[:, 1]], dim=1)  # type: ignore[attr-defined]
        return [Features(grid.flatten(2).transpose(1, 2), None, grid)]

    turned.count = 1  # type: ignore[attr-defined]
    export(root, tmp_path / "out", encoder=turned, tiles=WIDE, l2_normalise=True, dtype=dtype)
    length = np.linalg.norm(_grid(tmp_path / "out"), axis=0)
    np.testing.assert_allclose(length[np.isfinite(length)], 1, rtol=1e-6 if dtype == "float32" else 0.02)
    export(root, tmp_path / "shorter", encoder=turned, tiles=WIDE)
    assert np.nanmin(np.linalg.norm(_grid(tmp_path / "shorter"), axis=0)) < 0.9


def test_a_format_with_a_file_for_each_tile_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"blend: feather makes one file .* grid_format: geotiff or zarr \(got npz\)"):
        export(root, tmp_path / "out", tiles=FEATHER, grid_format="npz")


def test_the_entry_of_a_tile_tells_its_core_and_what_is_blended(root: Path, tmp_path: Path) -> None:
    export(root, tmp_path / "out", tiles=WIDE)
    items = {item["id"]: item for item in read_manifest(tmp_path / "out").items()}
    own = items["big/r16_c16"]
    assert (own["cells"], own["blended"], own["grid_hw"]) == ([8, 8, 8, 8], [4, 4, 16, 16, 3], [8, 8])
    tile, whole = open_embeddings(tmp_path / "out").grid("big/r16_c16"), _grid(tmp_path / "out")
    np.testing.assert_array_equal(tile.values, whole[:, 8:16, 8:16])
