"""Values of float32 arrays on other pixels of the same ground, by PyTorch; missing ones take no part."""

from __future__ import annotations

import numpy as np

#: Least share of observed weight of a bilinear sample that counts as observed, less the rounding of float32.
OBSERVED = 0.5 - 1e-6


def interpolate(
    planes: np.ndarray, height: int, width: int, mode: str, *, antialias: bool = False, precise_weights: bool = False
) -> np.ndarray:
    """Resample the last two axes of a float32 array to another size over the same ground.

    Parameters
    ----------
    planes : ndarray, (..., H, W), float32
        Without NaN.
    height, width : int
        New size.
    mode : {'bilinear', 'nearest-exact'}
        As in ``torch.nn.functional.interpolate``, with ``align_corners=False``.
    antialias : bool
        Bilinear downwards: weigh all pixels under the wider triangle, not the four around the new centre.
    precise_weights : bool
        Compute in float64, so that a pixel's value does not depend on how many others there are.

    Returns
    -------
    ndarray
        Float32, or float64 with ``precise_weights``.
    """
    import torch  # noqa: PLC0415  (over a second, which those who only look at rasters need not wait)
    from torch.nn import functional as F  # noqa: PLC0415

    lead = planes.shape[:-2]
    # torch warns about arrays that it could write into though nobody may.
    stack = torch.from_numpy(np.require(planes, requirements=["C", "W"]).reshape(1, -1, *planes.shape[-2:]))
    align = False if mode == "bilinear" else None
    # PyTorch counts pixels in the type of the values: in float32 the weights drift along an axis, unless sides halve.
    precise = stack.double() if precise_weights else stack
    result = F.interpolate(precise, size=(height, width), mode=mode, align_corners=align, antialias=antialias)
    return np.asarray(result.numpy().reshape(*lead, height, width))


def bilinear_of_finite(
    pixels: np.ndarray,
    height: int,
    width: int,
    *,
    least: float,
    antialias: bool = False,
    precise_weights: bool = False,
) -> np.ndarray:
    """Resample, with the weights of finite values scaled up to one.

    Parameters
    ----------
    pixels, height, width, antialias, precise_weights
        As in `interpolate`; NaN is missing.
    least : float
        Share of the weight that must be left; where it is less, the result is NaN.
    """
    finite = np.isfinite(pixels)
    how = {"antialias": antialias, "precise_weights": precise_weights}
    if finite.all():
        return interpolate(pixels, height, width, "bilinear", **how).astype(np.float32, copy=False)
    total = interpolate(np.where(finite, pixels, np.float32(0)), height, width, "bilinear", **how)
    weight = interpolate(finite.astype(np.float32), height, width, "bilinear", **how)
    mean = np.full_like(total, np.nan)
    return np.divide(total, weight, out=mean, where=weight >= least).astype(np.float32, copy=False)
