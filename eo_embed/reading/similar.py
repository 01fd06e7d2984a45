"""Which vectors are most like one, or like several and unlike others: exact, by comparing with all of them.

There is no approximate index (faiss, usearch): `benchmarks/similar.py` measures why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from eo_core.arguments import one_of
from eo_embed.reading.vectors import METRICS, Metric, Vectors, comparable, lengths, unit

#: What is asked for: ids and vectors, alone or several.
Query = str | np.ndarray | Sequence["str | np.ndarray"]
#: How far off a score in float32 may be, in parts of the largest: what is nearer than that is compared in float64.
_ROUNDING = 3e-5
#: Vectors that are compared in float64 at once.
_AT_ONCE = 4096
#: Scores of pairs that are held at once: 64 MB.
_SCORES = 1 << 24


@dataclass(frozen=True, eq=False)
class Question:
    """Vectors to be like, and vectors to be unlike.

    The score of a vector is its mean similarity to the first less its mean similarity to the second. The similarity is
    the cosine of the angle (-1..1), or the distance with a minus before it.

    Parameters
    ----------
    positive, negative : ndarray
        Float32 ``(p, D)``, p at least 1, and ``(n, D)``.
    metric : {'cosine', 'euclidean'}
        What is compared.
    """

    positive: np.ndarray
    negative: np.ndarray
    metric: Metric

    def scores(self, block: np.ndarray) -> np.ndarray:
        """Return the scores ``(m,)`` of vectors ``(m, D)``, in their precision; -inf where they cannot be compared."""
        found = lengths(block)
        usable = comparable(found, self.metric)
        known = np.where(usable[:, None], block, 0) if not usable.all() else block
        if self.metric == "cosine":
            # The mean over several is linear in the vector, so one product serves all of them.
            scores = (known @ self._direction().astype(block.dtype)) / np.where(usable, found, 1)
        else:
            scores = self._by_distance(known)
        return np.where(usable, scores, -np.inf)

    def exact_scores(self, block: np.ndarray) -> np.ndarray:
        """Return the scores ``(m,)`` in float64; equal vectors have equal scores wherever they stand.

        A matrix product does not promise that: the order in which it sums depends on the row.
        """
        exact = block.astype(np.float64)
        return (unit(exact) * self._direction()).sum(axis=1) if self.metric == "cosine" else self._by_distance(exact)

    def _direction(self) -> np.ndarray:
        sides = [unit(side.astype(np.float64)).mean(axis=0) for side in (self.positive, self.negative) if len(side)]
        return sides[0] - sides[1] if len(sides) > 1 else sides[0]

    def _by_distance(self, block: np.ndarray) -> np.ndarray:
        sides = [
            np.mean([np.sqrt(((block - one) ** 2).sum(axis=1)) for one in side.astype(block.dtype)], axis=0)
            for side in (self.positive, self.negative)
            if len(side)
        ]
        return sides[1] - sides[0] if len(sides) > 1 else -sides[0]


def asked(vectors: Vectors, query: Query, negatives: Query, metric: Metric) -> tuple[Question, list[int]]:
    """Return what a query means, and the numbers of the vectors that it names.

    Parameters
    ----------
    vectors : Vectors
        Among which is sought.
    query, negatives : str, ndarray, or sequence of them
        Ids or vectors to be like, and to be unlike; there may be no negatives.
    metric : {'cosine', 'euclidean'}
        What is compared.

    Raises
    ------
    ValueError
        For an unknown id or metric, no query, or a vector of another width, with NaN, or without a direction.
    """
    one_of("metric", metric, METRICS)
    named: list[int] = []
    sides = [[_vector(vectors, one, metric, named) for one in _several(side)] for side in (query, negatives)]
    if not sides[0]:
        msg = "Expected at least one id or vector to look for, got none."
        raise ValueError(msg)
    positive, negative = (np.stack(side) if side else np.empty((0, vectors.width), np.float32) for side in sides)
    return Question(positive, negative, metric), named


def _several(query: Query) -> list[str | np.ndarray]:
    if isinstance(query, str):
        return [query]
    if isinstance(query, Sequence) and not all(isinstance(one, (int, float)) for one in query):
        return list(query)
    values = np.asarray(query)
    return [] if not values.size else [values] if values.ndim == 1 else list(values)


def _vector(vectors: Vectors, one: str | np.ndarray, metric: Metric, named: list[int]) -> np.ndarray:
    if isinstance(one, str):
        named.append(vectors.number_of(one))
        vector, name = vectors.values[named[-1]], f"the vector of {one!r}"
    else:
        vector, name = np.asarray(one, np.float32), "the vector that is looked for"
    if vector.shape != (vectors.width,):
        msg = f"Expected an id or a vector of {vectors.width} numbers, got {name} with shape {vector.shape}."
        raise ValueError(msg)
    if not np.isfinite(vector).all() or (metric == "cosine" and not vector.any()):
        fault = "holds NaN or infinity" if not np.isfinite(vector).all() else "is zero, so it has no direction"
        msg = f"Nothing is like {name}: it {fault}. Choose another id."
        raise ValueError(msg)
    return vector


def nearest(
    vectors: Vectors, question: Question, k: int, left_out: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the ``k`` vectors with the highest scores, and the scores.

    Exact: float32 finds who may be among them, float64 decides. Of equal scores the id that sorts first comes first.
    Vectors with NaN, and under ``cosine`` those of zeros, are never found. The memory that is needed beside the vectors
    does not grow with their width.

    Parameters
    ----------
    vectors : Vectors
        Among which is sought.
    question : Question
        What is looked for.
    k : int
        How many.
    left_out : sequence of int
        Numbers of vectors that are not to be found.

    Returns
    -------
    ndarray, ndarray
        Int64 and float64, both ``(k,)``, best first.

    Raises
    ------
    ValueError
        If there are no ``k`` vectors to find.
    """
    scores = np.empty(len(vectors), np.float32)
    for start, block in vectors.blocks():
        scores[start : start + len(block)] = question.scores(block)
    scores[list(left_out)] = -np.inf
    most = int(np.isfinite(scores).sum())
    if not 1 <= k <= most:
        msg = f"k must be 1..{most}, the number of other vectors that can be compared, got {k}."
        raise ValueError(msg)
    return _best(vectors, question, scores, k)


