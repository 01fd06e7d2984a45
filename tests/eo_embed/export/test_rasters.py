"""Exports by tiles: one file a raster, whatever happened on the way."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from rio_cogeo import cog_validate
from same_exports import assert_same_exports, assert_same_values
from tiled_runs import CELLS, FORMATS, encode, export, write_raster

from eo_data.catalog.shards import Shard
from eo_embed.export.opening import open_embeddings
from eo_embed.export.record.ledger import Ledger
from eo_embed.export.shards.whole import merge_shards
from eo_models.features import Features


def _expected(values: np.ndarray) -> np.ndarray:
    image = torch.from_numpy((values / 10000).astype(np.float32))[None]
    image = torch.nn.functional.pad(image, (0, 1, 0, 3), value=-9)
    grid = encode(image)[0].grid
    assert grid is not None
    found: np.ndarray = grid[0].numpy()
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_raster(tmp_path / "data" / "big.tif")
    return tmp_path / "data"


def _files(out: Path) -> dict[str, bytes]:
    grids = [path for path in sorted(out.rglob("*")) if path.is_file() and "grids" in path.relative_to(out).parts[0]]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in grids}


def test_the_file_of_a_raster_is_a_valid_cog_with_tags_of_the_whole(root: Path, tmp_path: Path) -> None:
    export(root, tmp_path / "out")
    assert list(_files(tmp_path / "out")) == ["grids/big.tif"]
    assert not (tmp_path / "out" / "parts").exists()
    assert cog_validate(str(tmp_path / "out" / "grids" / "big.tif"), strict=True)[:2] == (True, [])
    with rasterio.open(tmp_path / "out" / "grids" / "big.tif") as file:
        assert file.shape == CELLS
        assert file.transform == Affine(40, 0, 600_000, 0, -40, 4_500_000)
        assert file.crs.to_epsg() == 32631
        tags = file.tags()
        np.testing.assert_allclose(
            file.read()[:, :25, :50], _expected(write_raster(root / "x.tif"))[:, :25, :50], rtol=1e-6
        )
    assert (tags["id"], json.loads(tags["sources"])) == ("big", ["big.tif"])
    assert float(tags["valid_fraction"]) == pytest.approx(1)


@pytest.mark.parametrize(("grid_format", "dtype"), FORMATS)
def test_a_run_that_was_killed_at_any_tile_ends_with_the_same_bytes(
    root: Path, tmp_path: Path, grid_format: str, dtype: str
) -> None:
    kind: dict[str, Any] = {"grid_format": grid_format, "dtype": dtype}
    export(root, tmp_path / "whole", **kind)
    for most in (1, 4):
        with pytest.raises(KeyboardInterrupt):
            export(root, tmp_path / "out", most, **kind)
    export(root, tmp_path / "out", **kind)
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


@pytest.mark.parametrize(("grid_format", "dtype"), FORMATS)
def test_a_tile_that_failed_is_no_data_and_can_be_made_later(
    root: Path, tmp_path: Path, grid_format: str, dtype: str
) -> None:
    kind: dict[str, Any] = {"grid_format": grid_format, "dtype": dtype}
    export(root, tmp_path / "whole", **kind)
    export(root, tmp_path / "out", broken=1, **kind)
    found = open_embeddings(tmp_path / "out")
    assert list(found.failures) == ["big/r0_c40"]
    grid = found.grid("big")
    assert np.isnan(grid.values[:, :12, 12:24]).all()
    assert np.isfinite(grid.values).mean() == pytest.approx(1 - 12 * 12 / (26 * 51), abs=0.03)
    assert grid.attrs["valid_fraction"] < 0.95
    export(root, tmp_path / "out", **kind)
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


def test_cells_that_were_lost_before_the_end_are_made_again(root: Path, tmp_path: Path) -> None:
    export(root, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        export(root, tmp_path / "out", 4)
    (work,) = (tmp_path / "out" / "parts" / "rasters").glob("*.raw")
    with work.open("rb+") as file:
        file.write(b"\0" * 40)
    export(root, tmp_path / "out")
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


def test_a_changed_raster_is_made_again_as_a_whole(root: Path, tmp_path: Path) -> None:
    export(root, tmp_path / "out")
    write_raster(root / "small.tif", 3)
    export(root, tmp_path / "out")
    write_raster(root / "big.tif", 1)
    with pytest.raises(KeyboardInterrupt):
        export(root, tmp_path / "out", 2)
    export(root, tmp_path / "out")
    export(root, tmp_path / "whole")
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


@pytest.mark.parametrize(("grid_format", "dtype"), FORMATS)
def test_shards_of_one_raster_make_the_same_file(root: Path, tmp_path: Path, grid_format: str, dtype: str) -> None:
    kind: dict[str, Any] = {"grid_format": grid_format, "dtype": dtype}
    export(root, tmp_path / "whole", **kind)
    for index in range(2):
        for _ in range(2):  # the second run finds all of it done
            export(root, tmp_path / "out", shard=Shard(index, 2), **kind)
    merge_shards(tmp_path / "out")
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


def test_a_run_with_nothing_to_do_leaves_the_file_alone(root: Path, tmp_path: Path) -> None:
    export(root, tmp_path / "out")
    before = (tmp_path / "out" / "grids" / "big.tif").stat().st_mtime_ns
    export(root, tmp_path / "out")
    assert (tmp_path / "out" / "grids" / "big.tif").stat().st_mtime_ns == before


def test_the_grid_of_a_tile_is_cut_out_of_its_raster(root: Path, tmp_path: Path) -> None:
    export(root, tmp_path / "out")
    found = open_embeddings(tmp_path / "out")
    tile, whole = found.grid("big/r0_c40"), found.grid("big")
    row, column = 0, round((tile.x.values[0] - whole.x.values[0]) / 40)
    np.testing.assert_array_equal(
        tile.values, whole.values[:, row : row + tile.shape[1], column : column + tile.shape[2]]
    )
    assert tile.attrs["transform"].c == tile.x.values[0] - 20


@pytest.mark.parametrize("most", [1, 4, None])
@pytest.mark.parametrize("shape", [(60, 203), (140, 90)])
def test_a_raster_that_is_of_another_size_by_now_is_made_again(
    root: Path, tmp_path: Path, shape: tuple[int, int], most: int | None
) -> None:
    """Before its first tile was recorded, midway, and when it was finished: nothing of the other one is left."""
    write_raster(root / "a.tif", 2, (40, 40))
    if most == 1:  # it ends between the first tile of the raster and its record
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Ledger, "record", _only_the_first(Ledger.record))
            with pytest.raises(KeyboardInterrupt):
                export(root, tmp_path / "out")
        assert len(list((tmp_path / "out" / "parts" / "rasters").glob("*.raw"))) == 2
    else:
        with contextlib.suppress(KeyboardInterrupt):
            export(root, tmp_path / "out", most)
    write_raster(root / "big.tif", 1, shape)
    export(root, tmp_path / "out")
    export(root, tmp_path / "whole")
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")
    if most is None:  # the bounding box of the table is still that of all its row groups
        assert_same_values(tmp_path / "out", tmp_path / "whole")
        return
    assert_same_exports(tmp_path / "out", tmp_path / "whole", resumed=True)


def _only_the_first(record: Callable[..., None]) -> Callable[..., None]:
    done: list[int] = []

    def limited(*arguments: Any) -> None:
        if done:
            raise KeyboardInterrupt
        done.append(0)
        record(*arguments)

    return limited


@pytest.mark.parametrize(("grid_format", "dtype"), FORMATS)
def test_tiles_whose_embedding_is_not_finite_are_failures_and_all_else_is_there(
    root: Path, tmp_path: Path, grid_format: str, dtype: str
) -> None:
    kind: dict[str, Any] = {"grid_format": grid_format, "dtype": dtype}
    seen: list[int] = []

    def spoilt(image: Any, **extras: Any) -> list[Features]:
        """Gives no numbers for one cell of the third tile's core, and infinity for all of the fourth."""
        (features,) = encode(image, **extras)
        seen.append(0)
        assert features.grid is not None
        if len(seen) in (3, 4):
            place = (..., 6, 6) if len(seen) == 3 else ...
            features.grid[place] = math.nan if len(seen) == 3 else math.inf
        return [features]

    export(root, tmp_path / "whole", **kind)
    export(root, tmp_path / "out", encoder=spoilt, **kind)
    found, whole = (open_embeddings(tmp_path / name) for name in ("out", "whole"))
    assert len(found.failures) == 2
    assert all("is not finite" in reason for reason in found.failures.values())
    assert len(found.ids) == len(whole.ids) - 2
    lost, expected = found.grid("big"), whole.grid("big").values.copy()
    for name in found.failures:
        tile = whole.grid(name)
        row, column = (round(float(abs(tile[axis][0] - lost[axis][0])) / 40) for axis in ("y", "x"))
        expected[:, row : row + tile.shape[1], column : column + tile.shape[2]] = np.nan
    # One scale for a band of int8: without its largest value it may be another.
    np.testing.assert_allclose(lost.values, expected, rtol=0, atol=0.01 if dtype == "int8" else 0)
    export(root, tmp_path / "out", **kind)
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


