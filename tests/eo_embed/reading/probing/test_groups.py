"""Tiles of one raster stay together: a probe that has seen a neighbour scores too well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from probe_samples import REGRESSION, blobs, label_table, rows_in_test

from eo_embed.export.opening import Export
from eo_embed.probe import ProbeOptions, probe
from eo_embed.reading.probing.groups import rasters_of
from eo_embed.reading.probing.table import Columns


def test_classes_keep_their_shares(export: Callable[..., Path]) -> None:
    vectors, _ = blobs(100, 2, 1)
    labels = ["common"] * 80 + ["rare"] * 19 + ["single"]
    report = probe(export(vectors), label_table(labels))
    assert rows_in_test(report)["label"].value_counts().to_dict() == {"common": 16, "rare": 4}
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
    table = label_table(labels).assign(id=ids or label_table(labels)["id"])
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
    vectors, labels = blobs(90, 3, 1)
    report = probe(
        export(vectors), label_table(labels, event=[f"e{i // 9}" for i in range(90)]), Columns(group="event")
    )
    event = {row["id"]: int(row["id"][1:]) // 9 for row in report.predictions.to_dict("records")}
    parts = {split: {event[i] for i in rows["id"]} for split, rows in report.predictions.groupby("split")}
    assert (len(parts["train"]), len(parts["test"])) == (8, 2)
    assert not parts["train"] & parts["test"]
    assert report.facts["grouped_by"] == "column 'event'"
    assert "Only 2 test groups: the confidence intervals are rough, and rather too narrow." in report.notes


def test_of_uneven_groups_those_with_all_classes_are_drawn(export: Callable[..., Path]) -> None:
    """Ten groups hold class a alone and ten hold class b: any division has both in both parts."""
    vectors, _ = blobs(100, 2, 1)
    groups = [f"g{i // 5}" for i in range(100)]
    for seed in range(3):
        table = label_table(["a"] * 50 + ["b"] * 50, group=groups)
        report = probe(export(vectors), table, Columns(group="group"), ProbeOptions(seed=seed, bootstrap=0))
        assert rows_in_test(report)["label"].value_counts().to_dict() == {"a": 10, "b": 10}


def test_regression_keeps_groups_whole_too(export: Callable[..., Path]) -> None:
    vectors, _ = blobs(60, 2, 1)
    report = probe(export(vectors), label_table(np.arange(60.0), g=np.arange(60) // 3), Columns(group="g"), REGRESSION)
    assert {int(i[1:]) // 3 for i in rows_in_test(report)["id"]}.isdisjoint(
        {int(i[1:]) // 3 for i in report.predictions[report.predictions["split"] == "train"]["id"]}
    )
    assert report.facts["probes"]["ridge"]["folds"] == 5


def test_samples_that_share_a_file_even_through_others_are_of_one_raster() -> None:
    sources = [("a.tif", "dem.tif"), ("b.tif",), ("c.tif", "dem.tif"), ("c.tif",), None]
    found = rasters_of(Export(Path(), {}), ["s0", "s1", "s2", "s3", "a.tif"], sources)
    assert found.tolist() == ["s0", "s1", "s0", "s0", "a.tif"]
