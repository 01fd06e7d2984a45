"""What a caller of `eo_embed.embed` asks for, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, get_args

import torch

from eo_core.arguments import one_of
from eo_data.catalog.scenes.place_records import Merge
from eo_data.catalog.scenes.place_scenes import Limits
from eo_data.catalog.scenes.scene import Orbit, time_window
from eo_data.catalog.shards import Shard
from eo_data.catalog.tiles import tiling_of
from eo_data.temporal.calendar_date import parse_date
from eo_data.temporal.frame_policy import FramePolicy
from eo_embed.export.settings import ExportSettings
from eo_models.precision.matmul import Matmul, check_matmul
from eo_models.precision.numbers import Arithmetic, Precision, check_precision

#: What `frames` may be: a policy, ``all``, ``median``, a number of equal parts of the window, or the wanted dates.
type Frames = FramePolicy | str | int | Sequence[str | date] | None
#: A window of dates, the end excluded.
type TimeWindow = tuple[str | date, str | date]


@dataclass(frozen=True)
class EncoderOptions:
    """Which encoder, with which weights, where and how it runs.

    Parameters
    ----------
    name : str
        Name in TerraTorch's registry.
    pretrained : bool
        Load the published weights, unless ``ckpt`` is given.
    ckpt : str, optional
        File of weights.
    revision : str, optional
        Hugging Face revision of the published weights.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    precision : {'auto', '32', 'bf16', 'int8', '32-true', 'bf16-mixed', '16-mixed'}
        In which numbers it computes, see `eo_models.precision.numbers`.
    matmul : {'highest', 'high', 'medium'}
        In which precision products of float32 matrices are computed, see `eo_models.precision.matmul`.
    own : mapping
        Options that are the encoder's own: ``patch_size``, ``image_size``, ``normalization`` ...
    """

    name: str
    pretrained: bool = True
    ckpt: str | None = None
    revision: str | None = None
    device: str = "auto"
    precision: Precision | int = "32"
    matmul: Matmul = "highest"
    own: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_precision(self.precision)
        check_matmul(self.matmul)

    def arithmetic(self, device: torch.device) -> Arithmetic:
        """Return in which numbers it computes on a device.

        Raises
        ------
        ValueError
            If the device lacks them.
        """
        return Arithmetic.of(check_precision(self.precision), self.matmul, device)

    @property
    def weights(self) -> dict[str, Any]:
        """Arguments of the backbone that say which weights it has."""
        stated: dict[str, Any] = {"pretrained": self.pretrained}
        stated |= {} if self.ckpt is None else {"ckpt": str(self.ckpt)}
        return stated | ({} if self.revision is None else {"revision": self.revision})


@dataclass(frozen=True)
class Request:
    """All that a call asks for, but the images.

    Parameters
    ----------
    encoder : EncoderOptions
        The encoder.
    settings : ExportSettings
        What is taken from it, and how it is stored.
    frames : FramePolicy, str, int or sequence of date, optional
        How acquisitions become frames; by default what suits the encoder.
    time : tuple of date, optional
        Start and end, the end excluded.
    tile : int, optional
        Side of tiles in pixels.
    halo : int, optional
        What a tile sees on each side of the part that is kept of it, in pixels.
    merge : {'day', 'pass'}
        Of places: what one frame is made of, see `eo_data.catalog.scenes.place_records.PlaceOptions`.
    max_cloud, orbit
        Of places: which scenes count, see `eo_data.catalog.scenes.place_scenes.Limits`.
    shard : Shard, optional
        The part of many places that is encoded.

    Raises
    ------
    ValueError
        If the time is no pair of dates, or ends before it begins; for what cannot be meant of scenes; or for a halo
        without tiles.
    """

    encoder: EncoderOptions
    settings: ExportSettings
    frames: Frames = None
    time: TimeWindow | None = None
    tile: int | None = None
    merge: Merge = "day"
    max_cloud: float | None = None
    orbit: Orbit | None = None
    halo: int | None = None
    shard: Shard | None = None

    def __post_init__(self) -> None:
        one_of("merge", self.merge, get_args(Merge))
        if self.tile is None:
            tiling_of(None, 1, self.halo)
        _ = self.limits

    @property
    def limits(self) -> Limits:
        """Which scenes count."""
        window = window_of(self.time)
        return Limits(None if window is None else time_window(*window), self.max_cloud, self.orbit)


def window_of(time: TimeWindow | None) -> tuple[str, str] | None:
    """Return a window of dates as ISO text.

    Raises
    ------
    ValueError
        If it is no pair of dates, or ends before it begins.
    """
    if time is None:
        return None
    if isinstance(time, str) or len(time) != 2:
        msg = f'time must be a window such as ("2022-06-01", "2022-09-01"), the end excluded, got {time!r}.'
        raise ValueError(msg)
    try:
        start, end = (parse_date(day) for day in time)
    except ValueError as error:
        msg = f'time must be a window such as ("2022-06-01", "2022-09-01"), got {time!r}: {error}'
        raise ValueError(msg) from error
    if end <= start:
        msg = f"time must end after it begins, got {start} .. {end}. Exchange them; the end itself is excluded."
        raise ValueError(msg)
    return start.isoformat(), end.isoformat()


def policy_of(frames: Frames, time: TimeWindow | None, *, series: bool, usual: int | None = None) -> FramePolicy:
    """Return how acquisitions become frames.

    Parameters
    ----------
    frames : FramePolicy, str, int or sequence of date, optional
        As `Request.frames`.
    time : tuple of date, optional
        The window in which acquisitions count.
    series : bool
        Whether the encoder reads series; else one frame is made.
    usual : int, optional
        Number of equal parts of the window where nothing is asked for; all acquisitions without.

    Raises
    ------
    ValueError
        If it makes several frames for an encoder of single images, or needs a window that is not stated.
    """
    policy = _policy(frames, window_of(time), series=series, usual=usual)
    if not series and policy.count != 1:
        msg = (
            f"This encoder reads single images, and frames={frames!r} makes a series. Use frames=1 (or leave it out) "
            'for one median composite, or one date such as frames=["2022-07-01"] for the acquisition nearest to it.'
        )
        raise ValueError(msg)
    return policy


def _policy(frames: Frames, window: tuple[str, str] | None, *, series: bool, usual: int | None) -> FramePolicy:
    start, end = window or (None, None)
    if isinstance(frames, FramePolicy):
        return frames
    if frames is None:
        frames = (usual if window else None) or "all" if series else 1
    if frames == "all":
        return FramePolicy(mode="all", start=start, end=end)
    frames = 1 if frames == "median" else frames
    if isinstance(frames, bool | str):
        msg = (
            f'frames must be "all", "median", a number of equal parts of the window, a list of dates, or a '
            f"FramePolicy, got {frames!r}."
        )
        raise ValueError(msg)
    if not isinstance(frames, int):
        return FramePolicy(mode="nearest", dates=list(frames), start=start, end=end)
    if window is None:
        msg = (
            f'frames={frames} are equal parts of a window, which is not known. Add dates=[...], or time=("...", "...").'
        )
        raise ValueError(msg)
    return FramePolicy(mode="composites", frames=frames, start=start, end=end)
