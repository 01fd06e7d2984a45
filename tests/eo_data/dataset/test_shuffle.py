"""The order of training and its transforms follow from the seed and the epoch, and from nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import albumentations
import pytest
import rasterio
import torch
from lightning.fabric.utilities.distributed import DistributedSamplerWrapper

from eo_data.catalog.sources import ImageSource
from eo_data.datamodules import ChipDataModule
from eo_data.dataset.sampler import SameModalitiesBatchSampler, SeededIndex, ShuffleByEpoch

Make = Callable[..., ChipDataModule]


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


# In the data module


@pytest.fixture
def numbered(chips: Callable[..., Path]) -> Path:
    """Six chips whose every pixel has a number of its own."""
    root = chips("abcdef", side=8)
    for i, file in enumerate(sorted((root / "img").iterdir())):
        with rasterio.open(file, "r+") as data:
            data.write((torch.arange(128).view(2, 8, 8) + 1 + 200 * i).numpy().astype("uint16"))
    return root


def passes(module: ChipDataModule, count: int = 2, seed: int = 4, first: int = 0) -> list[list[torch.Tensor]]:
    torch.manual_seed(seed)
    module.setup("fit")
    loader = module.train_dataloader()
    found = []
    for epoch in range(first, first + count):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        found.append([batch["image"] for batch in loader])
    return found


def same(one: list[list[torch.Tensor]], other: list[list[torch.Tensor]]) -> bool:
    return all(
        len(a) == len(b) and all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a, b, strict=True))
        for a, b in zip(one, other, strict=True)
    )


def test_workers_epochs_and_restarts_change_neither_order_nor_transforms(numbered: Path, chip_module: Make) -> None:
    transforms = [albumentations.RandomCrop(6, 6), albumentations.D4()]

    def module(**arguments: Any) -> ChipDataModule:
        return chip_module(numbered, train_transform=transforms, **arguments)

    plain = passes(module(), 3)
    assert same(plain, passes(module(num_workers=2), 3))
    assert same(plain[2:], passes(module(num_workers=2), 1, first=2))
    assert not same(plain[:1], plain[1:2])
    assert not same(plain, passes(module(), 3, seed=5))
    used = torch.cat([batch for epoch in plain for batch in epoch])
    assert len({tuple(image.ravel().tolist()) for image in used}) > 12  # crops and turns differ between epochs


def test_batches_of_what_is_there_are_shuffled_the_same_way(numbered: Path, chip_module: Make) -> None:
    (numbered / "extra").mkdir()
    for name in "ace":
        (numbered / "extra" / f"{name}.tif").write_bytes((numbered / "img" / f"{name}_S2.tif").read_bytes())
    common = {"bands": ["BLUE", "GREEN"], "sensor": "sentinel2_l2a", "unit": "digital_number"}
    modalities = {
        "S2": ImageSource("img/{id}_S2.tif", **common),
        "more": ImageSource("extra/{id}.tif", optional=True, **common),
    }

    def drawn(workers: int) -> list[list[list[str]]]:
        module = chip_module(
            numbered, modalities=modalities, num_workers=workers, train_transform=[albumentations.D4()]
        )
        torch.manual_seed(4)
        module.setup("fit")
        loader = module.train_dataloader()
        found = []
        for epoch in range(3):
            loader.batch_sampler.sampler.set_epoch(epoch)  # type: ignore[union-attr]
            found.append([[Path(name).name[0] for name in batch["filename"]] for batch in loader])
        return found

    plain = drawn(0)
    assert plain == drawn(2)
    assert plain[0] != plain[1]
    for epoch in plain:
        assert sorted(name for batch in epoch for name in batch) == list("abcdef")
        assert all(set(batch) <= set("ace") or set(batch) <= set("bdf") for batch in epoch)
