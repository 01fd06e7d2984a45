"""What is stored of a sample is what comes back, in the turn and the memory layout that training needs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import albumentations
import numpy as np
import pytest
import torch

from eo_data.catalog.records import Record
from eo_data.dataset.sample_reader import Inputs
from eo_data.dataset.sampler import SeededIndex
from eo_data.preprocess.augmentation import Augmentation
from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image, Sample
from eo_data.sensors.units import InputUnit
from eo_finetune.cache.dataset import CachedDataset, Uncached, Variant
from eo_finetune.cache.variants import orientation_of, variants_of

UPRIGHT = (0, 1, 2, 3)


class Plain:
    """Two samples of 4 x 4 pixels, each pixel with a number of its own."""

    def __init__(self, augmentation: Augmentation | None = None) -> None:
        self.records = [Record("a", {}), Record("b", {}, label=1)]
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.records)

    def state(self, index: int) -> str:
        return ""

    def read(self, index: int) -> Sample:
        pixels = np.arange(16, dtype=np.float32).reshape(1, 4, 4) + 100 * index
        raster = Raster(pixels, np.ones((4, 4), dtype=bool), None, None)
        return Sample("ab"[index], {"S2": Image(raster, ("A",), InputUnit.REFLECTANCE, 10.0)})

    def entry(self, sample: Sample, record: Record) -> dict[str, Any]:
        return {"image": torch.from_numpy(sample.images["S2"].raster.pixels.copy()), "filename": record.id}


def cached(folder: Path, augmentation: Augmentation | None = None, *, keep_images: bool = True) -> CachedDataset:
    dataset: Any = Plain(augmentation)
    return CachedDataset(dataset, folder, variants_of(augmentation), keep_images=keep_images)


def features() -> list[torch.Tensor]:
    """Two levels: channels last, as many encoders return them, and contiguous."""
    first = torch.arange(24, dtype=torch.float32).reshape(1, 2, 3, 4).contiguous(memory_format=torch.channels_last)[0]
    return [first, torch.arange(6, dtype=torch.float32).reshape(2, 3)]


def test_features_come_back_with_the_rest_of_the_entry(tmp_path: Path) -> None:
    data = cached(tmp_path)
    entry = {"image": torch.ones(1, 4, 4), "filename": "b.tif", "label": torch.tensor(2), "acquired": "S2 2020-01-01"}
    data.store(Variant(1, UPRIGHT), features(), entry)
    found = data[1]
    assert found["features"][0].shape == (3, 4, 2), "rows, columns, channels: as in the encoder's memory"
    assert torch.equal(found["features"][0].permute(2, 0, 1), features()[0])
    assert torch.equal(found["features"][1], features()[1])
    assert {key: found[key] for key in ("filename", "acquired")} == {"filename": "b.tif", "acquired": "S2 2020-01-01"}
    assert found["label"].item() == 2
    assert torch.equal(found["image"], torch.ones(1, 4, 4))
    assert found.keys() == entry.keys() | {"features"}


def test_samples_of_another_layout_are_brought_to_that_of_the_first(tmp_path: Path) -> None:
    """Two encodings of one batch may lie differently in memory; together they make one tensor."""
    data = cached(tmp_path)
    entry = {"image": torch.ones(1, 4, 4)}
    data.store(Variant(0, UPRIGHT), features()[:1], entry)
    data.store(Variant(1, UPRIGHT), [features()[0].contiguous()], entry)
    assert data[1]["features"][0].shape == (2, 3, 4)
    data.orders = data.first_orders()
    assert data.orders == [(1, 2, 0)]
    assert torch.equal(data[0]["features"][0], data[1]["features"][0])


def test_images_by_modality_stay_apart(tmp_path: Path) -> None:
    image: Mapping[str, torch.Tensor] = {"S2": torch.ones(1, 4, 4), "S2_dates": torch.tensor([7])}
    kept, dropped = cached(tmp_path / "kept"), cached(tmp_path / "dropped", keep_images=False)
    for data in (kept, dropped):
        data.store(Variant(0, UPRIGHT), features(), {"image": image})
    found = kept[0]["image"]
    assert found.keys() == image.keys()
    assert found["S2_dates"].tolist() == [7]
    assert torch.equal(dropped[0]["image"], torch.zeros(1, 4, 4)), "only the size is kept"


def test_half_precision_is_stored_and_float_is_returned(tmp_path: Path) -> None:
    data = cached(tmp_path)
    data.store(Variant(0, UPRIGHT), [torch.tensor([0.1], dtype=torch.float16)], {"image": torch.ones(1, 4, 4)})
    (level,) = data[0]["features"]
    assert level.dtype == torch.float32
    assert level.item() == np.float16(0.1)


def test_each_seed_gets_the_turn_that_its_transforms_would_make(tmp_path: Path) -> None:
    flips = Augmentation([albumentations.HorizontalFlip(), albumentations.VerticalFlip()])
    data = cached(tmp_path, flips)
    missing = list(data.missing())
    assert len(missing) == 2 * 4
    for variant, entry in zip(missing, Uncached(data, missing), strict=False):
        data.store(variant, [entry["image"] * 2], entry)
    assert list(data.missing()) == []
    plain = Plain().read(1)
    seen = set()
    for seed in range(20):
        turned = flips(plain, seed).images["S2"].raster.pixels
        found = data[SeededIndex(1, seed)]
        np.testing.assert_array_equal(found["image"].numpy(), turned)
        np.testing.assert_array_equal(found["features"][0].numpy(), 2 * turned)
        seen.add(orientation_of(flips, seed))
    assert len(seen) == 4


def test_a_file_that_is_gone_is_named_with_its_sample(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has lost .*safetensors of sample b. Start the run again: it encodes what"):
        _ = cached(tmp_path)[1]


def test_damaged_files_are_removed_all_at_once_and_named(tmp_path: Path) -> None:
    """Flipped bytes trained on NaN; one damaged file after the other would end one run after the other."""
    data = cached(tmp_path)
    for sample in (0, 1):
        data.store(Variant(sample, UPRIGHT), features(), {"image": torch.ones(1, 4, 4)})
    whole = data.file(Variant(1, UPRIGHT)).read_bytes()
    for place in range(0, len(whole), 7):
        for sample in (0, 1):
            file = data.file(Variant(sample, UPRIGHT))
            content = bytearray(whole)
            content[place] ^= 1
            file.write_bytes(content)
        with pytest.raises(ValueError, match=r"of sample b. 2 damaged files were removed. Start the run"):
            _ = data[1]
        assert len(list(data.missing())) == 2, place


def test_another_image_of_the_same_size_and_time_is_another_file(tmp_path: Path) -> None:
    """As is one whose sidecar moves it."""
    image, beside = tmp_path / "a.tif", tmp_path / "a.tfw"
    files = {"a.tif": image, "a.tfw": beside}

    def name() -> Path:
        dataset: Any = Plain()
        dataset.state = lambda _: json.dumps(Inputs(files, {}).state())
        return CachedDataset(dataset, tmp_path, {UPRIGHT: None}, keep_images=True).file(Variant(0, UPRIGHT))

    image.write_bytes(b"one")
    beside.write_bytes(b"10 0 0")
    first, times = name(), image.stat()
    time.sleep(0.02)
    image.write_bytes(b"two")
    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    second = name()
    beside.write_bytes(b"20 0 0")
    assert len({first, second, name()}) == 3


def test_a_label_that_changed_is_another_file(tmp_path: Path) -> None:
    one, other = cached(tmp_path), cached(tmp_path)
    other.dataset.records[1] = Record("b", {}, label=2)
    changed = CachedDataset(other.dataset, tmp_path, other.variants, keep_images=True)
    assert one.file(Variant(0, UPRIGHT)) == changed.file(Variant(0, UPRIGHT))
    assert one.file(Variant(1, UPRIGHT)) != changed.file(Variant(1, UPRIGHT))
