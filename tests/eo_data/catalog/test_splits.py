"""A share of the labels keeps the classes in proportion, and is the same on every machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from small_files import hrefs

from eo_data.catalog.folder_patterns import from_folders
from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record
from eo_data.catalog.sources import ImageSource, LabelSource
from eo_data.catalog.splits import draw_fraction, label_strata, quantile_bins, read_split, stratified_fraction
from eo_data.datamodules import ChipDataModule
from eo_data.raster.sample import SampleError

STRATA = [0] * 60 + [1] * 30 + [2] * 10


def drawn(fraction: float, seed: int = 0, strata: list[int] = STRATA) -> Counter[int]:
    return Counter(strata[i] for i in stratified_fraction(strata, fraction, seed))


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [
        (0.1, {0: 6, 1: 3, 2: 1}),
        (0.5, {0: 30, 1: 15, 2: 5}),
        (1.0, {0: 60, 1: 30, 2: 10}),
        # 25 samples: 15, 7.5 and 2.5; the largest remainder comes first, and of equal ones the first stratum.
        (0.25, {0: 15, 1: 8, 2: 2}),
        # 7 samples: 4.2, 2.1 and 0.7.
        (0.07, {0: 4, 1: 2, 2: 1}),
        (0.001, {0: 1}),
    ],
)
def test_each_stratum_gives_its_share(fraction: float, expected: dict[int, int]) -> None:
    assert drawn(fraction) == expected


def test_the_draw_follows_the_seed_and_a_small_one_is_part_of_a_large_one() -> None:
    shares = {f: set(stratified_fraction(STRATA, f, 7)) for f in (0.1, 0.2, 0.5, 1.0)}
    assert shares[0.1] < shares[0.2] < shares[0.5] < shares[1.0] == set(range(100))
    assert stratified_fraction(STRATA, 0.1, 7) == sorted(shares[0.1])
    assert stratified_fraction(STRATA, 0.1, 8) != sorted(shares[0.1])
    assert len({tuple(stratified_fraction(STRATA, 0.1, seed)) for seed in range(20)}) == 20


def test_every_sample_of_a_stratum_is_as_likely() -> None:
    counts = Counter(i for seed in range(600) for i in stratified_fraction([0] * 10, 0.3, seed))
    assert min(counts.values()) > 130
    assert max(counts.values()) < 230


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01, float("nan")])
def test_a_senseless_share_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="must be above 0 and at most 1, got .*0.1 is 10 %"):
        stratified_fraction(STRATA, fraction, 0)


def test_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="There are no samples to draw a fraction of"):
        stratified_fraction([], 0.5, 0)


def test_values_are_put_in_bins_of_equal_numbers() -> None:
    assert quantile_bins([9.0, 1.0, 2.0, 8.0, 5.0, 4.0]) == [2, 0, 0, 2, 1, 1]
    assert len(set(quantile_bins([3.0] * 5))) == 1
    # Two thirds without any water: they share a bin, and those with water are told apart.
    assert quantile_bins([0.0, 0.0, 0.0, 0.0, 0.2, 0.9])[:4] == [1, 1, 1, 1]
    assert quantile_bins([0.0, 0.0, 0.0, 0.0, 0.2, 0.9])[5] == 2


def test_strata_by_the_kind_of_label() -> None:
    assert label_strata([2, 0, 1], "classification") == [2, 0, 1]
    assert label_strata([0.5, 9.0, 4.0], "regression") == [0, 2, 1]
    assert label_strata([np.array([1.0, 3.0]), np.array([8.0, 9.0]), np.array([5.0])], "regression") == [0, 2, 1]
    # Two classes: by how much of the second one there is.
    dry, damp, wet = np.zeros(100), np.repeat([0, 1], [90, 10]), np.ones(50)
    assert label_strata([wet, dry, damp], "segmentation") == [2, 0, 1]
    # More: by the most frequent one.
    assert label_strata([np.array([0, 2, 2]), np.array([1, 1, 0])], "segmentation") == [2, 1]


def test_the_order_in_which_files_are_listed_makes_no_difference() -> None:
    records = [Record(f"{i:03d}", {}, label=i % 3) for i in range(30)]
    shuffled = [records[i] for i in np.random.default_rng(0).permutation(30)]

    def ids(of: list[Record]) -> list[str]:
        return [record.id for record in draw_fraction(of, lambda r: int(str(r.label)), "classification", 0.3, 1)]

    assert sorted(ids(shuffled)) == sorted(ids(records))
    assert ids(shuffled) == [record.id for record in shuffled if record.id in ids(records)]
    assert Counter(int(i) % 3 for i in ids(records)) == {0: 3, 1: 3, 2: 3}


# In the data module


@pytest.fixture
def ponds(chips: Callable[..., Path]) -> Path:
    """40 chips: 20 dry ones, 10 with a tenth of water, 10 all water."""
    names = [f"c{i:02d}" for i in range(40)]
    root = chips(names, side=10)
    for i, name in enumerate(names):
        label = np.zeros((1, 10, 10), dtype=np.int16)
        label[:, : (10 if i % 4 == 0 else 1 if i % 4 == 1 else 0)] = 1
        with rasterio.open(root / "lab" / f"{name}_L.tif", "r+") as file:
            file.write(label)
    (root / "val.txt").write_text("\n".join(names[:6]))
    return root


def water(module: ChipDataModule) -> Counter[int]:
    module.setup("fit")
    entries = [module.train_dataset[i] for i in range(len(module.train_dataset or ()))]  # type: ignore[index]
    return Counter(int(entry["mask"].sum()) for entry in entries)


def test_a_tenth_of_the_training_samples_and_all_of_the_others(
    ponds: Path, chip_module: Callable[..., ChipDataModule]
) -> None:
    module = chip_module(ponds, train_fraction=0.1, val_split="val.txt")
    # Terciles of the share of water are 0 (with half of the chips), 0..0.1 and more: 4 of 40, in proportion.
    assert sum(water(module).values()) == 4
    assert water(module)[0] == 2
    assert len(module.val_dataset or ()) == 6
    batches = list(module.train_dataloader())
    assert sum(len(batch["mask"]) for batch in batches) == 4
    assert water(chip_module(ponds, train_fraction=0.1)) == water(module)
    ids = [r.id for r in module.train_dataset.records]  # type: ignore[union-attr]
    other = chip_module(ponds, train_fraction=0.1, fraction_seed=1)
    other.setup("fit")
    assert [r.id for r in other.train_dataset.records] != ids  # type: ignore[union-attr]
    assert sum(water(chip_module(ponds)).values()) == 40


def test_samples_that_cannot_be_used_are_left_out_before_the_draw(
    ponds: Path, chip_module: Callable[..., ChipDataModule]
) -> None:
    (ponds / "lab" / "c03_L.tif").write_bytes(b"no raster")
    (ponds / "lab" / "c07_L.tif").unlink()
    with pytest.raises(ValueError, match="c07"):
        chip_module(ponds, train_fraction=0.5).setup("fit")
    module = chip_module(ponds, train_fraction=0.5, on_error="skip")
    with pytest.warns(UserWarning, match="2 of 40 samples of 'train' are left out"):
        assert sum(water(module).values()) == 19


@pytest.mark.parametrize("fraction", [0, 1.5])
def test_a_senseless_share_is_refused_by_the_data_module(
    fraction: Any, chip_module: Callable[..., ChipDataModule]
) -> None:
    with pytest.raises(ValueError, match="train_fraction must be above 0 and at most 1, got"):
        chip_module(Path("x"), train_fraction=fraction)


def test_labels_are_looked_at_without_images(ponds: Path, chip_module: Callable[..., ChipDataModule]) -> None:
    module = chip_module(ponds)
    reader = module.dataset("train").reader
    record = Record("x", {}, label=None)
    with pytest.raises(SampleError, match="x has no label"):
        reader.label_values(record)
    with rasterio.open(ponds / "lab" / "c01_L.tif", "r+") as file:
        pixels = file.read()
        pixels[0, 5:] = -1
        file.write(pixels)
    values = reader.label_values(Record("c01", {}, label=hrefs(ponds / "lab" / "c01_L.tif")[0]))
    assert np.asarray(values).tolist() == [1] * 10 + [0] * 40


S2 = ImageSource("img/{id}_S2.tif", ["B2", "B3"], sensor="sentinel2_l2a")


LABEL = LabelSource("lab/{id}_L.tif", classes=10)


def test_splits_name_ids_stems_files_and_keep_their_order(chips: Callable[..., Path]) -> None:
    root = chips()
    records = from_folders(root, {"S2": S2}, LABEL)
    split = root / "s.txt"
    split.write_text("# remark\n\nd\nb_S2\r\na_S2.tif,a_L.tif\nc_L.tif\n")
    assert [record.id for record in read_split(split, records)] == ["d", "b", "a", "c"]
    # Excel and Notepad put a byte order mark before the first name.
    split.write_text("b\nc\n", encoding="utf-8-sig")
    assert [record.id for record in read_split(split, records)] == ["b", "c"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "The split file .*s.txt names no sample"),
        ("# nothing\n\n", "names no sample"),
        ("a\nz\n", "The line 'z' of the split file .*s.txt fits no sample. Ids of samples look like: a, b, c"),
        ("a\na_S2.tif\n", "The split file .*s.txt names 'a' twice"),
    ],
)
def test_split_lines_that_fit_nothing_or_twice_are_refused(
    chips: Callable[..., Path], lines: str, message: str
) -> None:
    root = chips()
    (root / "s.txt").write_text(lines)
    with pytest.raises(ValueError, match=message):
        read_split(root / "s.txt", from_folders(root, {"S2": S2}, LABEL))


def test_a_missing_split_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no split file .*s.txt"):
        read_split(tmp_path / "s.txt", [])


def test_an_id_beats_the_file_name_of_another_sample(tmp_path: Path) -> None:
    one, two = Record("x", {"S2": (Href("y.tif"),)}), Record("y", {"S2": (Href("z.tif"),)})
    (tmp_path / "s.txt").write_text("y\n")
    assert read_split(tmp_path / "s.txt", [one, two]) == [two]
