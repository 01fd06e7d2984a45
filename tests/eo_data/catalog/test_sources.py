"""Sources that make no sense are refused before a file is read."""

from __future__ import annotations

from datetime import date

import pytest

from eo_data.catalog.sources import ImageSource, LabelSource
from eo_data.sensors.units import InputUnit


def test_units_are_spelt_by_value_as_in_configs() -> None:
    source = ImageSource("x.tif", ["B2"], unit="digital_number", target_unit="REFLECTANCE")
    assert source.unit is InputUnit.DIGITAL_NUMBER
    assert source.target_unit is InputUnit.REFLECTANCE


def test_the_command_line_takes_units_by_value() -> None:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--source", type=ImageSource)
    config = parser.parse_object({"source": {"files": "x.tif", "bands": ["B2"], "unit": "digital_number"}})
    assert parser.instantiate(config).source.unit is InputUnit.DIGITAL_NUMBER


def test_a_fallback_date_without_quotes_is_text() -> None:
    assert ImageSource("x.tif", ["B2"], fallback_date=date(2020, 2, 29)).fallback_date == "2020-02-29"
    assert ImageSource("x.tif", ["B2"], fallback_date="20200229").fallback_date == "20200229"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bands": []}, r"bands must list the bands to read by name.*got \[\]"),
        ({"bands": "BLUE"}, "bands must list the bands to read by name.*got 'BLUE'"),
        ({"sensor": "sentinel2"}, "Unknown sensor 'sentinel2'. Valid: sentinel2_l1c"),
        ({"unit": "toa"}, "Unknown unit 'toa'. Valid: digital_number"),
        ({"target_unit": "db"}, "Unknown unit 'db'. Valid: .*decibel"),
        ({"offset": "automatic"}, "offset must be a number of digital numbers, such as -1000, or 'auto'"),
        ({"scale": 0.0}, "scale must be a finite number other than 0"),
        ({"unit": "digital_number", "formula": "x"}, "Unknown formula 'x'. Valid: worldcereal_s1"),
        ({"unit": "decibel", "formula": "worldcereal_s1"}, "is for the unit digital_number, got decibel"),
        ({"resampling": "lanczos"}, "resampling must be one of bilinear, nearest, cubic, average, got 'lanczos'"),
        ({"pixel_size": 0}, "pixel_size must be positive, got 0"),
        ({"resample_to": float("nan")}, "resample_to must be positive, got nan"),
        ({"cloud_kind": "qa"}, "cloud_kind must be one of scl, qa_pixel, fmask, .*, mask, got 'qa'"),
        ({"cloud_band": "Fmask"}, "'Fmask' is the Fmask of HLS 2.0 .*cloud_kind is 'scl'.*Set cloud_kind: fmask"),
        ({"fallback_date": "2021-02-30"}, "Expected a calendar date .*got '2021-02-30'"),
    ],
)
def test_senseless_sources_are_refused_before_a_file_is_read(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageSource(**({"files": "x.tif", "bands": ["B2"]} | arguments))  # type: ignore[arg-type]


def test_senseless_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="classes must be at least 2, got 1"):
        LabelSource("{id}.tif", classes=1)
    with pytest.raises(ValueError, match=r"The pattern of the labels must hold \{id\}.*got 'mask.tif'"):
        LabelSource("mask.tif")
