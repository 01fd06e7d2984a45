"""Sentinel-1 GRD: sigma0 by hand, pixels where the points of the product say, and what a product may lack."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS, Transformer
from small_files import hrefs, image_reader, read, record_of
from small_sentinel1 import HEIGHT, NAME, WIDTH, noise_xml, place, stem, write_grd, zipped

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record, SceneFiles, TileWindow
from eo_data.catalog.sources import ImageSource
from eo_data.dataset.chip_splits import ChipSplits
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_data.raster.georeference import PixelGrid
from eo_data.raster.raster import to_map
from eo_data.raster.sample import Image, SampleError
from eo_data.readers.files import facts_of, reader_of
from eo_data.readers.formats.file_raster import FileRaster

#: Centre of the products, by their own formula, in UTM zone 33.
TO_UTM = Transformer.from_crs(4326, 32633, always_xy=True)


def flat(value: int = 500) -> np.ndarray:
    return np.full((HEIGHT, WIDTH), value)


def radar(*bands: str, **options: Any) -> ImageSource:
    return ImageSource("x.SAFE", bands or ("VV",), sensor="sentinel1", unit="linear_power", **options)


def centroid(reading: FileRaster, ground: float) -> tuple[float, float]:
    """Return where the brightness above that of the ground lies, in columns and rows."""
    weight = np.nan_to_num(reading.pixels[0] - ground).clip(0)
    weight[weight < 0.01 * weight.max()] = 0
    rows, columns = np.indices(weight.shape)
    return float((columns * weight).sum() / weight.sum()), float((rows * weight).sum() / weight.sum())


def map_place(reading: FileRaster, column: float, row: float) -> tuple[float, float]:
    assert reading.transform is not None
    x, y = to_map(reading.transform, column + 0.5, row + 0.5)
    return float(x), float(y)


def test_numbers_become_sigma0_by_the_calibration_table(tmp_path: Path) -> None:
    path = write_grd(tmp_path, {"VV": flat(), "VH": flat(125)})
    reading = read(path, radar("VV", "VH"))
    inside = np.isfinite(reading.pixels)
    # (500 / 250)**2 and (125 / 250)**2
    assert np.unique(reading.pixels[0][inside[0]].round(5)).tolist() == [4.0]
    assert np.unique(reading.pixels[1][inside[1]].round(5)).tolist() == [0.25]
    assert 0.5 < inside[0].mean() < 0.9  # a turned image in a grid that is north up
    assert any("not terrain corrected" in note for note in reading.notes)
    assert any("thermal noise left" in note for note in reading.notes)


def test_calibration_is_interpolated_between_lines_and_pixels(tmp_path: Path) -> None:
    path = write_grd(tmp_path, {"VV": flat(400)}, calibration=lambda line, pixel: 200 + line + 0.5 * pixel)
    reading = read(path, radar())
    x, y = TO_UTM.transform(*place(50, 70))
    column, row = (int(part) for part in to_map(~reading.transform, x, y))  # type: ignore[operator]
    # A = 200 + 50 + 35 at line 50 and pixel 70; the pixel around has its centre within a pixel of it.
    assert reading.pixels[0, row, column] == pytest.approx((400 / 285) ** 2, rel=0.01)


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        # (500**2 - 20000 * 1.5) / 250**2, and without the share along the azimuth
        (noise_xml(20000.0, {(0, 0, HEIGHT - 1, WIDTH - 1): 1.5}), 3.52),
        (noise_xml(20000.0, None), 3.68),
        # More than there is: no power, and not a negative one
        (noise_xml(300000.0, None), 0.0),
    ],
)
def test_noise_is_subtracted_if_asked_for(tmp_path: Path, noise: str, expected: float) -> None:
    path = write_grd(tmp_path, {"VV": flat()}, noise=noise)
    reading = read(path, radar(remove_noise=True))
    values = reading.pixels[np.isfinite(reading.pixels)]
    assert values.size
    assert values == pytest.approx(expected, abs=1e-5)
    assert any("thermal noise subtracted" in note for note in reading.notes)


def test_a_painted_pixel_is_where_the_formula_of_the_points_has_it(tmp_path: Path) -> None:
    # A half pixel off would be GDAL's reading of the points as corners.
    numbers = flat(100)
    numbers[83, 47] = 2000
    reading = read(write_grd(tmp_path, {"VV": numbers}), radar())
    found = map_place(reading, *centroid(reading, 0.16))
    assert np.hypot(*np.subtract(found, TO_UTM.transform(*place(83, 47)))) < 2.0  # of 10 m


def test_a_window_is_the_part_of_the_whole(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(50, 800, (HEIGHT, WIDTH))
    path = write_grd(tmp_path, {"VV": numbers})
    whole = read(path, radar())
    size = whole.pixels.shape[-2:]
    window = TileWindow(40, 56, 48, (0, 0, 48, 48), size)
    part = read(path, radar(), window)
    own = whole.pixels[:, 40:88, 56:104]
    assert np.isfinite(own).any()
    np.testing.assert_array_equal(np.isnan(part.pixels), np.isnan(own))
    np.testing.assert_allclose(part.pixels, own, rtol=0.01, atol=0.01)
    assert part.transform == whole.grid.window(40, 56, 48, 48).transform


def test_zeros_are_no_data_and_do_not_darken_what_lies_beside(tmp_path: Path) -> None:
    numbers = flat()
    numbers[:, 100:] = 0
    reading = read(write_grd(tmp_path, {"VV": numbers}), radar())
    values = reading.pixels[np.isfinite(reading.pixels)]
    assert values == pytest.approx(4.0, abs=1e-5)
    whole = read(write_grd(tmp_path / "b", {"VV": flat()}), radar())
    assert np.isfinite(reading.pixels).sum() == pytest.approx(np.isfinite(whole.pixels).sum() * 100 / 160, rel=0.02)


def test_the_grid_is_a_stated_one_or_utm_on_multiples_of_its_pixels(tmp_path: Path) -> None:
    path = write_grd(tmp_path, {"VV": flat()})
    own = facts_of(Href(str(path)))[0].grid
    assert own.transform is not None
    assert own.crs is not None
    assert "UTM zone 33N" in own.crs
    assert [own.transform.c % 10, own.transform.f % 10, own.transform.a, own.transform.e] == [0, 0, 10, -10]
    stated = read(path, radar(crs="EPSG:3035", resample_to=20))
    assert stated.transform is not None
    assert [stated.transform.c % 20, stated.transform.a, stated.transform.e] == [0, 20, -20]
    assert stated.pixels[np.isfinite(stated.pixels)] == pytest.approx(4.0, abs=1e-5)
    degrees = read(path, radar(crs="EPSG:4326", resample_to=1e-4))
    x, y = map_place(degrees, degrees.pixels.shape[2] / 2, degrees.pixels.shape[1] / 2)
    assert [x, y] == pytest.approx(place(HEIGHT / 2, WIDTH / 2), abs=3e-4)
    with pytest.raises(SampleError, match=f"{NAME}.*in degrees.*State resample_to"):
        read(path, radar(crs="EPSG:4326"))


def test_zip_folder_and_manifest_give_the_same(tmp_path: Path) -> None:
    numbers = {"VV": np.random.default_rng(0).integers(50, 800, (HEIGHT, WIDTH)), "VH": flat(90)}
    path = write_grd(tmp_path, numbers)
    whole = read(path, radar("VV", "VH", remove_noise=True))
    for other in (zipped(path, tmp_path / f"{NAME}.zip"), path / "manifest.safe"):
        again = read(other, radar("VV", "VH", remove_noise=True))
        np.testing.assert_array_equal(again.pixels, whole.pixels)
        assert (again.transform, again.notes) == (whole.transform, whole.notes)


def test_a_product_has_its_date_and_decibels_through_the_data_set(tmp_path: Path) -> None:
    write_grd(tmp_path, {"VV": flat(), "VH": flat(125)})
    source = ImageSource("{id}.SAFE", ["VV", "VH"], sensor="sentinel1", unit="linear_power", dated=True)
    plain = DatasetNormalise({"S1": {"VV": 0.0, "VH": 0.0}}, {"S1": {"VV": 1.0, "VH": 1.0}})
    data = ChipSplits(str(tmp_path), {"S1": source}, plain, num_workers=0).dataset("predict")
    sample = data.read(0)
    assert len(data) == 1
    image = sample.images["S1"]
    assert sample.id == NAME
    assert [day.isoformat() for day in image.dates] == ["2021-04-01"]
    inside = image.raster.valid
    # 10 log10(4) and 10 log10(0.25)
    assert image.raster.pixels[0][inside] == pytest.approx(6.0206, abs=1e-3)
    assert image.raster.pixels[1][inside] == pytest.approx(-6.0206, abs=1e-3)


def test_a_place_is_copied_from_the_grid_of_its_zone_and_found_in_another(tmp_path: Path) -> None:
    numbers = flat(100)
    numbers[83, 47] = 2000
    path = write_grd(tmp_path, {"VV": numbers})
    whole = read(path, radar())
    x, y = TO_UTM.transform(*place(83, 47))
    reader = image_reader(bands=["VV"], sensor="sentinel1", unit="linear_power", target_unit="linear_power")

    def at(code: int) -> Image:
        east, north = Transformer.from_crs(32633, code, always_xy=True).transform(x, y)
        corner = Affine(10, 0, round(east, -1) - 160, 0, -10, round(north, -1) + 160)
        on = PixelGrid(32, 32, corner, CRS.from_epsg(code).to_wkt())
        scene = SceneFiles(hrefs(path))
        return reader.read(Record("x", {"S2": hrefs(path)}, grids={"S2": on}, frames={"S2": ((scene,),)}))

    own = at(32633)
    assert whole.transform is not None
    assert own.raster.transform is not None
    left, top = (round(part) for part in to_map(~whole.transform, own.raster.transform.c, own.raster.transform.f))
    np.testing.assert_allclose(own.raster.pixels[0], whole.pixels[0, top : top + 32, left : left + 32], atol=0.05)
    # The corner of the grid is within half a pixel of 16 pixels from the painted one.
    for image in (own, at(32632)):
        weight = np.nan_to_num(image.raster.pixels[0] - 0.16).clip(0)
        rows, columns = np.indices(weight.shape) + 0.5
        assert (columns * weight).sum() / weight.sum() == pytest.approx(16, abs=0.8)
        assert (rows * weight).sum() / weight.sum() == pytest.approx(16, abs=0.8)


def _without(pattern: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        for file in folder.glob(pattern):
            file.unlink()

    return remove


def _without_points(folder: Path) -> None:
    for file in (folder / "annotation").glob("*.xml"):
        text = file.read_text()
        start, stop = text.index("<geolocationGridPoint>"), text.index("</geolocationGridPointList>")
        file.write_text(text[:start] + text[stop:])


def _cut(folder: Path) -> None:
    shutil.copy(folder / "manifest.safe", folder / "annotation" / f"{stem('VV')}.xml")
    (folder / "annotation" / f"{stem('VV')}.xml").write_text("<product><adsHeader>")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without("manifest.safe"), "lacks its metadata.*Download or unpack it again"),
        (_without("annotation/*.xml"), "no annotation of a GRD image.*Download"),
        (_without("annotation/calibration/cal*.xml"), "no calibration of VV.*incomplete. Download"),
        (_without("annotation/calibration/noise*.xml"), "no noise annotation of VV.*incomplete. Download"),
        (_without("measurement/*-vv-*"), "no measurement of VV.*incomplete. Download"),
        (_without_points, f"{stem('VV')}.xml cannot be understood: it has 0 geolocationGridPoint"),
        (_cut, f"{stem('VV')}.xml cannot be understood: it is no XML"),
    ],
)
def test_what_a_product_lacks_is_named(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    path = write_grd(tmp_path, {"VV": flat(), "VH": flat()})
    damage(path)
    with pytest.raises(SampleError, match=f"{NAME}.SAFE.*{message}"):
        read(path, radar(remove_noise=True))


def test_what_is_read_wrong_otherwise_is_refused(tmp_path: Path, write_tif: Callable[..., Path]) -> None:
    old = write_grd(tmp_path, {"VV": flat()}, version="002.36")
    assert read(old, radar()).pixels.size
    with pytest.raises(SampleError, match="IPF 2.36.*other units.*leave remove_noise out"):
        read(old, radar(remove_noise=True))
    plain = write_tif(tmp_path / "a.tif", np.ones((1, 4, 4), np.float32), ("VV",))
    with pytest.raises(SampleError, match="a.tif.*states no thermal noise.*Leave remove_noise"):
        read(plain, radar(remove_noise=True))
    with pytest.raises(SampleError, match="unit is linear_power.*unit: decibel.*State unit: linear_power"):
        read(old, ImageSource("x", ["VV"], sensor="sentinel1", unit="decibel"))
    strip = write_grd(tmp_path, {"VV": flat()}, name=NAME.replace("_IW_", "_S3_"))
    with pytest.raises(SampleError, match="mode is 'S3'.*IW, EW"):
        read(strip, radar())
    slc = tmp_path / f"{NAME.replace('GRDH', 'SLC_')}.SAFE"
    slc.mkdir()
    (slc / "manifest.safe").write_text("<x/>")
    with pytest.raises(SampleError, match="of the type SLC, and of Sentinel-1 only GRD"):
        read(slc, radar())


def test_bands_of_the_extra_wide_mode_are_its_own(tmp_path: Path) -> None:
    name = NAME.replace("_IW_GRDH_1SDV", "_EW_GRDM_1SDH")
    path = write_grd(tmp_path, {"HH": flat(), "HV": flat(125)}, name=name, spacing=40.0)
    facts = facts_of(Href(str(path)))[0]
    assert [band.name for band in facts.bands] == ["EW_HH", "EW_HV"]
    assert facts.grid.transform is not None
    assert facts.grid.transform.a == 40
    image = image_reader(bands=["EW_HV"], sensor="sentinel1", unit="linear_power", pixel_size=40).read(record_of(path))
    assert image.raster.pixels[0][image.raster.valid] == pytest.approx(-6.0206, abs=1e-3)


def test_other_files_are_left_to_their_readers() -> None:
    for name in (
        f"{NAME}.tif",
        "a.SAFE",
        f"{NAME}/measurement/iw-vv.tiff",
        f"https://x.org/{NAME}.zip",
        "a/manifest.safe",
    ):
        assert reader_of(Href(name)).name == "GDAL", name
    for name in (f"{NAME}.SAFE", f"{NAME}.SAFE.zip", f"{NAME}.zip", f"{NAME}.SAFE/manifest.safe"):
        assert reader_of(Href(name)).name == "Sentinel-1", name
