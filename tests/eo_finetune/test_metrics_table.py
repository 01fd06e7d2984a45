"""The table says what sklearn says of the same pixels, without those that have no label, on every run."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score, precision_score, recall_score
from torch import nn
from torch.utils.data import DataLoader

from eo_finetune.metrics_table import MetricsTable

NAMES = ["land", "water", "snow", "never there"]


class Reader(nn.Module):
    """Predicts what the image says: the class of each pixel, of the scene, or the value."""

    def __init__(self, classes: int = 0, *, scene: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.classes, self.scene = classes, scene

    def forward(self, image: torch.Tensor, **_: Any) -> Any:
        from terratorch.models.model import ModelOutput

        said = image[:, 0]
        if self.classes:
            said = said[:, 0, 0] if self.scene else said
            said = nn.functional.one_hot(said.long(), self.classes).movedim(-1, 1).float()
        return ModelOutput(output=said * self.weight)


def segmentation(**more: Any) -> LightningModule:
    from terratorch.tasks import SemanticSegmentationTask

    arguments = {"model_args": {"num_classes": 4}, "class_names": NAMES, "ignore_index": -1, "plot_on_val": False}
    return SemanticSegmentationTask(model=Reader(4), **(arguments | more))


def maps(count: int, seed: int = 0, side: int = 9) -> list[dict[str, Any]]:
    """Labels and predictions of the classes 0..2, a sixth of the labels missing; class 3 is nowhere."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 3, (count, side, side))
    said = np.where(rng.random(true.shape) < 0.3, rng.integers(0, 3, true.shape), true)
    true[rng.random(true.shape) < 1 / 6] = -1
    return [
        {"image": torch.tensor(s[None], dtype=torch.float32), "mask": torch.tensor(t), "filename": f"{seed}/{i}.tif"}
        for i, (t, s) in enumerate(zip(true, said, strict=True))
    ]


def trainer(folder: Path, *callbacks: Any, **more: Any) -> Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return Trainer(accelerator="cpu", default_root_dir=folder, callbacks=list(callbacks), **(quiet | more))


def table(path: Path) -> dict[tuple[str, str, str], str]:
    with path.open(newline="") as file:
        return {(row["section"], row["class"], row["metric"]): row["value"] for row in csv.DictReader(file)}


