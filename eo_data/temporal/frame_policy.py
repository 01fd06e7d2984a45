"""How the acquisitions of a series become frames, as a config states it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, get_args

import numpy as np

from eo_core.arguments import one_of
from eo_data.temporal.calendar_date import parse_date
from eo_data.temporal.frames import Empty, Frames, Keep, Method, all_acquisitions, bins, composites, nearest

Mode = Literal["all", "composites", "nearest"]


@dataclass(frozen=True)
class FramePolicy:
    """How the acquisitions of a series become frames.

    Parameters
    ----------
    mode : {'all', 'composites', 'nearest'}
        ``all``: every acquisition, padded to ``frames`` by frames that are masked. ``composites``: one per equal part
        of the window from ``start`` to ``end``. ``nearest``: the acquisition nearest to each of ``dates``.
    frames : int, optional
        Number of frames T. With ``all`` it may be left out; batches then need samples of equal length.
    start, end : str, optional
        Window of the composites, ISO dates, the end excluded.
    method : {'median', 'mean', 'least_cloudy'}
        How a composite is made of the acquisitions in its part of the window.
    empty : {'mask', 'whole_window'}
        What stands for a part without acquisitions: a masked frame, or the composite of the whole window, which the
        export records.
    dates : sequence of str
        Wanted dates of ``nearest``, ISO.
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
    start: str | None = None
    end: str | None = None
    method: Method = "median"
    empty: Empty = "mask"
    dates: Sequence[str] = ()
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
        if self.mode == "composites":
            bins(parse_date(self.start), parse_date(self.end), int(self.frames or 0))
        for day in self.dates:
            parse_date(day)

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
            If shapes disagree, or there are more acquisitions than frames and nothing says what to keep.
        """
        if self.mode == "composites":
            window = parse_date(self.start), parse_date(self.end)
            return composites(
                pixels, dates, *window, int(self.frames or 0), method=self.method, clear=clear, empty=self.empty
            )
        if clear is not None:
            pixels = np.where(clear[:, None], pixels, np.float32(np.nan))
        if self.mode == "nearest":
            return nearest(pixels, dates, [parse_date(day) for day in self.dates], self.max_days)
        return all_acquisitions(pixels, dates, self.frames, keep=None if self.keep == "none" else self.keep)
