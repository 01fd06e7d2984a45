"""Bands are read by name, and a name never means another channel."""

from __future__ import annotations

import pytest

from thor_terratorch_ext import OLCIBands, SARThorBands, SLSTRBands
from thor_terratorch_ext.model.channels import CHANNELS, DEFAULT_BANDS, GROUPS, WEIGHT_NAMES, select_bands, weight_name
from thor_terratorch_ext.statistics import STATISTICS, statistics_for

#: Sentinel-2 band ids of ESA beside TerraTorch's names and THOR's channels, from the published tables.
S2 = {
    "B1": ("COASTAL_AEROSOL", "S2:CoastAerosal", 60),
    "B2": ("BLUE", "S2:Blue", 10),
    "B3": ("GREEN", "S2:Green", 10),
    "B4": ("RED", "S2:Red", 10),
    "B5": ("RED_EDGE_1", "S2:RE1", 20),
    "B6": ("RED_EDGE_2", "S2:RE2", 20),
    "B7": ("RED_EDGE_3", "S2:RE3", 20),
    "B8": ("NIR_BROAD", "S2:NIR", 10),
    "B8A": ("NIR_NARROW", "S2:RE4", 20),
    "B9": ("WATER_VAPOR", "S2:WaterVapor", 60),
    "B11": ("SWIR_1", "S2:SWIR1", 20),
    "B12": ("SWIR_2", "S2:SWIR2", 20),
}


@pytest.mark.parametrize("esa", S2)
def test_all_spellings_of_a_sentinel2_band_are_one_channel(esa: str) -> None:
    name, channel, gsd = S2[esa]
    spellings = [esa, esa.lower(), name, name.lower(), channel]
    if len(esa) == 2:
        spellings.append(f"B0{esa[1]}")
    for spelling in spellings:
        selection = select_bands([spelling])
        assert selection.channels == (channel,), spelling
        assert selection.lowest_gsd == gsd


def test_narrow_and_broad_nir_are_not_mixed_up() -> None:
    assert select_bands(["NIR_BROAD", "NIR_NARROW"]).channels == ("S2:NIR", "S2:RE4")
    assert select_bands(["nir", "nir08"]).channels == ("S2:NIR", "S2:RE4")


def test_bare_and_orbit_polarisations_are_iw() -> None:
    for name in ("VV", "ASC_VV", "DSC_VV", "IW_VV", SARThorBands.IW_VV, "S1:IW-VV"):
        assert select_bands([name]).channels == ("S1:IW-VV",)


def test_sentinel3_enums_and_strings() -> None:
    assert select_bands([OLCIBands.OA01_REFLECTANCE, "Oa21"]).channels == (
        "S3:Oa01_reflectance",
        "S3:Oa21_reflectance",
    )
    assert select_bands([SLSTRBands.S7_BT_IN, "S1_REFLECTANCE_AN"]).channels == ("S3:S7_BT_in", "S3:S1_reflectance_an")


def test_input_order_is_kept_and_groups_are_ascending() -> None:
    selection = select_bands(["VH", "SWIR_2", "RED", "VV", "BLUE"])
    assert selection.channels == ("S1:IW-VH", "S2:SWIR2", "S2:Red", "S1:IW-VV", "S2:Blue")
    assert [group.index for group in selection.groups()] == [0, 1, 3]
    assert selection.members(GROUPS[0]) == ("S2:Red", "S2:Blue")


def test_default_is_the_published_list_of_14() -> None:
    assert select_bands().bands == DEFAULT_BANDS
    assert len(DEFAULT_BANDS) == 14


def test_there_are_50_channels_with_46_kernels() -> None:
    assert len(CHANNELS) == len(set(CHANNELS)) == 50
    assert len(WEIGHT_NAMES) == 46
    assert weight_name("S1:IW-VV") == weight_name("S1:EW-VV") == "S1:VV"
    assert sorted(CHANNELS) == sorted(channel for group in GROUPS for channel in group.channels)


@pytest.mark.parametrize(
    ("bands", "group", "gsd"),
    [(["VV_60", "VH_60"], 3, 60), (["VV_60", "VH"], 3, 60), (["EW_VV_60", "IW_VH"], 3, 60), (["EW_HH_40"], 4, 40)],
)
def test_a_gsd_suffix_sets_the_pixel_size_of_its_group_only(bands: list[str], group: int, gsd: int) -> None:
    sizes = select_bands(bands).group_gsd
    assert sizes[group] == gsd
    assert [s for i, s in enumerate(sizes) if i != group] == [g.gsd for g in GROUPS if g.index != group]


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        (["BLEU"], r"Unknown band 'BLEU'.*Nearest: BLUE"),
        (["CIRRUS"], "THOR was not trained on band 'CIRRUS'"),
        (["B10"], "THOR was not trained on band 'B10'"),
        (["HH"], "IW_HH or EW_HH"),
        (["RED", "B4"], "same THOR channel S2:Red"),
        (["ASC_VV", "DSC_VV"], "same THOR channel S1:IW-VV"),
        (["VV_60", "VH_10"], "60 m and 10 m"),
        (["VV_0"], "positive number of metres"),
        (["VV_VH"], "Unknown band"),
        ([], "empty"),
    ],
)
def test_wrong_bands_are_refused_with_the_remedy(bands: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select_bands(bands)


def test_a_band_number_is_no_name() -> None:
    with pytest.raises(TypeError, match="named by a string"):
        select_bands([3])


def test_statistics_follow_the_band_order_and_the_radar_pixel_size() -> None:
    stats = statistics_for(["VV", "BLUE", "RED"])
    assert [s.mean for s in stats] == [-12.9850, 0.176620, 0.213948]
    assert statistics_for(["VV_60"])[0].std == 5.2439
    assert set(STATISTICS) == {c for c in CHANNELS if not c.startswith("S1:")} | {
        f"{c}_{gsd}" for c in CHANNELS if c.startswith("S1:") for gsd in (10, 60)
    }
