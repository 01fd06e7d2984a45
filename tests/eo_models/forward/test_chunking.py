"""Slices cover every row once, fit the limit, and their results are put together in order."""

from __future__ import annotations

import pytest
import torch

from eo_models.forward.chunking import even_slices, in_chunks, sample_slices


@pytest.mark.parametrize(("samples", "per_sample", "limit"), [(3, 10, 4), (3, 10, 25), (5, 1, 2), (1, 7, 9), (2, 9, 9)])
def test_slices_hold_whole_samples_or_lie_within_one(samples: int, per_sample: int, limit: int) -> None:
    slices = sample_slices(samples, per_sample, limit)
    assert [row for part in slices for row in range(part.start, part.stop)] == list(range(samples * per_sample))
    for part in slices:
        assert part.stop - part.start <= limit
        whole = part.start % per_sample == 0 and part.stop % per_sample == 0
        assert whole or part.start // per_sample == (part.stop - 1) // per_sample


def test_chunks_are_of_nearly_equal_size() -> None:
    sizes = {part.stop - part.start for part in even_slices(1001, 100)}
    assert sizes == {91}
    values = torch.randn(1001, 3)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            assert torch.equal(in_chunks(lambda part: 2 * values[part], even_slices(1001, 100)), 2 * values)


def test_no_limit_means_one_slice() -> None:
    assert even_slices(7, None) == sample_slices(1, 7, None) == [slice(0, 7)]
    assert even_slices(7, 7) == [slice(0, 7)]
