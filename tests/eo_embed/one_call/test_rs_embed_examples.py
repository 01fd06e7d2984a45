"""What the pages of rs-embed show, as lines of `embed`: each is run over local scenes, and compared by plain numpy.

``place`` is ``PointBuffer(121.5, 31.2, 2048)``, ``season`` is ``{"time": ("2022-06-01", "2022-09-01"), "source":
"scenes/"}``, ``year`` the same with ``("2022-01-01", "2023-01-01")``; ``thor`` and ``anysat`` are names of encoders.

== ================================================== ==================================================================
#  rs-embed                                           line
== ================================================== ==================================================================
1  thor                                               ``embed("thor_v1_base", place, **season)``
2  ``modality="s1"``                                  ``embed(thor, place, sensor="sentinel1",
                                                      normalization="log1p_p99", **season)``
3  ``variant="large"``                                ``embed("thor_v1_large", place, **season)``
4  grid, ``variant="small"``                          ``embed("thor_v1_small", place, output="grid", **season)``
5  ``RESIZE_MODE NORMALIZE GROUP_MERGE IMG            ``embed(thor, place, resize_mode="native_snap",
   PATCH_SIZE``                                       normalization="thor_stats", group_merge="mean", image_size=288,
                                                      patch_size=8, **season)``
6  ``SHAPE_ADJUST SHAPE_TOL_PX MAX_NATIVE_SIDE        ``embed(thor, array, bands=..., shape_adjust="crop",
   MAX_NATIVE_TOKENS``                                shape_tol_px=8, max_native_side=384, max_native_tokens=3000)``
7  ``IMG=288 PATCH_SIZE=4``                           ``embed(thor, place, image_size=288, patch_size=4, **season)``
8  ``IMG=288 PATCH_SIZE=12``                          ``embed(thor, place, image_size=288, patch_size=12, **season)``
9  ``IMG=280 PATCH_SIZE=10``                          ``embed(thor, place, image_size=280, patch_size=10, **season)``
10 ``input_prep=tile, tile_size=288``                 ``embed(thor, PointBuffer(121.5, 31.2, 4096), tile=288, halo=0,
                                                      input_prep="tile", **season)``
11 ``GROUP_MERGE=concat``, ``sum``                    ``embed(thor, place, group_merge="concat", **season)``
12 anysat                                             ``embed("anysat_base", place, **year)``
13 ``FRAMES NORM IMG scale_m``, ``max``               ``embed(anysat, place, frames=4, normalization="unit_scale",
                                                      image_size=48, patch_size=20, pooling="max", **year)``
14 arrays                                             ``embed(anysat, array, bands=..., offset=0, pixel_size=10,
                                                      dates=[...])``
15 what to record                                     ``e.provenance``
== ================================================== ==================================================================

Where the results differ, and why:

- A place is a square of whole patches on the pixels of the local UTM zone. Its sides are up to two patches longer than
  those of rs-embed's square, so that scenes are copied and not resampled.
- Clouds are masked per pixel by the product's own layer; rs-embed leaves out scenes with more than 30 % of them.
- A part of the time without an acquisition is a masked frame; rs-embed fills in the composite of the whole time, as
  does ``frames=FramePolicy(mode="composites", frames=8, start=..., end=..., empty="whole_window")``.
- Missing pixels are the mean of a normalised band; rs-embed takes the number 0, as does ``missing="zero"`` (THOR).
- Images that are not square are padded for THOR, and refused for AnySat;
  rs-embed 0.3.1 stretches them, as does ``non_square="stretch"``.
- Tiles start at whole patches, and an image is not resampled where a few pixels are left over.
- Arrays need dates: a frame is one date, and none is invented. rs-embed's eight frames of one image are
  ``np.repeat(array[None], 8, axis=0)`` with the middles of the parts of its time as ``dates``.
- AnySat's ``raw`` numbers are reflectance; rs-embed's are digital numbers, 10000 times as large.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.windows import Window
from rs_embed_rows import DAYS, PLACE, SEASON, SMALL, SUMMER, UTM, YEAR, Recorder, write_folder
from small_scenes import S2_BANDS, numbers

from anysat_ext import AnySatPreprocess
from eo_data.datamodules import FramePolicy
from eo_data.raster.raster import to_map
from eo_embed import Embedded, PointBuffer, embed, models
from eo_embed.one_call import run as run_module
from thor_terratorch_ext import ThorPreprocess

STATED: Mapping[str, Any] = {"bands": S2_BANDS, "offset": 0, "pixel_size": 10}
TINY: Mapping[str, Any] = {"pretrained": False, "device": "cpu"}

pytestmark = [
    pytest.mark.filterwarnings("ignore:image_size resamples"),
    pytest.mark.filterwarnings("ignore:THOR's rule resamples"),
]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of Sentinel-2 digital numbers of 13 days, and of Sentinel-1 in decibel and in linear power."""
    return write_folder(tmp_path_factory.mktemp("scenes"))


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setattr(run_module, "encoder_for", lambda *_: made)
    return made


