"""Which samples belong together, and which of them train and which test."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
)

from eo_embed.export.opening import Export

#: End of the id of a tile, as `eo_data.catalog.tiles` names it.
_TILE = re.compile(r"/r-?\d+_c-?\d+$")
#: Random divisions of groups among which the most even one is taken.
_CANDIDATES = 100
#: Parts of the training samples among which the strength of regularisation is chosen.
_FOLDS = 5

Fold = tuple[np.ndarray, np.ndarray]


def rasters_of(export: Export, ids: Sequence[str], sources: Sequence[Sequence[str] | None]) -> np.ndarray:
    """Name the raster that each sample is of; samples that share any source file, even through others, share a name.

    Parameters
    ----------
    export : Export
        Whose manifest knows the rasters of tiles.
    ids : sequence of str
        Ids of the samples.
    sources : sequence
        Files of each sample.

    Returns
    -------
    ndarray
        Str ``(n,)``: the smallest id among the samples of the raster.
    """
    stated = {entry["id"]: entry.get("raster_id") for entry in export.manifest.get("inputs", ()) if "id" in entry}
    leader: dict[str, str] = {}

    def first(name: str) -> str:
        while leader.setdefault(name, name) != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    # The marks keep ids, rasters and files apart that have the same name.
    for sample, files in zip(ids, sources, strict=True):
        links = [f"raster {stated.get(sample) or _TILE.sub('', sample)}"]
        links += [f"source {file}" for file in (() if files is None else files)]
        for link in links:
            one, other = sorted((first(f"id {sample}"), first(link)))
            leader[other] = one
    return np.array([first(f"id {sample}").removeprefix("id ") for sample in ids], dtype=str)


def random_test(
    labels: np.ndarray, groups: np.ndarray, fraction: float, seed: int, *, classes: bool
) -> tuple[np.ndarray, str]:
    """Choose the test samples.

    Groups stay whole; of many random divisions the one is taken whose share of each class is nearest to the wanted
    one. Without groups the division is stratified by class, if there are enough samples; a class with one sample goes
    to training.

    Parameters
    ----------
    labels : ndarray
        ``(n,)``, in the order of the ids, so that the order of the label table does not count.
    groups : ndarray
        Str ``(n,)``.
    fraction : float
        Share of the test samples, between 0 and 1.
    seed : int
        Seed of the random division.
    classes : bool
        Whether labels are classes.

    Returns
    -------
    ndarray, str
        Bool ``(n,)``, and how it was done.

    Raises
    ------
    ValueError
        If the fraction is out of range, or there is only one sample or group.
    """
    if not 0 < fraction < 1:
        msg = f"test_fraction must be between 0 and 1, got {fraction}."
        raise ValueError(msg)
    units = len(np.unique(groups))
    if units < 2:
        msg = (
            f"All {len(groups)} samples are of one group ('{groups[0]}'): training and test "
            "cannot be kept apart. State another --group column, --group id to ignore rasters, or --split."
        )
        raise ValueError(msg)
    strata = labels if classes else np.zeros(len(labels), dtype=int)
    if units < len(groups):
        return _whole_groups(strata, groups, fraction, seed), "random, groups whole"
    return _single_samples(strata, fraction, seed, classes=classes)


def _whole_groups(strata: np.ndarray, groups: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    units = len(np.unique(groups))
    held = min(max(1, round(fraction * units)), units - 1)
    names, member = np.unique(strata, return_inverse=True)
    sizes = np.bincount(member)
    best, smallest = np.empty(0, dtype=int), np.inf
    for _, test in GroupShuffleSplit(_CANDIDATES, test_size=held, random_state=seed).split(strata, groups=groups):
        shares = np.bincount(member[test], minlength=len(names)) / sizes
        unevenness = np.abs(shares - fraction).mean() + abs(len(test) / len(strata) - fraction)
        if unevenness < smallest:
            best, smallest = test, unevenness
    return _mask(best, len(strata))


def _single_samples(strata: np.ndarray, fraction: float, seed: int, *, classes: bool) -> tuple[np.ndarray, str]:
    _, member, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    common = np.flatnonzero(sizes[member] > 1)
    kinds = int((sizes > 1).sum())
    held = round(fraction * len(common))
    if classes and kinds and kinds <= held <= len(common) - kinds:
        splitter = StratifiedShuffleSplit(1, test_size=held, random_state=seed)
        _, test = next(splitter.split(common, member[common]))
        return _mask(common[test], len(strata)), "random, stratified by class"
    held = min(max(1, round(fraction * len(strata))), len(strata) - 1)
    _, test = next(ShuffleSplit(1, test_size=held, random_state=seed).split(strata))
    return _mask(test, len(strata)), "random, too few samples to stratify by class" if classes else "random"


def _mask(chosen: np.ndarray, count: int) -> np.ndarray:
    mask = np.zeros(count, dtype=bool)
    mask[chosen] = True
    return mask


def training_folds(labels: np.ndarray, groups: np.ndarray, seed: int, *, classes: bool) -> list[Fold]:
    """Divide the training samples for a cross-validation: by class, with whole groups.

    Returns
    -------
    list of (ndarray, ndarray)
        Indices to fit and to validate; empty if there are too few samples.
    """
    units = len(np.unique(groups))
    grouped = units < len(groups)
    # With fewer samples than that of a second class, a part would hold one class only.
    enough = sorted(np.unique(labels, return_counts=True)[1])[-2:][0] if classes else len(labels)
    parts = int(min(_FOLDS, units, enough))
    if parts < 2:
        return []
    if classes:
        kind = StratifiedGroupKFold if grouped else StratifiedKFold
        splitter = kind(parts, shuffle=True, random_state=seed)
    else:
        splitter = GroupKFold(parts) if grouped else KFold(parts, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # it is then in fewer parts
        folds = list(splitter.split(labels, labels, groups if grouped else None))
    return [(fit, held) for fit, held in folds if len(fit) and len(held) and (not classes or len(set(labels[fit])) > 1)]
