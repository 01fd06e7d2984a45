"""Whole data modules: pairs by name, splits, samples that cannot be used, missing modalities, series, workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from affine import Affine
from small_files import two_modalities

from eo_data.catalog.sources import LabelSource
from eo_data.datamodules import ChipDataModule
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_data.raster.sample import SampleError

Make = Callable[..., ChipDataModule]
Chips = Callable[..., Path]
WriteTif = Callable[..., Path]


def _pairs(dataset: Any) -> dict[str, tuple[float, int]]:
    """Blue as a digital number and class of every sample, by the name of its file."""
    entries = [dataset[i] for i in range(len(dataset))]
    return {
        Path(entry["filename"]).name[0]: (round(float(entry["image"][0, 0, 0]) * 1e4), int(entry["mask"][0, 0]))
        for entry in entries
    }


# Pairs


def test_pairs_are_right(chips: Chips, chip_module: Make) -> None:
    module = chip_module(chips())
    module.setup("fit")
    assert _pairs(module.train_dataset) == {"a": (1000, 0), "b": (1100, 1), "c": (1200, 2), "d": (1300, 3)}


@pytest.mark.parametrize("lost", ["img/b_S2.tif", "lab/b_L.tif"])
def test_pairs_stay_right_when_a_file_in_the_middle_is_missing(chips: Chips, chip_module: Make, lost: str) -> None:
    root = chips()
    (root / lost).unlink()
    (root / "all.txt").write_text("a\nc\nd\n")
    module = chip_module(root)
    module.setup("fit")
    expected = {"a": (1000, 0), "c": (1200, 2), "d": (1300, 3)}
    assert _pairs(module.train_dataset) == _pairs(module.val_dataset) == expected


def test_a_sample_without_label_stops_a_run_before_it_starts(chips: Chips, chip_module: Make) -> None:
    root = chips()
    (root / "lab" / "b_L.tif").unlink()
    with pytest.raises(ValueError, match=r"1 of 4 samples have no label \(first: b\)"):
        chip_module(root).setup("fit")
    predicting = chip_module(root)
    predicting.setup("predict")
    assert len(predicting.predict_dataset or ()) == 4


def test_prediction_needs_no_folder_of_labels(chips: Chips, chip_module: Make) -> None:
    root = chips(label=False)
    module = chip_module(root)
    module.setup("predict")
    batch = next(iter(module.predict_dataloader()))
    assert "mask" not in batch
    with pytest.raises(ValueError, match="There is no folder .*/lab"):
        module.setup("fit")


# Splits


def test_to_predict_is_the_predict_split_or_the_test_split_or_everything(chips: Chips, chip_module: Make) -> None:
    root = chips()
    rows = [
        f"{name},img/{name}_S2.tif,lab/{name}_L.tif,{split}"
        for name, split in zip("abcd", ("train", "val", "test", ""), strict=True)
    ]
    (root / "i.csv").write_text("\n".join(["id,S2,label,split", *rows]))

    def predicted(**arguments: str) -> str:
        module = chip_module(root, **arguments)
        module.setup("predict")
        return "".join(record.id for record in module.predict_dataset.records) if module.predict_dataset else ""

    (root / "one.txt").write_text("b\n")
    assert predicted() == "abcd"
    assert predicted(test_split="one.txt") == "b"
    assert predicted(index="i.csv") == "c"
    assert predicted(index="i.csv", predict_split="one.txt") == "b"
    (root / "i.csv").write_text(
        "\n".join(
            [
                "id,S2,split",
                rows[0].replace(",lab/a_L.tif,train", ",predict"),
                *[row.replace(f",lab/{row[0]}_L.tif", "") for row in rows[1:]],
            ]
        )
    )
    assert predicted(index="i.csv") == "a"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_split": None}, "Which samples are for 'train'. Set train_split to a file, or give an index"),
        ({"val_split": "none.txt"}, "There is no split file .*none.txt"),
        ({"val_split": "empty.txt"}, "names no sample"),
        ({"index": "i.csv", "train_split": None, "val_split": None}, "The split 'val' has no samples"),
        ({"label": None}, "The split 'train' needs labels: set label"),
        ({"root": "nowhere"}, "There is no folder nowhere"),
    ],
)
def test_splits_that_give_nothing_are_refused(
    chips: Chips, chip_module: Make, arguments: dict[str, Any], message: str
) -> None:
    root = chips()
    (root / "empty.txt").write_text("\n")
    (root / "i.csv").write_text("id,S2,label,split\na,img/a_S2.tif,lab/a_L.tif,train\n")
    module = chip_module(arguments.pop("root", root), **arguments)
    with pytest.raises(ValueError, match=message):
        module.setup("fit")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "detection"}, "task must be one of segmentation, regression, classification, got 'detection'"),
        ({"dates_as": "list"}, "dates_as must be one of auto, dict, plane, none"),
        ({"missing_modality": "drop"}, "missing_modality must be one of omit, zeros"),
        ({"georeference": "yes"}, "georeference must be one of auto, predict, always, never"),
        ({"on_error": "ignore"}, "on_error must be one of raise, skip, got 'ignore'"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_senseless_arguments_are_refused(chip_module: Make, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        chip_module(Path("x"), **arguments)
    with pytest.raises(ValueError, match="modalities is empty. Name at least one"):
        ChipDataModule("x", {}, DatasetNormalise({}, {}))


# Several modalities


def test_zeros_stand_in_for_a_missing_modality_and_are_marked(
    chips: Chips, chip_module: Make, write_tif: WriteTif
) -> None:
    root = chips(["a_20210101", "b_20210101"])
    modalities = two_modalities(root, write_tif, "", dated=True)
    write_tif(root / "s1" / "b_20210101_S1.tif", np.full((2, 16, 16), -10.0, dtype=np.float32), ("VV", "VH"))
    module = chip_module(root, modalities=modalities, missing_modality="zeros")
    module.setup("predict")
    (batch,) = module.predict_dataloader()
    image = batch["image"]
    assert image["S1"].shape == image["S2"].shape == (2, 2, 16, 16)
    assert image["S1"].amin(dim=(1, 2, 3)).tolist() == [0, -10]
    assert image["S1"].amax(dim=(1, 2, 3)).tolist() == [0, -10]
    assert image["S1_mask"].tolist() == [[False], [True]]
    assert image["S2_mask"].tolist() == [[True], [True]]
    assert batch["valid"].all()
    assert batch["acquired"][0] == "S2 2021-01-01 (name); S1 2021-01-01 (missing)"


def test_a_missing_modality_that_is_required_stops_the_run_or_is_skipped(
    chips: Chips, chip_module: Make, write_tif: WriteTif
) -> None:
    root = chips()
    modalities = two_modalities(root, write_tif, "abcde")
    # e has radar only.
    with pytest.raises(ValueError, match=r"1 of 5 samples have no 'S2' \(first: e;"):
        chip_module(root, modalities=modalities).setup("predict")
    module = chip_module(root, modalities=modalities, on_error="skip")
    with pytest.warns(UserWarning, match="1 of 5 samples of 'predict' are left out"):
        module.setup("predict")
    assert module.skipped == [("predict", "e", "e has no files of S2.")]


@pytest.mark.parametrize("fault", ["crs", "ground"])
def test_modalities_on_different_ground_are_skipped(
    chips: Chips, chip_module: Make, write_tif: WriteTif, fault: str
) -> None:
    root = chips()
    modalities = two_modalities(root, write_tif, "abcd")
    options = {"crs": "EPSG:32633"} if fault == "crs" else {"corner": (0.0, 0.0)}
    write_tif(root / "s1" / "c_S1.tif", np.full((2, 16, 16), -10.0, dtype=np.float32), ("VV", "VH"), **options)
    module = chip_module(root, modalities=modalities, on_error="skip")
    with pytest.warns(UserWarning, match="different CRS|must show the same ground"):
        module.setup("predict")
    assert [entry[1] for entry in module.skipped] == ["c"]


# Other tasks


@pytest.mark.parametrize(("task", "dtype"), [("classification", torch.int64), ("regression", torch.float32)])
def test_scalar_labels_from_an_index(chips: Chips, chip_module: Make, task: str, dtype: torch.dtype) -> None:
    root = chips(label=False)
    (root / "i.csv").write_text("id,S2,label\nc,img/c_S2.tif,7\na,img/a_S2.tif,5\n")
    (root / "two.txt").write_text("a\nc\n")
    module = chip_module(
        root, index="i.csv", task=task, label=LabelSource(classes=10), train_split="two.txt", val_split="two.txt"
    )
    module.setup("fit")
    (batch,) = module.val_dataloader()
    assert batch["label"].tolist() == [5, 7]
    assert batch["label"].dtype == dtype
    assert (batch["image"][:, 0, 0, 0] * 1e4).tolist() == pytest.approx([1000, 1200])


def test_regression_rasters_keep_fractions(chips: Chips, chip_module: Make, write_tif: WriteTif) -> None:
    root = chips(["a", "b"])
    for name, value in (("a", 0.25), ("b", 7.5)):
        plane = np.full((1, 16, 16), value, dtype=np.float32)
        plane[0, 0, 0] = np.nan
        write_tif(root / "lab" / f"{name}_L.tif", plane)
    module = chip_module(root, task="regression", label=LabelSource("lab/{id}_L.tif"))
    module.setup("fit")
    (batch,) = module.val_dataloader()
    assert batch["mask"].dtype == torch.float32
    assert batch["mask"][:, 0, :2].tolist() == [[-1, 0.25], [-1, 7.5]]


# Workers


def test_two_workers_give_what_none_gives(chips: Chips, chip_module: Make, write_tif: WriteTif) -> None:
    root = chips(["a_20210101", "b_20210102", "c_20210103"])
    modalities = two_modalities(root, write_tif, "", dated=True)
    write_tif(root / "s1" / "b_20210102_S1.tif", np.full((2, 16, 16), -10.0, dtype=np.float32), ("VV", "VH"))
    batches = []
    for workers in (0, 2):
        module = chip_module(root, modalities=modalities, num_workers=workers, missing_modality="zeros")
        module.setup("predict")
        batches.append(list(module.predict_dataloader()))
    for one, two in zip(*batches, strict=True):
        assert one.keys() == two.keys()
        assert sorted(one["image"]) == ["S1", "S1_dates", "S1_mask", "S2", "S2_dates", "S2_mask"]
        flat = [{key: value for key, value in batch.items() if key != "image"} | batch["image"] for batch in (one, two)]
        for key, value in flat[0].items():
            same = torch.equal(value, flat[1][key]) if isinstance(value, torch.Tensor) else value == flat[1][key]
            assert same, key


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_files_without_georeference_batch_among_themselves_only(
    chips: Chips, chip_module: Make, write_tif: WriteTif
) -> None:
    root = chips(["a", "b"])
    options: dict[str, Any] = {"crs": None, "transform": Affine.identity()}
    write_tif(root / "img" / "b_S2.tif", np.full((2, 16, 16), 1000, dtype=np.uint16), ("B2", "B3"), **options)
    module = chip_module(root)
    module.setup("predict")
    with pytest.raises(SampleError, match="only one of them has bounds, crs.*. Do all files have a georeference"):
        list(module.predict_dataloader())
    write_tif(root / "img" / "a_S2.tif", np.full((2, 16, 16), 1000, dtype=np.uint16), ("B2", "B3"), **options)
    assert "crs" not in next(iter(module.predict_dataloader()))
