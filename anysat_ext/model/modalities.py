"""The eleven modalities of AnySat: bands in the order of the weights, pixel sizes, projectors and published statistics.

Source: the model card and the release configuration of gastruc/AnySat at commit e03e72e. Everything here is data;
nothing is computed from it at import.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

#: Side in metres of the cell that patch sizes are counted in.
CELL_METRES = 10


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation per band, and the data set that they come from.

    The published loaders take the mean over images of each image's mean, and the mean over images of each image's
    standard deviation (not the pooled one).
    """

    dataset: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Modality:
    """What AnySat knows about one sensor.

    Parameters
    ----------
    name : str
        Published key, also in parameter names.
    bands : tuple of str
        In the order that the weights expect.
    pixel_metres : float
        Pixel size on the ground.
    is_series : bool
        Dated series ``(B, T, C, H, W)``; else a single-date image ``(B, C, H, W)``.
    token_metres : int
        Ground size of a sub-patch token, the unit of its position encoding.
    kernel : int
        Pixels per side of the embedding convolution of an image; 1 for a series.
    period : int
        Largest wavelength base of the date encoding, in days; unused for an image.
    frames_normalised : bool
        Whether a group norm runs over the frames of a pixel (Sentinel-2 only). It couples the frames.
    training_reduce_scale : int
        By how much a patch has fewer tokens per side than 10 m cells, as trained.
    dropout : float
        Published rate of the projector while training.
    statistics : Statistics or None
        Published ones, where there are any.
    """

    name: str
    bands: tuple[str, ...]
    pixel_metres: float
    is_series: bool = True
    token_metres: int = CELL_METRES
    kernel: int = 1
    period: int = 367
    frames_normalised: bool = False
    training_reduce_scale: int = 1
    dropout: float = 0.2
    statistics: Statistics | None = None

    @property
    def n_bands(self) -> int:
        """Number of channels C."""
        return len(self.bands)

    @property
    def tokens_per_cell(self) -> int:
        """Tokens along 10 m: 5 for aerial images, else 1 (also where a pixel is coarser)."""
        return max(1, CELL_METRES // self.token_metres)

    @property
    def is_context(self) -> bool:
        """Whether the image is one token for the whole tile instead of a grid of patches (MODIS)."""
        return self.name == "modis"


_TREESAT_AERIAL = Statistics(
    "TreeSatAI-TS",
    (150.89349365234375, 92.7138900756836, 84.85437774658203, 80.70423889160156),
    (36.764923095703125, 27.62498664855957, 22.479450225830078, 26.733688354492188),
)
_TREESAT_S2 = Statistics(
    "TreeSatAI-TS",
    (
        *(4304.32958984375, 4159.2666015625, 4057.776611328125, 4328.951171875, 4571.22119140625),
        *(4644.87109375, 4837.2470703125, 4700.2578125, 2823.264404296875, 2319.97021484375),
    ),
    (
        *(3537.99755859375, 3324.23486328125, 3270.070068359375, 3250.530029296875, 2897.391357421875),
        *(2754.4970703125, 2821.521484375, 2625.952392578125, 1731.56298828125, 1549.3028564453125),
    ),
)
_TREESAT_S1 = Statistics(
    "TreeSatAI-TS",
    (3.2893013954162598, -3.682938814163208, 0.6116273403167725),
    (40.11152267456055, 40.535335540771484, 1.0343183279037476),
)

# The model card names the bands of `aerial` R, G, B, NIR, but the only data that its weights have seen (TreeSatAI-TS)
# has statistics as if near infrared came first. Unresolved; the channels are taken in the order given.
_ALL = (
    Modality("aerial", ("R", "G", "B", "NIR"), 0.2, False, 2, kernel=10, statistics=_TREESAT_AERIAL),
    Modality("aerial-flair", ("R", "G", "B", "NIR", "elevation"), 0.2, False, 2, kernel=10),
    Modality("spot", ("R", "G", "B"), 1.0, False, kernel=10),
    Modality("naip", ("R", "G", "B", "NIR"), 1.25, False, kernel=8),
    Modality(
        "s2",
        ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"),
        10.0,
        frames_normalised=True,
        dropout=0.0,
        statistics=_TREESAT_S2,
    ),
    Modality("s1-asc", ("VV", "VH"), 10.0),
    Modality("s1", ("VV", "VH", "VV/VH"), 10.0, statistics=_TREESAT_S1),
    Modality("alos", ("HH", "HV", "HH/HV"), 30.0, token_metres=30, training_reduce_scale=3),
    Modality("l7", ("B1", "B2", "B3", "B4", "B5", "B7"), 30.0, token_metres=30, training_reduce_scale=3),
    # Resampled to 10 m. The only series with a period of 366 days.
    Modality("l8", ("B8", "B1", "B2", "B3", "B4", "B5", "B6", "B7", "B9", "B10", "B11"), 10.0, period=366),
    Modality("modis", tuple(f"B{i}" for i in range(1, 8)), 250.0, token_metres=250, training_reduce_scale=12),
)

MODALITIES: Mapping[str, Modality] = MappingProxyType({modality.name: modality for modality in _ALL})


def select_modalities(names: Iterable[str] | None) -> tuple[str, ...]:
    """Return the names of the wanted modalities (all for ``None``) in the order of the table.

    Raises
    ------
    ValueError
        For an unknown or repeated name, or none at all.
    """
    if names is None:
        return tuple(MODALITIES)
    wanted = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in wanted if name not in MODALITIES]
    if unknown or not wanted or len(set(wanted)) != len(wanted):
        fault = f"unknown: {', '.join(map(repr, unknown))}" if unknown else f"got {wanted!r}"
        valid = ", ".join(MODALITIES)
        msg = f"modalities must name some of the modalities of AnySat, each once ({fault}). Valid: {valid}."
        raise ValueError(msg)
    return tuple(name for name in MODALITIES if name in wanted)
