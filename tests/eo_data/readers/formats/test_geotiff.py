"""A raster gives the right band under the right name, NaN where nothing was observed, and keeps its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.control import GroundControlPoint
from rasters import vrt_band, write_vrt
from small_files import constant_bands, hrefs, level2a, read

from eo_data.catalog.sources import ImageSource
from eo_data.raster.sample import SampleError
from eo_data.readers.image_bands import read_bands

LEFT, TOP = 500000.0, 5000000.0


@pytest.mark.parametrize("layout", ["plain", "deflate", "cog"])
@pytest.mark.parametrize("resample_to", [None, 20])
def test_half_a_geotiff_is_refused_not_half_read(
    write_tif: Callable[..., Path], tmp_path: Path, layout: str, resample_to: float | None
) -> None:
    pixels = np.random.default_rng(0).integers(1, 4000, (2, 600, 600), dtype=np.uint16)
    path = write_tif(
        tmp_path / "whole.tif", pixels, ("B2", "B3"), **({"compress": "deflate"} if layout != "plain" else {})
    )
    if layout == "cog":
        rasterio.shutil.copy(str(path), str(tmp_path / "cog.tif"), driver="COG")
        path = tmp_path / "cog.tif"
    content = path.read_bytes()
    (tmp_path / "half.tif").write_bytes(content[: len(content) // 2])
    with pytest.raises(SampleError, match="half.tif cannot be read: .*The file may be truncated"):
        read(tmp_path / "half.tif", level2a(resample_to=resample_to))


def _holes(value: float, dtype: str) -> np.ndarray:
    """First band missing at (0, 0), second at (0, 0) and (1, 1)."""
    pixels = constant_bands(100, 200, dtype=dtype)
    pixels[:, 0, 0] = value
    pixels[1, 1, 1] = value
    return pixels


@pytest.mark.parametrize(
    ("value", "dtype", "options"),
    [
        (0, "uint16", {"nodata": 0}),
        (-9999, "int16", {"nodata": -9999}),
        (-32768, "int32", {"nodata": -32768}),
        (np.nan, "float32", {}),
        (np.nan, "float32", {"nodata": np.nan}),
        (-1.7976931348623157e308, "float64", {"nodata": -1.7976931348623157e308}),
        (-3.4028234663852886e38, "float32", {"nodata": -3.4028234663852886e38}),
    ],
)
def test_no_data_of_the_file_is_nan_band_by_band(
    write_tif: Callable[..., Path], tmp_path: Path, value: float, dtype: str, options: dict[str, float]
) -> None:
    path = write_tif(tmp_path / "a.tif", _holes(value, dtype), ("B2", "B3"), **options)
    pixels = read(path, level2a("B3", "B2")).pixels
    assert np.argwhere(np.isnan(pixels)).tolist() == [[0, 0, 0], [0, 1, 1], [1, 0, 0]]
    assert pixels[1, 1, 1] == 100


def test_no_data_of_the_config_takes_the_place_of_the_file_s(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", _holes(7, "uint16"), ("B2", "B3"), nodata=100)
    pixels = read(path, level2a(nodata=7)).pixels
    assert np.isnan(pixels[1, 1, 1])
    assert pixels[0, 2, 2] == 100


def test_a_mask_of_the_data_set_hides_all_bands(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    mask = np.full((4, 4), 255, dtype=np.uint8)
    mask[2, 3] = 0
    path = write_tif(tmp_path / "a.tif", constant_bands(100, 200), ("B2", "B3"), mask=mask)
    pixels = read(path, level2a()).pixels
    assert np.argwhere(np.isnan(pixels)).tolist() == [[0, 2, 3], [1, 2, 3]]


def test_no_data_of_one_band_does_not_become_zero_when_resampled(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    pixels = constant_bands(1000, 2000, side=40)
    pixels[0, :20] = 0
    path = write_tif(tmp_path / "a.tif", pixels, ("B2", "B3"), nodata=0)
    reading = read(path, level2a(resample_to=20)).pixels
    assert reading.shape == (2, 20, 20)
    assert np.isnan(reading[0, :8]).all()
    assert not np.isnan(reading[0, 12:]).any()
    assert set(np.unique(reading[0, 12:])) == {1000}
    assert np.nanmin(reading[0]) == 1000
    assert set(np.unique(reading[1])) == {2000}


def test_resampling_keeps_the_ground(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    ramp = np.repeat(np.arange(8, dtype=np.float32)[None, None], 8, axis=1) * 100
    path = write_tif(tmp_path / "a.tif", ramp, ("B2",))
    reading = read(path, level2a("B2", resample_to=20))
    assert reading.transform == Affine(20, 0, LEFT, 0, -20, TOP)
    # Triangular kernel over 10 m pixels at the centre of a 20 m pixel: the mean of a ramp is its value there.
    assert reading.pixels[0, 1, 1:3].tolist() == pytest.approx([250, 450])
    with pytest.raises(SampleError, match="resample_to is in the unit of the CRS .* covers 80 x 80; got 200"):
        read(path, level2a("B2", resample_to=200))
    degrees = write_tif(tmp_path / "d.tif", ramp, ("B2",), crs="EPSG:4326", transform=Affine(9e-5, 0, 10, 0, -9e-5, 45))
    with pytest.raises(SampleError, match="In a geographic CRS it is in degrees"):
        read(degrees, level2a("B2", resample_to=20))
    rotated = write_tif(tmp_path / "r.tif", ramp, ("B2",), transform=Affine(10, 1, LEFT, 1, -10, TOP))
    with pytest.raises(SampleError, match="resample_to needs a raster that is not rotated"):
        read(rotated, level2a("B2", resample_to=20))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_file_without_georeference_has_none(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(1, 2), ("B2", "B3"), crs=None, transform=Affine.identity())
    reading = read(path, level2a())
    assert (reading.transform, reading.crs) == (None, None)
    one = write_tif(tmp_path / "B2.tif", constant_bands(1), crs=None, transform=Affine.identity())
    reading = read_bands(hrefs(one), ["B2"], level2a("B2"))
    assert (reading.transform, reading.crs) == (None, None)


def test_a_file_per_band(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    names = ["B8A", "B02", "QA", "B11"]
    paths = [
        write_tif(tmp_path / f"{n}.tif", constant_bands(v), nodata=0) for n, v in zip(names, (8, 2, 9, 11), strict=True)
    ]
    reading = read_bands(hrefs(*paths), names, level2a("SWIR_1", "BLUE", "NIR_NARROW"))
    assert reading.pixels[:, 0, 0].tolist() == [11, 2, 8]
    with pytest.raises(SampleError, match="Wanted bands that are not there: RED.*Available: B8A, B02, QA, B11"):
        read_bands(hrefs(*paths), names, level2a("RED"))


def test_bands_on_different_grids(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    fine = write_tif(tmp_path / "B2.tif", constant_bands(100, side=6), nodata=0)
    coarse = write_tif(tmp_path / "B5.tif", constant_bands(500, side=3), nodata=0, size=20)
    with pytest.raises(SampleError, match=r"B5.tif has 3 x 3 pixels of 20 x 20, but .*B2.tif has another grid"):
        read_bands(hrefs(fine, coarse), ["B2", "B5"], level2a("B2", "B5"))
    reading = read_bands(hrefs(fine, coarse), ["B2", "B5"], level2a("B5", "B2", resample_to=10))
    assert reading.pixels.shape == (2, 6, 6)
    assert reading.transform == Affine(10, 0, LEFT, 0, -10, TOP)
    assert [np.unique(plane).tolist() for plane in reading.pixels] == [[500], [100]]
    # What lies elsewhere is not the same image, whatever resample_to says: it would come out as missing.
    elsewhere = write_tif(tmp_path / "B4.tif", constant_bands(400, side=6), corner=(LEFT + 6000, TOP))
    other_zone = write_tif(tmp_path / "B3.tif", constant_bands(300, side=6), crs="EPSG:32633")
    for path, band in ((elsewhere, "B4"), (other_zone, "B3")):
        with pytest.raises(SampleError, match=f"{band}.tif .*has another grid .size, transform or CRS"):
            read_bands(hrefs(fine, path), ["B2", band], level2a("B2", band, resample_to=10))


def test_broken_files_per_band_are_sample_errors(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    good = write_tif(tmp_path / "B2.tif", constant_bands(1))
    two = write_tif(tmp_path / "B3.tif", constant_bands(1, 2))
    (tmp_path / "B4.tif").write_bytes(good.read_bytes()[:200])
    with pytest.raises(SampleError, match="B3.tif has 2 bands, expected one"):
        read_bands(hrefs(good, two), ["B2", "B3"], level2a("B2", "B3"))
    with pytest.raises(SampleError, match="B4.tif cannot be read"):
        read_bands(hrefs(good, tmp_path / "B4.tif"), ["B2", "B4"], level2a("B2", "B4"))
    rotated = write_tif(tmp_path / "B5.tif", constant_bands(1), transform=Affine(10, 1, LEFT, 1, -10, TOP))
    with pytest.raises(SampleError, match="B5.tif: resample_to needs a raster that is not rotated"):
        read_bands(hrefs(rotated), ["B5"], level2a("B5", resample_to=20))


def test_a_raster_whose_rows_run_north_is_resampled_over_its_own_ground(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    """Its transform begins in the south; a grid from there on would lie beside the image and hold nothing."""
    ramp = np.repeat(np.arange(8, dtype=np.float32)[None, :, None], 8, axis=2) * 100
    path = write_tif(tmp_path / "a.tif", ramp, ("B2",), transform=Affine(10, 0, LEFT, 0, 10, TOP - 80))
    reading = read(path, level2a("B2", resample_to=20))
    assert reading.transform == Affine(20, 0, LEFT, 0, -20, TOP)
    assert reading.pixels[0, 1:3, 1].tolist() == pytest.approx([450, 250])


def test_a_vrt_may_mix_types_and_no_data(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    """What `gdalbuildvrt -separate` makes of band files: 65535 of one band must not become a reflectance of 6.5."""
    whole, fraction = constant_bands(100), constant_bands(200.5, dtype="float32")
    whole[0, 0, 0], fraction[0, 1, 1] = 65535, -9999
    write_tif(tmp_path / "bands" / "a.tif", whole)
    write_tif(tmp_path / "bands" / "b.tif", fraction)
    bands = [
        vrt_band(1, "bands/a.tif", "B2", "<NoDataValue>65535</NoDataValue>"),
        vrt_band(2, "bands/b.tif", "B3", "<NoDataValue>-9999</NoDataValue>", kind="Float32", band=1),
    ]
    path = write_vrt(tmp_path / "x.vrt", 4, bands)
    pixels = read(path, level2a()).pixels
    assert np.argwhere(np.isnan(pixels)).tolist() == [[0, 0, 0], [1, 1, 1]]
    assert (pixels[0, 3, 3], pixels[1, 3, 3]) == (100, 200.5)


def test_masks_of_single_bands_and_of_the_data_set(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    mask = np.full((4, 4), 255, np.uint8)
    mask[0, 0], mask[3, 3] = 0, 7  # what is not 0 is there
    write_tif(tmp_path / "a.tif", constant_bands(100, 200), mask=mask)
    own = (
        '<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource><SourceFilename relativeToVRT="1">a.tif'
        "</SourceFilename><SourceBand>mask,1</SourceBand></SimpleSource></VRTRasterBand></MaskBand>"
    )
    one = write_vrt(tmp_path / "1.vrt", 4, [vrt_band(1, "a.tif", "B2"), vrt_band(2, "a.tif", "B3", own)])
    both = write_vrt(tmp_path / "2.vrt", 4, [vrt_band(1, "a.tif", "B2"), vrt_band(2, "a.tif", "B3")], own)
    assert np.argwhere(np.isnan(read(one, level2a()).pixels)).tolist() == [[1, 0, 0]]
    assert np.argwhere(np.isnan(read(both, level2a()).pixels)).tolist() == [[0, 0, 0], [1, 0, 0]]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_crs_without_a_transform_is_no_place(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    """Else chips lie south up at the origin of the CRS, with pixels of 1 m."""
    path = write_tif(tmp_path / "a.tif", constant_bands(1, 2), ("B2", "B3"), transform=Affine.identity())
    assert read(path, level2a()).transform is None
    with pytest.raises(SampleError, match="a.tif: resample_to needs a raster with a georeference"):
        read(path, level2a(resample_to=20))


@pytest.mark.parametrize("crs", ["EPSG:32632", None])
def test_a_transform_without_area_is_refused(write_tif: Callable[..., Path], tmp_path: Path, crs: str | None) -> None:
    path = write_tif(
        tmp_path / "a.tif", constant_bands(1, 2), ("B2", "B3"), transform=Affine(10, 0, 5, 0, 0, 5), crs=crs
    )
    with pytest.raises(SampleError, match="a.tif: its transform .* is no place.*gdal_edit.py -unsetgt"):
        read(path, level2a())


def _points() -> list[GroundControlPoint]:
    return [GroundControlPoint(row, column, 12 + column, 45 - row) for row in (0, 4) for column in (0, 4)]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_points_are_no_transform(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    """Sentinel-1 GRD before terrain correction; the config may say that it wants the pixels without a place."""
    pixels = constant_bands(0.1, 0.2, dtype="float32")
    path = write_tif(tmp_path / "a.tif", pixels, ("VV", "VH"), transform=None, gcps=_points(), crs="EPSG:4326")
    source = ImageSource("x.tif", ["VV", "VH"], sensor="sentinel1", unit="linear_power")
    with pytest.raises(SampleError, match="a.tif: only ground control points say .* Warp or terrain-correct it first"):
        read(path, source)
    with pytest.warns(UserWarning, match="a.tif: only ground control points .* used without a place on the map"):
        reading = read(path, replace(source, pixel_size=10))
    assert reading.transform is None


def test_complex_pixels_are_refused(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(1, 2, dtype="complex64"), ("VV", "VH"))
    with pytest.raises(SampleError, match="a.tif: its pixels are complex"):
        read(path, ImageSource("x.tif", ["VV"], sensor="sentinel1", unit="linear_power"))
