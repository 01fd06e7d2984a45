"""The light of the sun at the samples of a swath: its angle between tie points, and its irradiance by detector."""

from __future__ import annotations

import numpy as np


def between_ties(ties: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the cosine of the sun's zenith angle between tie points.

    Parameters
    ----------
    ties : ndarray
        The cosine ``(H, W)`` at the tie points.
    rows, columns : ndarray
        Places ``(N,)``, counted in tie points.

    Returns
    -------
    ndarray
        ``(N,)``, bilinear; NaN where the sun is not above the horizon.
    """
    from scipy.ndimage import map_coordinates  # noqa: PLC0415

    cosine = map_coordinates(ties, [rows, columns], order=1, mode="nearest", output=np.float64)
    return np.where(cosine > 0, cosine, np.nan)


def flux_of_detectors(table: np.ndarray, detectors: np.ndarray) -> np.ndarray:
    """Return the irradiance of the detector that saw each sample.

    Parameters
    ----------
    table : ndarray
        Irradiance of a band ``(D,)``, by detector.
    detectors : ndarray
        Number of the detector of each sample ``(N,)``, NaN where it is not known.

    Returns
    -------
    ndarray
        ``(N,)``, NaN where the detector is not known, or has no positive irradiance.
    """
    known = np.isfinite(detectors) & (detectors >= 0) & (detectors < table.size)
    flux = np.full(detectors.shape, np.nan)
    flux[known] = table[detectors[known].astype(int)]
    return np.where(flux > 0, flux, np.nan)