def flat(samples: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    true = torch.stack([sample["mask"] for sample in samples]).numpy().ravel()
    said = torch.stack([sample["image"][0] for sample in samples]).numpy().ravel().astype(int)
    return true[true != -1], said[true != -1]


def check_against_sklearn(
    found: dict[tuple[str, str, str], str], samples: Sequence[dict[str, Any]], section: str
) -> None:
    true, said = flat(samples)
    options: dict[str, Any] = {"labels": [0, 1, 2], "average": None, "zero_division": 0}
    expected = {
        "IoU": jaccard_score(true, said, **options),
        "F1": f1_score(true, said, **options),
        "precision": precision_score(true, said, **options),
        "recall": recall_score(true, said, **options),
        "accuracy": recall_score(true, said, **options),
        "support": np.bincount(true, minlength=3),
    }
    for metric, values in expected.items():
        got = [float(found[section, name, metric]) for name in NAMES[:3]]
        np.testing.assert_allclose(got, values, rtol=1e-8, err_msg=metric)


def test_ignored_pixels_are_in_no_score(tmp_path: Path) -> None:
    samples = maps(7)
    run = trainer(tmp_path, MetricsTable())
    run.test(segmentation(), DataLoader(samples, batch_size=3), verbose=False)
    found = table(tmp_path / "test_metrics.csv")
    check_against_sklearn(found, samples, "test")
    ignored = sum(int((sample["mask"] == -1).sum()) for sample in samples)
    facts = {"samples": "7", "pixels": str(7 * 81), "pixels without label": str(ignored), "ignore index": "-1"}
    assert {name: found["test", "", name] for name in facts} == facts
    true, said = flat(samples)
    ious = jaccard_score(true, said, labels=[0, 1, 2], average=None)
    assert float(found["test", "", "mIoU"]) == pytest.approx(float(ious.mean()), abs=1e-6)
    assert float(found["test", "", "Pixel_Accuracy"]) == pytest.approx(float(np.mean(true == said)), abs=1e-6)
    logged = run.callback_metrics
    for name in NAMES[:3]:
        assert float(found["test", name, "IoU"]) == pytest.approx(float(logged[f"test/IoU_{name}"]), abs=1e-6)
        assert ("test", "", f"IoU_{name}") not in found, "not twice"
    assert found["test", "", "loss"] != ""


def test_a_class_that_is_nowhere_is_undefined_and_not_a_zero(tmp_path: Path) -> None:
    trainer(tmp_path, MetricsTable()).test(segmentation(), DataLoader(maps(2)), verbose=False)
    found = table(tmp_path / "test_metrics.csv")
    assert found["test", "never there", "IoU"] == ""
    assert found["test", "never there", "support"] == "0"
    text = (tmp_path / "test_metrics.md").read_text()
    means = next(line for line in text.splitlines() if line.startswith("| mean of classes"))
    overall = next(line for line in text.splitlines() if line.startswith("| mIoU "))
    assert means.split("|")[2].strip() == overall.split("|")[2].strip()


def test_a_second_test_does_not_add_to_the_first(tmp_path: Path) -> None:
    run, task, loader = trainer(tmp_path, MetricsTable()), segmentation(), DataLoader(maps(4), batch_size=2)
    run.test(task, loader, verbose=False)
    first = (tmp_path / "test_metrics.csv").read_text()
    run.test(task, loader, verbose=False)
    assert (tmp_path / "test_metrics.csv").read_text() == first


def test_support_is_not_doubled_where_terratorch_counts_twice(tmp_path: Path) -> None:
    samples = maps(4)
    task = segmentation(path_to_record_metrics=str(tmp_path))
    trainer(tmp_path, MetricsTable()).test(task, DataLoader(samples, batch_size=2), verbose=False)
    check_against_sklearn(table(tmp_path / "test_metrics.csv"), samples, "test")


def test_each_data_loader_has_its_own_section(tmp_path: Path) -> None:
    sets = {"spain": maps(3, 1), "spain/south": maps(5, 2)}
    task = segmentation(test_dataloaders_names=list(sets))
    loaders = [DataLoader(samples, batch_size=2) for samples in sets.values()]
    trainer(tmp_path, MetricsTable()).test(task, loaders, verbose=False)
    found = table(tmp_path / "test_metrics.csv")
    for name, samples in sets.items():
        check_against_sklearn(found, samples, f"test/{name}")
        assert found[f"test/{name}", "", "samples"] == str(len(samples))
    assert not [key for key in found if key[0] == "test/spain" and "south" in key[2]]
    assert (tmp_path / "test_metrics.md").read_text().count("# test/") == 2


def test_validation_has_a_table_but_not_that_of_a_training_run(tmp_path: Path) -> None:
    samples, task = maps(4), segmentation()
    run = trainer(tmp_path, MetricsTable(str(tmp_path / "tables")), max_epochs=1)
    run.fit(task, DataLoader(samples, batch_size=2), DataLoader(samples, batch_size=2))
    assert not (tmp_path / "tables").exists()
    run.validate(task, DataLoader(samples, batch_size=2), verbose=False)
    check_against_sklearn(table(tmp_path / "tables" / "val_metrics.csv"), samples, "val")
    assert not list((tmp_path / "tables").glob(".partial*"))


def test_scenes_are_counted_by_sample(tmp_path: Path) -> None:
    from terratorch.tasks import ClassificationTask

    true, said = [0, 0, 1, 2, 2, 2, 1], [0, 1, 1, 2, 0, 2, 1]
    samples = [
        {"image": torch.full((1, 4, 4), float(s)), "label": torch.tensor(t), "filename": str(i)}
        for i, (t, s) in enumerate(zip(true, said, strict=True))
    ]
    model = Reader(3, scene=True)
    task = ClassificationTask(model=model, model_args={"num_classes": 3}, class_names=NAMES[:3], plot_on_val=False)
    trainer(tmp_path, MetricsTable()).test(task, DataLoader(samples, batch_size=3), verbose=False)
    found = table(tmp_path / "test_metrics.csv")
    matrix = confusion_matrix(true, said)
    assert [int(found["test", name, "support"]) for name in NAMES[:3]] == matrix.sum(axis=1).tolist()
    precision = [float(found["test", name, "precision"]) for name in NAMES[:3]]
    np.testing.assert_allclose(precision, np.diag(matrix) / matrix.sum(axis=0))
    assert float(found["test", "", "Precision"]) == pytest.approx(np.mean(precision), abs=1e-6)
    assert ("test", "", "pixels") not in found
    assert "support (samples)" in (tmp_path / "test_metrics.md").read_text()


def test_values_without_label_are_in_no_error(tmp_path: Path) -> None:
    from terratorch.tasks import PixelwiseRegressionTask

    rng = np.random.default_rng(0)
    true, said = rng.normal(5, 1, (2, 4, 6, 6)).astype(np.float32)
    true[:, 0], true[:, 1] = -1, np.nan
    samples = [
        {"image": torch.tensor(s[None]), "mask": torch.tensor(t), "filename": "x"}
        for t, s in zip(true, said, strict=True)
    ]
    task = PixelwiseRegressionTask(model=Reader(), model_args={}, ignore_index=-1, plot_on_val=False)
    trainer(tmp_path, MetricsTable()).test(task, DataLoader(samples, batch_size=3), verbose=False)
    found = table(tmp_path / "test_metrics.csv")
    expected = float(np.sqrt(np.mean((said - true)[:, 2:].astype(np.float64) ** 2)))
    assert float(found["test", "", "RMSE"]) == pytest.approx(expected, rel=1e-5)
    assert found["test", "", "pixels without label"] == str(4 * 2 * 6)
    assert {key[1] for key in found} == {""}, "no classes"


class Bare(LightningModule):
    """No task of TerraTorch: it logs one number."""

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test/error", batch["image"].mean())


def test_other_modules_get_what_they_log(tmp_path: Path) -> None:
    samples = [{"image": torch.full((1, 2, 2), 0.25)}] * 2
    trainer(tmp_path, MetricsTable()).test(Bare(), DataLoader(samples), verbose=False)
    assert table(tmp_path / "test_metrics.csv")["test", "", "error"] == "0.25"


def test_a_trial_run_replaces_no_table(tmp_path: Path) -> None:
    trainer(tmp_path, MetricsTable(), fast_dev_run=True).test(segmentation(), DataLoader(maps(2)), verbose=False)
    assert not (tmp_path / "test_metrics.csv").exists()


def test_two_classes_of_one_name_stay_two_rows(tmp_path: Path) -> None:
    task = segmentation(class_names=["land", "water", "water", "snow"])
    trainer(tmp_path, MetricsTable()).test(task, DataLoader(maps(2)), verbose=False)
    found = table(tmp_path / "test_metrics.csv")
    assert {key[1] for key in found} == {"", "land (0)", "water (1)", "water (2)", "snow (3)"}
