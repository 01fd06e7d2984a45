"""Checks of named images, their dates and masks, for encoders that take a dictionary of tensors.

Those of names, shapes and dtypes run in a trace by `torch.export` or `torch.compile`, too; those of values do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

DATES = "_dates"
MASK = "_mask"


def kind_of(value: object) -> str:
    """Return what a value is, for a message: itself if it is plain, else its type."""
    return f"{value!r}" if value is None or isinstance(value, bool | int | float | str) else type(value).__name__


def check_tensors(data: Mapping[str, object]) -> None:
    """Refuse what is no tensor.

    Raises
    ------
    ValueError
        With the name, and what it is.
    """
    for key, value in data.items():
        if not isinstance(value, torch.Tensor):
            msg = f"{key!r} must be a torch tensor, got {kind_of(value)}. Convert it with torch.as_tensor."
            raise ValueError(msg)


def check_image(name: str, image: torch.Tensor, bands: Sequence[str], *, series: bool) -> None:
    """Check axes, dtype and channels of an image ``(B, C, H, W)`` or a series ``(B, T, C, H, W)``.

    Raises
    ------
    ValueError
        If any is not as described, or there is nothing in it.
    """
    expected = "(B, T, C, H, W)" if series else "(B, C, H, W)"
    given = tuple(image.shape)
    if image.ndim != (5 if series else 4):
        advice = "Give one frame a T of 1." if series else "It has no time axis."
        msg = f"{name!r} must have shape {expected}, got {given}. {advice}"
        raise ValueError(msg)
    if not image.is_floating_point():
        msg = (
            f"{name!r} must hold normalised floating point values, got {image.dtype}. Use "
            "(image.float() - mean) / std with the statistics of your data set."
        )
        raise ValueError(msg)
    channels = image.shape[-3]
    if channels != len(bands):
        msg = f"{name!r} must have {len(bands)} channels ({', '.join(bands)}) in {expected}, got {channels} in {given}."
        raise ValueError(msg)
    if 0 in given:
        msg = f"{name!r} is empty: shape {given}, expected {expected} with at least one of each."
        raise ValueError(msg)


def check_batch(images: Mapping[str, torch.Tensor]) -> None:
    """Refuse images of different numbers of samples.

    Raises
    ------
    ValueError
        With the number of each.
    """
    batches = {name: image.shape[0] for name, image in images.items()}
    first = next(iter(batches.values()))
    if any(n != first for n in batches.values()):
        listed = ", ".join(f"{name} {n}" for name, n in batches.items())
        msg = f"All modalities must have the same number of samples, got {listed}."
        raise ValueError(msg)


def square_side(name: str, image: torch.Tensor) -> int:
    """Return the side in pixels of a square image.

    Raises
    ------
    ValueError
        If it is not square.
    """
    height, width = image.shape[-2:]
    if height != width:
        msg = (
            f"{name!r} must be square, got {height} x {width} px. Crop it to {min(height, width)} px or cut "
            "it into square tiles."
        )
        raise ValueError(msg)
    return int(height)


def read_dates(name: str, data: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the dates ``(B, T)`` of a series.

    Raises
    ------
    ValueError
        If they are missing, of another shape, or of a dtype that cannot tell all days apart.
    """
    key = name + DATES
    batch, length = data[name].shape[:2]
    if key not in data:
        msg = (
            f"{name!r} is a series of {length} frames without dates. Add {key!r} with the day of the year "
            f"(1 January = 0) of every frame of every sample, shape (B, T) = ({batch}, {length})."
        )
        raise ValueError(msg)
    dates = data[key]
    if dates.shape != (batch, length):
        msg = (
            f"{key!r} must have one day per frame of {name!r}, shape (B, T) = ({batch}, {length}), got "
            f"{tuple(dates.shape)}. For the same days in all samples use dates.expand({batch}, {length})."
        )
        raise ValueError(msg)
    if dates.dtype in (torch.bool, torch.bfloat16) or dates.is_complex():
        msg = (
            f"{key!r} must hold days of the year in a dtype that tells all days apart, got {dates.dtype}. Keep "
            "dates as torch.long or torch.float32, in mixed precision, too."
        )
        raise ValueError(msg)
    return dates


def check_frames(name: str, frames: torch.Tensor) -> None:
    """Refuse a mask ``(B, T)`` that leaves a sample without a frame.

    Raises
    ------
    ValueError
        With the samples.
    """
    empty = ~frames.any(dim=1)
    if bool(empty.any()):
        msg = (
            f"{name + MASK!r} leaves no valid frame in samples {empty.nonzero().flatten().tolist()}. Every "
            "sample needs one; leave out the samples or the modality."
        )
        raise ValueError(msg)


def check_finite(name: str, pixels: torch.Tensor, *, series: bool) -> None:
    """Refuse NaN and infinity.

    Raises
    ------
    ValueError
        With their number, the samples, and the mask that leaves frames of a series out.
    """
    finite = torch.isfinite(pixels)
    if finite.all():
        return
    samples = (~finite).flatten(1).any(dim=1).nonzero().flatten().tolist()
    mask = f" or leave the frames out with a {name + MASK!r} of shape (B, T)" if series else ""
    msg = (
        f"{name!r} holds {int((~finite).sum())} NaN or infinite values in samples {samples}; one would spoil "
        f"its whole sample. Fill them{mask}."
    )
    raise ValueError(msg)


def check_days(name: str, dates: torch.Tensor, first: int, last: int, advice: str) -> None:
    """Refuse days outside of those that an encoder knows.

    Parameters
    ----------
    name : str
        The series.
    dates : Tensor
        ``(B, T)``.
    first, last : int
        First and last day; 0 is 1 January.
    advice : str
        What to do about others.

    Raises
    ------
    ValueError
        With the range of what came.
    """
    key = name + DATES
    check_dates_are_numbers(name, dates)
    lowest, highest = float(dates.min()), float(dates.max())
    if lowest < first or highest > last:
        msg = (
            f"{key!r} must hold days of the year, {first} (1 January) to {last}, got values from "
            f"{lowest:g} to {highest:g}. {advice}"
        )
        raise ValueError(msg)


def check_dates_are_numbers(name: str, dates: torch.Tensor) -> None:
    """Refuse NaN and infinity among dates.

    Raises
    ------
    ValueError
        With the remedy.
    """
    if not torch.isfinite(dates).all():
        msg = f"{name + DATES!r} holds NaN or infinity. Every frame needs a date; leave undated frames out."
        raise ValueError(msg)