def neighbours(vectors: Vectors, anchors: Sequence[int], k: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield what `nearest` returns under ``cosine`` for each of some of the vectors, itself left out.

    All vectors must be such that can be compared, and there must be more than ``k`` of them.
    """
    nothing = np.empty((0, vectors.width), np.float32)
    long = np.concatenate([lengths(block) for _, block in vectors.blocks()])
    at_once = max(1, _SCORES // len(vectors))
    for start in range(0, len(anchors), at_once):
        some = anchors[start : start + at_once]
        directions = unit(vectors.rows(some))
        scores = np.empty((len(some), len(vectors)), np.float32)
        for first, block in vectors.blocks():
            own = slice(first, first + len(block))
            scores[:, own] = directions @ block.T / long[own]
        for row, anchor in enumerate(some):
            scores[row, anchor] = -np.inf
            yield _best(vectors, Question(vectors.rows([anchor]), nothing, "cosine"), scores[row], k)


def _best(vectors: Vectors, question: Question, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers and exact scores of the best ``k`` by scores that are near the exact ones."""
    kth = np.partition(scores, -k)[-k]
    slack = _ROUNDING * max(1.0, float(np.abs(scores[np.isfinite(scores)]).max()))
    candidates = np.flatnonzero(scores >= kth - slack)
    parts = np.array_split(candidates, -(-len(candidates) // _AT_ONCE))
    exact = np.concatenate([question.exact_scores(vectors.rows(part)) for part in parts])
    order = sorted(range(len(candidates)), key=lambda i: (-exact[i], vectors.ids[int(candidates[i])]))[:k]
    return candidates[order], exact[order]
