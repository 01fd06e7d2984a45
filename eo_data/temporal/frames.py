"""From a dated stack of acquisitions to the T frames of an encoder.

Three ways: all acquisitions, one composite per sub-window of time, or the acquisition nearest to given dates. A frame
without a pixel is masked, not invented.

The sub-windows, their midpoints and the rule for undated arrays are those of rs-embed's AnySat page. Arrays are series
``(T, C, H, W)``; a missing value is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Literal, get_args

import numpy as np

from eo_core.arguments import one_of
from eo_data.temporal.calendar_date import day_of_year, parse_date

#: How a composite is made.
Method = Literal["median", "mean", "least_cloudy"]
#: What stands for a sub-window without a pixel.
Empty = Literal["mask", "whole_window"]
#: What to keep of too many acquisitions.
Keep = Literal["first", "least_cloudy"]


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames ready for an encoder.

    Parameters
    ----------
    pixels : ndarray, (T, C, H, W), float32
        NaN where nothing was observed.
    dates : tuple of datetime.date
        One per frame.
    observed : ndarray, (T,), bool
        Whether the frame has any pixel.
    note : tuple of str
        What was left out, padded or filled.
    """

    pixels: np.ndarray
    dates: tuple[date, ...]
    observed: np.ndarray
    note: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.dates)
        if self.pixels.ndim != 4 or len(self.pixels) != count or self.observed.shape != (count,):
            msg = (
                f"Expected pixels (T, C, H, W), T dates and observed (T,), got pixels {self.pixels.shape}, "
                f"{count} dates and observed {self.observed.shape}."
            )
            raise ValueError(msg)

    @property
    def days(self) -> np.ndarray:
        """Day of year of each frame, (T,), int64, 0..364."""
        return np.array([day_of_year(day) for day in self.dates], dtype=np.int64)


