"""Vectors with known classes and values, and label tables for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from eo_embed.probe import ProbeOptions

REGRESSION = ProbeOptions("regression", bootstrap=200)


def blobs(count: int, classes: int, apart: float, dimensions: int = 6) -> tuple[np.ndarray, list[str]]:
    """Vectors of length about ``apart`` in one direction per class, and noise of 1."""
    generator = np.random.default_rng(0)
    number = np.arange(count) % classes
    vectors = generator.normal(size=(count, dimensions))
    vectors[np.arange(count), number] += apart
    return vectors, [f"class {i}" for i in number]


def label_table(labels: Any, **others: Any) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"s{i:03d}" for i in range(len(labels))], "label": labels, **others})


def rows_in_test(report: Any) -> pd.DataFrame:
    return pd.DataFrame(report.predictions[report.predictions["split"] == "test"])
