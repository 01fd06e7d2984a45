"""A probe's score is what the embedding deserves: no sample tests what it trained, and nothing is lost in silence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, mean_absolute_error, r2_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eo_embed.export.manifest import Manifest
from eo_embed.export.opening import open_embeddings
from eo_embed.probe import ProbeOptions, main, probe
from eo_embed.probing.table import Columns
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.geoparquet import PartWriter, merge
from eo_embed.writers.layout import POOLED

Make = Callable[..., Embedding]
REGRESSION = ProbeOptions("regression", bootstrap=200)


@pytest.fixture
def export(make_embedding: Make, tmp_path: Path) -> Callable[..., Path]:
    """Return a maker of exports by the real writers: vectors ``(n, d)``, and what else is known of them."""

    def write(
        vectors: np.ndarray,
        ids: list[str] | None = None,
        sources: list[tuple[str, ...]] | None = None,
        rasters: list[str] | None = None,
        layer: str = "",
    ) -> Path:
        folder = tmp_path / "export"
        names = ids or [f"s{i:03d}" for i in range(len(vectors))]
        manifest = Manifest.create(folder, {"task": "test"}, {})
        items = [
            make_embedding(
                name, pooled=vector.astype(np.float32), grid=None, valid=None, layer=layer,
                sources=sources[i] if sources else (f"in/{name}.tif",),
            )
            for i, (name, vector) in enumerate(zip(names, vectors, strict=True))
        ]  # fmt: skip
        PartWriter(folder, 0, vectors.shape[1]).write(items)
        merge(folder, folder / POOLED)
        given = rasters or [""] * len(names)
        inputs = [{"id": name, "layer": layer, "raster_id": raster} for name, raster in zip(names, given, strict=True)]
        manifest.complete({"done": len(items)}, inputs, [])
        return folder

    return write


def _blobs(count: int, classes: int, apart: float, dimensions: int = 6) -> tuple[np.ndarray, list[str]]:
    """Vectors of length about ``apart`` in one direction per class, and noise of 1."""
    generator = np.random.default_rng(0)
    number = np.arange(count) % classes
    vectors = generator.normal(size=(count, dimensions))
    vectors[np.arange(count), number] += apart
    return vectors, [f"class {i}" for i in number]


def _table(labels: Any, **others: Any) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"s{i:03d}" for i in range(len(labels))], "label": labels, **others})


def _tested(report: Any) -> pd.DataFrame:
    return pd.DataFrame(report.predictions[report.predictions["split"] == "test"])


def test_separable_classes_are_told_apart_and_the_baseline_is_not(export: Callable[..., Path]) -> None:
    vectors, labels = _blobs(120, 3, 30)
    report = probe(export(vectors), _table(labels))
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
        report = probe(opened, _table(labels), options=ProbeOptions(test_fraction=0.5, bootstrap=200, seed=seed))
        for name in ("knn", "logistic"):
            score = report.score(name, "accuracy")
            held += score.low <= 0.5 <= score.high
            widths.append(score.high - score.low)
    assert held >= 33
    assert np.mean(widths) == pytest.approx(2 * 1.96 * (0.25 / 100) ** 0.5, rel=0.1)


def test_scores_are_those_of_scikit_learn_on_the_predictions(export: Callable[..., Path]) -> None:
    vectors, labels = _blobs(200, 5, 1.5)
    report = probe(export(vectors), _table(labels))
    tested = _tested(report)
    assert report.predictions[report.predictions["split"] == "train"]["knn"].isna().all()
    for name in ("baseline", "knn", "logistic"):
        true, predicted = tested["label"], tested[name]
        assert report.score(name, "accuracy").value == pytest.approx(accuracy_score(true, predicted))
        assert report.score(name, "balanced_accuracy").value == pytest.approx(balanced_accuracy_score(true, predicted))
        assert report.score(name, "f1_macro").value == pytest.approx(f1_score(true, predicted, average="macro"))
        assert report.score(name, "f1_weighted").value == pytest.approx(f1_score(true, predicted, average="weighted"))
        assert report.confusions[name].sum() == len(tested) == 40


def test_probes_are_fitted_on_training_vectors_alone_and_by_cosine(export: Callable[..., Path]) -> None:
    """By hand: standardised with training statistics; neighbours whatever the length of the vectors."""
    vectors, labels = _blobs(100, 3, 2)
    vectors = (vectors * np.random.default_rng(3).uniform(0.1, 10, (100, 1))).astype(np.float32)
    split = ["test" if i % 4 == 0 else "train" for i in range(100)]
    report = probe(export(vectors), _table(labels, split=split), Columns(split="split"), ProbeOptions(bootstrap=0))
    test = np.array(split) == "test"
    known = np.array(labels)[~test]
    train, unseen = vectors[~test].astype(np.float64), vectors[test].astype(np.float64)
    near = KNeighborsClassifier(5, metric="cosine", algorithm="brute").fit(train, known)
    assert _tested(report)["knn"].tolist() == near.predict(unseen).tolist()
    strength = report.facts["probes"]["logistic"]["C"]
    line = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000)).fit(train, known)
    assert _tested(report)["logistic"].tolist() == line.predict(unseen).tolist()
    assert report.facts["probes"]["logistic"]["folds"] == 5


def test_one_far_test_vector_changes_no_other_prediction(export: Callable[..., Path]) -> None:
    vectors, labels = _blobs(60, 2, 1)
    table = _table(labels, split=["test"] * 20 + ["train"] * 40)
    before = _tested(probe(export(vectors), table, Columns(split="split")))
    vectors[0] *= 1e4
    after = _tested(probe(export(vectors), table, Columns(split="split")))
    pd.testing.assert_frame_equal(before.iloc[1:], after.iloc[1:])


def test_the_order_of_the_table_does_not_count_but_the_seed_does(export: Callable[..., Path]) -> None:
    vectors, labels = _blobs(90, 3, 1)
    folder, table = export(vectors), _table(labels)
    first = probe(folder, table)
    again = probe(folder, table.sample(frac=1, random_state=4))
    assert repr(first.scores) == repr(again.scores)
    pd.testing.assert_frame_equal(first.predictions, again.predictions)
    other = probe(folder, table, options=ProbeOptions(seed=1))
    assert set(_tested(other)["id"]) != set(_tested(first)["id"])


def test_classes_keep_their_shares(export: Callable[..., Path]) -> None:
    vectors, _ = _blobs(100, 2, 1)
    labels = ["common"] * 80 + ["rare"] * 19 + ["single"]
    report = probe(export(vectors), _table(labels))
    assert _tested(report)["label"].value_counts().to_dict() == {"common": 16, "rare": 4}
    assert report.facts["split"] == "random, stratified by class"
    assert "Classes without test samples: single." in report.notes


@pytest.mark.parametrize("known_by", ["manifest", "id", "source"])
def test_tiles_of_one_raster_stay_together(export: Callable[..., Path], known_by: str) -> None:
    """Each raster has a vector of its own, and labels are random: with divided rasters, scores are far above chance."""
    generator = np.random.default_rng(5)
    raster = np.arange(160) // 4
    vectors = generator.normal(size=(40, 8))[raster] + generator.normal(size=(160, 8)) / 100
    labels = [f"c{i}" for i in generator.permutation([0, 1] * 20)[raster]]
    tiles = [f"r{raster[i]}/r{i % 4 * 288}_c0" for i in range(160)]
    ids = tiles if known_by == "id" else None
    rasters = [f"raster {i}" for i in raster] if known_by == "manifest" else None
    sources = [(f"in/{i}.tif",) for i in raster] if known_by == "source" else None
    table = _table(labels).assign(id=ids or _table(labels)["id"])
    folder = export(vectors, ids, sources, rasters)
    options = ProbeOptions(probes=("knn",), k=1)
    report = probe(folder, table, options=options)
    raster_of = dict(zip(table["id"], raster.tolist(), strict=True))
    parts = {split: {raster_of[i] for i in rows["id"]} for split, rows in report.predictions.groupby("split")}
    assert not parts["train"] & parts["test"]
    assert len(parts["test"]) == 8
    assert report.facts["grouped_by"] == "source raster"
    assert "160 samples are kept together in 40 groups by source raster." in report.notes
    score = report.score("knn", "accuracy")
    assert score.value < 0.9
    assert score.high - score.low > 0.4, "tiles are no independent samples: 8 rasters give a wide interval"
    apart = probe(folder, table, Columns(group="id"), options)
    assert apart.score("knn", "accuracy").value == 1, "--group id ignores rasters"


def test_a_group_column_is_never_divided(export: Callable[..., Path]) -> None:
    vectors, labels = _blobs(90, 3, 1)
    report = probe(export(vectors), _table(labels, event=[f"e{i // 9}" for i in range(90)]), Columns(group="event"))
    event = {row["id"]: int(row["id"][1:]) // 9 for row in report.predictions.to_dict("records")}
    parts = {split: {event[i] for i in rows["id"]} for split, rows in report.predictions.groupby("split")}
    assert (len(parts["train"]), len(parts["test"])) == (8, 2)
    assert not parts["train"] & parts["test"]
    assert report.facts["grouped_by"] == "column 'event'"
    assert "Only 2 test groups: the confidence intervals are rough, and rather too narrow." in report.notes


def test_of_uneven_groups_those_with_all_classes_are_drawn(export: Callable[..., Path]) -> None:
    """Ten groups hold class a alone and ten hold class b: any division has both in both parts."""
    vectors, _ = _blobs(100, 2, 1)
    groups = [f"g{i // 5}" for i in range(100)]
    for seed in range(3):
        table = _table(["a"] * 50 + ["b"] * 50, group=groups)
        report = probe(export(vectors), table, Columns(group="group"), ProbeOptions(seed=seed, bootstrap=0))
        assert _tested(report)["label"].value_counts().to_dict() == {"a": 10, "b": 10}


def test_a_split_column_that_divides_rasters_is_told(export: Callable[..., Path]) -> None:
    vectors, labels = _blobs(40, 3, 1)
    folder = export(vectors, sources=[(f"in/{i // 2}.tif",) for i in range(40)])
    table = _table(labels, part=["train", "test"] * 20)
    report = probe(folder, table, Columns(split="part"))
    assert any(note.startswith("LEAKAGE: samples of 20 rasters, such as s000,") for note in report.notes)
    assert report.facts["split"] == "column 'part'"
    with pytest.raises(ValueError, match="20 groups of 'place', such as 0, are in both training and test"):
        probe(folder, table.assign(place=[i // 2 for i in range(40)]), Columns(split="part", group="place"))


def test_the_same_image_under_two_ids_is_told(export: Callable[..., Path]) -> None:
    vectors, labels = _blobs(40, 3, 1)
    vectors[1::2] = vectors[::2]
    report = probe(export(vectors), _table(labels, part=["train", "test"] * 20), Columns(split="part"))
    assert "LEAKAGE: 20 test vectors equal a training vector; is it the same image under two ids?" in report.notes


def test_a_class_that_training_lacks_is_told_and_counts_as_wrong(export: Callable[..., Path]) -> None:
    vectors, labels = _blobs(60, 3, 30)
    split = ["test" if label == "class 2" or i < 20 else "train" for i, label in enumerate(labels)]
    report = probe(export(vectors), _table(labels, split=split), Columns(split="split"))
    assert any("training lacks, so that no probe can find them: class 2." in note for note in report.notes)
    assert report.score("knn", "recall", "class 2").value == 0
    assert np.isnan(report.score("knn", "precision", "class 2").value)
    assert report.score("knn", "accuracy").value == pytest.approx(14 / 34)  # of 20 and 14 more of class 2


def test_regression_finds_a_plane_and_the_baseline_does_not(export: Callable[..., Path]) -> None:
    generator = np.random.default_rng(6)
    vectors = generator.normal(size=(200, 5)).astype(np.float32)
    values = 100 + vectors @ [3.0, -1, 0.5, 0, 2] + generator.normal(size=200) / 10
    options = replace(REGRESSION, probes=("knn", "ridge", "linear"))
    report = probe(export(vectors), _table(values), options=options)
    tested = _tested(report)
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


def test_regression_keeps_groups_whole_too(export: Callable[..., Path]) -> None:
    vectors, _ = _blobs(60, 2, 1)
    report = probe(export(vectors), _table(np.arange(60.0), g=np.arange(60) // 3), Columns(group="g"), REGRESSION)
    assert {int(i[1:]) // 3 for i in _tested(report)["id"]}.isdisjoint(
        {int(i[1:]) // 3 for i in report.predictions[report.predictions["split"] == "train"]["id"]}
    )
    assert report.facts["probes"]["ridge"]["folds"] == 5


def test_too_few_samples_to_choose_or_to_stratify_are_told(export: Callable[..., Path]) -> None:
    vectors, _ = _blobs(6, 2, 1)
    table = _table(["a", "a", "a", "b", "a", "b"], split=["train"] * 4 + ["test"] * 2)
    options = ProbeOptions(probes=("logistic",))
    report = probe(export(vectors), table, Columns(split="split"), options)
    assert "logistic: Too few training samples to choose C by cross-validation; it is 1." in report.notes
    assert report.facts["probes"]["logistic"]["C"] == 1
    report = probe(export(vectors), _table(["a", "a", "b", "b", "c", "c"]), options=options)
    assert report.facts["split"] == "random, too few samples to stratify by class"


def test_one_test_group_gives_no_interval(export: Callable[..., Path]) -> None:
    vectors, labels = _blobs(40, 2, 1)
    report = probe(export(vectors), _table(labels, g=[i // 20 for i in range(40)]), Columns(group="g"))
    assert "All test samples are of one group: there are no confidence intervals." in report.notes
    assert np.isnan(report.score("knn", "accuracy").low)


def test_the_command_writes_a_report_and_prints_its_table(
    export: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors, labels = _blobs(90, 3, 2)
    folder = export(vectors)
    _table([f"crop | {label}" for label in labels]).to_csv(tmp_path / "labels.csv", index=False)
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
    vectors, _ = _blobs(60, 2, 1)
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
    vectors, labels = _blobs(20, 2, 1)
    folder = export(vectors)
    _table(labels).to_csv(tmp_path / "labels.csv", index=False)
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


def test_impossible_data_are_refused(export: Callable[..., Path]) -> None:
    vectors, labels = _blobs(20, 2, 1)
    folder = export(vectors)

    def refused(message: str, table: pd.DataFrame, columns: Columns | None = None, **options: Any) -> None:
        with pytest.raises(ValueError, match=message):
            probe(folder, table, columns, ProbeOptions(**options))

    split = Columns(split="split")
    refused("at least 2 classes, got 1: 'a'", _table(["a"] * 20))
    refused("Each of the 20 labels, such as '0', occurs once", _table(list(range(20))))
    refused("test_fraction must be between 0 and 1, got 1.0", _table(labels), test_fraction=1.0)
    refused("knn needs k between 1 and the number of training samples, 16, got 17", _table(labels), k=17)
    refused("No labelled vector is for test", _table(labels, split="train"), split)
    refused("No labelled vector is for train", _table(labels, split="test"), split)
    one_class = _table(labels, split=["train" if label == "class 0" else "test" for label in labels])
    refused("All training samples are of class 'class 0'", one_class, split)
    refused("All 20 samples are of one group", _table(labels, g="x"), Columns(group="g"))
    few = _table(np.arange(20.0), split=["train"] * 6 + ["test"] * 14)
    refused("more training samples than dimensions, got 6 and 6", few, split, task="regression", probes=("linear",))


def test_an_unknown_score_is_refused(export: Callable[..., Path]) -> None:
    vectors, labels = _blobs(40, 2, 1)
    report = probe(export(vectors), _table(labels), options=ProbeOptions(probes=("knn",), bootstrap=0))
    with pytest.raises(
        ValueError, match="no score .*'iou'.*Probes: baseline, knn; metrics: accuracy.*classes: class 0"
    ):
        report.score("knn", "iou")
