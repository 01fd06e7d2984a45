"""A probe's score is what the embedding deserves: no sample tests what it trained, and nothing is lost in silence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from probe_samples import blobs, label_table, rows_in_test
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from eo_embed.export.opening import open_embeddings
from eo_embed.probe import ProbeOptions, main, probe
from eo_embed.writers.embedding import Embedding

Make = Callable[..., Embedding]


def test_separable_classes_are_told_apart_and_the_baseline_is_not(export: Callable[..., Path]) -> None:
    vectors, labels = blobs(120, 3, 30)
    report = probe(export(vectors), label_table(labels))
    for name in ("knn", "logistic"):
        for metric in ("accuracy", "balanced_accuracy", "f1_macro", "f1_weighted"):
            score = report.score(name, metric)
            assert (score.value, score.low, score.high) == (1, 1, 1)
        assert report.confusions[name].tolist() == [[8, 0, 0], [0, 8, 0], [0, 0, 8]]
    assert report.score("baseline", "accuracy").value == pytest.approx(1 / 3)
    assert report.score("baseline", "balanced_accuracy").value == pytest.approx(1 / 3)
    assert (report.facts["train"], report.facts["test"]) == (96, 24)
    assert report.notes == ()


def test_random_labels_score_by_chance(export: Callable[..., Path]) -> None:
    """Of 95 % intervals at least 33 of 40 hold the true 0.5, but for one case in a thousand."""
    opened = open_embeddings(export(np.random.default_rng(1).normal(size=(200, 4))))
    held, widths = 0, []
    for seed in range(20):
        labels = np.random.default_rng(seed).integers(0, 2, 200).astype(str)
        report = probe(opened, label_table(labels), options=ProbeOptions(test_fraction=0.5, bootstrap=200, seed=seed))
        for name in ("knn", "logistic"):
            score = report.score(name, "accuracy")
            held += score.low <= 0.5 <= score.high
            widths.append(score.high - score.low)
    assert held >= 33
    assert np.mean(widths) == pytest.approx(2 * 1.96 * (0.25 / 100) ** 0.5, rel=0.1)


def test_scores_are_those_of_scikit_learn_on_the_predictions(export: Callable[..., Path]) -> None:
    vectors, labels = blobs(200, 5, 1.5)
    report = probe(export(vectors), label_table(labels))
    tested = rows_in_test(report)
    assert report.predictions[report.predictions["split"] == "train"]["knn"].isna().all()
    for name in ("baseline", "knn", "logistic"):
        true, predicted = tested["label"], tested[name]
        assert report.score(name, "accuracy").value == pytest.approx(accuracy_score(true, predicted))
        assert report.score(name, "balanced_accuracy").value == pytest.approx(balanced_accuracy_score(true, predicted))
        assert report.score(name, "f1_macro").value == pytest.approx(f1_score(true, predicted, average="macro"))
        assert report.score(name, "f1_weighted").value == pytest.approx(f1_score(true, predicted, average="weighted"))
        assert report.confusions[name].sum() == len(tested) == 40


def test_the_order_of_the_table_does_not_count_but_the_seed_does(export: Callable[..., Path]) -> None:
    vectors, labels = blobs(90, 3, 1)
    folder, table = export(vectors), label_table(labels)
    first = probe(folder, table)
    again = probe(folder, table.sample(frac=1, random_state=4))
    assert repr(first.scores) == repr(again.scores)
    pd.testing.assert_frame_equal(first.predictions, again.predictions)
    other = probe(folder, table, options=ProbeOptions(seed=1))
    assert set(rows_in_test(other)["id"]) != set(rows_in_test(first)["id"])


def test_the_command_writes_a_report_and_prints_its_table(
    export: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors, labels = blobs(90, 3, 2)
    folder = export(vectors)
    label_table([f"crop | {label}" for label in labels]).to_csv(tmp_path / "labels.csv", index=False)
    main([str(folder), str(tmp_path / "labels.csv"), "--bootstrap", "200", "--seed", "3"])
    out = folder / "probe" / "label"  # by column: one probe of an export does not replace another
    made = {"confusion_knn.png", "confusion_logistic.png", "predictions.csv", "report.csv", "report.json", "report.md"}
    assert {path.name for path in out.iterdir()} == made
    printed = capsys.readouterr().out.splitlines()
    titles = ["probe", "accuracy", "balanced accuracy", "macro F1", "weighted F1"]
    assert [text.strip() for text in printed[0].strip("|").split("|")] == titles
    assert printed[-1] == f"report in {out}"
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "\n".join(printed[:5]) in text
    assert r"| crop \| class 1 |" in text
    facts = json.loads((out / "report.json").read_text(encoding="utf-8"))
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert facts["fingerprint"] == manifest["fingerprint"]
    assert (facts["seed"], facts["bootstrap"], facts["probes"]["knn"]["k"]) == (3, 200, 5)
    scores = pd.read_csv(out / "report.csv")
    assert scores.columns.tolist() == ["probe", "metric", "class", "value", "low", "high"]
    predictions = pd.read_csv(out / "predictions.csv")
    tested = predictions[predictions["split"] == "test"]
    accuracy = scores[(scores["probe"] == "knn") & (scores["metric"] == "accuracy")]["value"].item()
    assert accuracy == pytest.approx((tested["knn"] == tested["label"]).mean())
    support = scores[(scores["probe"] == "knn") & (scores["metric"] == "support")]
    assert support["value"].tolist() == [6, 6, 6]
    assert support["low"].isna().all()
    main([str(folder), str(tmp_path / "labels.csv"), "--probe", "knn", "--bootstrap", "0"])
    assert not (out / "confusion_logistic.png").exists(), "a picture of another report"


def test_the_command_draws_a_regression(
    export: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors, _ = blobs(60, 2, 1)
    pd.DataFrame({"id": [f"s{i:03d}" for i in range(60)], "t/ha": vectors[:, 0]}).to_parquet(tmp_path / "l.parquet")
    given = [str(export(vectors)), str(tmp_path / "l.parquet"), "--label", "t/ha", "--task", "regression"]
    main([*given, "--out", str(tmp_path / "out"), "--probe", "ridge", "--bootstrap", "0"])
    made = {"scatter_ridge.png", "predictions.csv", "report.csv", "report.json", "report.md"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == made
    assert "No confidence intervals" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    titles = capsys.readouterr().out.splitlines()[0].strip("|").split("|")
    assert [text.strip() for text in titles] == ["probe", "R2", "RMSE", "MAE", "bias"]


def test_the_command_ends_with_a_message_and_code_2(
    export: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors, labels = blobs(20, 2, 1)
    folder = export(vectors)
    label_table(labels).to_csv(tmp_path / "labels.csv", index=False)
    for given, message in (
        ([str(tmp_path / "no"), str(tmp_path / "labels.csv")], "is no folder or file"),
        ([str(folder), str(tmp_path / "labels.csv"), "--probe", "ridge"], "classification has no probe ridge"),
    ):
        with pytest.raises(SystemExit) as error:
            main(given)
        assert error.value.code == 2
        assert message in capsys.readouterr().err
    assert not (folder / "probe").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "segmentation"}, "task must be one of classification, regression, got 'segmentation'"),
        ({"probes": ("svm",)}, "classification has no probe svm. Valid: knn, logistic"),
        (
            {"task": "regression", "probes": ("logistic",)},
            "regression has no probe logistic. Valid: knn, ridge, linear",
        ),
        ({"bootstrap": 50}, "bootstrap must be 0 .no intervals. or at least 100 resamples, got 50"),
        ({"seed": -1}, "seed must not be negative, got -1"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProbeOptions(**options)