@pytest.fixture
def line(scenes: Path) -> Callable[..., Embedded]:
    """Run one line over the scenes."""

    def run(encoder: str, place: PointBuffer = PLACE, time: tuple[str, str] = SEASON, **options: Any) -> Embedded:
        options = {"sensor": "sentinel2_l2a"} | options
        return embed(encoder, place, time=time, source=scenes, progress=False, **TINY, **options)

    return run


def stored(path: Path, found: Embedded, modality: str = "S2") -> np.ndarray:
    """The pixels of a file on the square of an embedding, by rasterio."""
    height, width = found.provenance["images"][modality]["preparation"]["raw_input_hw"]
    assert found.transform is not None
    with rasterio.open(path) as file:
        column, row = to_map(~file.transform, found.transform.c, found.transform.f)
        assert (column, row) == (round(column), round(row))
        pixels: np.ndarray = file.read(window=Window(round(column), round(row), width, height))
    return pixels


def composite(scenes: Path, found: Embedded, days: Iterator[str] | tuple[str, ...], modality: str = "S2") -> np.ndarray:
    """The median of days in digital numbers, by numpy."""
    series = [stored(scenes / f"S2A_MSIL2A_{day.replace('-', '')}.tif", found, modality) for day in days]
    return np.median(np.stack(series).astype(np.float64), axis=0)


#: Channels in THOR's order, which `embed` reads; rs-embed has that of the wavelengths.
ORDER = [S2_BANDS.index(band) for band in (*S2_BANDS[:3], "NIR_BROAD", *S2_BANDS[3:6], *S2_BANDS[7:])]


