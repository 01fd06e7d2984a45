"""What is taken out of a batch for a picture is what the task sees of it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule

from eo_finetune.panels.drawable import MapSample
from eo_finetune.panels.samples import batch_size, first_of_batch, sample_of, share_of_batch


@pytest.mark.parametrize("task", ["segmentation", "regression"])
@pytest.mark.parametrize("ignore", [None, 255, 0])
def test_what_the_task_ignores_is_ignored_in_the_picture(task: str, ignore: int | None) -> None:
    class Task(LightningModule):
        def __init__(self, ignore_index: int | None) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.task = task

    mask = torch.tensor([[[0.0, 1, 255], [float("nan") if task == "regression" else -1, 1, 1]]])
    mask = mask if task == "regression" else mask.long()
    sample = sample_of(Task(ignore), {"mask": mask}, torch.zeros(1, 2, 3)[:, None], 0, "x", ())
    assert isinstance(sample, MapSample)
    expected = np.array([[False] * 3, [True, False, False]])  # what is no label in any case
    if ignore is not None:
        expected[0, {0: 0, 255: 2}[ignore]] = True
    np.testing.assert_array_equal(sample.ignored, expected)


def test_scenes_of_several_classes_and_of_values() -> None:
    from eo_finetune.panels.samples import _scene_sample

    class Task(LightningModule):
        pass

    several = _scene_sample(Task(), torch.tensor([1, 0, 1]), torch.tensor([4.0, -4.0, -4.0]), "x", ())
    assert (several.label, several.prediction, several.correct) == ("class 0, class 2", "class 0", False)
    value = _scene_sample(Task(), torch.tensor(2.5), torch.tensor([2.0]), "x", ())
    assert (value.label, value.prediction, value.correct) == ("2.5", "2", None)
    with pytest.raises(ValueError, match=r"label \(2, 2\) and output \(3,\) are no class"):
        _scene_sample(Task(), torch.ones(2, 2, dtype=torch.long), torch.ones(3), "x", ())


def test_samples_spread_over_all_batches() -> None:
    taken = [share_of_batch(4, index, 8) for index in range(8)]
    assert np.diff([0, *taken]).tolist() == [1, 0, 1, 0, 1, 0, 1, 0]
    assert np.diff([0, *(share_of_batch(8, index, 3) for index in range(3))]).tolist() == [3, 3, 2]
    assert share_of_batch(8, 0, float("inf")) == 8


def test_a_part_of_a_batch_keeps_features_by_level_and_leaves_the_batch_alone() -> None:
    batch = {
        "image": {"S2": torch.rand(4, 3, 2, 2), "S2_dates": torch.arange(8).view(4, 2)},
        "features": [torch.rand(4, 5, 1, 1) for _ in range(4)],
        "filename": ["a", "b", "c", "d"],
        "scale": torch.tensor(2.0),
        "wavelengths": torch.arange(3),
    }
    before = copy.deepcopy(batch)
    part = first_of_batch(batch, 2, 4)
    assert [tuple(level.shape) for level in part["features"]] == [(2, 5, 1, 1)] * 4
    assert part["image"]["S2_dates"].tolist() == [[0, 1], [2, 3]]
    assert (part["filename"], len(part["wavelengths"])) == (["a", "b"], 3)
    part["image"]["S2"] = None
    assert all(torch.equal(batch["image"][key], before["image"][key]) for key in before["image"])
    assert (batch_size(batch), batch_size({"filename": ["a"]}), batch_size({"n": 1})) == (4, 1, 0)
