"""Items hold what a sample stands for, in its place, and nothing where nothing was observed."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from affine import Affine
from pyproj import CRS

from eo_data.dataset.sample_grid import SampleGrid
from eo_embed.export.flow.transfer import own_cells
from eo_embed.export.items import Item, items_of
from eo_embed.export.settings import ExportSettings
from eo_models.features import Features

ORIGIN = Affine(10, 0, 500_000, 0, -10, 4_000_000)


def _sample(valid: np.ndarray, **other: Any) -> SampleGrid:
    crs = CRS.from_epsg(32631).to_wkt()
    return SampleGrid("a/tile", ("in/a.tif",), ORIGIN, crs, valid, (date(2021, 3, 4),), **other)


def _features(side: int = 4) -> Features:
    grid = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    return Features(grid.flatten(2).transpose(1, 2), None, grid)


def _item(sample: SampleGrid, features: Features | None = None, **settings: Any) -> Item:
    asked = ExportSettings(**({"output": "both"} | settings))
    own = own_cells(features or _features(), [sample], asked.pooling)
    (item,) = items_of("layer_3", own, [sample], asked)
    return item


def test_cells_without_any_observed_pixel_have_no_value() -> None:
    valid = np.ones((32, 32), dtype=bool)
    valid[:8, :8] = False  # all of one cell
    valid[8:12, :8] = False  # half of another
    item = _item(_sample(valid))
    assert item.embedding.grid is not None
    assert item.embedding.valid is not None
    assert np.isnan(item.embedding.grid[:, 0, 0]).all()
    assert np.isfinite(item.embedding.grid).sum() == 3 * 15
    assert item.embedding.valid[:2, 0].tolist() == [0, 0.5]
    assert item.embedding.valid_fraction == pytest.approx(1 - 96 / 1024)
    assert (item.cells, item.dimensions, item.gsd) == (16, 3, pytest.approx(80, rel=1e-6))


def test_of_a_tile_only_the_cells_that_it_stands_for_are_kept_in_their_place() -> None:
    whole = _item(_sample(np.ones((32, 32), dtype=bool))).embedding
    item = _item(_sample(np.ones((32, 32), dtype=bool), core=(0.25, 0.5, 1.0, 1.0), raster_id="a"))
    assert whole.grid is not None
    np.testing.assert_array_equal(item.embedding.grid, whole.grid[:, 1:, 2:])
    assert item.embedding.transform == Affine(80, 0, 500_000 + 160, 0, -80, 4_000_000 - 80)
    entry = item.entry(["grids/a.tif"])
    assert (entry["files"], entry["raster_id"], entry["grid_hw"], entry["image_hw"]) == (
        ["grids/a.tif"], "a", [3, 2], [32, 32],
    )  # fmt: skip
    assert (entry["dates"], entry["layer"]) == (["2021-03-04"], "layer_3")


def test_the_vector_of_a_tile_is_over_its_core_and_not_over_its_halo() -> None:
    """Else the neighbours' ground counts twice, and a raster's vector depends on how it was cut."""
    valid = np.ones((32, 32), dtype=bool)
    valid[8:12, 16:24] = False  # half of the first cell of the core
    valid[:8] = False  # of the halo
    features = _features()
    assert features.grid is not None
    core = features.grid[0, :, 1:, 2:].flatten(1).double()
    tile = {"core": (0.25, 0.5, 1.0, 1.0), "raster_id": "a"}
    item = _item(_sample(valid, **tile)).embedding
    expected = (core.sum(1) - core[:, 0] / 2) / 5.5
    np.testing.assert_allclose(item.pooled, expected.numpy(), rtol=1e-6)
    assert item.valid_fraction == pytest.approx(5.5 / 6)
    np.testing.assert_allclose(_item(_sample(valid, **tile), pooling="max").embedding.pooled, core.amax(1), rtol=1e-6)
    tokens = Features(torch.ones(1, 7, 3), torch.zeros(1, 3), None)
    assert _item(_sample(valid, **tile), tokens, output="pooled", pooling="cls").embedding.pooled is not None
    with pytest.raises(
        ValueError, match="The vector of a/tile is over the cells of a region or tile, but the backbone"
    ):
        _item(_sample(valid, **tile), tokens, output="pooled")
    alone = _item(_sample(valid, raster_id="a"), tokens, output="pooled").embedding.pooled
    np.testing.assert_array_equal(alone, [1, 1, 1])


def test_vectors_of_length_one_have_it_in_grid_and_table() -> None:
    item = _item(_sample(np.ones((32, 32), dtype=bool)), l2_normalise=True).embedding
    assert item.pooled is not None
    assert np.linalg.norm(item.pooled) == pytest.approx(1)
    np.testing.assert_allclose(np.linalg.norm(item.grid, axis=0), 1, rtol=1e-6)
    zero = Features(torch.zeros(1, 4, 3), None, torch.zeros(1, 3, 2, 2))
    found = _item(_sample(np.ones((32, 32), dtype=bool)), zero, l2_normalise=True).embedding
    assert found.pooled is not None
    assert found.pooled.tolist() == [0, 0, 0]  # no division by zero


@pytest.mark.parametrize(
    ("output", "pooled", "grid"), [("pooled", True, False), ("grid", False, True), ("both", True, True)]
)
def test_only_what_is_asked_for_is_made(output: str, pooled: bool, grid: bool) -> None:
    item = _item(_sample(np.ones((32, 32), dtype=bool)), output=output)
    assert (item.embedding.pooled is not None, item.embedding.grid is not None) == (pooled, grid)
    assert item.embedding.shape == (4, 4)
    assert item.cells == (16 if grid else 0)


def test_grids_of_tokens_that_form_none_are_refused() -> None:
    tokens = Features(torch.zeros(1, 7, 3), None, None)
    with pytest.raises(ValueError, match=r"tokens \(1, 7, 3\) form no grid. Export output: pooled"):
        _item(_sample(np.ones((32, 32), dtype=bool)), tokens)
    item = _item(_sample(np.ones((32, 32), dtype=bool)), tokens, output="pooled")
    assert (item.embedding.shape, item.dimensions, item.gsd) == ((1, 1), 3, 0.0)


def test_of_a_tile_of_a_region_only_its_core_counts_and_keeps_its_place() -> None:
    """Cells of the halo that lie in the region are other tiles': they would count twice, and shift the grid."""
    region = shapely.box(500_000, 4_000_000 - 320, 500_000 + 240, 4_000_000 - 80)  # columns 0..2, rows 1..3
    tile = {"core": (0.5, 0.25, 1.0, 1.0), "raster_id": "a", "region": region}
    features = _features()
    assert features.grid is not None
    item = _item(_sample(np.ones((32, 32), dtype=bool), **tile), features).embedding
    assert item.grid is not None
    assert item.shape == (2, 3)
    assert item.transform == Affine(80, 0, 500_000 + 80, 0, -80, 4_000_000 - 160)
    inside = features.grid[0, :, 2:, 1:3]
    np.testing.assert_array_equal(item.grid[:, :, :2], inside.numpy())
    assert np.isnan(item.grid[:, :, 2]).all()
    np.testing.assert_allclose(item.pooled, inside.flatten(1).double().mean(1).numpy(), rtol=1e-6)


def test_a_tile_that_its_region_does_not_reach_need_not_be_encoded() -> None:
    east = shapely.box(500_000 + 160, 4_000_000 - 320, 500_000 + 400, 4_000_000)
    whole = np.ones((32, 32), dtype=bool)
    assert _sample(whole, core=(0.0, 0.0, 1.0, 0.5), raster_id="a", region=east).is_blank  # touches its edge
    assert not _sample(whole, core=(0.0, 0.0, 1.0, 0.75), raster_id="a", region=east).is_blank
