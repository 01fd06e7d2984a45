"""What a file says and what a config makes of it are shown as they are, before anybody trusts a number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from small_files import constant_bands, hrefs, level2a

from eo_data.catalog.sources import ImageSource
from eo_data.readers.described.report import band_verdicts, crs_name, describe_file

LANDSAT = "LC09_L2SP_193024_20220615_20230411_02_T1_SR_B2.TIF"


def scaled(path: Path, scale: float, offset: float) -> Path:
    with rasterio.open(path, "r+") as file:
        file.scales = [scale] * file.count
        file.offsets = [offset] * file.count
    return path


def test_scale_no_data_mask_and_place_of_a_raster_are_listed(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    mask = np.full((4, 4), 255, np.uint8)
    path = write_tif(tmp_path / "a.tif", constant_bands(8, 9), ("B02", "B03"), nodata=7, mask=mask, tags={"K": "V"})
    scaled(path, 1e-4, -0.1)
    text = "\n".join(describe_file(*hrefs(path)))
    assert "GTiff, 4 x 4 px, 2 bands" in text
    assert "EPSG:32632, pixels of 10 x 10, corner 500000, 5000000" in text
    assert "missing   by a mask inside or beside the file" in text
    assert "K=V" in text
    (row,) = [line.split() for line in text.splitlines() if "B03" in line]
    assert row[:6] == ["2", "B03", "uint16", "-", "0.0001", "-0.1"]
    assert row[6] == "7"


def test_a_cube_shows_its_variables_dates_and_valid_range(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    attributes = {"units": "1", "valid_range": np.array([1, 9000], np.int16)}
    days = np.array(["2020-02-01", "2020-03-01"], dtype="datetime64[ns]")
    coordinates = pixel_centres(3) | {"time": days}
    variables = {"B02": (("time", "y", "x"), np.ones((2, 3, 3), np.int16), attributes)}
    text = "\n".join(describe_file(*hrefs(write_cube(tmp_path / "a.nc", variables, coordinates))))
    assert "2 frames, 3 x 3 px, 1 bands" in text
    assert "2020-02-01 to 2020-03-01" in text
    assert "1 .. 9000" in text


@pytest.mark.parametrize(
    ("tags", "options", "verdict", "text"),
    [
        (None, {}, "used", "scale: 0.0001, offset: 0 (the usual scale of the sensor)"),
        ((1e-4, -0.1), {}, "used", "offset: -1000 (scale: 0.0001, offset: -1000 from the file's tags)"),
        ((1e-4, -0.1), {"offset": -1000.0, "scale": 1e-4}, "stated", "offset: -1000 (config, as the file's tags says"),
        ((1e-4, -0.1), {"offset": 0.0}, "contradicts", "the config states scale: 0.0001, offset: 0, the file's tags"),
        ((5e-5, 0.0), {"scale": 1e-4}, "contradicts", "file_scaling: ignore"),
        ((5e-5, 0.0), {"scale": 1e-4, "file_scaling": "ignore"}, "stated", "scale: 0.0001, offset: 0 (config)"),
        (None, {"offset": "auto"}, "unknown", "State offset: -1000"),
        ((1e-4, -0.1), {"unit": "reflectance"}, "contradicts", "Declare unit: digital_number"),
        (None, {"unit": "reflectance"}, "stated", "unit reflectance"),
    ],
)
def test_a_verdict_says_what_becomes_of_scale_and_offset(
    write_tif: Callable[..., Path],
    tmp_path: Path,
    tags: tuple[float, float] | None,
    options: dict[str, object],
    verdict: str,
    text: str,
) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(3000), ("B02",))
    if tags is not None:
        scaled(path, *tags)
    source = ImageSource(**({"bands": ["B02"], "sensor": "sentinel2_l2a", "unit": "digital_number"} | options))
    (found,) = band_verdicts("S2", source, hrefs(path), None)
    assert (found.band, found.verdict) == ("B02", verdict)
    assert text in found.text


def test_landsat_without_tags_is_used_by_its_product_and_unknown_under_another_name(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    source = ImageSource(bands=["BLUE"], sensor="landsat8", unit="digital_number", file_bands=["BLUE"])
    named, other = (write_tif(tmp_path / name, constant_bands(9000)) for name in (LANDSAT, "x.tif"))
    (found,) = band_verdicts("L8", source, hrefs(named), None)
    assert found.verdict == "used"
    assert "scale: 2.75e-05, offset: -7272.73" in found.text
    (found,) = band_verdicts("L8", source, hrefs(other), None)
    assert found.verdict == "unknown"
    assert "Collection 2 level 2: scale: 2.75e-05" in found.text


def test_each_band_file_is_judged_by_itself(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    blue = scaled(write_tif(tmp_path / "B02.tif", constant_bands(3000)), 1e-4, -0.1)
    green = write_tif(tmp_path / "B03.tif", constant_bands(3000))
    found = band_verdicts("S2", level2a("B03", "B02"), hrefs(blue, green), ["B02", "B03"])
    assert [one.text.partition(" (")[0] for one in found] == [
        "scale: 0.0001, offset: 0",
        "scale: 0.0001, offset: -1000",
    ]


def test_the_name_of_a_crs_is_its_code_or_its_text() -> None:
    assert crs_name("EPSG:4326") == "EPSG:4326"
    assert crs_name(None) == "no CRS"
    assert crs_name("nonsense") == "nonsense"
