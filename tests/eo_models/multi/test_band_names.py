"""A band name means what it means on the sensor of the image, and is refused where that is unknown and matters."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from stand_in_backbones import RGB, S2, anysat, image, thor, wrapper

from eo_data.sensors.tables import SENSORS
from eo_models.multi.band_names import WantedBand, find_channels, meaning, parse_sensors

ETM = ["B1", "B2", "B3", "B4", "B5", "B7"]
OLI = ["B1", "B2", "B3", "B4", "B5", "B6", "B7"]


def channels(bands: list[str], available: list[str], sensors: list[str] | None = None) -> tuple[int, ...]:
    tables = tuple(SENSORS[key] for key in sensors or ())
    return find_channels("here", [WantedBand((band,)) for band in bands], available, tables)


def toy(bands: Any, **arguments: Any) -> dict[str, Any]:
    return {"toy": {"bands": bands, "in_chans": len(bands)} | arguments}


# The wrapper


@pytest.mark.parametrize("sensors", ["landsat7", ["landsat7"], "[landsat7]"])
def test_landsat7_gives_blue_green_red_and_not_green_red_near_infrared(sensors: Any) -> None:
    one = wrapper(toy(RGB), bands=ETM, sensors=sensors)
    x = image(6)
    one(x)
    assert torch.equal(one.encoders[0].seen["x"], x[:, [0, 1, 2]])
    other = wrapper(toy(RGB), bands=ETM, sensors="landsat8")
    other(x)
    assert torch.equal(other.encoders[0].seen["x"], x[:, [1, 2, 3]])


@pytest.mark.parametrize("entry", [toy(RGB), thor(model_bands=RGB)])
def test_names_that_sensors_understand_differently_are_refused_with_the_remedy(entry: dict[str, Any]) -> None:
    message = (
        r"the band 'BLUE' could be B2 of Sentinel-2 MSI L1C.*; B1 of Landsat 7 ETM\+. Say what .*sensors: sentinel2"
    )
    with pytest.raises(ValueError, match=message):
        wrapper(entry, bands=ETM)
    assert wrapper(entry, bands=ETM, sensors="sentinel2_l1c").routes[0].named_picks[0].channels == (1, 2, 3)


def test_an_encoder_that_names_bands_of_another_sensor_gets_the_same_colours() -> None:
    one = wrapper(thor(model_bands=RGB), bands=ETM, sensors="landsat7")
    assert one.routes[0].named_picks[0].channels == (0, 1, 2)
    series = wrapper(
        anysat(modalities=["l7"]),
        bands=["SWIR_2", "BLUE", "GREEN", "RED", "NIR_BROAD", "SWIR_1"],
        sensors="landsat7",
    )
    assert series.routes[0].named_picks[0].channels == (1, 2, 3, 4, 5, 0)


def test_sensors_by_image() -> None:
    bands = {"ETM": ETM, "S2": ["B2", "B3", "B4", "B8A"]}
    entries = [toy(RGB, images=["ETM"]), toy(RGB, images=["S2"])]
    both = wrapper(*entries, bands=bands, sensors={"ETM": "landsat7"})
    assert [route.named_picks[0].channels for route in both.routes] == [(0, 1, 2), (0, 1, 2)]
    assert both.band_sensors == {"ETM": (SENSORS["landsat7"],)}
    assert copy.deepcopy(both).sensors == both.sensors


def test_an_image_with_bands_of_several_sensors() -> None:
    mixed = ["B1", "B2", "B3", "IW_VV"]
    one = wrapper(toy(["RED", "VV"]), bands=mixed, sensors=["landsat7", "sentinel1"])
    assert one.routes[0].named_picks[0].channels == (2, 3)
    with pytest.raises(ValueError, match="the band 'GREEN' could be B3 of Sentinel-2 .*; B2 of Landsat 7"):
        wrapper(toy(["GREEN", "RED", "VV"]), bands=mixed)


@pytest.mark.parametrize(
    ("bands", "sensors", "message"),
    [
        (None, "landsat7", "bands does not name any. Add bands .backbone_bands."),
        (ETM, "landsat9", r"must name sensors of the input, got 'landsat9'. Valid: sentinel2_l1c, .*landsat8"),
        (ETM, {"ETM": "landsat7"}, "names the images .'ETM'., but bands is a list.* Write sensors: landsat7"),
        ({"S2": S2}, {"ETM": "landsat7"}, "names the images .'ETM'., but bands names S2"),
        (ETM, [], "must name sensors"),
        (ETM, 7, "must name sensors"),
    ],
)
def test_sensors_that_cannot_be_are_refused(bands: Any, sensors: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrapper({"toy": {}}, bands=bands, sensors=sensors)


# Names without a stated sensor


@pytest.mark.parametrize(
    ("wanted", "available", "expected"),
    [
        # All of Sentinel-2: only it has B8A and B12.
        (["RED", "BLUE"], ["B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"], (2, 0)),
        # Sentinel-2 and Landsat 8 agree on these, and Landsat 7 has no blue band among them.
        (["RED", "GREEN", "BLUE"], ["B2", "B3", "B4"], (2, 1, 0)),
        # Only Landsat 7 has all six among these.
        (["BLUE", "GREEN", "RED", "NIR_BROAD", "SWIR_1", "SWIR_2"], ETM, (0, 1, 2, 3, 4, 5)),
        # Only Landsat 8 has a reflectance SR_B6.
        (["BLUE", "RED"], ["SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7"], (0, 2)),
        # A very name needs no sensor.
        (["B2", "B1"], ETM, (1, 0)),
        (["b4", "VV"], [*S2, "IW_VV"], (2, 10)),
        (["my band"], ["RED", "MY BAND"], (1,)),
    ],
)
def test_names_that_leave_one_answer_need_no_sensor(
    wanted: list[str], available: list[str], expected: tuple[int, ...]
) -> None:
    assert channels(wanted, available) == expected


@pytest.mark.parametrize(
    ("wanted", "available", "message"),
    [
        (["RED"], ["B2", "B3", "B4"], "the band 'RED' could be B4 of Sentinel-2 .*; B3 of Landsat 7"),
        (["B2"], RGB, "the band 'B2' could be BLUE of .*; GREEN of Landsat 7"),
        (["BLUE", "GREEN"], OLI, "the band 'BLUE' could be"),
        (["VV"], ["ASC_VV", "DSC_VV"], "the band 'VV' could be ASC_VV, DSC_VV. Name one of these"),
        (["BLEU"], RGB, "reads the band 'BLEU', which is not among the channels of the input: BLUE, GREEN, RED"),
    ],
)
def test_names_with_several_answers_or_none_are_refused(wanted: list[str], available: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=f"here.*{message}"):
        channels(wanted, available)


def test_the_stated_sensor_alone_counts() -> None:
    with pytest.raises(ValueError, match="reads the band 'COASTAL_AEROSOL', which is not among"):
        channels(["COASTAL_AEROSOL"], ETM, ["landsat7"])
    assert channels(["COASTAL_AEROSOL"], OLI, ["landsat8"]) == (0,)
    assert meaning("sr_b1", [SENSORS["landsat7"]]) == "BLUE"
    assert meaning(" unknown ", [SENSORS["landsat7"]]) == "UNKNOWN"
    assert parse_sensors(None, {}) == {}
