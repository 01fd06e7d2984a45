"""Names of tasks and probes: what the command line knows before it loads pandas and scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

Task = Literal["classification", "regression"]
TASKS: tuple[Task, ...] = get_args(Task)
#: What predicts without the embedding: the most frequent class, or the mean.
BASELINE = "baseline"
#: Probes of each task; those that are fitted if none is named come first.
PROBES: Mapping[Task, tuple[str, ...]] = MappingProxyType(
    {"classification": ("knn", "logistic"), "regression": ("knn", "ridge", "linear")}
)
DEFAULT_PROBES: Mapping[Task, tuple[str, ...]] = MappingProxyType(
    {"classification": ("knn", "logistic"), "regression": ("knn", "ridge")}
)