def test_pixels_that_are_nan_leave_cells_without_values_and_no_failure(tmp_path: Path) -> None:
    """A whole tile of them is one without data; of a tile, those cells of which nothing was observed."""
    blank = (slice(0, 101), slice(0, 90))
    values = write_raster(tmp_path / "data" / "big.tif", blank=blank, dtype="float32")
    export(tmp_path / "data", tmp_path / "out")
    found = open_embeddings(tmp_path / "out")
    assert found.failures == {}
    assert found.manifest["counts"]["blank"] > 0
    grid = found.grid("big").values
    assert np.isnan(grid[:, :, :22]).all()
    # Of cells that hold both, the observed pixels count; NaN is 0 for the encoder.
    np.testing.assert_allclose(grid[:, :25, 23:50], _expected(np.nan_to_num(values))[:, :25, 23:50], rtol=1e-6)
    assert np.isfinite(grid[:, :, 23:]).all()


@pytest.mark.parametrize("how", ["renamed", "removed"])
@pytest.mark.parametrize("grid_format", ["geotiff", "zarr"])
def test_a_folder_that_vanishes_ends_the_run_and_is_not_made_again(
    root: Path, tmp_path: Path, grid_format: str, how: str
) -> None:
    out, away, seen = tmp_path / "out", tmp_path / "away", list[int]()

    def vanishing(image: Any, **extras: Any) -> list[Features]:
        seen.append(0)
        if len(seen) == 4:
            _wait_for_entries(out, 3)
            out.rename(away) if how == "renamed" else shutil.rmtree(out)
        return encode(image, **extras)

    with pytest.raises(OSError, match=rf"{out} is not there as it was: it was removed or renamed.*Put the folder back"):
        export(root, out, encoder=vanishing, grid_format=grid_format)
    assert len(seen) < 7
    assert not out.exists()
    if how == "renamed":
        away.rename(out)
    export(root, out, grid_format=grid_format)
    export(root, tmp_path / "whole", grid_format=grid_format)
    assert _files(out) == _files(tmp_path / "whole")


def _wait_for_entries(out: Path, count: int) -> None:
    """Wait until batches before are written, which a thread does."""
    until = time.monotonic() + 10
    while len(list((out / "progress").glob("0-*.json"))) < count and time.monotonic() < until:
        time.sleep(0.002)
