"""Whole data modules: pairs by name, splits, samples that cannot be used, missing modalities, series, workers."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from affine import Affine

from anysat_ext import AnySatPreprocess
from eo_data.datamodules import ChipDataModule, TimeSeriesDataModule
from eo_data.images import FramePolicy
from eo_data.preprocess import DatasetNormalise
from eo_data.sample import SampleError
from eo_data.sources import ImageSource, LabelSource

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


def test_a_loader_before_setup_is_refused(chip_module: Make) -> None:
    for split in ("train", "val", "test", "predict"):
        with pytest.raises(ValueError, match=f"Call setup before the data loader of '{split}'"):
            getattr(chip_module(Path("x")), f"{split}_dataloader")()
    with pytest.raises(ValueError, match="split must be one of train, val, test, predict, got 'all'"):
        chip_module(Path("x")).dataset("all")


# Samples that cannot be used


def _damage(root: Path, write_tif: WriteTif, kind: str) -> None:
    """Break chip c."""
    image, label = root / "img" / "c_S2.tif", root / "lab" / "c_L.tif"
    pixels, plane = np.full((2, 16, 16), 1000, dtype=np.uint16), np.zeros((1, 16, 16), dtype=np.int16)
    noise = np.random.default_rng(0).integers(1, 4000, (2, 300, 300), dtype=np.uint16)
    bands = ("B2", "B3")
    files: dict[str, tuple[Any, ...]] = {
        "truncated": (image, noise, bands),
        "band count": (image, pixels[:1], bands[:1]),
        "no names": (image, pixels),
        "no data": (image, pixels, bands, {"nodata": 1000}),
        "nan": (image, np.full((2, 16, 16), np.nan, dtype=np.float32), bands),
        "unit": (image, np.full((2, 16, 16), 0.25, dtype=np.float32), bands),
        "pixel size": (image, pixels, bands, {"size": 20}),
        "not square": (image, pixels[:, :12], bands),
        "classes": (label, plane + 77),
        "no label at all": (label, plane - 1),
        "label grid": (label, plane, (), {"corner": (500080.0, 5000000.0)}),
    }
    if kind in files:
        path, array, *rest = files[kind]
        write_tif(path, array, *rest[:1], **dict(*rest[1:]))
    if kind == "truncated":
        image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    elif kind == "not square":
        write_tif(label, plane[:, :12])
    elif kind in ("zero size", "text"):
        image.write_text("no raster" if kind == "text" else "")
    elif kind == "label missing":
        label.unlink()
    elif kind == "label truncated":
        label.write_bytes(label.read_bytes()[:100])


def _run(module: ChipDataModule) -> None:
    module.setup("fit")
    list(module.val_dataloader())


FAULTS = {
    "truncated": "c_S2.tif cannot be read",
    "zero size": "c_S2.tif cannot be read",
    "text": "c_S2.tif cannot be read",
    "band count": "Wanted bands that are not there: GREEN",
    "no names": "The band order of .*c_S2.tif .2 bands. is unknown",
    "no data": "has no valid pixel",
    "nan": "has no valid pixel",
    "unit": "is declared as digital_number, but its values look like reflectance",
    "pixel size": "has pixels of 20 m, but its bands have a GSD of 10 m",
    "not square": "c: 'S2': The encoder needs a square, got 12 x 16 pixels",
    "classes": r"c: the label .*c_L.tif holds \[77.0\], expected classes 0..9",
    "no label at all": "holds no label",
    "label grid": "they show different ground",
    "label missing": "(no label|has no label)",
    "label truncated": "The label .*c_L.tif cannot be read",
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_bad_sample_stops_the_run_or_is_skipped_and_listed(
    chips: Chips, chip_module: Make, write_tif: WriteTif, tmp_path: Path, kind: str
) -> None:
    root = chips()
    _damage(root, write_tif, kind)
    arguments: dict[str, Any] = {}
    if kind == "not square":
        arguments["preprocess"] = AnySatPreprocess(image_size=None, normalization="none")
    strict = chip_module(root, **arguments)
    with pytest.raises(ValueError, match=FAULTS[kind]):  # SampleError is one
        _run(strict)
    module = chip_module(root, on_error="skip", **arguments)
    with pytest.warns(UserWarning, match=r"1 of 4 samples of 'train' are left out .list: .*skipped.csv.; first: c: "):
        module.setup("fit")
    assert _pairs(module.train_dataset) == {"a": (1000, 0), "b": (1100, 1), "d": (1300, 3)}
    assert [entry[:2] for entry in module.skipped] == [("train", "c"), ("val", "c")]
    with (tmp_path / "out" / "skipped.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["split", "id", "reason"]
    assert [tuple(row) for row in rows[1:]] == module.skipped
    pattern = "c has no label. Add it" if kind == "label missing" else FAULTS[kind]
    assert all(re.search(pattern, row[2]) for row in rows[1:])
    assert sum(len(batch["filename"]) for batch in module.val_dataloader()) == 3
    # Lightning calls setup once more to validate; the list must not grow.
    with pytest.warns(UserWarning, match="left out"):
        module.setup("validate")
    assert sorted(entry[:2] for entry in module.skipped) == [("train", "c"), ("val", "c")]


def test_nothing_is_written_when_all_is_well(chips: Chips, chip_module: Make, tmp_path: Path) -> None:
    module = chip_module(chips(), on_error="skip")
    module.setup("fit")
    assert module.skipped == []
    assert not (tmp_path / "out").exists()


def test_when_all_samples_are_bad_skipping_is_an_error(chips: Chips, chip_module: Make) -> None:
    root = chips()
    for path in (root / "img").iterdir():
        path.write_bytes(b"")
    module = chip_module(root, on_error="skip")
    with (
        pytest.warns(UserWarning, match="4 of 4 samples of 'train' are left out"),
        pytest.raises(ValueError, match="No sample of the split 'train' can be used. First reason: .*a_S2.tif cannot"),
    ):
        module.setup("fit")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("c_S2A_MSIL2A_20210230T101010_N0214_R022_T32TMT_20210301T120000", "impossible date"),
        ("c", "No acquisition date for 'img/c_S2.tif'"),
        ("c_20210101_20210102", "holds several dates"),
    ],
)
def test_samples_with_bad_dates_are_skipped(chips: Chips, chip_module: Make, name: str, message: str) -> None:
    root = chips(["a_20210101", "b_20210101", name])
    source = {"dated": True}
    strict = chip_module(root, source=source)
    strict.setup("predict")
    with pytest.raises(SampleError, match=message):
        list(strict.predict_dataloader())
    module = chip_module(root, source=source, on_error="skip")
    with pytest.warns(UserWarning, match="1 of 3 samples"):
        module.setup("predict")
    assert [entry[1] for entry in module.skipped] == [name]
    assert len(module.predict_dataset or ()) == 2


def test_rows_of_an_index_without_their_file_are_skipped(chips: Chips, chip_module: Make) -> None:
    root = chips()
    (root / "i.csv").write_text("id,S2\na,img/a_S2.tif\nz,img/z_S2.tif\ny,\n")
    with pytest.raises(ValueError, match="gives 'z' files that do not exist"):
        chip_module(root, index="i.csv").setup("predict")
    module = chip_module(root, index="i.csv", on_error="skip")
    with pytest.warns(UserWarning, match="2 of 3 samples"):
        module.setup("predict")
    reasons = {entry[1]: entry[2] for entry in module.skipped}
    assert "There is no file" in reasons["z"]
    assert reasons["y"] == "y has no files of S2."


def test_chips_of_no_known_event_are_skipped(chips: Chips, chip_module: Make, shared: Path) -> None:
    root = chips(["Ghana_1", "Mekong_2", "Atlantis_3"])
    geojson = (shared / "data/sen1floods11_v1.1/Sen1Floods11_Metadata.geojson").read_text()
    (root / "events.geojson").write_text(geojson)
    source = {"dated": True, "date_index": "events.geojson"}
    with pytest.raises(ValueError, match="The chip 'Atlantis_3' belongs to no known event"):
        chip_module(root, source=source).setup("predict")
    module = chip_module(root, source=source, on_error="skip")
    with pytest.warns(UserWarning, match="1 of 3 samples of 'predict' are left out.*Atlantis_3"):
        module.setup("predict")
    assert [record.id for record in module.predict_dataset.records] == ["Ghana_1", "Mekong_2"]  # type: ignore[union-attr]


# Several modalities


def _two(root: Path, write_tif: WriteTif, with_s1: str, **options: Any) -> dict[str, ImageSource]:
    for name in with_s1:
        write_tif(root / "s1" / f"{name}_S1.tif", np.full((2, 16, 16), -10.0, dtype=np.float32), ("VV", "VH"))
    return {
        "S2": ImageSource("img/{id}_S2.tif", ["B2", "B3"], sensor="sentinel2_l2a", unit="digital_number", **options),
        "S1": ImageSource("s1/{id}_S1.tif", ["VV", "VH"], sensor="sentinel1", unit="decibel", optional=True, **options),
    }


def test_batches_leave_a_missing_modality_out(chips: Chips, chip_module: Make, write_tif: WriteTif) -> None:
    root = chips(["a", "b", "c", "d", "e"])
    module = chip_module(root, modalities=_two(root, write_tif, "bd"))
    module.setup("predict")
    batches = list(module.predict_dataloader())
    found = sorted(
        (sorted(batch["image"]), "".join(Path(name).name[0] for name in batch["filename"])) for batch in batches
    )
    assert found == [(["S1", "S2"], "bd"), (["S2"], "ac"), (["S2"], "e")]
    assert len(module.predict_dataloader()) == 3


def test_zeros_stand_in_for_a_missing_modality_and_are_marked(
    chips: Chips, chip_module: Make, write_tif: WriteTif
) -> None:
    root = chips(["a_20210101", "b_20210101"])
    modalities = _two(root, write_tif, "", dated=True)
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


def test_a_required_modality_that_lacks_stops_or_is_skipped(
    chips: Chips, chip_module: Make, write_tif: WriteTif
) -> None:
    root = chips()
    modalities = _two(root, write_tif, "abcde")
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
    modalities = _two(root, write_tif, "abcd")
    options = {"crs": "EPSG:32633"} if fault == "crs" else {"corner": (0.0, 0.0)}
    write_tif(root / "s1" / "c_S1.tif", np.full((2, 16, 16), -10.0, dtype=np.float32), ("VV", "VH"), **options)
    module = chip_module(root, modalities=modalities, on_error="skip")
    with pytest.warns(UserWarning, match="different CRS|must show the same ground"):
        module.setup("predict")
    assert [entry[1] for entry in module.skipped] == ["c"]


def test_lightning_predicts_with_batches_of_equal_modalities(
    chips: Chips, chip_module: Make, write_tif: WriteTif
) -> None:
    """To predict, Lightning makes the batch sampler anew, with arguments of its own choice."""
    import lightning.pytorch as pl

    class Names(pl.LightningModule):
        def predict_step(self, batch: dict[str, Any], _: int) -> list[str]:
            return [Path(name).name[0] for name in batch["filename"]]

    root = chips(["a", "b", "c", "d", "e"])
    module = chip_module(root, modalities=_two(root, write_tif, "bd"))
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    assert sorted(trainer.predict(Names(), datamodule=module) or []) == [["a", "c"], ["b", "d"], ["e"]]
    direct = trainer.predict(Names(), dataloaders=module.predict_dataloader())
    assert sorted(direct or []) == [["a", "c"], ["b", "d"], ["e"]]


def test_unequal_batches_of_several_processes_are_refused(chips: Chips, chip_module: Make, write_tif: WriteTif) -> None:
    root = chips()
    module = chip_module(root, modalities=_two(root, write_tif, "bd"))
    module.setup("fit")

    class Trainer:
        world_size = 2

    module.trainer = Trainer()  # type: ignore[assignment]
    with pytest.raises(ValueError, match="With several processes.*missing_modality: zeros"):
        module.train_dataloader()


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


# Series


DAYS = {"20210601": 3, "20210105": 1, "20210310": 2}


def _series(root: Path, write_tif: WriteTif, *, clouds: bool = False) -> None:
    """Write three acquisitions whose names sort otherwise than their dates; the value is the rank of the date."""
    for prefix, (day, rank) in zip("abc", DAYS.items(), strict=True):
        pixels = np.full((3 if clouds else 2, 16, 16), rank * 1000, dtype=np.uint16)
        if clouds:
            pixels[2] = 4
            pixels[2, 0, 0] = 9 if rank == 2 else 4
        write_tif(root / "x" / f"{prefix}_S2_{day}.tif", pixels, ("B2", "B3", "SCL")[: len(pixels)])


def _module(root: Path, frames: FramePolicy | None = None, **source: Any) -> TimeSeriesDataModule:
    defaults = {"bands": ["B2", "B3"], "sensor": "sentinel2_l2a", "unit": "digital_number"}
    modality = ImageSource("{id}/*_S2_*.tif", **(defaults | source))
    plain = DatasetNormalise({"S2": [0.0, 0.0]}, {"S2": [1.0, 1.0]})
    module = TimeSeriesDataModule(
        frames=frames, root=str(root), modalities={"S2": modality}, preprocess=plain, num_workers=0
    )
    module.setup("predict")
    return module


def _first(module: ChipDataModule) -> dict[str, Any]:
    return next(iter(module.predict_dataloader()))


def test_acquisitions_come_in_the_order_of_their_dates(write_tif: WriteTif, tmp_path: Path) -> None:
    _series(tmp_path, write_tif)
    image = _first(_module(tmp_path))["image"]
    assert image["S2"].shape == (1, 2, 3, 16, 16)
    assert (image["S2"][0, 0, :, 0, 0] * 10).tolist() == pytest.approx([1, 2, 3])
    assert image["S2_dates"].tolist() == [[4, 68, 151]]
    assert image["S2_mask"].tolist() == [[True, True, True]]


def test_padded_frames_are_masked(write_tif: WriteTif, tmp_path: Path) -> None:
    _series(tmp_path, write_tif)
    module = _module(tmp_path, FramePolicy(frames=5))
    batch = _first(module)
    assert batch["image"]["S2_mask"].tolist() == [[True, True, True, False, False]]
    assert batch["image"]["S2"][0, :, 3:].abs().max().item() == 0
    assert batch["valid"].all()
    module.dates_as = "plane"
    module.setup("predict")
    plane = _first(module)["image"]
    assert plane.shape == (1, 3, 5, 16, 16)
    assert plane[0, 2, :, 0, 0].tolist() == [4, 68, 151, -1, -1]
    assert plane[0, 2].amin(dim=(1, 2)).tolist() == plane[0, 2].amax(dim=(1, 2)).tolist()


def test_composites_have_the_date_of_the_middle_and_empty_ones_are_masked(write_tif: WriteTif, tmp_path: Path) -> None:
    _series(tmp_path, write_tif)
    # 365 days in four parts: bounds at day 0, 91, 182, 273, 365; January and March fall into the first one.
    policy = FramePolicy("composites", 4, "2021-01-01", "2022-01-01", method="mean")
    image = _first(_module(tmp_path, policy))["image"]
    assert (image["S2"][0, 0, :, 0, 0] * 10).tolist() == pytest.approx([1.5, 3, 0, 0])
    assert image["S2_mask"].tolist() == [[True, True, False, False]]
    assert image["S2_dates"].tolist() == [[45, 91 + 45, 182 + 45, 273 + 46]]


def test_nearest_acquisitions(write_tif: WriteTif, tmp_path: Path) -> None:
    _series(tmp_path, write_tif)
    policy = FramePolicy("nearest", dates=["2021-06-03", "2021-01-01", "2021-10-01"], max_days=10)
    image = _first(_module(tmp_path, policy))["image"]
    assert (image["S2"][0, 0, :, 0, 0] * 10).tolist() == pytest.approx([3, 1, 0])
    assert image["S2_dates"].tolist() == [[151, 4, 273]]
    assert image["S2_mask"].tolist() == [[True, True, False]]


def test_clouds_are_missing_values(write_tif: WriteTif, tmp_path: Path) -> None:
    _series(tmp_path, write_tif, clouds=True)
    dataset = _module(tmp_path, cloud_band="SCL").predict_dataset
    assert dataset is not None
    image = dataset.read(0).images["S2"]
    assert image.bands == ("B2", "B3")
    assert np.argwhere(np.isnan(image.raster.pixels)).tolist() == [[1, 0, 0, 0], [1, 1, 0, 0]]
    # The median of the other two acquisitions.
    policy = FramePolicy("composites", 1, "2021-01-01", "2022-01-01")
    composite = _first(_module(tmp_path, policy, cloud_band="SCL"))["image"]["S2"]
    assert (composite[0, 0, 0, 0, :2] * 10).tolist() == pytest.approx([2, 2])
    policy = FramePolicy("composites", 1, "2021-01-01", "2021-03-31")
    composite = _first(_module(tmp_path, policy, cloud_band="SCL"))["image"]["S2"]
    assert (composite[0, 0, 0, 0, :2] * 10).tolist() == pytest.approx([1, 1.5])


def test_a_static_image_beside_a_series(write_tif: WriteTif, tmp_path: Path) -> None:
    _series(tmp_path, write_tif)
    write_tif(tmp_path / "x_aerial.tif", np.full((4, 800, 800), 99, dtype=np.uint8), ("R", "G", "B", "NIR"), size=0.2)
    modalities = {
        "aerial": ImageSource("{id}_aerial.tif", ["R", "NIR"], sensor="aerial", unit="native", static=True),
        "S2": ImageSource(
            "{id}/*_S2_*.tif", ["B2", "B3"], sensor="sentinel2_l2a", unit="digital_number", optional=True
        ),
    }
    arguments: dict[str, Any] = {
        "preprocess": DatasetNormalise({"aerial": [0, 0], "S2": [0, 0]}, {"aerial": [1, 1], "S2": [1, 1]}),
        "num_workers": 0,
        "root": str(tmp_path),
        "modalities": modalities,
    }
    module = TimeSeriesDataModule(**arguments)
    module.setup("predict")
    image = _first(module)["image"]
    assert sorted(image) == ["S2", "S2_dates", "S2_mask", "aerial"]
    assert (image["aerial"].shape, image["S2"].shape) == ((1, 2, 800, 800), (1, 2, 3, 16, 16))
    # A place without its series: as many frames as the others have, all masked, although nothing there has a date.
    write_tif(tmp_path / "y_aerial.tif", np.full((4, 800, 800), 99, dtype=np.uint8), ("R", "G", "B", "NIR"), size=0.2)
    policy = FramePolicy("nearest", dates=["2021-01-01", "2021-06-01"])
    module = TimeSeriesDataModule(frames=policy, missing_modality="zeros", batch_size=2, **arguments)
    module.setup("predict")
    image = _first(module)["image"]
    assert image["S2"].shape == (2, 2, 2, 16, 16)
    assert image["S2_mask"].tolist() == [[True, True], [False, False]]


def test_a_cube_and_an_hdf5_are_series(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    data = np.stack([np.full((4, 4), 3000, dtype=np.int16), np.full((4, 4), 1000, dtype=np.int16)])
    times = np.array(["2021-06-01", "2021-01-05"], dtype="datetime64[ns]")
    variables = dict.fromkeys(("B2", "B3"), (("t", "y", "x"), data))
    write_cube(tmp_path / "x.nc", variables, pixel_centres(4) | {"t": times})
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["s2"], file["names"] = np.stack([data, data], axis=1), [b"S2A_20210601", b"S2A_20210105"]
    options = {"sensor": "sentinel2_l2a", "unit": "digital_number"}
    modalities = {
        "cube": ImageSource("{id}.nc", ["B2", "B3"], **options),  # type: ignore[arg-type]
        "hdf5": ImageSource(
            "{id}.h5", ["B2", "B3"], dataset="s2", products="names", file_bands=["B2", "B3"], **options
        ),  # type: ignore[arg-type]
    }
    plain = DatasetNormalise({"cube": [0, 0], "hdf5": [0, 0]}, {"cube": [1, 1], "hdf5": [1, 1]})
    module = TimeSeriesDataModule(root=str(tmp_path), modalities=modalities, preprocess=plain, num_workers=0)
    module.setup("predict")
    batch = _first(module)
    for name in modalities:
        assert (batch["image"][name][0, 0, :, 0, 0] * 10).tolist() == pytest.approx([1, 3])
        assert batch["image"][f"{name}_dates"].tolist() == [[4, 151]]


def test_series_on_different_grids_are_skipped(write_tif: WriteTif, tmp_path: Path) -> None:
    _series(tmp_path, write_tif)
    for day in ("20210101", "20210102"):
        shift = 10 if day == "20210102" else 0
        pixels = np.full((2, 16, 16), 1000, dtype=np.uint16)
        write_tif(tmp_path / "y" / f"a_S2_{day}.tif", pixels, ("B2", "B3"), corner=(500000.0 + shift, 5000000.0))
    with pytest.raises(SampleError, match="a_S2_20210102.tif .* lies on another grid"):
        list(_module(tmp_path).predict_dataloader())
    module = _module(tmp_path)
    module.on_error, module.skipped_file = "skip", tmp_path / "out.csv"
    with pytest.warns(UserWarning, match="1 of 2 samples"):
        module.setup("predict")
    assert [entry[1] for entry in module.skipped] == ["y"]


# Workers


def test_two_workers_give_what_none_gives(chips: Chips, chip_module: Make, write_tif: WriteTif) -> None:
    root = chips(["a_20210101", "b_20210102", "c_20210103"])
    modalities = _two(root, write_tif, "", dated=True)
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
    assert "crs" not in _first(module)
