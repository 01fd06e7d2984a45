"""A probe from export and labels to a report: divide the samples, fit small models, score them beside a baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from eo_core.fingerprint import plain_values, sha256_of_file
from eo_embed.export.opening import Export, open_embeddings
from eo_embed.reading.probing.bootstrap import (
    CLASS_SCORES,
    OVERALL_SCORES,
    REGRESSION_SCORES,
    Bootstrap,
    classification_scores,
    regression_scores,
)
from eo_embed.reading.probing.checks import check_classes, check_division, class_order, notes_on
from eo_embed.reading.probing.groups import random_test, training_folds
from eo_embed.reading.probing.models import Fitted, fit_baseline, fit_probe
from eo_embed.reading.probing.names import BASELINE, DEFAULT_PROBES, PROBES, TASKS, Task
from eo_embed.reading.probing.report import ProbeReport, Score
from eo_embed.reading.probing.table import TEST, TRAIN, Columns, Labelled, join, read_table

_CLASSIFICATION = TASKS[0]


@dataclass(frozen=True)
class ProbeOptions:
    """How vectors are probed.

    Parameters
    ----------
    task : {'classification', 'regression'}
        Kind of the labels.
    probes : sequence of str
        Names from `eo_embed.reading.probing.models.PROBES` of the task; empty for the usual ones.
    layer : str
        Layer whose vectors are taken; needed only if there are several.
    test_fraction : float
        Share of test samples of a random division, between 0 and 1.
    seed : int
        Seed of the division, the folds and the resamples.
    bootstrap : int
        Resamples for the confidence intervals; 0 for none.
    k : int
        Neighbours of ``knn``.

    Raises
    ------
    ValueError
        For an unknown task or probe, or a number out of range.
    """

    task: Task = _CLASSIFICATION
    probes: Sequence[str] = ()
    layer: str = ""
    test_fraction: float = 0.2
    seed: int = 0
    bootstrap: int = 1000
    k: int = 5

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            msg = f"task must be one of {', '.join(TASKS)}, got {self.task!r}."
            raise ValueError(msg)
        unknown = [name for name in self.probes if name not in PROBES[self.task]]
        if unknown:
            msg = f"{self.task} has no probe {', '.join(unknown)}. Valid: {', '.join(PROBES[self.task])}."
            raise ValueError(msg)
        Bootstrap(self.bootstrap, self.seed)

    @property
    def classes(self) -> bool:
        """Whether labels are classes."""
        return self.task == _CLASSIFICATION


def probe(
    export: Export | str | Path,
    labels: pd.DataFrame | str | Path,
    columns: Columns | None = None,
    options: ProbeOptions | None = None,
) -> ProbeReport:
    """Probe the pooled vectors of an export with labels.

    Parameters
    ----------
    export : Export, str or Path
        An export, or its path as `open_embeddings` takes it.
    labels : DataFrame, str or Path
        Table, or its file, with a column ``id`` and those that ``columns`` names.
    columns : Columns, optional
        What the columns are called: ``label``, and by default neither split nor group. Without a split, samples are
        divided at random; without a group, samples of one source raster stay together.
    options : ProbeOptions, optional
        Task, probes, seed ...

    Returns
    -------
    ProbeReport
        Scores with confidence intervals, predictions, confusion matrices.

    Raises
    ------
    ValueError
        If table and export do not fit, labels do not suit the task, there are too few samples, or a group is divided.
    """
    columns, options = columns or Columns(), options or ProbeOptions()
    opened = export if isinstance(export, Export) else open_embeddings(export)
    table = labels if isinstance(labels, pd.DataFrame) else read_table(labels)
    data = join(opened, table, columns, options.task, options.layer)
    if options.classes:
        check_classes(data.labels)
    test, how = _divide(data, columns, options)
    names = [BASELINE, *dict.fromkeys(options.probes or DEFAULT_PROBES[options.task])]
    fitted = dict(zip(names, _fit(data, test, names, options), strict=True))
    classes = sorted(set(data.labels.tolist()), key=class_order) if options.classes else []
    scores = [score for name in names for score in _scores(name, fitted[name], data, test, classes, options)]
    file = None if isinstance(labels, pd.DataFrame) else labels
    facts = {
        "export": str(opened.path),
        "fingerprint": opened.manifest.get("fingerprint"),
        "layer": options.layer,
        "labels": None if file is None else str(file),
        "labels_sha256": None if file is None else sha256_of_file(file),
        **_setup_facts(columns, options, how),
        **_data_facts(data, test, classes),
        "probes": {name: dict(model.settings) for name, model in fitted.items()},
        "software": {name: version(name) for name in ("numpy", "scikit-learn")},
    }
    notes = [*data.notes, *notes_on(data, test, columns), *(f"{n}: {text}" for n in names for text in fitted[n].notes)]
    return ProbeReport(
        options.task,
        tuple(scores),
        _predictions(data, test, fitted),
        tuple(classes),
        {n: confusion_matrix(data.labels[test], fitted[n].predicted, labels=classes) for n in names if classes},
        plain_values(facts),
        tuple(notes),
    )


def _setup_facts(columns: Columns, options: ProbeOptions, how: str) -> dict[str, Any]:
    """Return what was asked for, and how the samples were divided."""
    return {
        "label": columns.label,
        "task": options.task,
        "split": f"column {columns.split!r}" if columns.split else how,
        "test_fraction": None if columns.split else options.test_fraction,
        "seed": options.seed,
        "bootstrap": options.bootstrap,
    }


def _data_facts(data: Labelled, test: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Return the numbers of samples, groups and classes that the scores rest on."""
    return {
        "grouped_by": data.grouped_by,
        "dimensions": data.vectors.shape[1],
        "train": int((~test).sum()),
        "test": int(test.sum()),
        "test_groups": len(np.unique(data.groups[test])),
        "counts": dict(data.counts),
        "classes": {name: int((data.labels == name).sum()) for name in classes},
    }


