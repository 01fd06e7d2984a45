"""Names of bands are unique, and what is not known is refused with the nearest match."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path

import pytest

from eo_data.sensors.tables import SENSORS, SENTINEL2, SENTINEL_SENSORS, Band, Sensor, find_band


def test_no_alias_means_two_bands() -> None:
    owner: dict[str, str] = {}
    for sensor in SENTINEL_SENSORS:
        for band in sensor.bands:
            for name in (band.name, *band.aliases):
                assert owner.setdefault(name.upper(), band.name) == band.name, name


def test_sentinel2_is_in_product_order() -> None:
    ids = [band.aliases[0] for band in SENTINEL2.bands]
    assert ids == ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"]
    wavelengths = [band.wavelength_nm for band in SENTINEL2.bands]
    assert wavelengths == sorted(wavelengths)
    assert [band.gsd for band in SENTINEL2.bands] == [60, 10, 10, 10, 20, 20, 20, 10, 20, 60, 60, 20, 20]


def test_terratorch_names_are_canonical() -> None:
    from terratorch.datasets import HLSBands, OpticalBands, SARBands

    for enum in (OpticalBands, HLSBands, SARBands):
        for member in enum:
            if member.value in ("THERMAL_INFRARED_1", "THERMAL_INFRARED_2", "VV_VH"):
                continue
            assert find_band(member, SENTINEL_SENSORS).name in (member.value, f"IW_{member.value[-2:]}")


def test_unknown_band_names_the_nearest_and_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="Unknown band 'SWIR1'.*Nearest: .*SWIR_1.*Sentinel-2 MSI: COASTAL_AEROSOL"):
        find_band("SWIR1", SENTINEL_SENSORS)


def test_an_enum_without_a_name_in_it_is_refused() -> None:
    class Numbers(Enum):
        ONE = 1

    with pytest.raises(TypeError, match="named by a string"):
        find_band(Numbers.ONE, SENTINEL_SENSORS)


def test_no_alias_of_a_sensor_is_claimed_by_two_bands() -> None:
    for key, sensor in SENSORS.items():
        claims = [(name.upper(), band.name) for band in sensor.bands for name in {band.name, *band.aliases}]
        owner: dict[str, str] = {}
        for name, band in claims:
            assert owner.setdefault(name, band) == band, (key, name)
        assert len(set(sensor.band_names)) == len(sensor.bands), key


@pytest.mark.parametrize(
    "bands",
    [
        (Band("RED", 10, "reflectance", aliases=("B4",)), Band("NIR", 10, "reflectance", aliases=("b4",))),
        (Band("RED", 10, "reflectance"), Band("RED", 20, "reflectance")),
    ],
    ids=["alias", "name"],
)
def test_a_sensor_with_an_ambiguous_name_cannot_be_made(bands: tuple[Band, ...]) -> None:
    with pytest.raises(ValueError, match="claimed by two bands, RED and .*Take it from one"):
        Sensor("camera", bands)


def test_a_band_has_a_physical_unit() -> None:
    with pytest.raises(ValueError, match="must be one of reflectance, dB, K, got 'DN'"):
        Band("RED", 10, "DN")


@pytest.mark.parametrize(
    ("key", "spellings", "name"),
    [
        ("sentinel2_l2a", ("BLUE", "blue", "B2", "B02", "S2:Blue", "S2-L2A-B02"), "BLUE"),
        ("sentinel2_l2a", ("B8", "nir", "NIR_BROAD"), "NIR_BROAD"),
        ("sentinel2_l2a", ("B8A", "nir08", "NIR_NARROW"), "NIR_NARROW"),
        ("sentinel2_l1c", ("B10", "cirrus"), "CIRRUS"),
        ("sentinel1", ("VV", "vv", "ASC_VV", "S1:IW-VV", "S1-SIGMA0-VV"), "IW_VV"),
        ("sentinel3_olci", ("Oa07", "rtoa_7", "S3:Oa07_reflectance", "Oa07_radiance"), "OA07_REFLECTANCE"),
        ("landsat7", ("B2", "green", "SR_B2"), "GREEN"),
        ("landsat7", ("B4", "nir08"), "NIR_BROAD"),
        ("landsat7", ("B6", "B6_VCID_1", "lwir", "ST_B6"), "THERMAL_INFRARED_1"),
        ("landsat8", ("B2", "blue", "SR_B2"), "BLUE"),
        ("landsat8", ("B5", "nir08"), "NIR_NARROW"),
        ("landsat8", ("B6", "swir16"), "SWIR_1"),
        ("landsat8", ("B10", "lwir11", "ST_B10"), "THERMAL_INFRARED_1"),
        ("aerial", ("R", "red"), "RED"),
        ("aerial", ("NIR", "N"), "NIR_BROAD"),
    ],
)
def test_the_same_id_means_another_band_on_another_sensor(key: str, spellings: tuple[str, ...], name: str) -> None:
    assert {SENSORS[key].canonical(spelling) for spelling in spellings} == {name}


def test_level_2a_has_no_cirrus_band() -> None:
    assert SENSORS["sentinel2_l1c"].band_names == SENTINEL2.band_names
    assert SENSORS["sentinel2_l2a"].band_names == tuple(name for name in SENTINEL2.band_names if name != "CIRRUS")
    assert SENSORS["sentinel2_l2a"].canonical("B10") is None


def test_landsat_bands_are_those_of_the_stac_items(shared: Path) -> None:
    items = {
        "landsat7": "LE07_L2SP_044033_20210329_20210424_02_T1_SR",
        "landsat8": "LC08_L2SP_028030_20200114_20200824_02_T1_SR",
    }
    for key, item in items.items():
        assets = json.loads((shared / "data/stac_items" / f"{item}.json").read_text())["assets"]
        described = [band for asset in assets.values() for band in asset.get("eo:bands", ())]
        assert len(described) >= 6
        for band in described:
            name = SENSORS[key].canonical(band["name"])
            assert name is not None
            assert name == SENSORS[key].canonical(band["common_name"])
            wavelength = find_band(band["name"], [SENSORS[key]]).wavelength_nm
            assert wavelength == pytest.approx(band["center_wavelength"] * 1000, abs=60)


def test_bands_of_the_anysat_modalities_are_known() -> None:
    # AnySat's table: L7 without the thermal band, L8 with the panchromatic band first.
    landsat7, landsat8 = SENSORS["landsat7"], SENSORS["landsat8"]
    l7 = [landsat7.canonical(f"B{i}") for i in (1, 2, 3, 4, 5, 7)]
    assert l7 == ["BLUE", "GREEN", "RED", "NIR_BROAD", "SWIR_1", "SWIR_2"]
    l8 = [landsat8.canonical(f"B{i}") for i in (8, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11)]
    assert sorted(map(str, l8)) == sorted(landsat8.band_names)
    assert l8[0] == "PANCHROMATIC"
    assert [SENSORS["aerial"].canonical(band) for band in ("R", "G", "B", "NIR")] == list(SENSORS["aerial"].band_names)