def bins(start: date, end: date, n: int) -> list[tuple[date, date]]:
    """Split a window of time into equal sub-windows.

    Bound i is ``start + floor(days * i / n)`` days; a sub-window that this leaves empty becomes one day. So sub-windows
    overlap where the window has fewer days than n.

    Parameters
    ----------
    start, end : datetime.date
        The window; ``end`` is not part of it.
    n : int
        Number of sub-windows.

    Returns
    -------
    list of (date, date)
        Start and end of each; the end is not part of it.

    Raises
    ------
    ValueError
        If the window is empty or n is not positive.
    """
    days = (end - start).days
    if days <= 0:
        msg = f"Expected a window whose start lies before its end (which is not part of it), got {start} to {end}."
        raise ValueError(msg)
    _check_count(n)
    bounds = [start + timedelta(days=days * i // n) for i in range(n + 1)]
    return [(low, max(high, low + timedelta(days=1))) for low, high in pairwise(bounds)]


def midpoint(start: date, end: date) -> date:
    """Return the day in the middle of a window; of an odd number of days, the day whose noon is the middle."""
    return start + timedelta(days=(end - start).days // 2)


def all_acquisitions(
    pixels: np.ndarray,
    dates: Sequence[date],
    n: int | None = None,
    *,
    keep: Keep | None = None,
    clear: np.ndarray | None = None,
) -> Frames:
    """Take every acquisition, in order of date.

    Parameters
    ----------
    pixels : ndarray, (T, C, H, W)
        Series in any order.
    dates : sequence of date
        One per acquisition.
    n : int, optional
        Number of frames; missing ones are NaN, not observed, with the last date repeated. By default as many as there
        are acquisitions.
    keep : {'first', 'least_cloudy'}, optional
        What to keep of more than n: the first ones, or those with the largest share of pixels (the earlier of equal
        ones). By default more than n are an error.
    clear : ndarray, (T, H, W), bool, optional
        False pixels become NaN.

    Raises
    ------
    ValueError
        If shapes disagree, there is no acquisition, or there are more than n.
    """
    days = _checked(pixels, dates, clear)
    one_of("keep", keep, (None, *get_args(Keep)))
    order = _by_date(days)
    if n is not None:
        _check_count(n)
    count = len(order) if n is None else n
    chosen = order
    if len(order) > count:
        if keep is None:
            msg = (
                f"Got {len(order)} acquisitions for {count} frames. Raise the number of frames, set keep to 'first' or "
                "'least_cloudy', or make composites."
            )
            raise ValueError(msg)
        ranked = order if keep == "first" else _clearest(pixels, order, clear)
        chosen = [i for i in order if i in set(ranked[:count])]
    result = _missing(count, pixels)
    for slot, i in enumerate(chosen):
        result[slot] = _frame(pixels, i, clear)
    left_out = [days[i] for i in order if i not in set(chosen)]
    padded = count - len(chosen)
    note = listed("left out", left_out) + ((f"{padded} frames padded",) if padded else ())
    kept = [days[i] for i in chosen]
    return _frames(result, (*kept, *[kept[-1]] * padded), note)


def composites(
    pixels: np.ndarray,
    dates: Sequence[date],
    start: date,
    end: date,
    n: int,
    method: Method = "median",
    clear: np.ndarray | None = None,
    empty: Empty = "mask",
) -> Frames:
    """Make one composite per sub-window, dated with the sub-window's midpoint.

    Parameters
    ----------
    pixels : ndarray, (T, C, H, W)
        Series in any order.
    dates : sequence of date
        One per acquisition. Acquisitions outside the window are left out.
    start, end, n
        As in `bins`.
    method : {'median', 'mean', 'least_cloudy'}
        Median or mean of what each pixel has (the median of an even number is the mean of the middle two), or the whole
        acquisition with the largest share of pixels (the earlier of equal ones).
    clear : ndarray, (T, H, W), bool, optional
        False pixels become NaN before anything else.
    empty : {'mask', 'whole_window'}
        What becomes of a sub-window without a pixel: a NaN frame that is not observed; or, as rs-embed does, the
        composite of the whole window, which then counts as observed and is named in the note.

    Raises
    ------
    ValueError
        If shapes disagree, the window is empty, or an option is unknown.
    """
    days = _checked(pixels, dates, clear)
    one_of("method", method, get_args(Method))
    one_of("empty", empty, get_args(Empty))
    first, last = parse_date(start), parse_date(end)
    windows = bins(first, last, n)
    order = _by_date(days)
    inside = [i for i in order if first <= days[i] < last]
    note = list(listed("outside the window", [days[i] for i in order if i not in set(inside)]))
    result = _missing(n, pixels)
    for slot, (low, high) in enumerate(windows):
        members = [i for i in inside if low <= days[i] < high]
        _composite(result[slot], pixels, members, method, clear)
    bare = [slot for slot in range(n) if not _has_pixel(result[slot])]
    if bare and empty == "whole_window":
        filling = _missing(1, pixels)[0]
        _composite(filling, pixels, inside, method, clear)
        result[bare] = filling
    done = "filled with the composite of the whole window" if empty == "whole_window" else "masked"
    note += [f"no pixel from {windows[slot][0]} to {windows[slot][1]}: {done}" for slot in bare]
    return _frames(result, [midpoint(low, high) for low, high in windows], tuple(note))


def nearest(
    pixels: np.ndarray,
    dates: Sequence[date],
    wanted: Sequence[date],
    max_days: int | None = None,
    *,
    clear: np.ndarray | None = None,
) -> Frames:
    """Take the acquisition nearest to each wanted date, with its own date.

    Parameters
    ----------
    pixels : ndarray, (T, C, H, W)
        Series in any order.
    dates : sequence of date
        One per acquisition.
    wanted : sequence of date
        One per frame, in the order of the frames. Of two acquisitions at equal distance the earlier is taken.
    max_days : int, optional
        Beyond this distance the frame is NaN, not observed, and has the wanted date. By default any distance will do.
    clear : ndarray, (T, H, W), bool, optional
        False pixels become NaN.

    Raises
    ------
    ValueError
        If shapes disagree, no date is wanted, or max_days is negative.
    """
    days = _checked(pixels, dates, clear)
    targets = [parse_date(day) for day in wanted]
    if not targets or (max_days is not None and max_days < 0):
        msg = f"Expected one or more wanted dates and max_days >= 0 or null, got {len(targets)} and {max_days}."
        raise ValueError(msg)
    order = _by_date(days)
    result = _missing(len(targets), pixels)
    taken, note = [], []
    for slot, target in enumerate(targets):
        i = min(order, key=lambda j: abs((days[j] - target).days))
        distance = abs((days[i] - target).days)
        if max_days is not None and distance > max_days:
            note.append(f"no acquisition within {max_days} days of {target} (nearest: {days[i]}): masked")
            taken.append(target)
            continue
        result[slot] = _frame(pixels, i, clear)
        taken.append(days[i])
    return _frames(result, taken, tuple(note))


def resample_frames(array: np.ndarray, n: int) -> np.ndarray:
    """Bring an undated array to exactly n frames, as rs-embed's AnySat page has it.

    Parameters
    ----------
    array : ndarray, (C, H, W) or (T, C, H, W)
        One image is repeated n times. A series is cut behind frame n, or its last frame is repeated.
    n : int
        Number of frames.

    Returns
    -------
    ndarray, (n, C, H, W), float32

    Raises
    ------
    ValueError
        If the array has another number of axes, or an axis of length 0.
    """
    _check_count(n)
    if array.ndim not in (3, 4) or 0 in array.shape:
        msg = f"Expected an image (C, H, W) or a series (T, C, H, W) without an empty axis, got shape {array.shape}."
        raise ValueError(msg)
    series = array[None] if array.ndim == 3 else array
    picked = np.minimum(np.arange(n), len(series) - 1)
    return series[picked].astype(np.float32, copy=False)


def _check_count(n: int) -> None:
    if n < 1:
        msg = f"Expected one or more frames, got {n}."
        raise ValueError(msg)


def _checked(pixels: np.ndarray, dates: Sequence[date], clear: np.ndarray | None) -> list[date]:
    """Check a dated series and return its dates."""
    if pixels.ndim != 4 or 0 in pixels.shape or not np.issubdtype(pixels.dtype, np.floating):
        msg = (
            "Expected a series (T, C, H, W) of float32 with NaN where nothing was observed and no empty axis, "
            f"got {pixels.dtype} of shape {pixels.shape}. Convert the units first."
        )
        raise ValueError(msg)
    if len(dates) != len(pixels):
        msg = f"Expected one date per acquisition, got {len(dates)} dates for a series of shape {pixels.shape}."
        raise ValueError(msg)
    shape = (len(pixels), *pixels.shape[2:])
    if clear is not None and (clear.shape != shape or clear.dtype != np.bool_):
        msg = f"Expected clear to be bool (T, H, W) = {shape}, True = clear, got {clear.dtype} {clear.shape}."
        raise ValueError(msg)
    return [parse_date(day) for day in dates]


def _by_date(days: Sequence[date]) -> list[int]:
    return sorted(range(len(days)), key=lambda i: days[i])


def _missing(count: int, pixels: np.ndarray) -> np.ndarray:
    return np.full((count, *pixels.shape[1:]), np.nan, dtype=np.float32)


def _has_pixel(frame: np.ndarray) -> bool:
    return not np.isnan(frame).all()


def _frames(result: np.ndarray, days: Sequence[date], note: tuple[str, ...]) -> Frames:
    observed = np.array([_has_pixel(frame) for frame in result], dtype=np.bool_)
    return Frames(result, tuple(days), observed, note)


def listed(what: str, days: Sequence[date]) -> tuple[str, ...]:
    """Return a note that lists days; none without days."""
    return (f"{what}: {', '.join(day.isoformat() for day in days)}",) if days else ()


def _frame(pixels: np.ndarray, i: int, clear: np.ndarray | None) -> np.ndarray:
    return pixels[i] if clear is None else np.where(clear[i], pixels[i], np.float32(np.nan))


def _clearest(pixels: np.ndarray, members: Sequence[int], clear: np.ndarray | None) -> list[int]:
    """Return the acquisitions by falling number of pixels; equal ones stay in order."""
    return sorted(members, key=lambda i: int(np.isnan(_frame(pixels, i, clear)).sum()))


def _composite(
    out: np.ndarray, pixels: np.ndarray, members: Sequence[int], method: Method, clear: np.ndarray | None
) -> None:
    """Write the composite of some acquisitions to ``out`` (C, H, W), one band at a time to spare memory."""
    if not members:
        return
    if method == "least_cloudy":
        out[:] = _frame(pixels, _clearest(pixels, members, clear)[0], clear)
        return
    hidden = None if clear is None else ~clear[members]
    for band in range(len(out)):
        stack = pixels[members, band]
        if hidden is not None:
            stack[hidden] = np.nan
        out[band] = _median(stack) if method == "median" else _mean(stack)


def _median(stack: np.ndarray) -> np.ndarray:
    """Median of what is there along axis 0; sorts ``stack`` in place, which puts NaN last."""
    stack.sort(axis=0)
    count = np.count_nonzero(~np.isnan(stack), axis=0)[None]
    low = np.take_along_axis(stack, np.maximum(count - 1, 0) // 2, axis=0)
    high = np.take_along_axis(stack, count // 2, axis=0)
    return (low[0] + high[0]) / 2


def _mean(stack: np.ndarray) -> np.ndarray:
    count = np.count_nonzero(~np.isnan(stack), axis=0)
    total = np.nansum(stack, axis=0, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
