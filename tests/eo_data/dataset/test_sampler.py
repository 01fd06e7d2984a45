"""A batch holds one kind of sample, every sample comes once, and the length is what comes."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DistributedSampler, RandomSampler, SequentialSampler

from eo_data.dataset.sampler import SameModalitiesBatchSampler

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
