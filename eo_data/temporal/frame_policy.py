"""How the acquisitions of a series become frames, as a config states it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal, get_args

import numpy as np

from eo_core.arguments import one_of
from eo_data.temporal.calendar_date import date_text, parse_date
from eo_data.temporal.frames import Empty, Frames, Keep, Method, all_acquisitions, bins, composites, listed, nearest

Mode = Literal["all", "composites", "nearest"]
#: How many dates a message lists.
_SHOWN = 8


@dataclass(frozen=True)
class FramePolicy:
    """How the acquisitions of a series become frames.

    Dates are ISO text; what YAML makes of one without quotes becomes that text.

    Parameters
    ----------
    mode : {'all', 'composites', 'nearest'}
        ``all``: every acquisition, padded to ``frames`` by frames that are masked. ``composites``: one per equal part
        of the window from ``start`` to ``end``. ``nearest``: the acquisition nearest to each of ``dates``.
    frames : int, optional
        Number of frames T. With ``all`` it may be left out; batches then need samples of equal length.
    start, end : str or date, optional
        Window in which an acquisition counts, the end excluded; it is open where one is not stated. ``composites``
        need both. A sample without an acquisition in it is an error.
    method : {'median', 'mean', 'least_cloudy'}
        How a composite is made of the acquisitions in its part of the window.
    empty : {'mask', 'whole_window'}
        What stands for a part without acquisitions: a masked frame, or the composite of the whole window, which the
        export records.
    dates : sequence of str or date
        Wanted dates of ``nearest``, one a frame.
    max_days : int, optional
        ``nearest``: the largest distance in days at which an acquisition still counts; any by default.
    keep : {'first', 'least_cloudy', 'none'}, optional
        ``all``: which acquisitions to keep if there are more than ``frames``; by default, and with ``none``, that is
        an error.

    Raises
    ------
    ValueError
        For a value that is not valid, or settings that do not go together.
    """

    mode: Mode = "all"
    frames: int | None = None
    start: str | date | None = None
    end: str | date | None = None
    method: Method = "median"
    empty: Empty = "mask"
    dates: Sequence[str | date] = ()
    max_days: int | None = None
    keep: Keep | Literal["none"] | None = None

    def __post_init__(self) -> None:
        """Check what belongs together."""
        one_of("mode", self.mode, get_args(Mode))
        one_of("method", self.method, get_args(Method))
        one_of("empty", self.empty, get_args(Empty))
        one_of("keep", self.keep, (None, *get_args(Keep)))
        needs = {"composites": ("frames", "start", "end"), "nearest": ("dates",)}.get(self.mode, ())
        unset = [name for name in needs if not getattr(self, name)]
        if unset:
            msg = f"Frames by {self.mode!r} need {', '.join(needs)}; {', '.join(unset)} is not set."
            raise ValueError(msg)
        self._store_dates_as_text()
        first, last = self.window
        if first and last:
            bins(first, last, int(self.frames or 1) if self.mode == "composites" else 1)
        if self.dates and self.mode != "nearest":
            msg = f"Only mode: nearest takes dates, got mode: {self.mode} and {len(self.dates)} dates. Leave one out."
            raise ValueError(msg)
        if self.mode == "nearest" and self.frames not in (None, len(self.dates)):
            msg = f"nearest makes one frame a date: got {len(self.dates)} dates and frames: {self.frames}."
            raise ValueError(msg)

    def _store_dates_as_text(self) -> None:
        """Keep text as it is written, so that a fingerprint does not depend on quotes."""
        for name in ("start", "end"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, date_text(value))
        if isinstance(self.dates, str):
            msg = f"dates must list the wanted dates, such as ['2021-06-01'], got {self.dates!r}."
            raise ValueError(msg)
        texts = [date_text(day) for day in self.dates]
        if texts != list(self.dates):
            object.__setattr__(self, "dates", texts)

    @property
    def window(self) -> tuple[date | None, date | None]:
        """Start and end, the end excluded; ``None`` where it is not stated."""
        return (
            None if self.start is None else parse_date(self.start),
            None if self.end is None else parse_date(self.end),
        )

    @property
    def count(self) -> int | None:
        """Number of frames, if it is the same for all samples."""
        return len(self.dates) if self.mode == "nearest" else self.frames

    def apply(self, pixels: np.ndarray, dates: Sequence[date], clear: np.ndarray | None) -> Frames:
        """Turn acquisitions into frames.

        Parameters
        ----------
        pixels : ndarray, (T, C, H, W), float32
            Series in any order, NaN where nothing was observed.
        dates : sequence of date
            One per acquisition.
        clear : ndarray, (T, H, W), bool, optional
            False pixels count as missing.

        Raises
        ------
        ValueError
            If shapes disagree, there is no acquisition in the window, or there are more acquisitions than frames and
            nothing says what to keep.
        """
        inside = self._inside(dates)
        if self.mode == "composites":
            window = parse_date(self.start), parse_date(self.end)
            return composites(
                pixels, dates, *window, int(self.frames or 0), method=self.method, clear=clear, empty=self.empty
            )
        outside = [day for day, kept in zip(dates, inside, strict=True) if not kept]
        if outside and len(pixels) == len(dates):
            pixels, dates = pixels[inside], [day for day, kept in zip(dates, inside, strict=True) if kept]
            clear = None if clear is None else clear[inside]
        if clear is not None:
            pixels = np.where(clear[:, None], pixels, np.float32(np.nan))
        if self.mode == "nearest":
            frames = nearest(pixels, dates, [parse_date(day) for day in self.dates], self.max_days)
        else:
            frames = all_acquisitions(pixels, dates, self.frames, keep=None if self.keep == "none" else self.keep)
        return replace(frames, note=(*listed("outside the window", sorted(outside)), *frames.note))

    def _inside(self, dates: Sequence[date]) -> np.ndarray:
        """Return which acquisitions the window holds, bool ``(T,)``.

        Raises
        ------
        ValueError
            If it holds none of them.
        """
        first, last = self.window
        inside = np.array([(not first or first <= day) and (not last or day < last) for day in dates], dtype=bool)
        if len(dates) and not inside.any():
            known = sorted(dates)
            rest = f" and {len(known) - _SHOWN} more until {known[-1]}" if len(known) > _SHOWN else ""
            stated = f"{f'from {first} on' if first else 'any start'}, {f'before {last}' if last else 'any end'}"
            msg = (
                f"No acquisition is in the window of the frames (start, end: {stated}). There are: "
                f"{', '.join(day.isoformat() for day in known[:_SHOWN])}{rest}. Change start and end, or leave samples "
                "without one out (on_error: skip)."
            )
            raise ValueError(msg)
        return inside
