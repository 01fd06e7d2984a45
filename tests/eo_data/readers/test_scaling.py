"""Scale, offset and fill numbers come from the file, what lies beside it and its product, and the config agrees."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_files import constant_bands, image_reader, record_of

from eo_data.raster.sample import SampleError
from eo_data.temporal.frame_policy import FramePolicy

NUMBERS = np.random.default_rng(0).integers(8000, 16000, (2, 8, 8)).astype(np.uint16)
LANDSAT = "LC09_L2SP_193024_20220615_20230411_02_T1"
LEVEL1 = "LC08_L1TP_193024_20220615_20220627_02_T1"
HLS = "HLS.S30.T32TMT.2022166T100559.v2.0"
NEW = "S2A_MSIL2A_20220301T101010_N0400_R022_T32TMT_20220301T120000"
OLD = "S2A_MSIL2A_20210301T101010_N0214_R022_T32TMT_20210301T120000"


def _values(path: Path, **options: Any) -> np.ndarray:
    return image_reader(**options).read(record_of(path)).raster.pixels


def _with_gap(numbers: np.ndarray, value: int) -> np.ndarray:
    changed = numbers.copy()
    changed[:, :2] = value
    return changed


def _landsat(bands: tuple[str, str] = ("B2", "B3"), **options: Any) -> dict[str, Any]:
    return {"sensor": "landsat8", "bands": bands, "pixel_size": 30, **options}


@pytest.mark.parametrize(
    ("tags", "config", "scale", "offset"),
    [
        ({}, {"offset": 0}, 1e-4, 0.0),
        ({"scales": (1, 1), "offsets": (0, 0)}, {"offset": 0}, 1e-4, 0.0),  # nothing is said
        ({"scales": (5e-5, 5e-5)}, {}, 5e-5, 0.0),
        ({"scales": (1e-4, 1e-4), "offsets": (-0.1, -0.1)}, {}, 1e-4, -0.1),
        ({"scales": (1e-4, 1e-4), "offsets": (-0.1, -0.1)}, {"offset": "auto"}, 1e-4, -0.1),
        # Stated as in the file: taken off once.
        ({"scales": (1e-4, 1e-4), "offsets": (-0.1, -0.1)}, {"scale": 1e-4, "offset": -1000}, 1e-4, -0.1),
        ({"scales": (5e-5, 5e-5)}, {"scale": 1e-4, "offset": 0, "file_scaling": "ignore"}, 1e-4, 0.0),
    ],
)
def test_tags_of_the_file_are_used_once(
    write_tif: Callable[..., Path],
    tmp_path: Path,
    tags: dict[str, Any],
    config: dict[str, Any],
    scale: float,
    offset: float,
) -> None:
    path = write_tif(tmp_path / "a.tif", NUMBERS, ("B2", "B3"), **tags)
    np.testing.assert_allclose(_values(path, **config), NUMBERS * scale + offset, atol=1e-6)


@pytest.mark.parametrize(
    ("tags", "config", "words"),
    [
        ({"scales": (5e-5, 5e-5)}, {"scale": 1e-4}, "scale: 0.0001, .*scale: 5e-05, .*file_scaling: ignore"),
        ({"scales": (1e-4,) * 2, "offsets": (-0.1,) * 2}, {"offset": 0}, "offset: 0, .*offset: -1000.*Leave scale and"),
        ({"scales": (1e-4,) * 2}, {"unit": "reflectance"}, "look like digital_number|unit: digital_number"),
    ],
)
def test_contradictions_show_both_sides(
    write_tif: Callable[..., Path], tmp_path: Path, tags: dict[str, Any], config: dict[str, Any], words: str
) -> None:
    path = write_tif(tmp_path / "a.tif", NUMBERS, ("B2", "B3"), **tags)
    with pytest.raises(SampleError, match=f"a.tif.*B2.*({words})"):
        _values(path, **config)


def test_frames_have_scales_of_their_own(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    first = write_tif(tmp_path / "s_20210101.tif", NUMBERS, ("B2", "B3"), scales=(1e-4,) * 2)
    second = write_tif(
        tmp_path / "s_20220301.tif", NUMBERS * 2 + 1000, ("B2", "B3"), scales=(5e-5,) * 2, offsets=(-0.05,) * 2
    )
    pixels = image_reader(FramePolicy()).read(record_of(first, second)).raster.pixels
    np.testing.assert_allclose(pixels, np.stack([NUMBERS * 1e-4] * 2), rtol=1e-5)


def _item(path: Path, properties: dict[str, Any], **asset: Any) -> None:
    content = {"type": "Feature", "stac_version": "1.0.0", "id": path.stem, "properties": properties}
    content["assets"] = {"data": {"href": f"https://example.org/{path.name}", **asset}}
    path.with_suffix(".json").write_text(json.dumps(content))


CATALOGUE = {"raster:bands": [{"nodata": 0, "scale": 1e-4, "offset": -0.1}] * 2}


@pytest.mark.parametrize(
    ("properties", "asset", "offset"),
    [
        ({}, CATALOGUE, -0.1),
        ({}, {"bands": [{"raster:scale": 1e-4, "raster:offset": -0.1, "nodata": 0}] * 2}, -0.1),  # STAC 1.1
        # Earth Search states the offset although it has been taken off.
        ({"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.09"}, CATALOGUE, 0.0),
    ],
)
def test_a_stac_item_beside_the_file_is_used(
    write_tif: Callable[..., Path], tmp_path: Path, properties: dict[str, Any], asset: dict[str, Any], offset: float
) -> None:
    path = write_tif(tmp_path / "a.tif", _with_gap(NUMBERS, 0), ("B2", "B3"))
    _item(path, properties, **asset)
    expected = NUMBERS * 1e-4 + offset
    expected[:, :2] = np.nan
    np.testing.assert_allclose(_values(path), expected, atol=1e-6)


def test_an_offset_that_the_product_does_not_have_is_refused(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    """One config for scenes of before and after January 2022 takes 0.1 off the old ones."""
    old = write_tif(tmp_path / f"{OLD}.tif", NUMBERS, ("B2", "B3"))
    applied = write_tif(tmp_path / "a.tif", NUMBERS, ("B2", "B3"))
    _item(applied, {"earthsearch:boa_offset_applied": True})
    for path in (old, applied):
        with pytest.raises(
            SampleError, match="states offset: -1000, but by its name or metadata .* State offset: auto"
        ):
            _values(path, offset=-1000)
        np.testing.assert_allclose(_values(path, offset="auto"), NUMBERS * 1e-4, atol=1e-6)
    # Metadata lie, too.
    np.testing.assert_allclose(_values(old, offset=-1000, file_scaling="ignore"), NUMBERS * 1e-4 - 0.1, atol=1e-6)
    for name in (NEW, NEW.replace("_N0400", "")):
        new = write_tif(tmp_path / f"{name}.tif", NUMBERS, ("B2", "B3"))
        with pytest.raises(SampleError, match="numbers have an offset of -1000. State offset: auto, or offset: 0"):
            _values(new)


@pytest.mark.parametrize("nodata", [None, 0, 65535])
@pytest.mark.parametrize(
    ("name", "tags", "config"),
    [
        (f"{LANDSAT}_SR_stack.tif", {}, {}),
        ("LANDSAT_LC08_C02_T1_L2_LC08_193024_20220615.tif", {}, {}),
        ("x.tif", {"scales": (2.75e-5,) * 2, "offsets": (-0.2,) * 2}, {}),
        ("x.tif", {}, {"scale": 2.75e-5, "offset": -7273}),
        ("x.tif", {"scales": (2.75e-5,) * 2, "offsets": (-0.2,) * 2}, {"scale": 2.75e-5, "offset": -0.2 / 2.75e-5}),
    ],
)
def test_landsat_has_its_own_scale_and_0_is_missing(
    write_tif: Callable[..., Path],
    tmp_path: Path,
    name: str,
    tags: dict[str, Any],
    config: dict[str, Any],
    nodata: int | None,
) -> None:
    """Whatever else the file states as no-data: 0 would be a reflectance of -0.2."""
    options = {} if nodata is None else {"nodata": nodata}
    path = write_tif(tmp_path / name, _with_gap(NUMBERS, 0), ("B2", "B3"), size=30, **tags, **options)
    expected = NUMBERS * 2.75e-5 - 0.2
    expected[:, :2] = np.nan
    np.testing.assert_allclose(_values(path, **_landsat(**config)), expected, atol=2e-5)


def test_landsat_without_a_known_scale_is_asked_for_one(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    """Sentinel-2's 0.0001 would give reflectances of 0.8 to 1.6, and temperatures of 4 K."""
    path = write_tif(tmp_path / "x.tif", NUMBERS, ("B2", "B3"), size=30)
    with pytest.raises(SampleError, match=r"x.tif, band B2: the scale .* not known.*scale: 2.75e-05, offset: -7272.73"):
        _values(path, **_landsat())
    product = write_tif(tmp_path / f"{LANDSAT}_SR_stack.tif", NUMBERS, ("B2", "B3"), size=30)
    with pytest.raises(SampleError, match=r"config states scale: 0.0001, .* level 2 scale: 2.75e-05"):
        _values(product, **_landsat(scale=1e-4, offset=0))


