"""Stored numbers become physical values once, by a unit and an offset that the values do not contradict."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from small_files import constant_bands, image_reader, record_of

from eo_data.raster.sample import SampleError
from eo_data.sensors.units import InputUnit
from eo_data.temporal.frame_policy import FramePolicy


def test_digital_numbers_become_reflectance_once(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(1200, 3000), ("B2", "B3"))
    image = image_reader().read(record_of(path))
    assert image.raster.pixels[:, 0, 0] == pytest.approx([0.12, 0.3])
    assert (image.unit, image.bands, image.pixel_size) == (InputUnit.REFLECTANCE, ("B2", "B3"), 10)
    assert image_reader(offset=-1000).read(record_of(path)).raster.pixels[:, 0, 0] == pytest.approx([0.02, 0.2])


@pytest.mark.parametrize(
    ("name", "tags", "expected"),
    [
        ("S2A_MSIL2A_20220301T101010_N0400_R022_T32TMT_20220301T120000.tif", {}, 0.02),
        ("S2A_MSIL2A_20210301T101010_N0214_R022_T32TMT_20210301T120000.tif", {}, 0.12),
        ("chip.tif", {"PROCESSING_BASELINE": "05.10"}, 0.02),
        ("chip.tif", {"BOA_ADD_OFFSET_B2": "-1000"}, 0.02),
    ],
)
def test_the_offset_comes_from_the_product(
    write_tif: Callable[..., Path], tmp_path: Path, name: str, tags: dict[str, str], expected: float
) -> None:
    path = write_tif(tmp_path / name, constant_bands(1200, 3000), ("B2", "B3"), tags=tags)
    image = image_reader(offset="auto").read(record_of(path))
    assert image.raster.pixels[0, 0, 0] == pytest.approx(expected)
    assert any("digital number offset" in note for note in image.notes)


def test_an_unknown_offset_is_refused(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(1200, 3000), ("B2", "B3"))
    with pytest.raises(
        SampleError,
        match="a.tif, band B2: the digital number offset cannot be told from its name or metadata. State offset: -1",
    ):
        image_reader(offset="auto").read(record_of(path))
    named = tmp_path / "S2A_MSIL2A_20210301T101010_N0214_R022_T32TMT_20210301T120000.tif"
    write_tif(named, constant_bands(1200, 3000), ("B2", "B3"), tags={"BOA_ADD_OFFSET_B2": "-1000"})
    with pytest.raises(SampleError, match="The offset of a Sentinel-2 product is contradictory"):
        image_reader(offset="auto").read(record_of(named))


def test_a_series_over_the_change_of_baseline_gets_an_offset_per_frame(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    names = (
        "S2A_MSIL2A_20220301T101010_N0400_R022_T32TMT_20220301T120000.tif",
        "S2A_MSIL2A_20210301T101010_N0214_R022_T32TMT_20210301T120000.tif",
    )
    paths = [
        write_tif(tmp_path / n, constant_bands(v, v), ("B2", "B3")) for n, v in zip(names, (2500, 1500), strict=True)
    ]
    image = image_reader(FramePolicy(), offset="auto").read(record_of(*paths))
    assert image.dates == (date(2021, 3, 1), date(2022, 3, 1))
    assert image.raster.pixels[:, 0, 0, 0] == pytest.approx([0.15, 0.15])


@pytest.mark.parametrize(
    ("pixels", "options", "message"),
    [
        (
            constant_bands(1200, 3000),
            {"unit": "reflectance"},
            "S2 .*a.tif. is declared as reflectance.* look like digital_number",
        ),
        (
            constant_bands(0.1, 0.3, dtype="float32"),
            {},
            "is declared as digital_number, but its values look like reflectance",
        ),
        (constant_bands(1200, 3000), {"target_unit": "kelvin", "unit": "reflectance"}, "look like digital_number"),
        (
            constant_bands(0.1, 0.3, dtype="float32"),
            {"target_unit": "decibel", "unit": "reflectance"},
            "cannot be converted",
        ),
    ],
)
def test_units_that_the_values_contradict_are_refused(
    write_tif: Callable[..., Path], tmp_path: Path, pixels: np.ndarray, options: dict[str, object], message: str
) -> None:
    path = write_tif(tmp_path / "a.tif", pixels, ("B2", "B3"))
    with pytest.raises(SampleError, match=message):
        image_reader(**options).read(record_of(path))


def test_bands_of_different_units_are_refused(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(1200, 3000), ("B4", "B10"), size=30)
    reader = image_reader(bands=["B4", "B10"], sensor="landsat8")
    with pytest.raises(SampleError, match="'S2' mixes bands of different units .K, reflectance.. Make them modalities"):
        reader.read(record_of(path))
    assert (
        image_reader(bands=["B4", "B10"], sensor="landsat8", unit="native").read(record_of(path)).unit
        is InputUnit.NATIVE
    )


def test_a_cloud_band_works_with_the_names_of_a_sensor_and_is_not_converted(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    paths = []
    for day, scl in ((1, 9), (2, 4)):
        pixels = constant_bands(1000 * day, 2000 * day, 4)
        pixels[2, 0, 0] = scl
        paths.append(write_tif(tmp_path / f"S2_2021010{day}.tif", pixels, ("B2", "B3", "SCL")))
    image = image_reader(FramePolicy(), cloud_band="SCL").read(record_of(*paths))
    assert image.bands == ("B2", "B3")
    assert np.argwhere(~image.raster.valid).tolist() == [[0, 0, 0]]
    assert np.isnan(image.raster.pixels[0, :, 0, 0]).all()
    assert image.raster.pixels[1, :, 0, 0] == pytest.approx([0.2, 0.4])
    # The layer may be among the bands too.
    image = image_reader(
        FramePolicy(), cloud_band="SCL", sensor=None, bands=["B2", "SCL"], scale=1e-4, pixel_size=10
    ).read(record_of(*paths))
    assert np.argwhere(~image.raster.valid).tolist() == [[0, 0, 0]]
    with pytest.raises(SampleError, match="'S2': cloud band 'B3': A layer of kind 'scl' has whole numbers 0..11"):
        image_reader(FramePolicy(), cloud_band="B3", bands=["B2"]).read(record_of(*paths))
