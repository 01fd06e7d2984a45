"""A report is asked for scores that it has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from probe_samples import blobs, label_table

from eo_embed.probe import ProbeOptions, probe


def test_an_unknown_score_is_refused(export: Callable[..., Path]) -> None:
    vectors, labels = blobs(40, 2, 1)
    report = probe(export(vectors), label_table(labels), options=ProbeOptions(probes=("knn",), bootstrap=0))
    with pytest.raises(
        ValueError, match="no score .*'iou'.*Probes: baseline, knn; metrics: accuracy.*classes: class 0"
    ):
        report.score("knn", "iou")
