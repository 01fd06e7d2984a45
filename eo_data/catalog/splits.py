"""Which samples are of a split, and a share of the training samples to learn from.

The share is drawn by a seed and stratified by what the labels hold; it is the same on every machine.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from eo_core.text import composed, read_text
from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record, Split
from eo_data.catalog.sources import Task
from eo_data.raster.sample import SampleError

#: Bins of the values that samples are stratified by, as AnySat's fine-tuning has them (its label fractions, 3 bins).
BINS = 3
#: Labels that are read at most to find out which classes there are.
LOOKED_AT = 200


def stratified_fraction(strata: Sequence[int], fraction: float, seed: int) -> list[int]:
    """Draw a share of the samples from each stratum.

    Each stratum gives its share, rounded so that the total is right (largest remainder); at least one sample is drawn.
    The draw of a smaller share is part of the draw of a larger one, up to that rounding.

    Parameters
    ----------
    strata : sequence of int
        Stratum of each sample.
    fraction : float
        Share of the samples, above 0 and up to 1.
    seed : int
        Seed of the draw.

    Returns
    -------
    list of int
        Indices of the drawn samples, in ascending order.

    Raises
    ------
    ValueError
        If the fraction is not in 0..1 or there are no samples.
    """
    if not 0 < fraction <= 1:
        msg = f"The fraction of training samples must be above 0 and at most 1, got {fraction}. 0.1 is 10 %."
        raise ValueError(msg)
    if not strata:
        msg = "There are no samples to draw a fraction of."
        raise ValueError(msg)
    of_sample = np.asarray(strata)
    names, sizes = np.unique(of_sample, return_counts=True)
    wanted = max(1, round(fraction * len(of_sample)))
    shares = sizes * wanted / len(of_sample)
    counts = np.floor(shares).astype(int)
    for i in np.argsort(-(shares - counts), kind="stable")[: wanted - counts.sum()]:
        counts[i] += 1
    drawn: list[int] = []
    for name, count in zip(names, counts, strict=True):
        members = np.flatnonzero(of_sample == name)
        order = np.random.default_rng([seed, int(name) % 2**32]).permutation(len(members))
        drawn.extend(int(i) for i in members[order[:count]])
    return sorted(drawn)


def quantile_bins(values: Sequence[float], bins: int = BINS) -> list[int]:
    """Return the bin of each value, with as equal numbers per bin as ties allow."""
    edges = np.quantile(np.asarray(values, dtype=np.float64), np.linspace(0, 1, bins + 1)[1:-1])
    return [int(i) for i in np.searchsorted(edges, values, side="right")]


def label_strata(labels: Sequence[np.ndarray | float | int], task: Task) -> list[int]:
    """Return the stratum of each sample by its label.

    Classes: the class. Values: a bin by quantile (of the mean, for a raster). Rasters of two classes: a bin by the
    share of the second class. Rasters of more classes: the most frequent class.

    Parameters
    ----------
    labels : sequence
        Of each sample: a class, a value, or its labelled pixels ``(n,)``.
    task : {'segmentation', 'regression', 'classification'}
        What the labels are.
    """
    if task == "classification":
        return [int(np.asarray(label).item()) for label in labels]
    if task == "regression":
        return quantile_bins([float(np.mean(label)) for label in labels])
    pixels = [np.asarray(label).astype(np.int64).ravel() for label in labels]
    if max(int(own.max()) for own in pixels) <= 1:
        return quantile_bins([float(np.mean(own == 1)) for own in pixels])
    return [int(np.bincount(own).argmax()) for own in pixels]


def draw_fraction(
    records: Sequence[Record],
    read_labels: Callable[[Record], np.ndarray | float | int],
    task: Task,
    fraction: float,
    seed: int,
) -> list[Record]:
    """Return a stratified share of the records; the order in which a file system lists them does not matter.

    Raises
    ------
    ValueError
        If the fraction is not in 0..1.
    SampleError
        If a label cannot be read.
    """
    ordered = sorted(records, key=lambda record: record.id)
    strata = label_strata([read_labels(record) for record in ordered], task)
    chosen = {ordered[i].id for i in stratified_fraction(strata, fraction, seed)}
    return [record for record in records if record.id in chosen]


def absent_classes(
    records: Sequence[Record], read_labels: Callable[[Record], np.ndarray | float | int], classes: int
) -> tuple[list[int], int]:
    """Return the classes that no label holds, and how many labels were looked at.

    Labels are read only until all classes were seen, `LOOKED_AT` at most, spread evenly over the samples. Those that
    cannot be read are passed over.

    Parameters
    ----------
    records : sequence of Record
        The samples.
    read_labels : callable
        A class, or the labelled pixels ``(n,)`` of a sample.
    classes : int
        Number of classes.
    """
    chosen = [records[i] for i in sorted({round(i) for i in np.linspace(0, len(records) - 1, LOOKED_AT)})]
    absent, count = set(range(classes)), 0
    for record in chosen:
        try:
            values = np.atleast_1d(read_labels(record))
        except SampleError:
            continue
        count += 1
        absent -= {int(value) for value in np.unique(values)}
        if not absent:
            break
    return sorted(absent), count


def records_of_split(
    split: Split, records: Sequence[Record], files: Mapping[Split, str | None], root: Path
) -> Sequence[Record]:
    """Return the samples of a split: by its file, by the index, or for prediction those of the test or all.

    Parameters
    ----------
    split : {'train', 'val', 'test', 'predict'}
        The split.
    records : sequence of Record
        All samples.
    files : mapping of str to str or None
        File of each split, relative to ``root``.
    root : Path
        Folder of the data set.

    Raises
    ------
    ValueError
        If nothing says which samples are meant, or there are none.
    """
    name = files[split]
    stated = [record for record in records if record.split == split]
    if name is not None:
        chosen = read_split(root / name, records)
    elif any(record.split for record in records) and (split != "predict" or stated):
        chosen = stated
    elif split == "predict":
        test = files["test"]
        tested = [record for record in records if record.split == "test"]
        chosen = read_split(root / test, records) if test else tested or list(records)
    else:
        msg = f"Which samples are for {split!r}? Set {split}_split to a file, or give an index with a column split."
        raise ValueError(msg)
    if not chosen:
        msg = f"The split {split!r} has no samples."
        raise ValueError(msg)
    return chosen


def read_split(path: Path, records: Sequence[Record]) -> list[Record]:
    """Choose the samples that a split file names, in its order.

    Parameters
    ----------
    path : Path
        One sample per line: its id, the last part of its id, or the name of one of its files (TerraTorch's split
        files hold stems). A line that is none of these is read as CSV, of which the first column counts. Empty lines
        and ``#`` comments do not.
    records : sequence of Record
        All samples.

    Raises
    ------
    ValueError
        For a missing or empty file, a line that fits no sample or several, and for a sample that is named twice.
    """
    if not path.is_file():
        msg = (
            f"There is no split file {path}. It names one sample a line and stands relative to root; to predict "
            "everything, set test_split and predict_split to null."
        )
        raise ValueError(msg)
    names = _names(records)
    chosen: dict[str, Record] = {}
    lines = read_text("The split file", path).splitlines()
    wanted = [
        line
        for line in lines
        if line.strip() and (not line.lstrip().startswith("#") or composed(line.strip()) in names)
    ]
    if not wanted:
        msg = f"The split file {path} names no sample."
        raise ValueError(msg)
    for line in wanted:
        record = _named(line, names, path, records)
        if record.id in chosen:
            msg = f"The split file {path} names {record.id!r} twice."
            raise ValueError(msg)
        chosen[record.id] = record
    return list(chosen.values())


def _named(line: str, names: Mapping[str, Sequence[Record]], path: Path, records: Sequence[Record]) -> Record:
    """Return the sample that a line of a split file names, as it stands or by its first column."""
    whole = composed(line)
    if "," not in whole and len(alone := names.get(whole, ())) == 1:
        return alone[0]
    written = whole if whole in names else whole.strip()
    column = written if "," not in whole and '"' not in whole else _first_column(whole)
    fitting = {record.id: record for record in names.get(written, ())}
    by_column = {record.id: record for record in names.get(column, ())}
    if fitting and by_column.keys() - fitting.keys():
        msg = (
            f"The line {line.strip()!r} of the split file {path} may be the sample {next(iter(fitting))!r}, or a row "
            f"of a table that begins with the sample {next(iter(by_column))!r}. Put the first into quotes "
            f"({_quoted(written)}), or write the second without further columns."
        )
        raise ValueError(msg)
    fitting = fitting or by_column
    if len(fitting) != 1:
        fault = f"fits {len(fitting)} samples: {', '.join(list(fitting)[:3])}" if fitting else "fits no sample"
        read = "" if fitting or column == written else f" (nor does its first column, {column!r})"
        example = ", ".join(record.id for record in records[:3])
        msg = f"The line {line.strip()!r} of the split file {path} {fault}{read}. Ids of samples look like: {example}."
        raise ValueError(msg)
    return next(iter(fitting.values()))


def _first_column(line: str) -> str:
    try:
        return next(iter(next(csv.reader([line], skipinitialspace=True), [])), "").strip()
    except csv.Error:  # a column of more than 131072 letters is the name of nothing
        return ""


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _names(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Everything that a split file may call a sample."""
    names: dict[str, list[Record]] = {}
    for record in records:
        own = {record.id, record.id.rpartition("/")[2]}
        for paths in record.files.values():
            if len(paths) == 1:
                own |= _names_of_file(paths[0])
        if isinstance(record.label, Href):
            own |= _names_of_file(record.label)
        for name in own:
            names.setdefault(composed(name), []).append(record)
    exact = {composed(record.id): [record] for record in records}
    return names | exact


def _names_of_file(href: Href) -> set[str]:
    """The name with its suffix as it is and in lower case, and the name without."""
    name = href.name
    stem, suffix = os.path.splitext(name)  # noqa: PTH122  (as fast as it gets: there may be a hundred thousand)
    return {name, stem, stem + suffix.lower()}
