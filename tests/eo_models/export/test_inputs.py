"""Which images a deployed file takes is never guessed, and what does not fit is refused with what does."""

from __future__ import annotations

from typing import Any

import pytest

from eo_data.sensors.units import InputUnit
from eo_models.export.call import Asked, planned
from eo_models.export.inputs import DeployedInput
from eo_models.preset import find_preset

THOR, ANYSAT = "thor_v1_tiny", "anysat_tiny"
L2A = "sentinel2_l2a"


def plan(encoder: str, **asked: Any) -> dict[str, DeployedInput]:
    _, inputs = planned(find_preset(encoder), encoder, Asked(**asked))
    return {one.name: one for one in inputs}


def test_bands_find_their_sensor_and_keep_their_order_in_any_spelling() -> None:
    inputs = plan(THOR, side=48, bands=("VH", "B11", "blue", "IW_VV", "S2:Red"))
    assert list(inputs) == ["S1", "S2"]
    assert inputs["S1"].bands == ("IW_VH", "IW_VV")
    assert inputs["S2"].bands == ("SWIR_1", "BLUE", "RED")
    assert inputs["S2"].shape(3) == (3, 3, 48, 48)
    assert plan(THOR, side=48, bands=["B1"], sensors=["sentinel2_l1c"])["S2"].sensor == "sentinel2_l1c"


def test_an_encoder_that_needs_all_bands_gets_them_and_each_image_its_own_pixels() -> None:
    inputs = plan(ANYSAT, side=300, sensors=("aerial", "sentinel2_l2a"), patch=20, frames=2)
    assert inputs["aerial"].shape(1) == (1, 4, 300, 300)
    assert inputs["s2"].shape(1) == (1, 2, 10, 6, 6)
    assert [one.dated for one in inputs.values()] == [False, True]
    assert inputs["aerial"].unit is InputUnit.NATIVE
    assert plan(ANYSAT, side=24, sensors=["sentinel2_l2a"])["s2"].frames == 8


def test_pixels_of_other_sensors_have_the_size_of_their_finest_band() -> None:
    assert plan(THOR, side=32, bands=["Oa01", "Oa21"])["OLCI"].pixel_size == 300
    assert plan(THOR, side=48, bands=["BLUE", "RED"], pixel_size=20)["S2"].pixel_size == 20


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"bands": ["BLU"]}, r"reads no band 'BLU' of .*Valid: sentinel2_l2a: BLUE"),
        ({"bands": ["CIRRUS"]}, r"reads no band 'CIRRUS' of .*Valid: sentinel2_l1c: BLUE, GREEN"),
        ({"bands": ["BLUE", "B02"]}, "names BLUE of sentinel2_l2a twice"),
        ({}, "Say which images the file takes: bands, sensors or both"),
        ({"sensors": ["sentinel2"]}, r"no images of 'sentinel2'. Did you mean 'sentinel2_l"),
        ({"sensors": ["sentinel1"]}, r"needs some of sentinel1's bands IW_VV, .*; bands names none of them"),
        ({"sensors": ["sentinel2_l2a", "sentinel2_l1c"], "bands": ["BLUE"]}, "are the same images"),
        (
            {"bands": ["BLUE"], "side": 50},
            "50 px covers 500 m, which patches of 80 m .* 48 or 56",
        ),
        ({"bands": ["BLUE"], "side": 0}, "Nearest sides: 8"),
        ({"bands": ["BLUE", "SWIR_1"], "side": 56}, "patches of 160 m do not divide. Nearest sides: 48 or 64"),
        ({"bands": ["BLUE"], "side": 400}, r"resamples 400 px to 288 px, which a deployed file does not do"),
        ({"bands": ["BLUE"], "frames": 3}, "frames=3: this encoder reads single images here"),
        (
            {"bands": ["BLUE"], "units": {"sentinel1": "decibel"}},
            "units names 'sentinel1'; the file takes sentinel2_l2a",
        ),
        (
            {"bands": ["BLUE"], "units": {L2A: "kelvin"}},
            "kelvin of sentinel2_l2a cannot become reflectance",
        ),
        ({"bands": ["BLUE"], "units": {L2A: "dn"}}, "Unknown unit 'dn'. Valid: digital_number"),
        (
            {"bands": ["BLUE"], "units": {L2A: "digital_number"}},
            "Digital numbers of sentinel2_l2a need a scale",
        ),
        ({"bands": ["BLUE"], "scales": {L2A: 1e-4}}, "scale and offset are for digital numbers"),
        ({"bands": ["BLUE"], "options": {"patchsize": 4}}, "has no option 'patchsize'. Did you mean 'patch_size'"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(asked: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        plan(THOR, **({"side": 48} | asked))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"bands": ["BLUE"]}, r"'BLUE' may be of sentinel2_l2a or .*landsat"),
        ({"bands": ["BLUE"], "sensors": ["sentinel2_l2a"]}, r"needs all of sentinel2_l2a's bands .*or leave bands out"),
        ({"sensors": ["sentinel2_l2a"], "side": 12}, r"resamples 12 px to 24 px.*image_size"),
        ({"sensors": ["sentinel2_l2a"], "frames": 0}, "frames=0: at least 1 is needed"),
        ({"sensors": ["sentinel2_l2a"], "pixel_size": 20}, "of sentinel2_l2a pixels of 10 m are read"),
        ({"sensors": ["aerial", "sentinel2_l2a"], "side": 30}, "covers 6 m, which patches of 10 m do not divide"),
        ({"sensors": ["sentinel2_l2a", "landsat7"], "side": 22}, r"220 m are 7\.33333 pixels of 30 m \(l7\)"),
    ],
)
def test_what_does_not_fit_series_is_refused_with_what_does(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(ANYSAT, **({"side": 24} | asked))
