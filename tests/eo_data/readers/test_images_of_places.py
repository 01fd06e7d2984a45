"""Scenes come to the grid of a place: copied where pixels agree, else resampled, and merged pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS, Transformer
from small_files import constant_bands, hrefs, image_reader, record_of

from eo_data.catalog.records import Record, SceneFiles
from eo_data.catalog.tiles import Tiling, tiled
from eo_data.raster.georeference import PixelGrid
from eo_data.raster.sample import SampleError
from eo_data.readers.images import ImageReader
from eo_data.temporal.frame_policy import FramePolicy

LEFT, TOP = 500000.0, 5000000.0
BANDS = ("B2", "B3")
RNG = np.random.default_rng(0)


def grid(row: int, column: int, side: int, size: float = 10.0, code: int = 32632) -> PixelGrid:
    """A grid that begins so many pixels south and east of the corner that `write_tif` uses."""
    corner = Affine(size, 0, LEFT + column * size, 0, -size, TOP - row * size)
    return PixelGrid(side, side, corner, CRS.from_epsg(code).to_wkt())


def place(paths: list[list[Path]], on: PixelGrid, **fields: Any) -> Record:
    """The record of a place: frames of one-file scenes, by priority."""
    frames = tuple(tuple(SceneFiles(hrefs(path)) for path in scenes) for scenes in paths)
    files = hrefs(*(path for scenes in paths for path in scenes))
    return Record("x", {"S2": files}, grids={"S2": on}, frames={"S2": frames}, **fields)


def numbers(height: int, width: int) -> np.ndarray:
    return RNG.integers(300, 5000, (2, height, width)).astype(np.uint16)


def test_pixels_of_the_same_grid_are_copied_and_there_are_none_outside(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    pixels = numbers(20, 30)
    path = write_tif(tmp_path / "a.tif", pixels, BANDS, blockxsize=16, blockysize=16, tiled=True)
    inside = image_reader().read(place([[path]], grid(3, 5, 12)))
    np.testing.assert_array_equal(inside.raster.pixels, pixels[:, 3:15, 5:17] * np.float32(1e-4))
    assert inside.raster.transform == grid(3, 5, 12).transform
    half = image_reader().read(place([[path]], grid(-4, 25, 10)))
    np.testing.assert_array_equal(half.raster.pixels[:, 4:, :5], pixels[:, :6, 25:] * np.float32(1e-4))
    assert half.raster.valid.sum() == 30
    with pytest.raises(SampleError, match="'S2' .*a.tif. has no valid pixel"):
        image_reader().read(place([[path]], grid(100, 100, 10)))


def test_the_first_scene_with_a_value_counts_whatever_the_order_of_listing(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    """Two tiles that overlap by four columns; a hole in the first is filled from the second."""
    west, east = constant_bands(1000, 2000, side=10), constant_bands(3000, 4000, side=10)
    west[:, 2, 7] = 0
    paths = [
        write_tif(tmp_path / "west.tif", west, BANDS, nodata=0),
        write_tif(tmp_path / "east.tif", east, BANDS, nodata=0, corner=(LEFT + 60, TOP)),
    ]
    first = image_reader().read(place([paths], grid(0, 0, 16)))
    expected = np.full((16,), np.nan)
    expected[:10], expected[10:] = 0.1, 0.3
    np.testing.assert_allclose(first.raster.pixels[0, 0], expected, rtol=1e-6)
    assert first.raster.pixels[0, 2, 7] == np.float32(3000) * np.float32(1e-4)
    assert np.isnan(first.raster.pixels[:, 10:]).all()
    other = image_reader().read(place([paths[::-1]], grid(0, 0, 16)))
    np.testing.assert_allclose(other.raster.pixels[0, 0, 6:10], 0.3, rtol=1e-6)


def test_scenes_of_two_baselines_are_converted_before_they_are_merged(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    """Both show a reflectance of 0.1; the later one has an offset of -1000."""
    old = write_tif(
        tmp_path / "S2A_MSIL2A_20220101T100000_N0301_R022_T32UNC_20220101T120000.tif",
        constant_bands(1000, 1000, side=8),
        BANDS,
    )
    new = write_tif(
        tmp_path / "S2A_MSIL2A_20220101T100000_N0400_R022_T32UPC_20220101T120000.tif",
        constant_bands(2000, 2000, side=8),
        BANDS,
        corner=(LEFT + 40, TOP),
    )
    image = image_reader(offset="auto").read(place([[old, new]], grid(0, 0, 12)))
    np.testing.assert_allclose(image.raster.pixels[:, :8], 0.1, rtol=1e-6)
    assert image.dates == ()


def test_clouds_are_left_out_of_each_scene_before_they_are_merged(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    """A cloud of the first scene (SCL 9) shows the second; cloudy in both is missing."""
    paths = []
    for i, cloudy in enumerate(((slice(0, 4), slice(0, 4)), (slice(2, 6), slice(2, 6)))):
        pixels = np.concatenate([constant_bands(1000 * (i + 1), 1000, side=8), np.full((1, 8, 8), 4, np.uint16)])
        pixels[(2, *cloudy)] = 9
        paths.append(write_tif(tmp_path / f"{i}.tif", pixels, (*BANDS, "SCL")))
    image = image_reader(cloud_band="SCL").read(place([paths], grid(0, 0, 8)))
    blue = image.raster.pixels[0]
    np.testing.assert_allclose(blue[:2, :2], 0.2, rtol=1e-6)
    assert np.isnan(blue[2:4, 2:4]).all()
    np.testing.assert_allclose(blue[4:, 4:], 0.1, rtol=1e-6)
    assert any(note.startswith("SCL of 0.tif: 16 pixels") for note in image.notes)


@pytest.mark.parametrize(
    ("lon", "lat", "on", "of", "size"),
    [
        (11.99, 46.0, 32632, "EPSG:32633", 10.0),
        (180.0, -17.0, 32701, "EPSG:32760", 10.0),  # over the date line
        (12.01, 46.0, 32633, "EPSG:4326", 1.6e-4),
        (33.0, -85.0, 5042, "EPSG:3031", 10.0),
        (20.0, 60.0, 32634, "EPSG:3857", 20.0),
    ],
)
def test_a_scene_of_another_crs_lies_where_it_should(
    write_tif: Callable[..., Path], tmp_path: Path, lon: float, lat: float, on: int, of: str, size: float
) -> None:
    """A plane in columns and rows of the scene, which bilinear values keep, on a grid of another CRS."""
    x, y = Transformer.from_crs(4326, on, always_xy=True).transform(lon, lat)
    left, top = round(x) - 320, round(y) + 320
    there = Transformer.from_crs(on, of, always_xy=True)
    middle = there.transform(x, y)
    first = middle[0] - 100 * size, middle[1] + 100 * size
    rows, columns = np.mgrid[0:200, 0:200] + 0.5
    plane = np.stack([columns, rows]).astype(np.float32) / 1000
    path = write_tif(tmp_path / "a.tif", plane, BANDS, crs=of, transform=Affine(size, 0, first[0], 0, -size, first[1]))
    grid = PixelGrid(64, 64, Affine(10, 0, left, 0, -10, top), CRS.from_epsg(on).to_wkt())
    image = image_reader(unit="reflectance").read(place([[path]], grid))
    own_rows, own_columns = np.mgrid[0:64, 0:64] + 0.5
    easting, northing = there.transform(left + 10 * own_columns, top - 10 * own_rows)
    expected = np.stack([(easting - first[0]) / size, (first[1] - northing) / size]) / 1000
    assert image.raster.valid.all()
    np.testing.assert_allclose(image.raster.pixels, expected, atol=1e-5)  # a hundredth of a pixel


def test_classes_of_another_zone_or_size_are_not_interpolated(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    """Stripes of vegetation (4) and clouds (9): between them lie saturated (1) to cirrus (10)."""
    stripes = np.where(np.arange(40) % 4 < 2, 4, 9).astype(np.uint16)
    pixels = np.concatenate([constant_bands(1000, 1000, side=40), np.tile(stripes, (40, 1))[None]])
    coarse = write_tif(tmp_path / "a.tif", pixels, (*BANDS, "SCL"), size=20.0, crs="EPSG:32633")
    to33 = Transformer.from_crs(32633, 32632, always_xy=True)
    x, y = to33.transform(LEFT + 200, TOP - 200)
    on = PixelGrid(20, 20, Affine(10, 0, round(x), 0, -10, round(y)), CRS.from_epsg(32632).to_wkt())
    image = image_reader(cloud_band="SCL", pixel_size=10).read(place([[coarse]], on))
    seen = image.raster.valid.mean()
    assert 0.35 < seen < 0.65


def test_tiles_of_a_place_are_the_same_pixels_as_the_whole(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    to33 = Transformer.from_crs(32632, 32633, always_xy=True)
    x, y = to33.transform(736000, 5100000)
    path = write_tif(tmp_path / "a.tif", numbers(90, 90), BANDS, corner=(x - 20, y + 20), crs="EPSG:32633")
    on = PixelGrid(64, 64, Affine(10, 0, 736000, 0, -10, 5100000), CRS.from_epsg(32632).to_wkt())
    record = place([[path]], on)
    reader = image_reader()
    assert (reader.grid(record).height, reader.grid(record).width) == (64, 64)
    whole = reader.read(record).raster
    for tile in tiled([record], Tiling(32, 16), lambda _: (64, 64)):
        window = tile.window
        assert window is not None
        part = reader.read(tile).raster
        own = whole.crop(window.top, window.left, 32, 32)
        np.testing.assert_array_equal(part.pixels, own.pixels)
        assert part.transform == own.transform


def test_frames_of_a_place_have_the_dates_of_the_record_or_of_their_files(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    paths = [
        [
            write_tif(tmp_path / f"{tile}_202206{day:02d}.tif", constant_bands(1000 * day, 1, side=8), BANDS)
            for tile in "ab"
        ]
        for day in (1, 3, 2)
    ]
    reader = image_reader(FramePolicy(), dated=True)
    days = [date(2022, 6, day) for day in (1, 2, 3)]
    image = reader.read(place(paths, grid(0, 0, 8)))
    assert list(image.dates) == days
    np.testing.assert_allclose(image.raster.pixels[:, 0, 0, 0], [0.1, 0.2, 0.3], rtol=1e-6)
    stated = place(paths, grid(0, 0, 8), dates={"S2": (date(2022, 6, 4), date(2022, 6, 6), date(2022, 6, 5))})
    assert [day.day for day in reader.read(stated).dates] == [4, 5, 6]
    median = image_reader(FramePolicy("composites", 1, "2022-06-01", "2022-07-01"), dated=True)
    np.testing.assert_allclose(median.read(place(paths, grid(0, 0, 8))).raster.pixels[0, 0], 0.2, rtol=1e-6)


def test_bands_in_files_of_their_own_make_a_scene(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    """The green band has pixels of 20 m, whose bilinear values on a plane are exact."""
    fine = write_tif(tmp_path / "t_B02.tif", np.full((1, 40, 40), 1000, np.uint16))
    plane = (np.tile(np.arange(20) + 0.5, (20, 1)) * 100)[None].astype(np.uint16)
    coarse = write_tif(tmp_path / "t_B03.tif", plane, size=20.0)
    scene = SceneFiles(hrefs(fine, coarse), ("B02", "B03"))
    record = Record("x", {"S2": scene.files}, grids={"S2": grid(8, 8, 16)}, frames={"S2": ((scene,),)})
    image = image_reader().read(record)
    expected = (np.arange(8, 24) + 0.5) / 2 * 100 * 1e-4
    np.testing.assert_allclose(image.raster.pixels[1], np.tile(expected, (16, 1)), rtol=1e-5)
    np.testing.assert_allclose(image.raster.pixels[0], 0.1, rtol=1e-6)
    whole = replace(record, frames={}, bands={"S2": ("B02", "B03")})
    np.testing.assert_array_equal(image_reader().read(whole).raster.pixels, image.raster.pixels)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_files_without_a_place_are_refused(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    nowhere = write_tif(tmp_path / "a.tif", constant_bands(1, 2), BANDS, crs=None, transform=None)
    with pytest.raises(SampleError, match=r"a.tif: it has no georeference, so that its pixels cannot be brought"):
        image_reader().read(place([[nowhere]], grid(0, 0, 4)))
    no_crs = write_tif(tmp_path / "b.tif", constant_bands(1000, 2000), BANDS, crs=None)
    with pytest.raises(SampleError, match=r"b.tif: it has no CRS.*State crs"):
        image_reader().read(place([[no_crs]], grid(0, 0, 4)))
    image = image_reader(crs="EPSG:32632").read(place([[no_crs]], grid(0, 0, 4)))
    np.testing.assert_allclose(image.raster.pixels[0], 0.1, rtol=1e-6)


def test_a_place_of_many_frames_is_refused_before_it_fills_the_memory(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_tif(tmp_path / "a_20220601.tif", constant_bands(1000, 2000), BANDS)
    reader = image_reader(FramePolicy(), dated=True)
    small = ImageReader(reader.name, reader.source, reader.frames, limits=replace(reader.limits, max_bytes=1_000_000))
    with pytest.raises(SampleError, match=r"reading 9 frames"):
        small.read(place([[path]] * 9, grid(0, 0, 100)))


def test_a_record_without_a_grid_is_read_as_it_was(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(1000, 2000, side=6), BANDS)
    assert image_reader().read(record_of(path)).raster.pixels.shape == (2, 6, 6)


def test_an_acquisition_that_shows_nothing_of_the_place_is_no_frame(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    """Its footprint reaches over the place, its swath does not: the nearest date would have no pixel."""
    empty, full = constant_bands(0, 0, side=20), constant_bands(1000, 2000, side=20)
    days = date(2022, 6, 1), date(2022, 6, 11)
    paths = [
        [write_tif(tmp_path / f"{day:%Y%m%d}.tif", pixels, BANDS, nodata=0)]
        for day, pixels in zip(days, (empty, full), strict=True)
    ]
    record = place(paths, grid(3, 5, 12), dates={"S2": days})
    reader = replace(image_reader(), frames=FramePolicy(mode="nearest", dates=["2022-06-02"]))
    image = reader.read(record)
    assert image.dates == (days[1],)
    np.testing.assert_allclose(image.raster.pixels[0, 0], 0.1, rtol=1e-6)
    assert any("2022-06-01" in note for note in image.notes)
