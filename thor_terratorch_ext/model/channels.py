"""THOR's channels and groups, and how a list of band names becomes a selection of them.

Source of the tables: the channel and group configuration of the published THOR 1.0 encoder (FM4CS/THOR).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from eo_data.sensors.tables import SENTINEL_SENSORS, find_band, spelling


@dataclass(frozen=True)
class Group:
    """A set of channels that share one token grid.

    Parameters
    ----------
    index : int
        Position in the published group list; also the row of the group embedding.
    gsd : int
        Pixel size in metres that THOR expects (not the native one: OLCI's 300 m comes as 240 m).
    channels : tuple of str
        THOR channel names in the published order.
    """

    index: int
    gsd: int
    channels: tuple[str, ...]

    @property
    def name(self) -> str:
        """The published name, ``group<index>``."""
        return f"group{self.index}"


def _olci(first: int, last: int) -> tuple[str, ...]:
    return tuple(f"S3:Oa{i:02d}_reflectance" for i in range(first, last + 1))


GROUPS: tuple[Group, ...] = (
    Group(0, 10, ("S2:Red", "S2:Green", "S2:Blue", "S2:NIR")),
    Group(1, 20, ("S2:RE1", "S2:RE2", "S2:RE3", "S2:RE4", "S2:SWIR1", "S2:SWIR2")),
    Group(2, 60, ("S2:CoastAerosal", "S2:WaterVapor")),
    Group(3, 10, ("S1:IW-VH", "S1:IW-VV", "S1:EW-VH", "S1:EW-VV")),
    Group(4, 10, ("S1:IW-HV", "S1:IW-HH", "S1:EW-HV", "S1:EW-HH")),
    Group(5, 240, _olci(1, 7)),
    Group(6, 240, _olci(8, 14)),
    Group(7, 240, _olci(15, 21)),
    Group(8, 480, tuple(f"S3:S{i}_reflectance_an" for i in range(1, 7))),
    Group(9, 960, tuple(f"S3:S{i}_BT_in" for i in range(7, 10))),
)

GROUP_OF: Mapping[str, Group] = MappingProxyType({channel: group for group in GROUPS for channel in group.channels})

#: All 50 channels. Sentinel-2, Sentinel-1 and Sentinel-3 blocks stand in the published order.
CHANNELS: tuple[str, ...] = (
    *(channel for group in GROUPS[:3] for channel in group.channels),
    *("S1:IW-VV", "S1:IW-VH", "S1:IW-HV", "S1:IW-HH", "S1:EW-VV", "S1:EW-VH", "S1:EW-HV", "S1:EW-HH"),
    *(channel for group in GROUPS[5:] for channel in group.channels),
)

#: The band list of the published loader when none is given; its order is the order of the input channels.
DEFAULT_BANDS: tuple[str, ...] = (
    *("COASTAL_AEROSOL", "BLUE", "GREEN", "RED", "NIR_BROAD", "RED_EDGE_1", "RED_EDGE_2"),
    *("RED_EDGE_3", "NIR_NARROW", "SWIR_1", "SWIR_2", "WATER_VAPOR", "VV", "VH"),
)

_CHANNEL_OF_BAND: Mapping[str, str] = MappingProxyType(
    {find_band(channel, SENTINEL_SENSORS).name: channel for channel in CHANNELS}
)
_SAR_GSD_SUFFIX = re.compile(r"^(?=(?:.*_)?(?:VV|VH|HH|HV)_)(?P<band>.+)_(?P<gsd>\d+)$", re.IGNORECASE)


def weight_name(channel: str) -> str:
    """Name of the patch embedding that a channel uses: IW and EW share theirs per polarisation."""
    return re.sub(r"^S1:(IW|EW)-", "S1:", channel)


WEIGHT_NAMES: tuple[str, ...] = tuple(dict.fromkeys(weight_name(channel) for channel in CHANNELS))


@dataclass(frozen=True)
class BandSelection:
    """The bands that a model reads, in the order of the input channels.

    Parameters
    ----------
    bands : tuple of str
        As the user wrote them.
    channels : tuple of str
        The THOR channel of each band.
    group_gsd : tuple of int
        Pixel size in metres of each of the ten groups, after the GSD suffixes of radar bands.
    """

    bands: tuple[str, ...]
    channels: tuple[str, ...]
    group_gsd: tuple[int, ...]

    def groups(self) -> tuple[Group, ...]:
        """Groups with at least one selected band, in ascending order."""
        used = {GROUP_OF[channel].index for channel in self.channels}
        return tuple(group for group in GROUPS if group.index in used)

    def members(self, group: Group) -> tuple[str, ...]:
        """Selected channels of a group in the group's own order."""
        return tuple(channel for channel in group.channels if channel in self.channels)

    def gsd(self, channel: str) -> int:
        """Pixel size in metres at which THOR reads a channel."""
        return self.group_gsd[GROUP_OF[channel].index]

    @property
    def lowest_gsd(self) -> int:
        """Finest pixel size in metres among the selected bands."""
        return min(self.gsd(channel) for channel in self.channels)


def _split_gsd_suffix(text: str) -> tuple[str, int | None]:
    match = _SAR_GSD_SUFFIX.match(text.strip())
    return (match["band"], int(match["gsd"])) if match else (text, None)


def _channel(text: str, band: object) -> str:
    bare = text.strip().upper()
    if bare in ("HH", "HV"):
        msg = f"Band {text!r} does not say its acquisition mode, and THOR has both: write IW_{bare} or EW_{bare}."
        raise ValueError(msg)
    name = find_band(text, SENTINEL_SENSORS).name
    channel = _CHANNEL_OF_BAND.get(name)
    if channel is None:
        msg = (
            f"THOR was not trained on band {spelling(band)!r} ({name}) and has no weights for it. "
            f"Leave it out. THOR reads: {', '.join(_CHANNEL_OF_BAND)}."
        )
        raise ValueError(msg)
    return channel


def select_bands(bands: Sequence[object] | None = None) -> BandSelection:
    """Resolve band names to THOR channels.

    Parameters
    ----------
    bands : sequence of str or Enum, optional
        TerraTorch names or enums, THOR's own names (``S2:Blue``), Earth Engine and STAC names. A radar band may carry
        its pixel size in metres (``VV_60``, ``EW_HH_60``); the suffix sets the pixel size of the whole group.
        Defaults to the 14 bands of `DEFAULT_BANDS`.

    Raises
    ------
    ValueError
        For an empty list, an unknown band, a band named twice, a zero pixel size, or two pixel sizes in one group.
    TypeError
        For something that is not a band name.
    """
    wanted: Iterable[object] = DEFAULT_BANDS if bands is None else bands
    if isinstance(wanted, str):
        wanted = [wanted]
    names: list[str] = []
    channels: list[str] = []
    stated_gsd: dict[int, tuple[int, str]] = {}
    for band in wanted:
        text, gsd = _split_gsd_suffix(spelling(band))
        channel = _channel(text, band)
        if channel in channels:
            first = names[channels.index(channel)]
            msg = (
                f"Band {spelling(band)!r} and band {first!r} are the same THOR channel {channel}. "
                "Name each band once (THOR does not tell ascending from descending orbits)."
            )
            raise ValueError(msg)
        names.append(spelling(band))
        channels.append(channel)
        if gsd is not None:
            _state_gsd(stated_gsd, GROUP_OF[channel], gsd, spelling(band))
    if not channels:
        msg = "The band list is empty. Name at least one band, for example ['VV', 'VH']."
        raise ValueError(msg)
    group_gsd = tuple(stated_gsd[g.index][0] if g.index in stated_gsd else g.gsd for g in GROUPS)
    return BandSelection(tuple(names), tuple(channels), group_gsd)


def _state_gsd(stated: dict[int, tuple[int, str]], group: Group, gsd: int, band: str) -> None:
    if gsd <= 0:
        msg = f"Band {band!r}: the pixel size must be a positive number of metres, for example VV_60."
        raise ValueError(msg)
    earlier = stated.get(group.index)
    if earlier is not None and earlier[0] != gsd:
        msg = (
            f"Bands {earlier[1]!r} and {band!r} are in one THOR group, which has one pixel size, "
            f"but they state {earlier[0]} m and {gsd} m. Give both the same suffix."
        )
        raise ValueError(msg)
    stated[group.index] = (gsd, band)
