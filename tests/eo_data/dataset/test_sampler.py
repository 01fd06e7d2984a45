"""A batch holds one kind of sample, every sample comes once, and the length is what comes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.fabric.utilities.distributed import DistributedSamplerWrapper
from torch.utils.data import DistributedSampler, RandomSampler, SequentialSampler

from eo_data.dataset.sampler import SameModalitiesBatchSampler, SeededIndex, ShuffleByEpoch

#: The order in which a record lists its modalities does not matter.
GROUPS = [("S2",), ("S1", "S2"), ("S2",), ("S2", "S1"), ("S2",), ("S1",), ("S2",), ("S2",)]
KINDS = [frozenset(group) for group in GROUPS]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_are_pure_complete_and_as_many_as_said(*, shuffle: bool, drop_last: bool) -> None:
    order = RandomSampler(GROUPS) if shuffle else SequentialSampler(GROUPS)
    sampler = SameModalitiesBatchSampler(order, 2, drop_last, GROUPS)
    for _ in range(5):
        batches = list(sampler)
        assert len(sampler) == len(batches) == (3 if drop_last else 5)
        assert all(len({KINDS[i] for i in batch}) == 1 for batch in batches)
        drawn = sorted(i for batch in batches for i in batch)
        assert len(drawn) == len(set(drawn)) == (6 if drop_last else 8)
        assert {len(batch) for batch in batches} == ({2} if drop_last else {1, 2})


def test_the_order_is_that_of_the_sampler() -> None:
    assert list(SameModalitiesBatchSampler(SequentialSampler(GROUPS), 2, False, GROUPS)) == [
        [0, 2],
        [1, 3],
        [4, 6],
        [5],
        [7],
    ]


def test_a_random_order_follows_the_seed_and_asking_for_the_length_does_not_change_it() -> None:
    drawn = []
    for ask in (False, True):
        torch.manual_seed(3)
        sampler = SameModalitiesBatchSampler(RandomSampler(GROUPS), 3, False, GROUPS)
        if ask:
            assert len(sampler) == 4
        drawn.append([list(sampler), list(sampler)])
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[0][1]


def test_the_share_of_one_process_has_its_own_length() -> None:
    for rank in (0, 1):
        order = DistributedSampler(GROUPS, num_replicas=2, rank=rank, shuffle=False)  # type: ignore[arg-type]
        sampler = SameModalitiesBatchSampler(order, 2, False, GROUPS)
        assert len(sampler) == len(list(sampler))
        assert sorted(i for batch in sampler for i in batch) == list(range(rank, 8, 2))


# The order of training


def epochs(sampler: Any, count: int) -> list[list[SeededIndex]]:
    found = []
    for epoch in range(count):
        sampler.set_epoch(epoch)
        found.append(list(sampler))
    return found


def test_every_sample_comes_once_and_no_epoch_is_like_another() -> None:
    seen = epochs(ShuffleByEpoch(20, seed=3), 5)
    assert all(sorted(draw.sample for draw in epoch) == list(range(20)) for epoch in seen)
    assert len({tuple(draw.sample for draw in epoch) for epoch in seen}) == 5
    assert len({draw.seed for epoch in seen for draw in epoch}) == 100
    assert len(ShuffleByEpoch(20, 3)) == 20


def test_the_epoch_of_a_run_that_goes_on_is_that_of_one_that_never_stopped() -> None:
    whole = epochs(ShuffleByEpoch(9, 3), 4)
    assert list(ShuffleByEpoch(9, 3, epoch=2)) == whole[2]
    counting = ShuffleByEpoch(9, 3)  # without Lightning, passes are counted
    assert [list(counting) for _ in range(4)] == whole


def test_other_seeds_are_other_orders_and_none_is_that_of_a_later_epoch() -> None:
    orders = {tuple(ShuffleByEpoch(12, seed, epoch)) for seed in range(10) for epoch in range(10)}
    assert len(orders) == 100


def test_torch_s_own_numbers_make_no_difference_and_are_not_used_up() -> None:
    torch.manual_seed(1)
    one = list(ShuffleByEpoch(9, 3))
    after = int(torch.randint(1000, (1,)))
    torch.manual_seed(1)
    assert int(torch.randint(1000, (1,))) == after
    assert list(ShuffleByEpoch(9, 3)) == one


def test_batches_of_equal_modalities_are_made_of_draws() -> None:
    groups = [("S1",), ("S2",), ("S1", "S2")] * 4
    order = ShuffleByEpoch(12, 3)
    sampler = SameModalitiesBatchSampler(order, 2, False, groups)
    batches = list(sampler)
    assert all(isinstance(draw, SeededIndex) for batch in batches for draw in batch)
    assert all(len({groups[draw.sample] for draw in batch}) == 1 for batch in batches)
    assert sorted(draw for batch in batches for draw in batch) == sorted(ShuffleByEpoch(12, 3))
    assert len(sampler) == len(batches) == 6
    order.set_epoch(1)
    assert list(sampler) != batches


@pytest.mark.parametrize("size", [10, 11])
def test_two_processes_share_every_epoch(size: int) -> None:
    """As Lightning wraps the sampler: with an odd number, one sample comes twice, as with any sampler."""
    parts = [
        epochs(DistributedSamplerWrapper(ShuffleByEpoch(size, 3), num_replicas=2, rank=rank), 3) for rank in (0, 1)
    ]
    for epoch in range(3):
        one, other = parts[0][epoch], parts[1][epoch]
        assert len(one) == len(other) == -(-size // 2)
        assert {draw.sample for draw in (*one, *other)} == set(range(size))
        assert len({draw.sample for draw in one} & {draw.sample for draw in other}) == size % 2
    seeds = {draw.seed for part in parts for epoch in part for draw in epoch}
    assert len(seeds) == 3 * size
