"""Scores that are too good, or that cannot be, are named as such."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from probe_samples import blobs, label_table

from eo_embed.probe import ProbeOptions, probe
from eo_embed.reading.probing.table import Columns


def test_a_split_column_that_divides_rasters_is_told(export: Callable[..., Path]) -> None:
    vectors, labels = blobs(40, 3, 1)
    folder = export(vectors, sources=[(f"in/{i // 2}.tif",) for i in range(40)])
    table = label_table(labels, part=["train", "test"] * 20)
    report = probe(folder, table, Columns(split="part"))
    assert any(note.startswith("LEAKAGE: samples of 20 rasters, such as s000,") for note in report.notes)
    assert report.facts["split"] == "column 'part'"
    with pytest.raises(ValueError, match="20 groups of 'place', such as 0, are in both training and test"):
        probe(folder, table.assign(place=[i // 2 for i in range(40)]), Columns(split="part", group="place"))


def test_the_same_image_under_two_ids_is_told(export: Callable[..., Path]) -> None:
    vectors, labels = blobs(40, 3, 1)
    vectors[1::2] = vectors[::2]
    report = probe(export(vectors), label_table(labels, part=["train", "test"] * 20), Columns(split="part"))
    assert "LEAKAGE: 20 test vectors equal a training vector; is it the same image under two ids?" in report.notes


def test_a_class_without_training_samples_is_noted_and_counts_as_wrong(export: Callable[..., Path]) -> None:
    vectors, labels = blobs(60, 3, 30)
    split = ["test" if label == "class 2" or i < 20 else "train" for i, label in enumerate(labels)]
    report = probe(export(vectors), label_table(labels, split=split), Columns(split="split"))
    assert any("Classes without training samples, which no probe can find: class 2." in note for note in report.notes)
    assert report.score("knn", "recall", "class 2").value == 0
    assert np.isnan(report.score("knn", "precision", "class 2").value)
    assert report.score("knn", "accuracy").value == pytest.approx(14 / 34)  # of 20 and 14 more of class 2


def test_one_test_group_gives_no_interval(export: Callable[..., Path]) -> None:
    vectors, labels = blobs(40, 2, 1)
    report = probe(export(vectors), label_table(labels, g=[i // 20 for i in range(40)]), Columns(group="g"))
    assert "All test samples are of one group: there are no confidence intervals." in report.notes
    assert np.isnan(report.score("knn", "accuracy").low)


def test_impossible_data_are_refused(export: Callable[..., Path]) -> None:
    vectors, labels = blobs(20, 2, 1)
    folder = export(vectors)

    def refused(message: str, table: pd.DataFrame, columns: Columns | None = None, **options: Any) -> None:
        with pytest.raises(ValueError, match=message):
            probe(folder, table, columns, ProbeOptions(**options))

    split = Columns(split="split")
    refused("at least 2 classes, got 1: 'a'", label_table(["a"] * 20))
    refused("Each of the 20 labels, such as '0', occurs once", label_table(list(range(20))))
    refused("test_fraction must be between 0 and 1, got 1.0", label_table(labels), test_fraction=1.0)
    refused("knn needs k between 1 and the number of training samples, 16, got 17", label_table(labels), k=17)
    refused("No labelled vector is for test", label_table(labels, split="train"), split)
    refused("No labelled vector is for train", label_table(labels, split="test"), split)
    one_class = label_table(labels, split=["train" if label == "class 0" else "test" for label in labels])
    refused("All training samples are of class 'class 0'", one_class, split)
    refused("All 20 samples are of one group", label_table(labels, g="x"), Columns(group="g"))
    few = label_table(np.arange(20.0), split=["train"] * 6 + ["test"] * 14)
    refused("more training samples than dimensions, got 6 and 6", few, split, task="regression", probes=("linear",))
