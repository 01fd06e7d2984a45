"""Scores of each class from the counts of a confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

#: Columns of the table by class, in this order.
SCORES = ("IoU", "accuracy", "F1", "precision", "recall")


@dataclass(frozen=True)
class ClassCounts:
    """Counts of a confusion matrix for each class, int64 ``(classes,)``; pixels without a label are not in it.

    Parameters
    ----------
    hit : Tensor
        True positives.
    false : Tensor
        False positives: predicted as this class, but of another.
    missed : Tensor
        False negatives: of this class, but predicted as another.
    rest : Tensor
        True negatives.
    multilabel : bool
        Whether a sample may have several classes. Then the accuracy of a class counts its true negatives too, as
        torchmetrics does; otherwise it is its recall.
    """

    hit: torch.Tensor
    false: torch.Tensor
    missed: torch.Tensor
    rest: torch.Tensor
    multilabel: bool = False

    def scores(self, c: int) -> dict[str, float]:
        """Return the scores of a class; NaN if it is neither in the labels nor predicted, as macro means leave it out.

        Precision is 0 for a class that is never predicted, recall for one that no label has, as in torchmetrics.
        """
        hit, false, missed, rest = (int(part[c]) for part in (self.hit, self.false, self.missed, self.rest))
        if not hit + false + missed:
            return dict.fromkeys(SCORES, math.nan)
        recall = _ratio(hit, hit + missed)
        return {
            "IoU": _ratio(hit, hit + false + missed),
            "accuracy": _ratio(hit + rest, hit + false + missed + rest) if self.multilabel else recall,
            "F1": _ratio(2 * hit, 2 * hit + false + missed),
            "precision": _ratio(hit, hit + false),
            "recall": recall,
        }

    def support(self, c: int) -> int:
        """Return the number of pixels (or samples) whose label is the class."""
        return int(self.hit[c] + self.missed[c])


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def class_means(classes: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each score over the classes that have a value; NaN if none has one."""
    means = {}
    for score in SCORES:
        values = [row[score] for row in classes.values() if not math.isnan(row[score])]
        means[score] = sum(values) / len(values) if values else math.nan
    return means
