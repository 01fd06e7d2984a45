"""Scores in words are those of the pixels that have a label."""

from __future__ import annotations

import numpy as np

from eo_finetune.panels.scores import class_scores, value_scores


def test_pixels_without_label_are_in_no_score() -> None:
    label = np.array([[0, 0, 1, 1, -1, -1]])
    said = np.array([[0, 1, 0, 1, 0, 1]])
    assert class_scores(label, said, label == -1, ["land", "water"]).startswith(
        "IoU of water 0.333, accuracy 0.500, 33.3%"
    )


def test_scores_of_a_sample_without_the_class_or_without_labels() -> None:
    zeros, nowhere = np.zeros((2, 2), int), np.zeros((2, 2), bool)
    assert class_scores(zeros, zeros, nowhere, ["land", "water"]) == "no water, and none predicted, accuracy 1.000"
    assert class_scores(zeros, zeros, ~nowhere, ["land", "water"]) == "no pixel has a label"
    assert class_scores(zeros, zeros + 2, nowhere, ["a", "b", "c"]) == "mIoU 0.000 over 2 classes, accuracy 0.000"
    assert value_scores(zeros, zeros + 2.0, nowhere) == "RMSE 2, MAE 2, bias +2"
    assert value_scores(zeros, zeros + 2.0, ~nowhere) == "no pixel has a label"
