"""Features that go to the host are the same numbers in less memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eo_data.dataset.sample_grid import SampleGrid
from eo_embed.export.flow.transfer import own_cells, to_host
from eo_models.contract import Features, Pooling

Core = tuple[float, float, float, float]
WHOLE: Core = (0.0, 0.0, 1.0, 1.0)


def _sample(core: Core = WHOLE) -> SampleGrid:
    return SampleGrid(
        "a", ("a.tif",), None, None, np.ones((32, 32), dtype=bool), (), core, "" if core == WHOLE else "r"
    )


@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_the_vector_is_that_of_all_tokens(pooling: Pooling) -> None:
    torch.manual_seed(0)
    features = Features(torch.randn(2, 16, 3), torch.randn(2, 3), torch.randn(2, 3, 4, 4))
    moved = to_host([features], [_sample(), _sample()], pooling)
    (found,) = moved.wait()
    assert torch.equal(found.tokens.pooled(pooling), features.pooled(pooling))
    assert features.grid is not None
    assert torch.equal(torch.stack(found.grids), features.grid)
    assert found.tokens.tokens.shape == (2, 1, 3)


def test_tokens_without_a_grid_stay_as_an_error_tells_how_many_there_are() -> None:
    features = Features(torch.zeros(2, 5, 3), None, None)
    (found,) = to_host([features], [_sample(), _sample()], "mean").wait()
    assert (found.tokens.tokens.shape, found.grids, found.shape) == ((2, 5, 3), [], None)


def test_of_each_tile_only_the_cells_of_its_core_go_to_the_host_also_where_cores_differ() -> None:
    """A halo of a sixth makes 2.25 times the bytes; at the ends of a raster cores are larger than inside."""
    inside, left = (0.25, 0.25, 0.75, 0.75), (0.25, 0.0, 0.75, 0.75)
    grid = torch.arange(4 * 2 * 8 * 8).reshape(4, 2, 8, 8).float()
    features = Features(grid.flatten(2).transpose(1, 2), None, grid)
    samples = [_sample(core) for core in (left, inside, inside, WHOLE)]
    found = own_cells(features, samples, "mean")
    expected = [grid[0, :, 2:6, :6], grid[1, :, 2:6, 2:6], grid[2, :, 2:6, 2:6], grid[3]]
    for own, wanted in zip(found.grids, expected, strict=True):
        assert torch.equal(own, wanted)
    assert [len(block) for block in found.blocks] == [1, 2, 1]  # those alike are one copy
    assert sum(block.numel() for block in found.blocks) == 2 * (24 + 16 + 16 + 64)
    assert found.shape == (8, 8)


def test_what_waits_counts_all_the_memory_that_it_keeps() -> None:
    """On the CPU a core is a part of the whole grid, which lives as long; else memory would not be bounded."""
    features = Features(torch.randn(1, 64, 2), torch.randn(1, 2), torch.randn(1, 2, 8, 8))
    assert to_host([features], [_sample((0.25, 0.25, 0.75, 0.75))], "mean").size == 4 * (2 + 2 + 2 * 64)
