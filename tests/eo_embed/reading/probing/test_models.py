"""Probes see training vectors alone, and settings are chosen among them alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from probe_samples import REGRESSION, blobs, label_table, rows_in_test
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eo_embed.probe import ProbeOptions, probe
from eo_embed.reading.probing.table import Columns


def test_probes_are_fitted_on_training_vectors_alone_and_by_cosine(export: Callable[..., Path]) -> None:
    """By hand: standardised with training statistics; neighbours whatever the length of the vectors."""
    vectors, labels = blobs(100, 3, 2)
    vectors = (vectors * np.random.default_rng(3).uniform(0.1, 10, (100, 1))).astype(np.float32)
    split = ["test" if i % 4 == 0 else "train" for i in range(100)]
    report = probe(export(vectors), label_table(labels, split=split), Columns(split="split"), ProbeOptions(bootstrap=0))
    test = np.array(split) == "test"
    known = np.array(labels)[~test]
    train, unseen = vectors[~test].astype(np.float64), vectors[test].astype(np.float64)
    near = KNeighborsClassifier(5, metric="cosine", algorithm="brute").fit(train, known)
    assert rows_in_test(report)["knn"].tolist() == near.predict(unseen).tolist()
    strength = report.facts["probes"]["logistic"]["C"]
    line = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000)).fit(train, known)
    assert rows_in_test(report)["logistic"].tolist() == line.predict(unseen).tolist()
    assert report.facts["probes"]["logistic"]["folds"] == 5


def test_one_far_test_vector_changes_no_other_prediction(export: Callable[..., Path]) -> None:
    vectors, labels = blobs(60, 2, 1)
    table = label_table(labels, split=["test"] * 20 + ["train"] * 40)
    before = rows_in_test(probe(export(vectors), table, Columns(split="split")))
    vectors[0] *= 1e4
    after = rows_in_test(probe(export(vectors), table, Columns(split="split")))
    pd.testing.assert_frame_equal(before.iloc[1:], after.iloc[1:])


def test_regression_finds_a_plane_and_the_baseline_does_not(export: Callable[..., Path]) -> None:
    generator = np.random.default_rng(6)
    vectors = generator.normal(size=(200, 5)).astype(np.float32)
    values = 100 + vectors @ [3.0, -1, 0.5, 0, 2] + generator.normal(size=200) / 10
    options = replace(REGRESSION, probes=("knn", "ridge", "linear"))
    report = probe(export(vectors), label_table(values), options=options)
    tested = rows_in_test(report)
    for name in report.probes:
        score = {metric: report.score(name, metric) for metric in ("r2", "rmse", "mae", "bias")}
        assert score["r2"].value == pytest.approx(r2_score(tested["label"], tested[name]))
        assert score["mae"].value == pytest.approx(mean_absolute_error(tested["label"], tested[name]))
        assert score["bias"].value == pytest.approx((tested[name] - tested["label"]).mean())
        assert score["rmse"].value == pytest.approx(((tested[name] - tested["label"]) ** 2).mean() ** 0.5)
        assert all(one.low <= one.value <= one.high for one in score.values())
    for name in ("ridge", "linear"):
        assert report.score(name, "rmse").value == pytest.approx(0.1, rel=0.25)
        assert report.score(name, "r2").low > 0.99
    assert report.score("baseline", "r2").value <= 0
    train = report.predictions[report.predictions["split"] == "train"]
    assert tested["baseline"].tolist() == pytest.approx([train["label"].mean()] * len(tested))


def test_too_few_samples_to_choose_or_to_stratify_are_told(export: Callable[..., Path]) -> None:
    vectors, _ = blobs(6, 2, 1)
    table = label_table(["a", "a", "a", "b", "a", "b"], split=["train"] * 4 + ["test"] * 2)
    options = ProbeOptions(probes=("logistic",))
    report = probe(export(vectors), table, Columns(split="split"), options)
    assert "logistic: Too few training samples to choose C by cross-validation; it is 1." in report.notes
    assert report.facts["probes"]["logistic"]["C"] == 1
    report = probe(export(vectors), label_table(["a", "a", "b", "b", "c", "c"]), options=options)
    assert report.facts["split"] == "random, too few samples to stratify by class"
