"""What can be wrong with labels and with their division into training and test."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from eo_embed.reading.probing.table import TEST, TRAIN, Columns, Labelled

#: Test samples, or groups, below which an interval is a rough one.
_FEW = 10


def check_classes(labels: np.ndarray) -> None:
    """Check that labels ``(n,)`` are classes.

    Raises
    ------
    ValueError
        If there are fewer than two classes, or as many as labels.
    """
    names, counts = np.unique(labels, return_counts=True)
    if len(names) < 2:
        msg = f"Classification needs at least 2 classes, got {len(names)}: '{names[0]}'. Is it the right column?"
        raise ValueError(msg)
    if counts.max() == 1:
        msg = f"Each of the {len(names)} labels, such as '{names[0]}', occurs once: these are no classes. Regression?"
        raise ValueError(msg)


def class_order(name: str) -> tuple[float, str]:
    """Sort key by which class 10 comes after class 9."""
    return (int(name), "") if name.removeprefix("-").isdecimal() else (float("inf"), name)


def check_division(data: Labelled, test: np.ndarray, columns: Columns, *, classes: bool) -> None:
    """Check that a division into training and test, bool ``(n,)``, can be used.

    Raises
    ------
    ValueError
        If one part is empty, a stated group is divided, or only one class is left to train on.
    """
    for name, part in ((TRAIN, ~test), (TEST, test)):
        if not part.any():
            msg = f"No labelled vector is for {name}: {dict(data.counts)}. Look at the split column."
            raise ValueError(msg)
    divided = set(data.groups[test]) & set(data.groups[~test])
    if divided and columns.group:
        msg = (
            f"{len(divided)} groups of {columns.group!r}, such as {min(divided)}, are in both training and test of the "
            f"split column {columns.split!r}. Make them agree, or leave out one of the two."
        )
        raise ValueError(msg)
    if classes and len(set(data.labels[~test])) < 2:
        msg = f"All training samples are of class '{data.labels[~test][0]}'. Use another split, seed or test_fraction."
        raise ValueError(msg)


def notes_on(data: Labelled, test: np.ndarray, columns: Columns) -> Iterator[str]:
    """Yield what makes scores better or worse than they should be, or their intervals rough."""
    if data.grouped_by:
        kept = len(np.unique(data.groups))
        yield f"{len(data.ids)} samples are kept together in {kept} groups by {data.grouped_by}."
    divided = set(data.groups[test]) & set(data.groups[~test])
    if divided:
        yield (
            f"LEAKAGE: samples of {len(divided)} rasters, such as {min(divided)}, are in both training and test of the "
            f"split column {columns.split!r}; scores are too good."
        )
    seen = {vector.tobytes() for vector in data.vectors[~test]}
    doubles = sum(vector.tobytes() in seen for vector in data.vectors[test])
    if doubles:
        yield f"LEAKAGE: {doubles} test vectors equal a training vector; is it the same image under two ids?"
    if data.labels.dtype.kind == "U":
        unseen = sorted(set(data.labels[test]) - set(data.labels[~test]), key=class_order)
        if unseen:
            yield f"Classes without training samples, which no probe can find: {', '.join(unseen)}."
        untested = sorted(set(data.labels[~test]) - set(data.labels[test]), key=class_order)
        if untested:
            yield f"Classes without test samples: {', '.join(untested)}."
    units, kind = len(np.unique(data.groups[test])), "groups" if data.grouped_by else "samples"
    if units < 2:
        yield "All test samples are of one group: there are no confidence intervals."
    elif units < _FEW:
        yield f"Only {units} test {kind}: the confidence intervals are rough, and rather too narrow."
