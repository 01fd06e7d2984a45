"""Quality layers: where an image sees the ground.

Sources: the scene classification of the Sentinel-2 Level-2A product specification; the QA_PIXEL bits of the Landsat
Collection 2 product guides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eo_core.arguments import one_of

#: Classes of the Sentinel-2 scene classification (SCL, Level-2A) that show the ground: vegetation, bare soil, water,
#: unclassified, snow. Not: 0 no data, 1 defective, 2 dark or cast shadow, 3 cloud shadow, 8 and 9 cloud, 10 cirrus.
SCL_CLEAR = (4, 5, 6, 7, 11)

#: Bits of Landsat Collection 2 QA_PIXEL that hide the ground: fill, dilated cloud, cirrus, cloud, cloud shadow.
QA_PIXEL_HIDDEN = 0b11111


def clear_mask(layer: np.ndarray, kind: str, *, clear_classes: Sequence[int] = SCL_CLEAR) -> np.ndarray:
    """Return where a quality layer sees the ground.

    Parameters
    ----------
    layer : ndarray, (H, W) or (T, H, W)
        Whole numbers; NaN is not clear.
    kind : {'scl', 'qa_pixel', 'mask'}
        Sentinel-2 Level-2A scene classification; Landsat Collection 2 QA_PIXEL (Collection 1 has other bits), where 0
        is not clear, because only padding has it; or a mask that is 0 where the ground is seen.
    clear_classes : sequence of int
        For ``scl``: the classes that count as clear. By default vegetation, bare soil, water, unclassified and snow.

    Returns
    -------
    ndarray of the layer's shape, bool
        True = clear.

    Raises
    ------
    ValueError
        If the layer has another number of axes, fractions (it was interpolated), or values that the kind does not have;
        if there is no such class.
    """
    one_of("kind", kind, ("scl", "qa_pixel", "mask"))
    if layer.ndim not in (2, 3):
        msg = f"Expected a quality layer (H, W) or (T, H, W), got shape {layer.shape}."
        raise ValueError(msg)
    if kind == "mask":
        return np.asarray(layer == 0)
    if not set(clear_classes) <= set(range(12)):
        msg = f"Expected clear_classes among 0..11, got {tuple(clear_classes)}. The usual ones are {SCL_CLEAR}."
        raise ValueError(msg)
    known = np.isfinite(layer)
    values = np.where(known, layer, 0).astype(np.int32)
    highest = 11 if kind == "scl" else 65535
    if (known & ((values != layer) | (values < 0) | (values > highest))).any():
        msg = (
            f"A layer of kind {kind!r} has whole numbers 0..{highest}, got values from {np.nanmin(layer)} to "
            f"{np.nanmax(layer)}. Give the right band, and resample it by nearest neighbour only."
        )
        raise ValueError(msg)
    seen = np.isin(values, clear_classes) if kind == "scl" else (values != 0) & ((values & QA_PIXEL_HIDDEN) == 0)
    return np.asarray(known & seen)
