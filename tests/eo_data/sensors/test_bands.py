"""Bands are found by name, in any spelling, and never by position alone."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import pytest
import rasterio

from eo_data.sensors.bands import band_order, select_bands
from eo_data.sensors.tables import SENSORS

L1C = SENSORS["sentinel2_l1c"]
L2A = SENSORS["sentinel2_l2a"]
S1 = SENSORS["sentinel1"]


def test_bands_come_in_the_wanted_order_whatever_their_spelling() -> None:
    assert select_bands(["B02", "green", "RED", "B8"], ["NIR_BROAD", "B2", "S2:Red"], L2A) == [3, 0, 2]


def test_an_enum_names_a_band() -> None:
    class Bands(Enum):
        BLUE = "BLUE"

    assert select_bands(["B04", "B02"], [Bands.BLUE], L2A) == [1]


def test_without_a_sensor_names_are_literal() -> None:
    assert select_bands(["elevation", "slope"], ["slope"], None) == [1]
    with pytest.raises(ValueError, match="not there: Slope.*Did you mean 'slope'.*Available: elevation, slope"):
        select_bands(["elevation", "slope"], ["Slope"], None)


def test_layers_that_the_sensor_does_not_know_are_allowed_even_twice() -> None:
    assert select_bands(["SCL", "B02", "-", "-", "SCL"], ["BLUE"], L2A) == [1]


def test_a_missing_band_lists_what_is_there() -> None:
    with pytest.raises(ValueError, match="not there: B11, CIRRUS.*Did you mean 'B1'.*Available: B1, B02.*Take them"):
        select_bands(["B1", "B02"], ["B2", "B11", "CIRRUS"], L1C)


def test_an_unknown_band_names_the_nearest_and_what_is_there() -> None:
    with pytest.raises(ValueError, match="L2A has no band 'BLEU'. Did you mean 'BLUE'. Valid: .*Available: B02, B03"):
        select_bands(["B02", "B03"], ["BLEU"], L2A)


def test_a_band_that_only_the_file_knows_cannot_be_wanted() -> None:
    with pytest.raises(ValueError, match="has no band 'SCL'"):
        select_bands(["B02", "SCL"], ["SCL"], L2A)


@pytest.mark.parametrize(
    ("available", "wanted", "where"),
    [
        (["B02", "blue"], ["BLUE"], "among the available bands"),
        (["B02", "B02", "B03"], ["GREEN"], "among the available bands"),
        (["B02", "B03"], ["B2", "BLUE"], "among the wanted bands"),
    ],
)
def test_one_band_under_two_names_is_no_two_bands(available: list[str], wanted: list[str], where: str) -> None:
    with pytest.raises(ValueError, match=f"Band BLUE comes twice {where}.*Name every band once"):
        select_bands(available, wanted, L2A)


@pytest.mark.parametrize(("available", "wanted"), [("B02", ["B02"]), (["B02"], "B02"), (["B02"], []), ([], ["B02"])])
def test_bands_are_a_list(available: list[str], wanted: list[str]) -> None:
    with pytest.raises(ValueError, match=r"bands must be a list of names such as \['BLUE', 'GREEN'\]"):
        select_bands(available, wanted, L2A)


@pytest.mark.parametrize("text", ["B02", "b2", "B2 (490 nm)", "B2, central wavelength 490 nm", "B02_10m", "Blue: 490"])
def test_descriptions_resolve_with_what_follows_the_name(text: str) -> None:
    assert band_order(2, [text, "B8A"], None, "x.tif", L2A) == ("BLUE", "NIR_NARROW")


def test_real_files_say_their_order(shared: Path) -> None:
    folder = shared / "data"
    for name, sensor in (
        ("sen1floods11_v1.1/data/S2L1CHand/Spain_7370579_S2Hand.tif", L1C),
        ("s2_l1c_timeseries_eolearn/S2L1C_20150711T100008.tif", L1C),
        ("s3_olci/S3_OLCI_TOA_reflectance_20170414T102729.tif", SENSORS["sentinel3_olci"]),
    ):
        with rasterio.open(folder / name) as file:
            assert band_order(file.count, file.descriptions, None, name, sensor) == sensor.band_names
    with rasterio.open(folder / "sen1floods11_v1.1/data/S1GRDHand/Spain_7370579_S1Hand.tif") as file:
        assert band_order(file.count, file.descriptions, None, "S1", S1) == ("IW_VV", "IW_VH")


def test_descriptions_that_name_no_band_are_no_order(shared: Path) -> None:
    with rasterio.open(shared / "data/terramesh/S1RTC/38D_378R_2_3.tif") as file:
        assert file.descriptions == ("bands", "bands")
        with pytest.raises(ValueError, match=r"of S1RTC \(2 bands\) is unknown.*bands, bands.*none is a band.*Declare"):
            band_order(file.count, file.descriptions, None, "S1RTC", S1)
        assert band_order(file.count, file.descriptions, ["VV", "VH"], "S1RTC", S1) == ("IW_VV", "IW_VH")


@pytest.mark.parametrize("descriptions", [[], [None, None], ["B02", None], ["", "B03"], ["Band 1", "Band 2"]])
def test_a_file_without_a_stated_order_is_refused(descriptions: list[str | None]) -> None:
    with pytest.raises(ValueError, match=r"band order of x\.tif \(2 bands\) is unknown.*Declare the names"):
        band_order(2, descriptions, None, "x.tif", L2A)


def test_a_file_with_all_descriptions_missing_is_refused_without_a_sensor_too() -> None:
    with pytest.raises(ValueError, match=r"is unknown; descriptions: \(none\), \(none\)\. Declare"):
        band_order(2, [None, None], None, "x.tif", None)
    assert band_order(2, ["height", "slope"], None, "x.tif", None) == ("height", "slope")


def test_a_layer_beside_the_bands_keeps_its_name() -> None:
    assert band_order(2, ["B02", "SCL"], None, "x.tif", L2A) == ("BLUE", "SCL")
    assert band_order(3, [], ["B02", "-", "-"], "x.tif", L2A) == ("BLUE", "-", "-")
    assert band_order(3, [], ["a", "-", "-"], "x.tif", None) == ("a", "-", "-")


def test_a_band_described_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="descriptions of x.tif name a band twice: B02, blue"):
        band_order(2, ["B02", "blue"], None, "x.tif", L2A)


def test_a_band_declared_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="Band BLUE comes twice among the declared bands of x.tif"):
        band_order(2, [], ["B02", "BLUE"], "x.tif", L2A)


def test_ten_declared_bands_do_not_describe_a_file_of_thirteen() -> None:
    with pytest.raises(ValueError, match="x.tif has 13 bands, but the config declares 10.*every band of the file"):
        band_order(13, [None] * 13, list(L1C.band_names[:10]), "x.tif", L1C)


@pytest.mark.parametrize("declared", [[], "BLUE"])
def test_declared_bands_are_a_list(declared: list[str]) -> None:
    with pytest.raises(ValueError, match="The declared bands must be a list"):
        band_order(1, [None], declared, "x.tif", L2A)


def test_descriptions_must_be_one_per_band() -> None:
    with pytest.raises(ValueError, match="x.tif has 3 bands, but 2 band descriptions"):
        band_order(3, ["B02", "B03"], None, "x.tif", L2A)


def test_config_and_file_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="contradicts.*x.tif: band 1 is RED in the file and BLUE in the config"):
        band_order(3, ["B04", "B03", "B02"], ["BLUE", "GREEN", "RED"], "x.tif", L2A)
    with pytest.raises(ValueError, match="band 1 is slope in the file and height in the config"):
        band_order(2, ["slope", "height"], ["height", "slope"], "x.tif", None)


def test_descriptions_in_other_words_contradict_nothing() -> None:
    assert band_order(2, ["Band 1", "Band 2"], ["B02", "B03"], "x.tif", L2A) == ("BLUE", "GREEN")
    assert band_order(2, ["B2", None], ["blue", "B03"], "x.tif", L2A) == ("BLUE", "GREEN")
    assert band_order(2, ["Band 1", "Band 2"], ["height", "slope"], "x.tif", None) == ("height", "slope")
    assert band_order(2, ["B02", "B10"], ["B02", "-"], "x.tif", L1C) == ("BLUE", "-")
