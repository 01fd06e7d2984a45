"""In a data module, the order of training and its transforms follow from the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import albumentations
import pytest
import rasterio
import torch

from eo_data.catalog.sources import ImageSource
from eo_data.datamodules import ChipDataModule

Make = Callable[..., ChipDataModule]


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
