"""What an array says of its numbers: a fill value that is measured, or a range in a wrong unit, changes pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from small_cubes import numbers, stacked, written
from small_files import level2a, read

from eo_data.catalog.sources import ImageSource
from eo_data.raster.sample import SampleError
from eo_data.readers.formats.cf_attributes import band_facts, facts_along_axis

BANDS = ("B02", "B03", "B04")
INT16 = np.dtype("int16")


@pytest.mark.parametrize(
    ("attributes", "stored"),
    [
        ({"nodata": -9999}, -9999),  # odc-stac
        ({"nodata": "-9999"}, -9999),
        ({"nodata": "(-9999.0, -9999.0, -9999.0)"}, -9999),
        ({"missing_value": np.float32(-9999)}, -9999),
        ({"fill_value": -9999}, -9999),  # EOPF
        ({"_FillValue": np.int16(-1), "missing_value": np.int16(-9999)}, -9999),
        ({"valid_range": np.array([0, 10000], "int16")}, -5),
        ({"valid_range": "0, 10000"}, 12000),
        ({"valid_min": np.int16(1)}, 0),
        # Packed: integers are a range of numbers, fractions one of values, unless that cannot be.
        ({"valid_range": np.array([0, 10000], "int16"), "scale_factor": 1e-4}, 12000),
        ({"valid_range": np.array([0.0, 1.0]), "scale_factor": 1e-4}, 12000),
        ({"valid_range": np.array([0.0, 10000.0]), "scale_factor": 1e-4}, 12000),
        ({"valid_min": np.float32(-0.1), "scale_factor": 1e-4, "add_offset": -0.1}, -5),
    ],
)
def test_what_a_file_calls_missing_is_missing_and_nothing_else(
    tmp_path: Path, attributes: dict[str, Any], stored: int
) -> None:
    pixels = numbers()
    pixels[:, 0, 0] = stored
    path = written(tmp_path / "a.nc", stacked(pixels, attributes))
    missing = np.isnan(read(path, level2a(*BANDS)).pixels)
    assert np.argwhere(missing).tolist() == [[0, 0, 0], [1, 0, 0], [2, 0, 0]]


def test_packed_numbers_are_decoded_as_xarray_does(tmp_path: Path) -> None:
    pixels = numbers()
    pixels[:, 0, 0] = -9999
    attributes = {"scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": np.int16(-9999)}
    path = written(tmp_path / "a.nc", stacked(pixels, attributes))
    source = level2a(*BANDS, offset=-1000)
    np.testing.assert_array_equal(read(path, source).pixels[:, 1:], pixels[:, 1:])  # digital numbers stay as they are
    with xarray.open_dataset(path) as truth:
        reflectance = read(path, ImageSource("x", BANDS, sensor="sentinel2_l2a")).pixels
        np.testing.assert_allclose(reflectance, truth.s2.values, rtol=1e-5)


def test_a_list_of_one_entry_per_band_is_read_by_band() -> None:
    """rioxarray writes lists where bands differ; of one number for all, the others would get the wrong one."""
    attributes = {
        "scales": [1e-4, 0.01],
        "offsets": (0.0, 273.15),
        "nodatavals": np.array([0, -1]),
        "units": ["1", "K"],
    }
    one, two = facts_along_axis("v", ("a", None), INT16, attributes)
    assert (one.name, one.scale, one.offset, one.nodata, one.unit) == ("a", 1e-4, 0.0, (0.0,), None)
    assert (two.name, two.scale, two.offset, two.nodata, two.unit) == (None, 0.01, 273.15, (-1.0,), "K")
    with pytest.raises(ValueError, match=r"'v' cannot be read as numbers: expected one number, or one for each band"):
        facts_along_axis("v", ("a", "b", "c"), INT16, {"scale_factor": [1e-4, 2e-4]})


@pytest.mark.parametrize(("said", "truth"), [("true", [40000, 65535]), ("false", [-25536, -1])])
def test_the_sign_of_numbers_is_that_of_the_attribute(tmp_path: Path, said: str, truth: list[int]) -> None:
    stored = np.full((3, 2, 2), 40000, np.uint16)
    stored[:, 0, 1] = 65535
    kind = "int16" if said == "true" else "uint16"
    path = written(tmp_path / "a.nc", stacked(stored.view(kind), {"_Unsigned": said}))
    assert read(path, level2a(*BANDS)).pixels[0, 0].tolist() == truth


def test_a_signed_fill_value_of_unsigned_numbers() -> None:
    facts = band_facts("a", np.dtype("uint8"), {"_FillValue": -1, "valid_range": [0, -2]}, unsigned=True)
    assert (facts.nodata, facts.valid_range) == ((255.0,), (0.0, 254.0))


def test_a_text_that_is_no_number_says_nothing_but_not_silently() -> None:
    with pytest.warns(UserWarning, match="The attribute nodata of 'a' is 'n/a', which is no number.*State nodata"):
        assert band_facts("a", INT16, {"nodata": "n/a"}).nodata == ()
    with pytest.raises(ValueError, match="'a' cannot be read as numbers: .*'by'"):
        band_facts("a", INT16, {"scale_factor": "by 1e4"})
    with pytest.raises(ValueError, match="valid_range of 'a' must have two numbers, got .1.0."):
        band_facts("a", INT16, {"valid_range": [1]})


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    path = written(tmp_path / "a.zarr", stacked(numbers().astype("complex64")))
    with pytest.raises(SampleError, match="a.zarr: its pixels are complex .complex64"):
        read(path, level2a(*BANDS))
