"""SLSTR level 1: hand-computed reflectance and temperature, exceptions, and products that lack a file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyproj
import pytest
import xarray
from small_products import zipped
from small_sentinel3 import EXCEPTIONS, FINE, swath, write_slstr

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.raster import to_map
from eo_data.raster.sample import SampleError
from eo_data.readers.files import facts_of, opened
from eo_data.readers.formats.facts import OpenLayer, Part
from eo_data.readers.formats.file_raster import FileRaster
from eo_data.readers.image_bands import read_file

#: 8000 * 0.01785.
RADIANCE = 142.8


def _read(path: Path, *bands: str, unit: str = "reflectance", **stated: object) -> FileRaster:
    source = ImageSource(files="{id}.SEN3", bands=bands, sensor="sentinel3_slstr", unit=unit, **stated)  # type: ignore[arg-type]
    return read_file(Href(str(path)), source)


def _at(raster: FileRaster, row: int, column: int, size: float = 500.0) -> float:
    """Value of the pixel in which a sample lies."""
    shape = FINE if size == 500 else (FINE[0] // 2, FINE[1] // 2)
    longitude, latitude = swath(*shape, size)
    known = pyproj.Transformer.from_crs("EPSG:4326", raster.crs, always_xy=True)
    assert raster.transform is not None
    x, y = to_map(~raster.transform, *known.transform(longitude[row, column], latitude[row, column]))
    return float(raster.pixels[0, int(y), int(x)])


def test_reflectance_is_pi_radiance_by_the_irradiance_of_the_detector_and_the_sun(tmp_path: Path) -> None:
    product = write_slstr(tmp_path, irradiance=[1800.0, 1810.0, 1820.0, 1830.0])
    raster = _read(product, "S1_REFLECTANCE_AN", resample_to=100.0)
    for column in (20, 21, 22, 23):
        flux = 1800 + 10 * (column % 4)
        assert _at(raster, 10, column) == pytest.approx(math.pi * RADIANCE / (flux * 0.5), rel=1e-6)


def test_the_sun_is_found_by_the_place_along_and_across_the_track(tmp_path: Path) -> None:
    # Tie points every 1 km along (rows, from -1 km on) and every 16 km across, from 32 km down to -16 km.
    sun = 30.0 + 0.5 * np.arange(22)[:, None] + 4.0 * np.arange(4)
    raster = _read(write_slstr(tmp_path, sun=sun), "S1_REFLECTANCE_AN", resample_to=100.0)
    for row, column in ((0, 0), (13, 5), (25, 40), (39, 59)):
        place = (500 * row + 1000) / 1000, (32000 - (16000 - 500 * column)) / 16000
        corners = np.cos(np.radians(sun))
        i, j = int(place[0]), int(place[1])
        u, v = place[0] - i, place[1] - j
        around = corners[i : i + 2, j : j + 2]
        cosine = np.array([1 - u, u]) @ around @ np.array([1 - v, v])
        assert _at(raster, row, column) == pytest.approx(math.pi * RADIANCE / (1800 * cosine), rel=1e-5)


def test_temperatures_are_kelvin_on_the_grid_of_1_km(tmp_path: Path) -> None:
    temperature = np.full((FINE[0] // 2, FINE[1] // 2), 627, "i2")
    temperature[8:12, 8:12] = 1127
    temperature[8:12, 20:24] = -32768
    product = write_slstr(tmp_path, temperature=temperature)
    raster = _read(product, "S7_BT_IN", "S8_BT_IN", unit="kelvin")
    assert raster.transform is not None
    assert raster.transform.a == 1000
    assert _at(raster, 2, 2, 1000) == pytest.approx(290.0)  # 627 * 0.01 + 283.73
    assert _at(raster, 10, 10, 1000) == pytest.approx(295.0)
    assert math.isnan(_at(raster, 10, 22, 1000))


def test_exceptions_are_missing_but_not_what_the_processor_filled(tmp_path: Path) -> None:
    exceptions = np.zeros(FINE, "u1")
    for i in range(8):
        exceptions[10:15, 6 * i : 6 * i + 5] = 1 << i
    raster = _read(write_slstr(tmp_path, exceptions=exceptions), "S1_REFLECTANCE_AN")
    missing = {EXCEPTIONS[i] for i in range(8) if math.isnan(_at(raster, 12, 6 * i + 2))}
    assert missing == set(EXCEPTIONS) - {"ISP_absent", "pixel_absent"}


def test_both_grids_come_to_one_if_a_pixel_size_is_stated(tmp_path: Path) -> None:
    product = write_slstr(tmp_path)
    fine, coarse = facts_of(Href(str(product)), ImageSource(bands=["S1"], resample_to=480.0))
    assert fine.grid == coarse.grid
    assert (fine.product.unit, coarse.product.unit) == ("reflectance", "kelvin")  # type: ignore[union-attr]
    assert [band.name for own in (fine, coarse) for band in own.bands] == [
        "S1_REFLECTANCE_AN",
        "S5_REFLECTANCE_AN",
        "S7_BT_IN",
        "S8_BT_IN",
    ]


def test_a_temperature_read_as_reflectance_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SampleError, match=r"of which the unit is kelvin, but the config states unit: reflectance"):
        _read(write_slstr(tmp_path), "S7_BT_IN")


def test_a_zip_is_the_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    product = write_slstr(tmp_path, radiance=rng.integers(2000, 9000, FINE).astype("i2"))
    own, archive = (_read(path, "S1_REFLECTANCE_AN") for path in (product, zipped(product)))
    np.testing.assert_array_equal(own.pixels, archive.pixels)
    assert own.grid == archive.grid


def test_without_irradiance_that_of_the_table_is_used_and_noted(tmp_path: Path) -> None:
    product = write_slstr(tmp_path)
    (product / "S1_quality_an.nc").unlink()
    raster = _read(product, "S1_REFLECTANCE_AN")
    assert _at(raster, 10, 10) == pytest.approx(math.pi * RADIANCE / (1798.94 * 0.5), rel=1e-6)
    assert any("no irradiance of S1: that of a table" in note for note in raster.notes)


@pytest.mark.parametrize(
    "file", ["geodetic_an.nc", "geodetic_in.nc", "geometry_tn.nc", "cartesian_tx.nc", "cartesian_an.nc"]
)
def test_a_product_without_geometry_is_refused_by_name(tmp_path: Path, file: str) -> None:
    product = write_slstr(tmp_path)
    (product / file).unlink()
    with pytest.raises(SampleError, match=rf"{product.name}.*\({file}\): the product is incomplete. Download"):
        _read(product, "S1_REFLECTANCE_AN")


#: Variables of the real sample by the file of a product that holds them.
_REAL = {
    "S1_radiance_an": ("S1_radiance_an", "S1_exception_an"),
    "S7_BT_in": ("S7_BT_in", "S7_exception_in"),
    "geodetic_an": ("longitude_an", "latitude_an"),
    "geodetic_in": ("longitude_in", "latitude_in"),
    "cartesian_an": ("x_an", "y_an"),
    "cartesian_tx": ("x_tx", "y_tx"),
    "geometry_tn": ("solar_zenith_tn",),
    "indices_an": ("detector_an",),
}


def test_real_variables_with_their_packing_and_flags_are_understood(tmp_path: Path, shared: Path) -> None:
    sample = shared / "data" / "s3_slstr" / "S3_SLSTR_RBT_subset_optical-toolbox.nc"
    product = write_slstr(tmp_path / "made").rename(tmp_path / "real.SEN3")
    for file in product.glob("*.nc"):
        file.unlink()
    with xarray.open_dataset(sample, engine="scipy", mask_and_scale=False, decode_coords=False) as data:
        stored = {name: data[name].values for names in _REAL.values() for name in names}
        for file_name, names in _REAL.items():
            data[list(names)].drop_vars(("lat", "lon"), errors="ignore").to_netcdf(product / f"{file_name}.nc")
    with opened(Href(str(product)), None) as layers:
        for row, column in ((3, 4), (12, 20), (20, 27)):
            place = stored["longitude_an"][row, column] * 1e-6, stored["latitude_an"][row, column] * 1e-6
            reflectance, temperature = (_value_at(layer, *place) for layer in layers)
            radiance, sun = stored["S1_radiance_an"][row, column] * 0.01785, stored["solar_zenith_tn"][row, column]
            expected = math.pi * radiance / (1798.94 * math.cos(math.radians(sun)))
            assert reflectance == pytest.approx(expected, rel=3e-3)
            kelvin = stored["S7_BT_in"][row, column] * 0.01 + 283.73
            missing = stored["S7_exception_in"].view("u1")[row, column] & ~np.uint8(3)
            assert math.isnan(temperature) if missing else temperature == pytest.approx(kelvin, abs=1e-3)


def _value_at(layer: OpenLayer, longitude: float, latitude: float) -> float:
    grid = layer.facts.grid
    place = pyproj.Transformer.from_crs("EPSG:4326", grid.crs, always_xy=True).transform(longitude, latitude)
    assert grid.transform is not None
    column, row = to_map(~grid.transform, *place)
    return float(layer.stored([0], Part(int(row), int(column), 1, 1))[0, 0, 0])
