"""Intervals are as wide as theory says, and scores are those of scikit-learn."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import (
    balanced_accuracy_score,
    f1_score,
    mean_squared_error,
    precision_recall_fscore_support,
    r2_score,
)

from eo_embed.reading.probing.bootstrap import Bootstrap, classification_scores, regression_scores


def _alone(count: int) -> np.ndarray:
    return np.array([f"s{i:05d}" for i in range(count)])


def _noisy(count: int, classes: int, right: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    true = generator.integers(0, classes, count)
    return true, np.where(generator.random(count) < right, true, generator.integers(0, classes, count))


def test_the_interval_of_accuracy_is_the_binomial_one() -> None:
    true = np.zeros(200, dtype=int)
    predicted = np.repeat([0, 1], [160, 40])
    value, low, high = classification_scores(true, predicted, 2, _alone(200), Bootstrap(4000))[0]
    assert value == 0.8
    assert low == pytest.approx(binom.ppf(0.025, 200, 0.8) / 200, abs=0.0051)
    assert high == pytest.approx(binom.ppf(0.975, 200, 0.8) / 200, abs=0.0051)


def test_the_interval_of_bias_is_that_of_a_mean() -> None:
    error = np.random.default_rng(1).normal(2, 3, 400)
    true = np.linspace(0, 50, 400)
    value, low, high = regression_scores(true, true + error, _alone(400), Bootstrap(4000))[3]
    assert value == pytest.approx(error.mean())
    assert (high - low) / 2 == pytest.approx(1.96 * error.std() / 20, rel=0.06)


def test_ten_copies_of_each_sample_do_not_narrow_the_interval() -> None:
    true, predicted = _noisy(50, 2, 0.6)
    groups = _alone(50)
    single = classification_scores(true, predicted, 2, groups, Bootstrap(1000))
    copied = classification_scores(
        *(np.repeat(x, 10) for x in (true, predicted)), 2, np.repeat(groups, 10), Bootstrap(1000)
    )
    np.testing.assert_allclose(copied[:10], single[:10])
    wrong = classification_scores(*(np.repeat(x, 10) for x in (true, predicted)), 2, _alone(500), Bootstrap(1000))
    assert wrong[0, 2] - wrong[0, 1] < 0.5 * (single[0, 2] - single[0, 1])


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_scores_of_classes_are_those_of_scikit_learn() -> None:
    """Class 5 is true, but never predicted; class 6 is predicted, but never true; class 7 is neither."""
    true, predicted = _noisy(300, 6, 0.6)
    predicted[predicted == 5] = 6
    found = classification_scores(true, predicted, 8, _alone(300), Bootstrap(0))[:, 0]
    table = precision_recall_fscore_support(true, predicted, labels=range(8), zero_division=np.nan)
    np.testing.assert_allclose(found[4:], np.concatenate(table))
    assert np.isnan(found[4 + 5])
    assert found[1] == pytest.approx(balanced_accuracy_score(true, predicted))
    assert found[2] == pytest.approx(f1_score(true, predicted, average="macro"))
    assert found[3] == pytest.approx(f1_score(true, predicted, average="weighted"))


def test_each_resample_is_scored_like_a_test_set_of_its_own() -> None:
    true, predicted = _noisy(40, 3, 0.5)
    values = true + np.random.default_rng(2).normal(size=40)
    drawn = [np.repeat(np.arange(40), weights) for weights in Bootstrap(200, 7).weights(_alone(40))]
    assert {len(chosen) for chosen in drawn} == {40}
    f1 = [f1_score(true[i], predicted[i], average="macro") for i in drawn]
    found = classification_scores(true, predicted, 3, _alone(40), Bootstrap(200, 7))
    np.testing.assert_allclose(found[2, 1:], np.percentile(f1, [2.5, 97.5]))
    r2 = [r2_score(true[i], values[i]) for i in drawn]
    rmse = [mean_squared_error(true[i], values[i]) ** 0.5 for i in drawn]
    found = regression_scores(true.astype(float), values, _alone(40), Bootstrap(200, 7))
    np.testing.assert_allclose(found[:2, 1:], [np.percentile(r2, [2.5, 97.5]), np.percentile(rmse, [2.5, 97.5])])


def test_large_values_lose_no_digits() -> None:
    true = 1e9 + np.linspace(0, 1, 100)
    found = regression_scores(true, true + 0.1, _alone(100), Bootstrap(0))
    assert found[0, 0] == pytest.approx(r2_score(true, true + 0.1), rel=1e-6)
    assert np.isnan(regression_scores(np.full(9, 0.1), np.zeros(9), _alone(9), Bootstrap(0))[0, 0])


def test_the_seed_decides() -> None:
    true, predicted = _noisy(60, 3, 0.5)
    found = [classification_scores(true, predicted, 3, _alone(60), Bootstrap(100, seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_a_thousand_resamples_take_seconds_at_most() -> None:
    true, predicted = _noisy(10_000, 20, 0.7)
    start = time.perf_counter()
    classification_scores(true, predicted, 20, _alone(10_000), Bootstrap(1000))
    assert time.perf_counter() - start < 4
