"""Features that go to the host are the same numbers in less memory."""

from __future__ import annotations

import pytest
import torch

from eo_embed.export.flow.transfer import to_host
from eo_models.contract import Features, Pooling


@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_the_vector_is_that_of_all_tokens(pooling: Pooling) -> None:
    torch.manual_seed(0)
    features = Features(torch.randn(2, 16, 3), torch.randn(2, 3), torch.randn(2, 3, 4, 4))
    moved = to_host([features], pooling)
    (found,) = moved.wait()
    assert torch.equal(found.pooled(pooling), features.pooled(pooling))
    assert found.grid is not None
    assert features.grid is not None
    assert torch.equal(found.grid, features.grid)
    assert found.tokens.shape == (2, 1, 3)
    assert moved.size == 4 * (2 * 3 + 2 * 3 * 16)


def test_tokens_without_a_grid_stay_as_an_error_tells_how_many_there_are() -> None:
    features = Features(torch.zeros(2, 5, 3), None, None)
    assert to_host([features], "mean").wait()[0].tokens.shape == (2, 5, 3)
