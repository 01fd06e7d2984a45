"""How alike two exports see the same places: CKA and shared neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from eo_embed.reading.similar import neighbours
from eo_embed.reading.vectors import Vectors, comparable, lengths

#: The debiased estimate divides by n (n - 3).
_FEWEST = 4
#: Ids whose neighbours are compared; of more, so many are drawn with a fixed seed.
MOST_ANCHORS = 2000
#: Vectors that are worked on at once.
_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class Comparison:
    """What two exports have in common.

    Parameters
    ----------
    ids : tuple of str
        Ids that both have, with vectors that can be compared, sorted.
    cka : float
        Linear centred kernel alignment, debiased: 1 for vectors that are equal but for a rotation and a scale, about 0
        for unrelated ones (it may be a little below 0).
    overlap : float
        Mean share of the ``k`` nearest neighbours (cosine) of an id that it has in both, 0..1.
    chance : float
        The overlap that two unrelated exports would have: k / (n - 1).
    k : int
        Number of neighbours.
    by_id : DataFrame
        ``id`` and ``overlap`` of the ids whose neighbours were sought: all, or a sample of 2000.
    only_in_first, only_in_second : int
        Ids that the other one lacks.
    left_out : int
        Ids of both whose vector has NaN or no direction in one of them.
    """

    ids: tuple[str, ...]
    cka: float
    overlap: float
    chance: float
    k: int
    by_id: pd.DataFrame
    only_in_first: int
    only_in_second: int
    left_out: int


def compare(one: Vectors, other: Vectors, k: int) -> Comparison:
    """Compare two sets of vectors, which may differ in their widths, over the ids that both have.

    Parameters
    ----------
    one, other : Vectors
        Of two exports or layers.
    k : int
        Number of neighbours.

    Raises
    ------
    ValueError
        If fewer than four ids are common, all vectors of one are equal, or ``k`` is not 1 to their number less one.
    """
    places = [{name: i for i, name in enumerate(side.ids)} for side in (one, other)]
    common = sorted(places[0].keys() & places[1].keys())
    pair = [side.rows([at[name] for name in common]) for side, at in zip((one, other), places, strict=True)]
    usable = np.logical_and(*(comparable(lengths(side), "cosine") for side in pair))
    ids = [name for name, fine in zip(common, usable, strict=True) if fine]
    if len(ids) < _FEWEST:
        msg = (
            f"Expected at least {_FEWEST} ids that both exports have vectors of, got {len(ids)}: such as "
            f"{', '.join(one.ids[:2])} in one and {', '.join(other.ids[:2])} in the other ({len(common)} common). "
            "Export the same samples with both encoders."
        )
        raise ValueError(msg)
    if not 1 <= k <= len(ids) - 1:
        msg = f"k must be 1..{len(ids) - 1}, the number of common ids less one, got {k}."
        raise ValueError(msg)
    first, second = (side[usable] for side in pair)
    anchors = np.arange(len(ids))
    if len(ids) > MOST_ANCHORS:
        anchors = np.sort(np.random.default_rng(0).choice(len(ids), MOST_ANCHORS, replace=False))
    shares = _shared(ids, first, second, anchors, k)
    return Comparison(
        tuple(ids),
        debiased_cka(first, second),
        float(shares.mean()),
        k / (len(ids) - 1),
        k,
        pd.DataFrame({"id": [ids[i] for i in anchors], "overlap": shares}),
        len(one) - len(common),
        len(other) - len(common),
        len(common) - len(ids),
    )


def _shared(ids: list[str], first: np.ndarray, second: np.ndarray, anchors: np.ndarray, k: int) -> np.ndarray:
    """Return the share of neighbours that each anchor has in both."""
    pairs = zip(*(neighbours(Vectors(ids, side), anchors.tolist(), k) for side in (first, second)), strict=True)
    return np.array([len(set(one) & set(other)) / k for (one, _), (other, _) in pairs])


def debiased_cka(first: np.ndarray, second: np.ndarray) -> float:
    """Return the debiased linear CKA of vectors ``(n, D)`` and ``(n, E)`` of the same n samples.

    CKA: Kornblith et al. 2019 (arXiv:1905.00414), equation 5. As it is there it goes to 1 for unrelated vectors that
    are wider than there are samples; so here HSIC is estimated without bias: Song et al. 2012 (JMLR 13), equation 5,
    as Nguyen et al. 2021 (arXiv:2010.15327) do. No matrix of n x n is made: with a linear kernel all sums are products
    of the vectors.

    Raises
    ------
    ValueError
        If there are fewer than four samples, or all vectors of one are equal.
    """
    if len(first) < _FEWEST:
        msg = f"The debiased CKA needs at least {_FEWEST} samples, got {len(first)}."
        raise ValueError(msg)
    if any((side == side[0]).all() for side in (first, second)):
        msg = "The CKA of vectors that are all equal is not defined. Is one export made of empty samples?"
        raise ValueError(msg)
    # The estimate is the same for moved vectors; centred ones keep the digits.
    one, other = (side.astype(np.float64) - side.mean(axis=0, dtype=np.float64) for side in (first, second))
    return _hsic(one, other) / float(np.sqrt(_hsic(one, one) * _hsic(other, other)))


def _hsic(one: np.ndarray, other: np.ndarray) -> float:
    """Return the unbiased HSIC of linear kernels K and L, whose diagonals count as zero."""
    n = len(one)
    diagonals = [np.einsum("ij,ij->i", side, side) for side in (one, other)]
    sums = [side @ side.sum(axis=0) - own for side, own in zip((one, other), diagonals, strict=True)]
    cross = np.zeros((one.shape[1], other.shape[1]))
    for start in range(0, n, _BLOCK):
        cross += one[start : start + _BLOCK].T @ other[start : start + _BLOCK]
    trace = float((cross**2).sum() - diagonals[0] @ diagonals[1])
    means = float(sums[0].sum() * sums[1].sum()) / ((n - 1) * (n - 2))
    return (trace + means - 2 * float(sums[0] @ sums[1]) / (n - 2)) / (n * (n - 3))
