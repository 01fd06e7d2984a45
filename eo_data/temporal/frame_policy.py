"""How the acquisitions of a series become frames, as a config states it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from eo_core.arguments import one_of
from eo_data.temporal.calendar_date import parse_date
from eo_data.temporal.frames import METHODS, Frames, all_acquisitions, bins, composites, nearest


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
        What a composite is.
    empty : {'mask', 'whole_window'}
        Composite of a part without acquisitions: a masked frame, or the composite of the whole window (recorded).
    dates : sequence of str
        Wanted dates of ``nearest``.
    max_days : int, optional
        ``nearest``: farthest acquisition that still counts.
    keep : {'first', 'least_cloudy'}, optional
        ``all``: which of more than ``frames`` acquisitions to keep; an error otherwise.
    """

    mode: str = "all"
    frames: int | None = None
    start: str | None = None
    end: str | None = None
    method: str = "median"
    empty: str = "mask"
    dates: Sequence[str] = ()
    max_days: int | None = None
    keep: str | None = None

    def __post_init__(self) -> None:
        """Check what belongs together."""
        if self.mode not in ("all", "composites", "nearest"):
            msg = f"mode must be all, composites or nearest, got {self.mode!r}."
            raise ValueError(msg)
        one_of("method", self.method, METHODS)
        one_of("empty", self.empty, ("mask", "whole_window"))
        one_of("keep", self.keep, (None, "first", "least_cloudy"))
        needs = {"composites": ("frames", "start", "end"), "nearest": ("dates",)}.get(self.mode, ())
        lacking = [name for name in needs if not getattr(self, name)]
        if lacking:
            msg = f"Frames by {self.mode!r} need {', '.join(needs)}; {', '.join(lacking)} is not set."
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
        """Turn acquisitions ``(T, C, H, W)`` into frames."""
        if self.mode == "composites":
            window = parse_date(self.start), parse_date(self.end)
            return composites(
                pixels, dates, *window, int(self.frames or 0), method=self.method, clear=clear, empty=self.empty
            )
        if clear is not None:
            pixels = np.where(clear[:, None], pixels, np.float32(np.nan))
        if self.mode == "nearest":
            return nearest(pixels, dates, [parse_date(day) for day in self.dates], self.max_days)
        return all_acquisitions(pixels, dates, self.frames, keep=self.keep)
