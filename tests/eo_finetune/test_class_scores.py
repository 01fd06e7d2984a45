"""The scores of a class are those of torchmetrics, also where nothing was predicted or labelled."""

from __future__ import annotations

import math

import pytest
import torch

from eo_finetune.class_scores import SCORES, ClassCounts, class_means


def test_a_class_that_is_never_predicted_has_precision_zero_as_in_torchmetrics() -> None:
    part = torch.tensor
    counts = ClassCounts(part([0, 5]), part([0, 2]), part([2, 0]), part([5, 0]))
    assert counts.scores(0) == {"IoU": 0.0, "accuracy": 0.0, "F1": 0.0, "precision": 0.0, "recall": 0.0}
    assert counts.scores(1)["F1"] == pytest.approx(10 / 12)


def test_labels_of_several_classes_count_true_negatives_in_accuracy() -> None:
    part = torch.tensor
    counts = ClassCounts(part([3]), part([1]), part([2]), part([4]), multilabel=True)
    assert counts.scores(0)["accuracy"] == pytest.approx(0.7)
    assert counts.scores(0)["recall"] == pytest.approx(0.6)


def test_a_class_that_is_nowhere_is_left_out_of_the_means() -> None:
    counts = ClassCounts(torch.tensor([4, 0, 1]), torch.tensor([0, 0, 3]), torch.tensor([4, 0, 0]), torch.zeros(3))
    rows = {str(c): counts.scores(c) for c in range(3)}
    assert all(math.isnan(value) for value in rows["1"].values())
    assert counts.support(0) == 8
    means = class_means(rows)
    assert means["IoU"] == pytest.approx((4 / 8 + 1 / 4) / 2)
    assert means["recall"] == pytest.approx((4 / 8 + 1) / 2)
    assert all(math.isnan(value) for value in class_means({"1": rows["1"]}).values())
    assert tuple(means) == SCORES
