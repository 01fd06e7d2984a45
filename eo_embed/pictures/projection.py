"""From vectors to colours: the principal components of a sample, stretched to 0..255."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eo_data.dataset.plots import STRETCH

#: Vectors that are centred at once.
_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class Projection:
    """Principal components and the range of each that is stretched to 0..255.

    Parameters
    ----------
    mean : ndarray
        Float64 ``(D,)``.
    axes : ndarray
        Float64 ``(components, D)``, rows of length 1.
    low, high : ndarray
        Float64 ``(components,)``: 2nd and 98th percentile over the sample.
    explained : ndarray
        Float64 ``(components,)``: share of the variance.
    """

    mean: np.ndarray
    axes: np.ndarray
    low: np.ndarray
    high: np.ndarray
    explained: np.ndarray

    def colours(self, grid: np.ndarray) -> np.ndarray:
        """Return uint8 RGBA ``(4, h, w)`` of float32 ``(D, h, w)``; cells with NaN are transparent black."""
        flat = grid.reshape(len(grid), -1)
        seen = np.isfinite(flat).all(axis=0)
        values = self.axes @ (flat[:, seen] - self.mean[:, None])
        span = (self.high - self.low)[:, None]
        # A component that does not vary is mid-grey.
        scaled = np.where(span > 0, (values - self.low[:, None]) / np.where(span > 0, span, 1), 0.5)
        painted = np.zeros((4, flat.shape[1]), dtype=np.uint8)
        painted[:3, seen] = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
        painted[3, seen] = 255
        return painted.reshape(4, *grid.shape[1:])


def fit_projection(vectors: np.ndarray, components: int = 3) -> Projection:
    """Principal components of a sample of vectors.

    Covariance and eigenvectors in float64. An eigenvector has no sign; here the entry of largest magnitude is
    positive, so that two runs give the same colours.

    Parameters
    ----------
    vectors : ndarray
        ``(n, D)``, finite.
    components : int
        Number of components.

    Raises
    ------
    ValueError
        For fewer dimensions than components, or no vectors.
    """
    count, dimensions = vectors.shape
    if not count or dimensions < components:
        msg = (
            f"{components} principal components need vectors of at least {components} dimensions, got {count} vectors "
            f"of {dimensions}. Is all of the export no-data? For few dimensions use --components 1."
        )
        raise ValueError(msg)
    mean = vectors.mean(axis=0, dtype=np.float64)
    scatter = np.zeros((dimensions, dimensions))
    for start in range(0, count, _BLOCK):
        centred = vectors[start : start + _BLOCK] - mean
        scatter += centred.T @ centred
    variances, columns = np.linalg.eigh(scatter)
    axes = columns[:, ::-1][:, :components].T
    axes *= np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1))
    values = np.concatenate([(vectors[i : i + _BLOCK] - mean) @ axes.T for i in range(0, count, _BLOCK)])
    low, high = np.percentile(values, STRETCH, axis=0)
    total = float(variances.sum())
    explained = variances[::-1][:components] / total if total > 0 else np.zeros(components)
    return Projection(mean, axes, low, high, explained)
