"""Scores of predictions with bootstrap confidence intervals.

Test samples are drawn with replacement and the scores computed again; the interval lies between two percentiles of them
(Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13). Samples of one group, such as tiles of one
raster, are drawn together, as they do not vary independently (Davison and Hinkley 1997, Bootstrap Methods and their
Application, section 3.8). The interval is about other test samples from the same source; it does not hold what another
training set would change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

#: Scores of a classification as a whole, and of each of its classes.
OVERALL_SCORES = ("accuracy", "balanced_accuracy", "f1_macro", "f1_weighted")
CLASS_SCORES = ("precision", "recall", "f1", "support")
REGRESSION_SCORES = ("r2", "rmse", "mae", "bias")
#: Share of the resamples whose scores lie within the interval.
LEVEL = 0.95


@dataclass(frozen=True)
class Bootstrap:
    """How confidence intervals are made.

    Parameters
    ----------
    count : int
        Number of resamples, at least 100; 0 for no intervals.
    seed : int
        Seed of the draws.

    Raises
    ------
    ValueError
        For a count or a seed out of range.
    """

    count: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 0 or 0 < self.count < 100:
            msg = f"bootstrap must be 0 (no intervals) or at least 100 resamples, got {self.count}. 1000 is usual."
            raise ValueError(msg)
        if self.seed < 0:
            msg = f"seed must not be negative, got {self.seed}."
            raise ValueError(msg)

    def weights(self, groups: np.ndarray) -> Iterator[np.ndarray]:
        """Yield for each resample how often each sample is in it, int ``(n,)``; a group is drawn as a whole.

        Parameters
        ----------
        groups : ndarray
            Name of the group of each sample ``(n,)``.
        """
        names, member = np.unique(groups, return_inverse=True)
        generator = np.random.default_rng(self.seed)
        for _ in range(self.count):
            drawn = generator.integers(0, len(names), len(names))
            yield np.bincount(drawn, minlength=len(names))[member]


def classification_scores(
    true: np.ndarray, predicted: np.ndarray, classes: int, groups: np.ndarray, bootstrap: Bootstrap
) -> np.ndarray:
    """Score a classification.

    Parameters
    ----------
    true, predicted : ndarray
        Int ``(n,)``, numbers of classes.
    classes : int
        How many classes there are.
    groups : ndarray
        Group of each sample ``(n,)``; all different if samples stand alone.
    bootstrap : Bootstrap
        How the intervals are made.

    Returns
    -------
    ndarray
        Float64 ``(4 + 4 * classes, 3)``: value, low and high end of the interval of each of `OVERALL_SCORES`, then of
        the precision of all classes, and so on through `CLASS_SCORES`. NaN where a score is undefined.
    """
    cells = true * classes + predicted
    resampled = [_of_cells(np.bincount(cells, weights, classes**2)) for weights in bootstrap.weights(groups)]
    return _with_interval(_of_cells(np.bincount(cells, minlength=classes**2)), resampled)


def _of_cells(cells: np.ndarray) -> np.ndarray:
    """Scores of a flat confusion matrix with a row for each true class.

    As scikit-learn defines them: balanced accuracy is over the classes with samples, macro F1 over those that are true
    or predicted anywhere. The precision of a class that is never predicted is undefined, not 0.
    """
    side = round(len(cells) ** 0.5)
    matrix = cells.reshape(side, side).astype(np.float64)
    hits, support, predicted = np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    precision, recall, f1 = _ratio(hits, predicted), _ratio(hits, support), _ratio(2 * hits, support + predicted)
    total = support.sum()
    overall = (hits.sum() / total, np.nanmean(recall), np.nanmean(f1), np.nansum(f1 * support) / total)
    return np.concatenate([overall, precision, recall, f1, support])


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full_like(below, np.nan), where=below > 0)


def regression_scores(true: np.ndarray, predicted: np.ndarray, groups: np.ndarray, bootstrap: Bootstrap) -> np.ndarray:
    """Score a regression.

    Parameters
    ----------
    true, predicted : ndarray
        Float ``(n,)``.
    groups, bootstrap
        As for `classification_scores`.

    Returns
    -------
    ndarray
        Float64 ``(4, 3)``: value, low and high end of the interval of each of `REGRESSION_SCORES`. Bias is the mean of
        predicted less true; R2 is undefined, NaN, where the true values do not vary.
    """
    centred = true - true.mean()  # so that the sum of squares loses no digits
    error = predicted - true
    terms = np.stack([np.ones_like(error), centred, centred**2, error, np.abs(error), error**2], axis=1)
    resampled = [_of_sums(weights @ terms) for weights in bootstrap.weights(groups)]
    return _with_interval(_of_sums(terms.sum(axis=0)), resampled)


def _of_sums(sums: np.ndarray) -> np.ndarray:
    count, first, second, error, absolute, squared = (float(value) for value in sums)
    spread = second - first**2 / count
    # Equal values leave a rounding error of the sums.
    r2 = 1 - squared / spread if spread > 1e-12 * second else np.nan
    return np.array([r2, (squared / count) ** 0.5, absolute / count, error / count])


def _with_interval(scores: np.ndarray, resampled: list[np.ndarray]) -> np.ndarray:
    """Return value, low and high of each score; resamples in which a score is undefined do not count."""
    ends = np.full((2, len(scores)), np.nan)
    if resampled:
        values = np.stack(resampled)
        known = ~np.isnan(values).all(axis=0)
        tail = 50 * (1 - LEVEL)
        ends[:, known] = np.nanpercentile(values[:, known], [tail, 100 - tail], axis=0)
    return np.stack([scores, *ends], axis=1)
