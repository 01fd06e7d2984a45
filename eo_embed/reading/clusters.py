"""Groups of vectors that lie together, by k-means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eo_core.arguments import one_of
from eo_embed.reading.vectors import METRICS, Metric, comparable, lengths, unit

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What has no cluster: cells and vectors without data.
NO_CLUSTER = -1
#: More vectors than this are clustered by mini batches.
MOST_AT_ONCE = 20_000
#: Starts of k-means, of which the best is kept.
_STARTS = 10
#: Numbers that a sample of cells may hold: 256 MB of float32.
SAMPLE_VALUES = 1 << 26


class Clusters:
    """k-means that was fitted to vectors.

    Under ``cosine`` vectors are scaled to length one first, so that those with a similar direction come together.
    Cluster 0 is the largest one among the vectors of the fit, and so on; the same vectors and seed give the same
    clusters on one machine.

    Parameters
    ----------
    vectors : ndarray
        Float32 ``(n, D)``. Those with NaN, and those of zeros under ``cosine``, are left out.
    k : int
        Number of clusters.
    metric : {'cosine', 'euclidean'}
        What is compared.
    seed : int
        Of the starts.

    Raises
    ------
    ValueError
        If ``k`` is not 1 to the number of different vectors.
    """

    def __init__(self, vectors: np.ndarray, k: int, metric: Metric = "cosine", seed: int = 0) -> None:
        from sklearn.cluster import KMeans, MiniBatchKMeans  # noqa: PLC0415  (a second)

        one_of("metric", metric, METRICS)
        self._metric = metric
        known = self._prepared(vectors[comparable(lengths(vectors), metric)])
        most = _different(known, k)
        if not 1 <= k <= most:
            msg = f"k must be 1..{most}, the number of different vectors that can be compared, got {k}."
            raise ValueError(msg)
        options: dict[str, Any] = {"n_clusters": k, "random_state": seed, "n_init": _STARTS}
        self._means = (KMeans if len(known) <= MOST_AT_ONCE else MiniBatchKMeans)(**options).fit(known)
        counts = np.bincount(self._means.labels_, minlength=k)
        self._names = np.empty(k, np.int32)
        self._names[np.argsort(-counts, kind="stable")] = np.arange(k)

    def of(self, vectors: np.ndarray) -> np.ndarray:
        """Return the clusters of vectors ``(n, D)``, int32 ``(n,)``; -1 where they cannot be compared."""
        usable = comparable(lengths(vectors), self._metric)
        labels = np.full(len(vectors), NO_CLUSTER, np.int32)
        if usable.any():
            labels[usable] = self._names[self._means.predict(self._prepared(vectors[usable]))]
        return labels

    def _prepared(self, vectors: np.ndarray) -> np.ndarray:
        return unit(vectors) if self._metric == "cosine" else vectors


def _different(vectors: np.ndarray, enough: int) -> int:
    """Return how many vectors differ; counting ends where there are enough."""
    found: set[bytes] = set()
    for vector in vectors:
        found.add(vector.tobytes())
        if len(found) >= enough > 0:
            break
    return len(found)


def sampled_cells(grids: Iterable[np.ndarray], cells: int, seed: int = 0, values: int = SAMPLE_VALUES) -> np.ndarray:
    """Draw cells of grids, each with the same chance, so that at most about ``values`` numbers come.

    Parameters
    ----------
    grids : iterable of ndarray
        Float32 ``(D, h, w)`` each; cells with NaN are never drawn.
    cells : int
        Number of cells of all of them.
    seed : int
        Of the draw.
    values : int
        Numbers that may come.

    Returns
    -------
    ndarray
        Float32 ``(n, D)``.
    """
    generator = np.random.default_rng(seed)
    chosen = []
    for grid in grids:
        flat = grid.reshape(len(grid), -1)
        taken = np.isfinite(flat).all(axis=0)
        chance = values / (len(grid) * cells)
        if chance < 1:
            taken &= generator.random(flat.shape[1]) < chance
        chosen.append(flat[:, taken].T)
    return np.concatenate(chosen)
