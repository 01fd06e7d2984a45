"""Per-channel statistics of THOR's pre-training set, for normalisation to zero mean and unit variance.

Units: Sentinel-2 and Sentinel-3 reflectance as a fraction, brightness temperature in kelvin, Sentinel-1 in dB. The
encoder normalises nothing itself. Source: the channel statistics of the published THOR 1.0 configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from thor_terratorch_ext.model.channels import select_bands


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and standard deviation of a channel, in the unit of the channel."""

    mean: float
    std: float


_S2_S3 = {
    "S2:Blue": (0.176620, 0.264520),
    "S2:Green": (0.195923, 0.252949),
    "S2:Red": (0.213948, 0.259180),
    "S2:NIR": (0.308133, 0.226434),
    "S2:RE1": (0.263378, 0.272771),
    "S2:RE2": (0.300818, 0.248175),
    "S2:RE3": (0.313144, 0.235432),
    "S2:RE4": (0.320993, 0.223274),
    "S2:SWIR1": (0.221550, 0.171606),
    "S2:SWIR2": (0.175772, 0.156223),
    "S2:CoastAerosal": (0.182569, 0.282463),
    "S2:WaterVapor": (0.322589, 0.235857),
    "S3:Oa01_reflectance": (0.418360, 0.271155),
    "S3:Oa02_reflectance": (0.407687, 0.276213),
    "S3:Oa03_reflectance": (0.384837, 0.286278),
    "S3:Oa04_reflectance": (0.356827, 0.291605),
    "S3:Oa05_reflectance": (0.342093, 0.284960),
    "S3:Oa06_reflectance": (0.313561, 0.259517),
    "S3:Oa07_reflectance": (0.305947, 0.260534),
    "S3:Oa08_reflectance": (0.326632, 0.286289),
    "S3:Oa09_reflectance": (0.329984, 0.290304),
    "S3:Oa10_reflectance": (0.331824, 0.291953),
    "S3:Oa11_reflectance": (0.348113, 0.281539),
    "S3:Oa12_reflectance": (0.394400, 0.265238),
    "S3:Oa13_reflectance": (0.101062, 0.066239),
    "S3:Oa14_reflectance": (0.188930, 0.122599),
    "S3:Oa15_reflectance": (0.352127, 0.233035),
    "S3:Oa16_reflectance": (0.394914, 0.258835),
    "S3:Oa17_reflectance": (0.402817, 0.251323),
    "S3:Oa18_reflectance": (0.398475, 0.244922),
    "S3:Oa19_reflectance": (0.312429, 0.213306),
    "S3:Oa20_reflectance": (0.166702, 0.156878),
    "S3:Oa21_reflectance": (0.380989, 0.209298),
    "S3:S1_reflectance_an": (0.338953, 0.280222),
    "S3:S2_reflectance_an": (0.339034, 0.294075),
    "S3:S3_reflectance_an": (0.405393, 0.262460),
    "S3:S4_reflectance_an": (0.010942, 0.030842),
    "S3:S5_reflectance_an": (0.184803, 0.140885),
    "S3:S6_reflectance_an": (0.137453, 0.109526),
    "S3:S7_BT_in": (286.190167, 21.070093),
    "S3:S8_BT_in": (278.423815, 22.109991),
    "S3:S9_BT_in": (277.117165, 21.526558),
}

#: Sentinel-1 in dB, by the pixel size of the product in metres.
_S1 = {
    10: {
        "S1:IW-VV": (-12.9850, 5.0062),
        "S1:IW-VH": (-20.6958, 5.8688),
        "S1:IW-HH": (-13.9485, 6.8015),
        "S1:IW-HV": (-22.4575, 6.9106),
        "S1:EW-VV": (-13.9046, 6.3085),
        "S1:EW-VH": (-23.5719, 6.8895),
        "S1:EW-HH": (-12.7691, 6.6416),
        "S1:EW-HV": (-22.6922, 7.2472),
    },
    60: {
        "S1:IW-VV": (-13.0095, 5.2439),
        "S1:IW-VH": (-20.6672, 5.9634),
        "S1:IW-HH": (-13.0126, 7.1580),
        "S1:IW-HV": (-21.2863, 7.6221),
        "S1:EW-VV": (-13.1240, 5.5013),
        "S1:EW-VH": (-23.2024, 7.0584),
        "S1:EW-HH": (-12.1138, 6.5830),
        "S1:EW-HV": (-21.7450, 7.4658),
    },
}

#: Statistics by channel and, for Sentinel-1, pixel size: ``S2:Blue``, ``S1:IW-VV_10``, ``S1:IW-VV_60``.
STATISTICS: Mapping[str, ChannelStatistics] = MappingProxyType(
    {name: ChannelStatistics(*pair) for name, pair in _S2_S3.items()}
    | {f"{name}_{gsd}": ChannelStatistics(*pair) for gsd, table in _S1.items() for name, pair in table.items()}
)


def statistics_for(bands: Sequence[object]) -> tuple[ChannelStatistics, ...]:
    """Statistics of bands in their order.

    Parameters
    ----------
    bands : sequence of str or Enum
        As for `select_bands`. A radar band with a pixel size of less than 35 m takes the 10 m statistics, a coarser
        one those of 60 m.

    Returns
    -------
    tuple of ChannelStatistics
        One per band.
    """
    selection = select_bands(bands)
    names = [
        f"{channel}_{10 if selection.gsd(channel) < 35 else 60}" if channel.startswith("S1:") else channel
        for channel in selection.channels
    ]
    return tuple(STATISTICS[name] for name in names)