def test_level_1_is_converted_by_its_mtl_file(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / f"{LEVEL1}_stack.tif", _with_gap(NUMBERS, 0), ("B2", "B3"), size=30)
    with pytest.raises(SampleError, match="the scale .* not known.*keep the MTL file beside"):
        _values(path, **_landsat())
    factors = {f"REFLECTANCE_{k}_BAND_{n}": str(v) for k, v in (("MULT", 2e-5), ("ADD", -0.1)) for n in (2, 3)}
    content = {"IMAGE_ATTRIBUTES": {"SUN_ELEVATION": "30"}, "LEVEL1_RADIOMETRIC_RESCALING": factors}
    (tmp_path / f"{LEVEL1}_MTL.json").write_text(json.dumps({"LANDSAT_METADATA_FILE": content}))
    expected = (NUMBERS * 2e-5 - 0.1) / 0.5
    expected[:, :2] = np.nan
    np.testing.assert_allclose(_values(path, **_landsat()), expected, atol=1e-6)


def test_numbers_of_hls_have_a_fill_of_their_own_and_0_is_a_value(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    numbers = _with_gap((NUMBERS // 4).astype(np.int16), -9999)
    numbers[:, 3], numbers[:, 4] = 0, -120
    expected = np.where(numbers == -9999, np.nan, numbers * 1e-4)
    for options in ({}, {"nodata": -9999}):
        path = write_tif(tmp_path / f"{HLS}.stack.tif", numbers, ("B2", "B3"), size=30, **options)
        np.testing.assert_allclose(_values(path, pixel_size=30), expected, atol=1e-6)


def test_decibels_in_hundredths(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(-2200, -500, (2, 8, 8)).astype(np.int16)
    radar: dict[str, Any] = {"sensor": "sentinel1", "bands": ["VV", "VH"]}
    tagged = write_tif(tmp_path / "a.tif", numbers, ("VV", "VH"), scales=(0.01, 0.01))
    np.testing.assert_allclose(_values(tagged, **radar), numbers * 0.01, rtol=1e-5)
    with pytest.raises(SampleError, match=r"declared as decibel, but the tags .* scale: 0.01.*unit: digital_number"):
        _values(tagged, unit="decibel", **radar)
    plain = write_tif(tmp_path / "b.tif", numbers, ("VV", "VH"))
    with pytest.raises(SampleError, match=r"b.tif, band VV: the scale .* not known.*calibrate.*scale: 0.01"):
        _values(plain, **radar)
    np.testing.assert_allclose(_values(plain, scale=0.01, **radar), numbers * 0.01, rtol=1e-5)


def test_pictures_of_8_bits_are_no_digital_numbers_of_a_product(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    """Sentinel-2's scale would make 0.0255 of white."""
    picture = (NUMBERS // 64).astype(np.uint8)
    path = write_tif(tmp_path / "a.tif", picture, ("B2", "B3"))
    with pytest.raises(SampleError, match=r"a.tif, band B2: its numbers have 8 bits .*State scale .*unit: native"):
        _values(path)
    np.testing.assert_allclose(_values(path, scale=1 / 255, offset=0), picture / 255, rtol=1e-5)
    np.testing.assert_array_equal(_values(path, unit="native"), picture)


def test_no_scale_is_needed_without_a_sensor_for_native_numbers(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", NUMBERS, ("a", "b"))
    options: dict[str, Any] = {"sensor": None, "bands": ["a", "b"], "pixel_size": 10}
    np.testing.assert_array_equal(_values(path, unit="native", **options), NUMBERS)
    np.testing.assert_allclose(_values(path, scale=1e-4, **options), NUMBERS * 1e-4, rtol=1e-6)
    with pytest.raises(SampleError, match=r"a.tif, band a: the scale .* not known.*State scale and offset"):
        _values(path, **options)


def test_a_copy_that_was_scaled_anew_under_the_name_of_its_product_is_read_as_stated(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    """The refusal says file_scaling: ignore, which has to help against the definition of the product, too."""
    path = write_tif(
        tmp_path / "LC09_L2SP_193024_20220615_20230411_02_T1_SR_B2.TIF", constant_bands(3000), ("BLUE",), size=30
    )
    stated = {"bands": ["BLUE"], "sensor": "landsat8", "scale": 1e-4, "offset": 0.0}
    with pytest.raises(SampleError, match="file_scaling: ignore"):
        image_reader(**stated).read(record_of(path))
    found = image_reader(**stated, file_scaling="ignore").read(record_of(path))
    assert found.raster.pixels[0, 0, 0] == pytest.approx(0.3)