def _divide(data: Labelled, columns: Columns, options: ProbeOptions) -> tuple[np.ndarray, str]:
    if data.splits is None:
        test, how = random_test(data.labels, data.groups, options.test_fraction, options.seed, classes=options.classes)
    else:
        test, how = data.splits == TEST, ""
    check_division(data, test, columns, classes=options.classes)
    return test, how


def _fit(data: Labelled, test: np.ndarray, names: Sequence[str], options: ProbeOptions) -> Iterator[Fitted]:
    vectors, labels = data.vectors[~test], data.labels[~test]
    folds = training_folds(labels, data.groups[~test], options.seed, classes=options.classes)
    for name in names:
        if name == BASELINE:
            yield fit_baseline(labels, int(test.sum()), classes=options.classes)
        else:
            yield fit_probe(name, vectors, labels, data.vectors[test], folds, options.k, classes=options.classes)


def _scores(
    name: str, fitted: Fitted, data: Labelled, test: np.ndarray, classes: Sequence[str], options: ProbeOptions
) -> Iterator[Score]:
    true, groups, bootstrap = data.labels[test], data.groups[test], Bootstrap(options.bootstrap, options.seed)
    if len(np.unique(groups)) < 2:
        bootstrap = Bootstrap(0)  # one group drawn again and again would give an interval of no width
    if options.classes:
        number = {text: i for i, text in enumerate(classes)}
        coded = [np.array([number[text] for text in texts]) for texts in (true, fitted.predicted)]
        found = classification_scores(coded[0], coded[1], len(classes), groups, bootstrap)
        keys = [(metric, "") for metric in OVERALL_SCORES] + [(m, text) for m in CLASS_SCORES for text in classes]
    else:
        found = regression_scores(true, fitted.predicted, groups, bootstrap)
        keys = [(metric, "") for metric in REGRESSION_SCORES]
    for (metric, text), (value, low, high) in zip(keys, found.tolist(), strict=True):
        ends = (np.nan, np.nan) if metric == "support" else (low, high)
        yield Score(name, metric, text, value, *ends)


def _predictions(data: Labelled, test: np.ndarray, fitted: dict[str, Fitted]) -> pd.DataFrame:
    columns: dict[str, Any] = {"id": data.ids, "split": np.where(test, TEST, TRAIN), "label": data.labels}
    for name, model in fitted.items():
        columns[name] = pd.Series(model.predicted, index=np.flatnonzero(test)).reindex(range(len(test)))
    return pd.DataFrame(columns)
