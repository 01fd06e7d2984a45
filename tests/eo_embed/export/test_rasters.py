"""Exports by tiles: one file a raster, whatever happened on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from rio_cogeo import cog_validate

from eo_data.catalog.shards import Shard
from eo_data.catalog.sources import ImageSource
from eo_data.dataset.batch import collate
from eo_data.dataset.chip_splits import ChipSplits
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_embed.export.exporter import Exporter
from eo_embed.export.opening import open_embeddings
from eo_embed.export.settings import ExportSettings
from eo_embed.export.shards.whole import merge_shards
from eo_models.features import Features

PATCH, SHAPE = 4, (101, 203)
CELLS = (26, 51)


def _write(path: Path, seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(1, 9000, (2, *SHAPE), dtype=np.uint16)
    profile = {"driver": "GTiff", "height": SHAPE[0], "width": SHAPE[1], "count": 2, "dtype": "uint16", "nodata": 0}
    transform = Affine(10, 0, 600_000, 0, -10, 4_500_000)
    with rasterio.open(path, "w", crs="EPSG:32631", transform=transform, **profile) as file:
        file.write(values)
        file.descriptions = ("RED", "NIR_BROAD")
    return values


class _Loader:
    """Batches of one tile; ends like a killed process after ``most`` of them."""

    def __init__(
        self, root: Path, most: int | None = None, broken: int | None = None, shard: Shard | None = None
    ) -> None:
        source = ImageSource("{id}.tif", ["RED", "NIR_BROAD"], sensor="sentinel2_l2a", unit="digital_number", offset=0)
        prepare = DatasetNormalise({"S2": [0.0, 0.0]}, {"S2": [10000.0, 10000.0]})
        tiles: dict[str, Any] = {"tile": 64, "halo": 8, "tile_align": PATCH, "shard": shard}
        data = ChipSplits(str(root), {"S2": source}, prepare, georeference="always", **tiles)
        self.dataset = data.dataset("predict")
        self.most, self.broken = most, broken

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number in range(len(self.dataset)):
            if number == self.most:
                raise KeyboardInterrupt
            if number == self.broken:
                yield {"id": [self.dataset.records[number].id], "faults": {self.dataset.records[number].id: "broken"}}
                continue
            yield collate([self.dataset[number]])


def _encode(image: Any, **_: Any) -> list[Features]:
    """Two numbers of the largest value of each patch, of length one."""
    grid = torch.nn.functional.max_pool2d(image.flatten(1, -3), PATCH, ceil_mode=True)
    grid = grid / grid.norm(dim=1, keepdim=True)
    return [Features(grid.flatten(2).transpose(1, 2), None, grid)]


def _export(
    root: Path, out: Path, most: int | None = None, broken: int | None = None, shard: Shard | None = None, **kind: Any
) -> None:
    chosen = ExportSettings(output="both", on_error="skip", **kind)
    exporter = Exporter(out, _encode, chosen, {"task": chosen.facts()}, root=root, shard=shard)
    exporter.run(_Loader(root, most, broken, shard))


def _expected(values: np.ndarray) -> np.ndarray:
    image = torch.from_numpy((values / 10000).astype(np.float32))[None]
    image = torch.nn.functional.pad(image, (0, 1, 0, 3), value=-9)
    grid = _encode(image)[0].grid
    assert grid is not None
    found: np.ndarray = grid[0].numpy()
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    _write(tmp_path / "data" / "big.tif")
    return tmp_path / "data"


def _files(out: Path) -> dict[str, bytes]:
    grids = [path for path in sorted(out.rglob("*")) if path.is_file() and "grids" in path.relative_to(out).parts[0]]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in grids}


FORMATS = [("geotiff", "float32"), ("geotiff", "float16"), ("geotiff", "int8"), ("zarr", "float32")]


def test_the_file_of_a_raster_is_a_valid_cog_with_tags_of_the_whole(root: Path, tmp_path: Path) -> None:
    _export(root, tmp_path / "out")
    assert list(_files(tmp_path / "out")) == ["grids/big.tif"]
    assert not (tmp_path / "out" / "parts").exists()
    assert cog_validate(str(tmp_path / "out" / "grids" / "big.tif"), strict=True)[:2] == (True, [])
    with rasterio.open(tmp_path / "out" / "grids" / "big.tif") as file:
        assert file.shape == CELLS
        assert file.transform == Affine(40, 0, 600_000, 0, -40, 4_500_000)
        assert file.crs.to_epsg() == 32631
        tags = file.tags()
        np.testing.assert_allclose(file.read()[:, :25, :50], _expected(_write(root / "x.tif"))[:, :25, :50], rtol=1e-6)
    assert (tags["id"], json.loads(tags["sources"])) == ("big", ["big.tif"])
    assert float(tags["valid_fraction"]) == pytest.approx(1)


@pytest.mark.parametrize(("grid_format", "dtype"), FORMATS)
def test_a_run_that_was_killed_at_any_tile_ends_with_the_same_bytes(
    root: Path, tmp_path: Path, grid_format: str, dtype: str
) -> None:
    kind: dict[str, Any] = {"grid_format": grid_format, "dtype": dtype}
    _export(root, tmp_path / "whole", **kind)
    for most in (1, 4):
        with pytest.raises(KeyboardInterrupt):
            _export(root, tmp_path / "out", most, **kind)
    _export(root, tmp_path / "out", **kind)
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


@pytest.mark.parametrize(("grid_format", "dtype"), FORMATS)
def test_a_tile_that_failed_is_no_data_and_can_be_made_later(
    root: Path, tmp_path: Path, grid_format: str, dtype: str
) -> None:
    kind: dict[str, Any] = {"grid_format": grid_format, "dtype": dtype}
    _export(root, tmp_path / "whole", **kind)
    _export(root, tmp_path / "out", broken=1, **kind)
    found = open_embeddings(tmp_path / "out")
    assert list(found.failures) == ["big/r0_c40"]
    grid = found.grid("big")
    assert np.isnan(grid.values[:, :12, 12:24]).all()
    assert np.isfinite(grid.values).mean() == pytest.approx(1 - 12 * 12 / (26 * 51), abs=0.03)
    assert grid.attrs["valid_fraction"] < 0.95
    _export(root, tmp_path / "out", **kind)
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


def test_cells_that_were_lost_before_the_end_are_made_again(root: Path, tmp_path: Path) -> None:
    _export(root, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        _export(root, tmp_path / "out", 4)
    (work,) = (tmp_path / "out" / "parts" / "rasters").glob("*.raw")
    with work.open("rb+") as file:
        file.write(b"\0" * 40)
    _export(root, tmp_path / "out")
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


def test_a_changed_raster_is_made_again_as_a_whole(root: Path, tmp_path: Path) -> None:
    _export(root, tmp_path / "out")
    _write(root / "small.tif", 3)
    _export(root, tmp_path / "out")
    _write(root / "big.tif", 1)
    with pytest.raises(KeyboardInterrupt):
        _export(root, tmp_path / "out", 2)
    _export(root, tmp_path / "out")
    _export(root, tmp_path / "whole")
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


@pytest.mark.parametrize(("grid_format", "dtype"), FORMATS)
def test_shards_of_one_raster_make_the_same_file(root: Path, tmp_path: Path, grid_format: str, dtype: str) -> None:
    kind: dict[str, Any] = {"grid_format": grid_format, "dtype": dtype}
    _export(root, tmp_path / "whole", **kind)
    for index in range(2):
        for _ in range(2):  # the second run finds all of it done
            _export(root, tmp_path / "out", shard=Shard(index, 2), **kind)
    merge_shards(tmp_path / "out")
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


def test_a_run_with_nothing_to_do_leaves_the_file_alone(root: Path, tmp_path: Path) -> None:
    _export(root, tmp_path / "out")
    before = (tmp_path / "out" / "grids" / "big.tif").stat().st_mtime_ns
    _export(root, tmp_path / "out")
    assert (tmp_path / "out" / "grids" / "big.tif").stat().st_mtime_ns == before


def test_the_grid_of_a_tile_is_cut_out_of_its_raster(root: Path, tmp_path: Path) -> None:
    _export(root, tmp_path / "out")
    found = open_embeddings(tmp_path / "out")
    tile, whole = found.grid("big/r0_c40"), found.grid("big")
    row, column = 0, round((tile.x.values[0] - whole.x.values[0]) / 40)
    np.testing.assert_array_equal(
        tile.values, whole.values[:, row : row + tile.shape[1], column : column + tile.shape[2]]
    )
    assert tile.attrs["transform"].c == tile.x.values[0] - 20
