"""Scores of a single sample, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def class_scores(label: np.ndarray, prediction: np.ndarray, ignored: np.ndarray, names: Sequence[str]) -> str:
    """Return IoU and accuracy of one sample in words, over pixels that have a label."""
    true, said = label[~ignored], prediction[~ignored]
    if true.size == 0:
        return "no pixel has a label"
    accuracy = f"accuracy {np.mean(true == said):.3f}"
    unions = {c: np.count_nonzero((true == c) | (said == c)) for c in range(len(names))}
    ious = {c: np.count_nonzero((true == c) & (said == c)) / n for c, n in unions.items() if n}
    if len(names) == 2:
        iou = f"IoU of {names[1]} {ious[1]:.3f}" if 1 in ious else f"no {names[1]}, and none predicted"
    else:
        iou = f"mIoU {np.mean(list(ious.values())):.3f} over {len(ious)} classes"
    return f"{iou}, {accuracy}{_share(ignored)}"


def value_scores(label: np.ndarray, prediction: np.ndarray, ignored: np.ndarray) -> str:
    """Return RMSE, MAE and bias (prediction - label) of one sample in words, over pixels that have a label."""
    difference = (prediction.astype(np.float64) - label)[~ignored]
    if difference.size == 0:
        return "no pixel has a label"
    rmse, mae = math.sqrt(np.mean(difference**2)), np.mean(np.abs(difference))
    return f"RMSE {rmse:.4g}, MAE {mae:.4g}, bias {np.mean(difference):+.4g}{_share(ignored)}"


def _share(ignored: np.ndarray) -> str:
    share = ignored.mean()
    return f", {'< 0.1%' if share < 0.001 else f'{share:.1%}'} without label" if share else ""