def prepared(pixels: np.ndarray, bands: tuple[str, ...] = S2_BANDS, **options: Any) -> np.ndarray:
    """What rs-embed's adapter would make of it: `ThorPreprocess.prepare_array` is compared with its golden cases."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = ThorPreprocess(**options).prepare_array(pixels, bands)[0]
    return found[ORDER] if len(found) == len(ORDER) else found


def test_1_thor_takes_the_median_of_the_season(line: Callable[..., Embedded], recorder: Recorder, scenes: Path) -> None:
    found = line("thor_v1_base")
    expected = prepared(composite(scenes, found, SUMMER))
    assert recorder.images[0].shape == (10, 288, 288)
    np.testing.assert_allclose(recorder.images[0], expected, atol=2e-5)
    (left, top), (x, y) = (found.transform.c, found.transform.f), _centre()
    side = found.provenance["images"]["S2"]["preparation"]["raw_input_hw"][0] * 10
    assert left <= x - 2048 < left + 320
    assert top >= y + 2048 > top - 320
    assert 4096 <= side <= 4096 + 320


def _centre() -> tuple[float, float]:
    x, y = Transformer.from_crs(4326, UTM, always_xy=True).transform(PLACE.lon, PLACE.lat)
    return float(x), float(y)


def test_2_radar_is_linear_power_in_the_logarithm(
    line: Callable[..., Embedded], recorder: Recorder, scenes: Path
) -> None:
    found = line("thor_v1_base", sensor="sentinel1", normalization="log1p_p99")
    power = 10 ** (stored(scenes / "S1A_IW_GRDH_20220620.tif", found, "S1").astype(np.float64) / 10)
    expected = prepared(power, ("VV", "VH"), normalization="log1p_p99")
    np.testing.assert_allclose(recorder.images[0], expected, atol=2e-5)
    by_hand = np.log1p(power)
    by_hand = np.clip(by_hand / np.percentile(by_hand, 99), 0, 1)
    assert abs(recorder.images[0].mean() - by_hand.mean()) < 1e-3  # resampled to 288 px


def test_3_all_sizes_have_a_name() -> None:
    assert {f"thor_v1_{size}" for size in ("tiny", "small", "base", "large")} <= set(models())


def test_4_a_grid_alone(line: Callable[..., Embedded]) -> None:
    found = line("thor_v1_small", SMALL, output="grid")
    assert found.grid.shape[0] == 384
    with pytest.raises(ValueError, match="There is no vector"):
        _ = found.vector


def test_5_the_options_of_the_page_are_the_defaults(line: Callable[..., Embedded]) -> None:
    options = {"resize_mode": "native_snap", "normalization": "thor_stats", "group_merge": "mean"}
    stated = line("thor_v1_tiny", SMALL, image_size=288, patch_size=8, **options)
    np.testing.assert_array_equal(stated.grid, line("thor_v1_tiny", SMALL).grid)


@pytest.mark.parametrize(
    ("size", "options", "side"),
    [
        ((289, 288), {}, 288),
        ((300, 300), {}, 304),
        ((296, 296), {}, 288),  # as near to 288 as to 304: the smaller
        ((393, 393), {}, 288),  # 400 px are too many
        ((320, 320), {"max_native_tokens": 1500}, 288),
        ((300, 289), {}, 304),  # beyond the tolerance: padded, where rs-embed stretches
    ],
)
def test_6_sides_are_those_of_the_rules(
    size: tuple[int, int], options: dict[str, Any], side: int, recorder: Recorder
) -> None:
    page = {"shape_adjust": "crop", "shape_tol_px": 8, "max_native_side": 384, "max_native_tokens": 3000}
    pixels = np.resize(numbers(side=64), (10, *size))
    embed("thor_v1_base", pixels, **STATED, **{**page, **options}, **TINY)
    assert recorder.images[0].shape == (10, side, side)
    if abs(size[0] - size[1]) <= 8:
        np.testing.assert_allclose(recorder.images[0], prepared(pixels, **{**page, **options}), atol=2e-5)


@pytest.mark.parametrize(("patch_size", "image_size"), [(4, 288), (12, 288), (10, 280)])
def test_7_8_9_patches_of_another_size(
    patch_size: int, image_size: int, line: Callable[..., Embedded], recorder: Recorder, scenes: Path
) -> None:
    found = line("thor_v1_base", patch_size=patch_size, image_size=image_size)
    expected = prepared(composite(scenes, found, SUMMER), patch_size=patch_size, image_size=image_size)
    np.testing.assert_allclose(recorder.images[0], expected, atol=2e-5)
    assert recorder.images[0].shape[-1] == image_size


def test_7_8_9_grids_have_as_many_cells_as_patches() -> None:
    options = {**STATED, **TINY, "resize_mode": "fixed"}
    for patch_size, image_size, cells in ((4, 96, 24), (12, 96, 8), (10, 80, 8)):
        found = embed("thor_v1_tiny", numbers(), patch_size=patch_size, image_size=image_size, **options)
        assert found.grid.shape == (192, cells, cells)


def test_10_tiles_are_prepared_one_by_one_and_stitched(
    line: Callable[..., Embedded], recorder: Recorder, scenes: Path
) -> None:
    """Each tile by the fixed rule; the last one of a row is shifted back to end with the image."""
    place = PointBuffer(121.5, 31.2, 1200)
    found = line("thor_v1_base", place, tile=96, halo=0, input_prep="tile", image_size=96)
    cells = found.grid.shape[-1]
    whole = _window(scenes, found, cells * 8)
    starts = [0, 96, cells * 8 - 96]
    assert len(recorder.images) == 9
    for number, image in enumerate(recorder.images):
        top, left = starts[number // 3], starts[number % 3]
        expected = prepared(whole[:, top : top + 96, left : left + 96], input_prep="tile", image_size=96)
        np.testing.assert_allclose(image, expected, atol=2e-5)
    untiled = prepared(whole, image_size=cells * 8, resize_mode="fixed")
    by_hand = untiled.reshape(10, cells, 8, cells, 8).mean(axis=(2, 4))
    np.testing.assert_allclose(found.grid, by_hand, atol=2e-5)
    np.testing.assert_allclose(found.vector, by_hand.mean(axis=(1, 2)), atol=2e-5)


def _window(scenes: Path, found: Embedded, side: int) -> np.ndarray:
    series = []
    for day in SUMMER:
        with rasterio.open(scenes / f"S2A_MSIL2A_{day.replace('-', '')}.tif") as file:
            column, row = to_map(~file.transform, found.transform.c, found.transform.f)
            series.append(file.read(window=Window(round(column), round(row), side, side)))
    return np.median(np.stack(series).astype(np.float64), axis=0)


def test_11_groups_side_by_side_or_added(line: Callable[..., Embedded]) -> None:
    apart = line("thor_v1_tiny", SMALL, group_merge="concat").grid.to_numpy()
    added = line("thor_v1_tiny", SMALL, group_merge="sum").grid.to_numpy()
    mean = line("thor_v1_tiny", SMALL).grid.to_numpy()
    assert len(apart) == 2 * len(mean)
    np.testing.assert_allclose(apart[:192] + apart[192:], added, atol=1e-5)
    np.testing.assert_allclose(added / 2, mean, atol=1e-5)


def _eighths(count: int = 8) -> list[tuple[int, int]]:
    """Days of the year in which the equal parts of 2022 begin and end."""
    bounds = [365 * i // count for i in range(count + 1)]
    return list(itertools.pairwise(bounds))


def test_12_anysat_takes_eight_composites_of_the_year(
    line: Callable[..., Embedded], recorder: Recorder, scenes: Path
) -> None:
    found = line("anysat_base", time=YEAR)
    by_day = {date.fromisoformat(day).timetuple().tm_yday - 1: day for day in DAYS}
    parts = [tuple(own for day, own in by_day.items() if first <= day < end) for first, end in _eighths()]
    assert min(map(len, parts)) == 1
    assert max(map(len, parts)) > 1
    series = np.stack([composite(scenes, found, days, "s2") for days in parts])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, days = AnySatPreprocess(start=YEAR[0], end=YEAR[1]).prepare_array(series)
    assert recorder.images[0].shape == (8, 10, 24, 24)
    np.testing.assert_allclose(recorder.images[0], expected, atol=1e-4)
    assert recorder.days == list(days) == [22, 68, 113, 159, 205, 250, 296, 342]
    assert [day.timetuple().tm_yday - 1 for day in found.dates] == recorder.days


def test_12_a_part_without_an_acquisition_can_be_filled_in(line: Callable[..., Embedded], recorder: Recorder) -> None:
    """As rs-embed does; the export says so."""
    window = ("2022-01-01", "2022-03-01")
    policy = FramePolicy(mode="composites", frames=4, start=window[0], end=window[1], empty="whole_window")
    line("anysat_base", SMALL, window, frames=policy, normalization="raw")
    first, january, third, february = recorder.images[0]
    np.testing.assert_allclose(first, (january + february) / 2, atol=1e-5)
    np.testing.assert_array_equal(third, first)


@pytest.mark.parametrize("normalization", ["per_tile_zscore", "unit_scale", "raw"])
def test_13_frames_normalisation_size_and_patch(
    normalization: str, line: Callable[..., Embedded], recorder: Recorder
) -> None:
    options = {"normalization": normalization, "image_size": 48, "patch_size": 20, "frames": 4}
    line("anysat_base", time=YEAR, **options)
    image = recorder.images[0]
    assert image.shape == (4, 10, 48, 48)
    if normalization == "per_tile_zscore":
        np.testing.assert_allclose(image.mean(axis=(0, 2, 3)), 0, atol=1e-5)
        np.testing.assert_allclose(image.std(axis=(0, 2, 3)), 1, atol=1e-4)
    else:  # reflectance; rs-embed's raw numbers are 10000 times as large
        assert 0.03 < image.min() < image.mean() < image.max() < 0.45


def test_13_the_maximum_of_the_cells(line: Callable[..., Embedded]) -> None:
    options = {"frames": 2, "image_size": 24, "patch_size": 40, "time": YEAR}
    found = line("anysat_tiny", SMALL, pooling="max", **options)
    assert found.grid.shape == (256, 6, 6)
    np.testing.assert_allclose(found.vector, found.grid.max(("y", "x")), atol=1e-6)
    mean = line("anysat_tiny", SMALL, **options)
    np.testing.assert_allclose(mean.vector, mean.grid.mean(("y", "x")), atol=1e-5)
    with pytest.raises(ValueError, match="positive multiple of 10"):
        line("anysat_tiny", SMALL, **{**options, "patch_size": 15})


@pytest.mark.parametrize("frames", [1, 3, 11])
def test_14_arrays_are_repeated_or_cut_by_those_who_have_them(frames: int, recorder: Recorder) -> None:
    """Numbers are limited to 0..10000; what the page does to arrays without dates, numpy does in a line."""
    series = np.stack([numbers(side=48, seed=i) for i in range(frames)])
    series[0, 0, :4] = 15_000
    given = series[0] if frames == 1 else series
    expected, days = AnySatPreprocess().prepare_array(given)
    eight = np.concatenate([series, np.repeat(series[-1:], 8, axis=0)])[:8]
    middles = [date.fromordinal(date(2022, 1, 1).toordinal() + int(day)) for day in days]
    embed("anysat_base", eight, dates=middles, **STATED, **TINY)
    np.testing.assert_allclose(recorder.images[0], expected, atol=1e-4)
    assert recorder.days == list(days)
    embed("thor_v1_base", series[0], **STATED, **TINY)
    np.testing.assert_allclose(recorder.images[1], prepared(series[0]), atol=2e-5)


def test_15_all_that_makes_the_numbers_is_recorded(line: Callable[..., Embedded], scenes: Path) -> None:
    told = line("thor_v1_tiny", SMALL, patch_size=8).provenance
    assert told["weights"] == "random"
    assert len(told["weights_sha256"]) == 64
    assert told["data"]["preprocess"]["preprocess"]["patch_size"] == 8
    assert told["data"]["preprocess"]["preprocess"]["normalization"] == "thor_stats"
    assert (told["data"]["frames"]["start"], told["data"]["frames"]["end"]) == SEASON
    image = told["images"]["S2"]
    assert image["unit"] == "reflectance"
    assert image["preparation"]["final_hw"] == [64, 64]
    assert set(image["files"]) == {f"S2A_MSIL2A_{day.replace('-', '')}.tif" for day in SUMMER}
