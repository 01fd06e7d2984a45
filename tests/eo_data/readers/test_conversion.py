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
        match="the digital number offset of .*a.tif cannot be told from its name or metadata. State offset: -1",
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
    reader = image_reader(FramePolicy(), cloud_band="SCL", sensor=None, bands=["B2", "SCL"], scale=1e-4, pixel_size=10)
    image = reader.read(record_of(*paths))
    assert np.argwhere(~image.raster.valid).tolist() == [[0, 0, 0]]
    with pytest.raises(SampleError, match="'S2': cloud band 'B3': .*layer of kind 'scl' has whole numbers 0..11"):
        image_reader(FramePolicy(), cloud_band="B3", bands=["B2"]).read(record_of(*paths))


def test_the_clouds_of_a_single_image_count_as_missing_and_a_layer_that_is_not_there_is_refused(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    """Only series asked for the layer: a chip was read with its clouds, whatever cloud_band said."""
    pixels = constant_bands(1000, 2000, 4)
    pixels[2, 0] = 9
    path = write_tif(tmp_path / "a.tif", pixels, ("B2", "B3", "SCL"))
    image = image_reader(cloud_band="SCL").read(record_of(path))
    assert image.bands == ("B2", "B3")
    assert np.isnan(image.raster.pixels[:, 0]).all()
    assert image.raster.pixels[:, 1, 0] == pytest.approx([0.1, 0.2])
    assert not image.raster.valid[0].any()
    assert "SCL: 4 pixels do not show the ground" in image.notes
    with pytest.raises(SampleError, match="a.tif: Wanted bands that are not there: QA60"):
        image_reader(cloud_band="QA60", cloud_kind="qa60").read(record_of(path))


def _quarter(pixels: np.ndarray, value: float) -> np.ndarray:
    changed = pixels.copy()
    changed[..., :1] = value
    return changed


@pytest.mark.parametrize(
    ("stored", "value", "options", "expected"),
    [
        # Sentinel-2: 0 is no data, and -0.1 no reflectance.
        (constant_bands(1500, 2500), 0, {"offset": -1000}, (0.05, 0.15)),
        (constant_bands(1500, 2500), 0, {"offset": 0}, (0.15, 0.25)),
        (constant_bands(1500, 2500), 65535, {"offset": 0}, (0.15, 0.25)),
        # Exports without a mask, and SNAP beyond the swath.
        (constant_bands(-12, -19, dtype="float32"), 0, {"unit": "decibel"}, (-12, -19)),
        (constant_bands(0.1, 0.01, dtype="float32"), 0, {"unit": "linear_power"}, (-10, -20)),
        (
            constant_bands(0.1, 0.01, dtype="float32"),
            0,
            {"unit": "linear_power", "target_unit": "linear_power"},
            (0.1, 0.01),
        ),
        (constant_bands(-1200, -1900, dtype="int16"), 0, {"scale": 0.01}, (-12, -19)),
    ],
)
def test_numbers_that_stand_for_no_data_without_being_declared_are_missing(
    write_tif: Callable[..., Path],
    tmp_path: Path,
    stored: np.ndarray,
    value: float,
    options: dict[str, object],
    expected: tuple[float, float],
) -> None:
    radar = {} if "offset" in options else {"sensor": "sentinel1", "bands": ["VV", "VH"]}
    path = write_tif(tmp_path / "a.tif", _quarter(stored, value), radar.get("bands", ("B2", "B3")))
    raster = image_reader(**(radar | options)).read(record_of(path)).raster
    assert not raster.valid[:, :1].any()
    assert raster.valid[:, 1:].all()
    assert raster.pixels[:, 0, 2] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("stored", "value", "options", "words"),
    [
        (constant_bands(0.1, 0.2, dtype="float32"), -9999, {"unit": "reflectance"}, "-9999 as stored"),
        (constant_bands(1500, 2500, dtype="int16"), -9999, {"offset": 0}, "-9999 as stored"),
        (constant_bands(0.1, 0.2, dtype="float32"), -1, {"unit": "reflectance"}, "-1 as stored"),
        (constant_bands(300, 400, dtype="float32"), np.finfo("float32").min, {"unit": "native"}, "-3.4028235e[+]38"),
    ],
)
def test_impossible_values_are_refused_with_the_line_to_write(
    write_tif: Callable[..., Path],
    tmp_path: Path,
    stored: np.ndarray,
    value: float,
    options: dict[str, object],
    words: str,
) -> None:
    path = write_tif(tmp_path / "a.tif", _quarter(stored, value), ("B2", "B3"))
    with pytest.raises(SampleError, match=f"a.tif.: band B2 has 4 of 16 values .25 %.*{words}.*nodata: "):
        image_reader(**options).read(record_of(path))
    pixels = image_reader(nodata=float(np.float32(value)), **options).read(record_of(path)).raster.pixels
    assert np.isnan(pixels[:, :, 0]).all()


@pytest.mark.parametrize(
    ("stored", "options"),
    [
        (constant_bands(1.4, 0.9, dtype="float32"), {"unit": "reflectance"}),  # snow
        (constant_bands(-0.02, 0.01, dtype="float32"), {"unit": "reflectance"}),  # dark water
        (constant_bands(980, 1010), {"offset": -1000}),
        (constant_bands(26000, 22000), {"offset": 0}),  # glint
        (constant_bands(0, 2500), {"offset": 0}),  # 0 in one band only
        (constant_bands(-48, -55, dtype="float32"), {"sensor": "sentinel1", "bands": ["VV", "VH"], "unit": "decibel"}),
        (constant_bands(0, 255, dtype="uint8"), {"unit": "native"}),
        (constant_bands(-3, 3, dtype="float32"), {"unit": "native", "sensor": None, "pixel_size": 10}),
    ],
)
def test_ordinary_values_are_not_refused(
    write_tif: Callable[..., Path], tmp_path: Path, stored: np.ndarray, options: dict[str, object]
) -> None:
    path = write_tif(tmp_path / "a.tif", stored, options.get("bands", ("B2", "B3")))
    raster = image_reader(**options).read(record_of(path)).raster
    assert raster.valid.all()
    assert np.isfinite(raster.pixels).all()
