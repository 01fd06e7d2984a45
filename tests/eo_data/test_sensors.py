"""Names of bands are unique, and what is not known is refused with the nearest match."""

from __future__ import annotations

from enum import Enum

import pytest

from eo_data.sensors import SENTINEL2, SENTINEL_SENSORS, find_band


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
            assert find_band(member).name in (member.value, f"IW_{member.value[-2:]}")


def test_unknown_band_names_the_nearest_and_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="Unknown band 'SWIR1'.*Nearest: .*SWIR_1.*Sentinel-2 MSI: COASTAL_AEROSOL"):
        find_band("SWIR1")


def test_an_enum_without_a_name_in_it_is_refused() -> None:
    class Numbers(Enum):
        ONE = 1

    with pytest.raises(TypeError, match="named by a string"):
        find_band(Numbers.ONE)
