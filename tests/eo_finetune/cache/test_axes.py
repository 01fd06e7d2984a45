"""Features come back with every value at its index, and in the memory layout of the encoder."""

from __future__ import annotations

import itertools

import pytest
import torch

from eo_finetune.cache.axes import as_computed, as_in_memory, memory_order, orders_from_json, reordered, with_batch

#: (C, H, W) = (2, 3, 4), every value with a number that tells its index.
PLAIN = torch.tensor([[[100 * c + 10 * h + w for w in range(4)] for h in range(3)] for c in range(2)])
ORDERS = list(itertools.permutations(range(3)))


def laid_out(order: tuple[int, ...]) -> torch.Tensor:
    """The same values at the same indices, in memory in another order; made by strides, not by permutations."""
    sizes = [PLAIN.shape[axis] for axis in order]
    strides = {axis: int(torch.tensor(sizes[i + 1 :]).prod()) for i, axis in enumerate(order)}
    result = torch.empty(PLAIN.numel(), dtype=PLAIN.dtype).as_strided(PLAIN.shape, [strides[i] for i in range(3)])
    return result.copy_(PLAIN)


def test_channels_last_is_rows_columns_channels() -> None:
    channels_last = PLAIN[None].contiguous(memory_format=torch.channels_last)[0]
    assert memory_order(channels_last) == (1, 2, 0)
    stored = as_in_memory(channels_last, (1, 2, 0))
    assert stored.shape == (3, 4, 2)
    assert stored[2, 3, 1] == 123


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_stored_comes_back_as_it_was(order: tuple[int, ...]) -> None:
    level = laid_out(order)
    assert memory_order(level) == order
    stored = as_in_memory(level, order)
    assert stored.is_contiguous()
    assert stored.data_ptr() == level.data_ptr()  # nothing was moved: this is how it lies in memory
    back = as_computed(stored, order)
    assert torch.equal(back, PLAIN)
    assert back.stride() == level.stride()


@pytest.mark.parametrize(("given", "wanted"), itertools.product(ORDERS, ORDERS))
def test_all_samples_of_a_batch_get_one_order(given: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    stored = reordered(as_in_memory(laid_out(given), given), given, wanted)
    assert torch.equal(stored, laid_out(wanted).as_strided(stored.shape, stored.stride()))
    batch = torch.stack([stored, stored + 1000])
    back = as_computed(batch, with_batch(wanted))
    assert torch.equal(back, torch.stack([PLAIN, PLAIN + 1000]))
    assert memory_order(back) == (0, *(axis + 1 for axis in wanted))


def test_tokens_have_two_axes_and_single_values_none() -> None:
    assert memory_order(torch.zeros(5, 3)) == (0, 1)
    assert memory_order(torch.zeros(())) == ()
    assert as_computed(torch.tensor(7.0), ()) == 7


def test_orders_survive_json() -> None:
    assert orders_from_json([[1, 2, 0], [0, 1]]) == [(1, 2, 0), (0, 1)]
