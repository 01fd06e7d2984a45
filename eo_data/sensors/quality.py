"""Quality layers: where an image sees the ground.

Sources: the scene classification, the masks MSK_CLASSI and the former QA60 of the Sentinel-2 product specification; the
QA_PIXEL bits of the Landsat Collection 2 product guides; the Fmask bits of the HLS 2.0 user guide; the threshold of
s2cloudless.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import get_args

import numpy as np

from eo_core.arguments import one_of
from eo_data.sensors.quality_names import CloudKind, check_name, kind_of_name

#: Classes of the Sentinel-2 scene classification (SCL, Level-2A) that show the ground: vegetation, bare soil, water,
#: unclassified, snow. Not: 0 no data, 1 defective, 2 dark or cast shadow, 3 cloud shadow, 8 and 9 cloud, 10 cirrus.
SCL_CLEAR = (4, 5, 6, 7, 11)

#: Bits of Landsat Collection 2 QA_PIXEL that hide the ground: fill, dilated cloud, cirrus, cloud, cloud shadow.
QA_PIXEL_HIDDEN = 0b11111

#: Bits of the Fmask of HLS 2.0 that hide the ground: cloud, next to cloud or shadow, cloud shadow. Bit 4 is snow or
#: ice, 5 water, 6 and 7 the aerosol level, which is no cloud; 255 is fill. Bit 0 is reserved and never set.
FMASK_HIDDEN = 0b1110
FMASK_FILL = 255

#: Bits of QA60: opaque clouds, cirrus. It has no other ones.
QA60_BITS = 1 << 10 | 1 << 11

#: Cloud probability in percent from which a pixel counts as cloud: the default threshold of s2cloudless (0.4).
CLOUD_PROBABILITY = 40

#: Kinds in which 0 means that the ground is seen.
_ZERO_IS_CLEAR = ("fmask", "qa60", "msk_classi", "probability", "mask")

#: What a layer of each kind may hold, for messages.
_VALUES: Mapping[str, str] = MappingProxyType(
    {
        "scl": "whole numbers 0..11",
        "qa_pixel": "whole numbers 0..65535, whose confidences (two bits each) are 00, 01 or 11 from bit 10 on",
        "fmask": "whole numbers 0..255, whose bit 0 is set in fill (255) only",
        "qa60": "the numbers 0, 1024 (opaque cloud), 2048 (cirrus) and 3072",
        "msk_classi": "the numbers 0 and 1 (cloud)",
        "probability": "percents 0..100",
        "mask": "whole numbers 0..255, 0 = clear",
    }
)


def clear_mask(
    layer: np.ndarray, kind: str, *, name: str | None = None, clear_classes: Sequence[int] = SCL_CLEAR
) -> np.ndarray:
    """Return where a quality layer sees the ground.

    Parameters
    ----------
    layer : ndarray, (H, W) or (T, H, W)
        Numbers as stored; NaN is missing, and not clear.
    kind : {'scl', 'qa_pixel', 'fmask', 'qa60', 'msk_classi', 'probability', 'mask'}
        ``scl``: Sentinel-2 Level-2A scene classification. ``qa_pixel``: Landsat Collection 2 QA_PIXEL (Collection 1 has
        other bits), where 0 is not clear, because only padding has it. ``fmask``: HLS 2.0. ``qa60``: Sentinel-2 L1C.
        ``msk_classi``: one band of Sentinel-2's MSK_CLASSI, 1 where it is cloudy. ``probability``: percents, as of
        s2cloudless and Sen2Cor; clear below `CLOUD_PROBABILITY`. ``mask``: 0 where the ground is seen.
    name : str, optional
        Name of the layer: it must not contradict the kind.
    clear_classes : sequence of int
        For ``scl``: the classes that count as clear. By default vegetation, bare soil, water, unclassified and snow.

    Returns
    -------
    ndarray of the layer's shape, bool
        True = clear.

    Raises
    ------
    ValueError
        If the layer has another number of axes, the name of another kind, values or bits that the kind does not have,
        or fractions (it was interpolated); if there is no such class. The message names the kinds that would fit.
    """
    one_of("kind", kind, get_args(CloudKind))
    if layer.ndim not in (2, 3):
        msg = f"Expected a quality layer (H, W) or (T, H, W), got shape {layer.shape}."
        raise ValueError(msg)
    if not set(clear_classes) <= set(range(12)):
        msg = f"Expected clear_classes among 0..11, got {tuple(clear_classes)}. The usual ones are {SCL_CLEAR}."
        raise ValueError(msg)
    if name is not None:
        check_name(name, kind)
    known = np.isfinite(layer)
    found = _distinct(layer[known])
    named = name is not None and kind_of_name(name) == kind
    if not _possible(kind, found) or not (named or _plausible(kind, found)):
        raise ValueError(_refusal(kind, name, found))
    if kind == "probability":
        return np.asarray(known & (layer < CLOUD_PROBABILITY))
    values = np.where(known, layer, 0).astype(np.int32)
    return np.asarray(known & _seen(kind, values, clear_classes))


def missing_numbers(kind: str, nodata: Sequence[float]) -> tuple[float, ...]:
    """Return which of the numbers that a file states as no-data are so in a quality layer.

    Not 0 where it means that the ground is seen: it is stated by default, as by Zarr 2, or because the other bands of
    the file have it.

    Parameters
    ----------
    kind : str
        As in `clear_mask`.
    nodata : sequence of float
        What the file states.
    """
    return tuple(value for value in nodata if value != 0 or kind not in _ZERO_IS_CLEAR)


def _distinct(values: np.ndarray) -> np.ndarray:
    """Return each value once, in order; whole numbers of 16 bits, which layers mostly hold, without sorting."""
    whole = values.size and values.min() >= 0 and values.max() <= 65535 and (values == np.floor(values)).all()
    if not whole:
        return np.unique(values)
    return np.flatnonzero(np.bincount(values.astype(np.uint16).ravel()))


def _seen(kind: str, values: np.ndarray, clear_classes: Sequence[int]) -> np.ndarray:
    """Return where whole numbers of a kind show the ground."""
    if kind == "scl":
        return np.isin(values, clear_classes)
    if kind == "qa_pixel":
        return (values != 0) & ((values & QA_PIXEL_HIDDEN) == 0)
    if kind == "fmask":
        return (values != FMASK_FILL) & ((values & FMASK_HIDDEN) == 0)
    return values == 0


def _possible(kind: str, found: np.ndarray) -> bool:
    """Whether a kind can have these values (each once, in order)."""
    if not found.size:
        return True
    if kind == "probability":
        return bool(found[0] >= 0 and found[-1] <= 100)
    highest = {"scl": 11, "qa_pixel": 65535, "qa60": QA60_BITS, "msk_classi": 1}.get(kind, 255)
    if found[0] < 0 or found[-1] > highest or (found != np.floor(found)).any():
        return False
    return not _has_reserved_bits(kind, found.astype(np.int32))


def _has_reserved_bits(kind: str, values: np.ndarray) -> bool:
    if kind == "fmask":
        return bool(((values & 1 != 0) & (values != FMASK_FILL)).any())
    if kind == "qa60":
        return bool((values & ~QA60_BITS).any())
    # Of the confidences of shadow, snow and cirrus, 10 is reserved.
    return kind == "qa_pixel" and any(((values >> bit) & 0b11 == 0b10).any() for bit in (10, 12, 14))


def _plausible(kind: str, found: np.ndarray) -> bool:
    """Whether values that a kind can have speak for it, where the name of the layer does not.

    Landsat gives every pixel but fill a confidence; and a probability of 0 and 1 alone, or with fractions between, is a
    mask or a share.
    """
    if kind == "qa_pixel":
        judged = found[(found != 0) & (found % 2 == 0)]
        return not judged.size or bool(judged[-1] >= 1 << 8)
    if kind == "probability":
        return not _is_share(found) and not (found.size and found[-1] == 1)
    return True


def _is_share(found: np.ndarray) -> bool:
    return bool(found.size and found[-1] <= 1 and (found != np.floor(found)).any())


def _refusal(kind: str, name: str | None, found: np.ndarray) -> str:
    layer = "A layer" if name is None else f"{name!r}: a layer"
    got = f"values from {found[0]:g} to {found[-1]:g}"
    if found.size <= 6:
        got += f" ({', '.join(f'{value:g}' for value in found)})"
    fitting = [other for other in get_args(CloudKind) if other != kind and _fits(other, found)]
    if kind == "probability" and found[0] >= 0 and found[-1] <= 255:
        advice = (
            "Bring shares 0..1 and numbers 0..255 (CLP of Sentinel Hub) to percents; 0 and 1 alone are a mask "
            "(cloud_kind: mask)."
        )
    elif fitting:
        advice = f"These values fit cloud_kind: {' or '.join(fitting)}."
    else:
        advice = f"Valid kinds: {', '.join(get_args(CloudKind))}."
    return (
        f"{layer} of kind {kind!r} has {_VALUES[kind]}, got {got}. {advice} Give the right band and kind, and "
        "resample it by nearest neighbour only."
    )


def _fits(kind: str, found: np.ndarray) -> bool:
    """Whether to propose a kind for these values: every non-fill pixel of QA_PIXEL has three confidences."""
    if not _possible(kind, found) or not _plausible(kind, found):
        return False
    values = found.astype(np.int32)
    if kind == "qa_pixel":
        judged = values[(values & 1 == 0) & (values != 0)]
        return all(((judged >> bit) & 0b11 != 0).all() for bit in (8, 10, 12))
    return True
