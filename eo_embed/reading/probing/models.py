"""Small models on frozen vectors: how much of a label the embedding holds in plain sight."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from eo_embed.reading.probing.groups import Fold

#: Strengths to choose from, the strongest regularisation first: of equal ones the first is taken.
LOGISTIC_C = (0.001, 0.01, 0.1, 1.0, 10.0)
RIDGE_ALPHA = (10_000.0, 1000.0, 100.0, 10.0, 1.0, 0.1, 0.01)
_ITERATIONS = 2000


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a probe says.

    Parameters
    ----------
    predicted : ndarray
        Predicted labels of the test vectors, ``(n,)``.
    settings : mapping
        What it was fitted with, such as the chosen ``C``.
    notes : tuple of str
        What a reader should know.
    """

    predicted: np.ndarray
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = field(default=())


def fit_baseline(labels: np.ndarray, count: int, *, classes: bool) -> Fitted:
    """Predict the most frequent class, or the mean, of the training labels ``count`` times."""
    model = DummyClassifier(strategy="most_frequent") if classes else DummyRegressor(strategy="mean")
    model.fit(np.zeros((len(labels), 1)), labels)
    predicted = model.predict(np.zeros((count, 1)))
    return Fitted(predicted, {"predicts": predicted[0]})


def fit_probe(
    name: str,
    vectors: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    folds: Sequence[Fold],
    k: int,
    *,
    classes: bool,
) -> Fitted:
    """Fit a probe on training vectors and predict the labels of test vectors.

    ``knn`` votes, or averages, among the ``k`` nearest vectors by cosine (as on vectors of length one), like
    torchgeo-bench. ``logistic``, ``ridge`` and ``linear`` (least squares) see vectors standardised by mean and standard
    deviation of those they are fitted on. The strength of regularisation, ``C`` or ``alpha``, is chosen by
    cross-validation within the training vectors: by accuracy, or by mean squared error.

    Parameters
    ----------
    name : str
        One of `PROBES`.
    vectors, test : ndarray
        Float64 ``(n, d)`` and ``(m, d)``.
    labels : ndarray
        ``(n,)``.
    folds : sequence of (ndarray, ndarray)
        Folds of the cross-validation; without any, ``C`` and ``alpha`` are 1.
    k : int
        Neighbours.
    classes : bool
        Whether labels are classes.

    Raises
    ------
    ValueError
        If there are fewer training vectors than neighbours, or too few for least squares.
    """
    if name == "knn":
        return _neighbours(vectors, labels, test, k, classes=classes)
    if name == "linear":
        return _least_squares(vectors, labels, test)
    if name == "logistic":
        model = LogisticRegression(max_iter=_ITERATIONS)
        return _chosen(model, "C", LOGISTIC_C, "accuracy", (vectors, labels), test, folds)
    return _chosen(Ridge(), "alpha", RIDGE_ALPHA, "neg_mean_squared_error", (vectors, labels), test, folds)


def _neighbours(vectors: np.ndarray, labels: np.ndarray, test: np.ndarray, k: int, *, classes: bool) -> Fitted:
    if not 1 <= k <= len(vectors):
        msg = f"knn needs k between 1 and the number of training samples, {len(vectors)}, got {k}. Choose another k."
        raise ValueError(msg)
    kind = KNeighborsClassifier if classes else KNeighborsRegressor
    # Among vectors of length one the Euclidean order is that of the cosine.
    model = make_pipeline(Normalizer(), kind(k, algorithm="brute"))
    return Fitted(model.fit(vectors, labels).predict(test), {"k": k, "distance": "cosine"})


def _least_squares(vectors: np.ndarray, labels: np.ndarray, test: np.ndarray) -> Fitted:
    count, dimensions = vectors.shape
    if count <= dimensions:
        msg = (
            f"linear (least squares) needs more training samples than dimensions, got {count} and {dimensions}: it "
            "would fit any labels. Use ridge."
        )
        raise ValueError(msg)
    model = make_pipeline(StandardScaler(), LinearRegression())
    return Fitted(model.fit(vectors, labels).predict(test), {})


def _chosen(
    model: BaseEstimator,
    parameter: str,
    strengths: Sequence[float],
    scoring: str,
    training: tuple[np.ndarray, np.ndarray],
    test: np.ndarray,
    folds: Sequence[Fold],
) -> Fitted:
    pipeline = make_pipeline(StandardScaler(), model)
    key, notes = f"{pipeline.steps[-1][0]}__{parameter}", []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # noted below for the fit that counts
        if folds:
            search = GridSearchCV(pipeline, {key: strengths}, scoring=scoring, cv=folds).fit(*training)
            fitted, strength = search.best_estimator_, search.best_params_[key]
        else:
            fitted, strength = pipeline.set_params(**{key: 1.0}).fit(*training), 1.0
            notes.append(f"Too few training samples to choose {parameter} by cross-validation; it is 1.")
    rounds = getattr(fitted[-1], "n_iter_", None)  # None of a fit in one step
    if rounds is not None and np.max(rounds) >= _ITERATIONS:
        notes.append(f"The fit did not converge in {_ITERATIONS} iterations.")
    settings = {parameter: strength, "chosen_from": strengths, "folds": len(folds)}
    return Fitted(fitted.predict(test), settings, tuple(notes))
