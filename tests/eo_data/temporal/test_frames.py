"""Frames keep their dates, what was not observed stays masked, and nothing of a cloud reaches a composite."""

from __future__ import annotations

import importlib.util
import json
import tracemalloc
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import rasterio

from eo_data.temporal.calendar_date import day_of_year
from eo_data.temporal.frames import Frames, all_acquisitions, bins, composites, midpoint, nearest, resample_frames
from eo_data.temporal.product_names import date_from_name

NAN = np.nan


def _series(*values: float) -> np.ndarray:
    """Series (T, 2, 1, 1): the first band has the values, the second ten times as much."""
    array = np.array(values, dtype=np.float32)
    return np.stack([array, 10 * array], axis=1)[..., None, None]


def _days(*days: int) -> list[date]:
    return [date(2021, 6, day) for day in days]


def _first(frames: Frames) -> list[float]:
    np.testing.assert_allclose(frames.pixels[:, 1], 10 * frames.pixels[:, 0], rtol=1e-6)
    assert frames.pixels.dtype == np.float32
    return [float(value) for value in frames.pixels[:, 0, 0, 0]]


# Sub-windows and days


def test_bins_midpoints_and_days_are_the_golden_ones(shared: Path) -> None:
    golden = json.loads((shared / "golden/anysat/adapter.json").read_text())
    assert len(golden["doy"]) == 13
    for case in golden["doy"]:
        windows = bins(date.fromisoformat(case["start"]), date.fromisoformat(case["end"]), case["n"])
        assert [[low.isoformat(), high.isoformat()] for low, high in windows] == case["bins"]
        middles = [midpoint(low, high) for low, high in windows]
        assert [day.isoformat() for day in middles] == case["midpoints"]
        assert [day_of_year(day) for day in middles] == case["doy0"]
    year = bins(date(2022, 1, 1), date(2023, 1, 1), 8)
    assert [day_of_year(midpoint(*window)) for window in year] == golden["doy_year_2022_n8"]


@pytest.mark.parametrize(("days", "n"), [(1, 1), (5, 12), (31, 7), (365, 8), (366, 12), (731, 24)])
def test_bins_cover_every_day_of_the_window(days: int, n: int) -> None:
    start = date(2020, 1, 1)
    windows = bins(start, start + timedelta(days=days), n)
    assert len(windows) == n
    covered = {low + timedelta(days=k) for low, high in windows for k in range((high - low).days)}
    assert covered == {start + timedelta(days=k) for k in range(days)}


@pytest.mark.parametrize(
    ("end", "n", "message"),
    [(date(2021, 6, 1), 2, "start lies before its end"), (date(2021, 7, 1), 0, "one or more frames, got 0")],
)
def test_an_empty_window_is_refused(end: date, n: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bins(date(2021, 6, 1), end, n)


def test_days_of_frames_are_int64_and_364_at_the_end_of_a_leap_year() -> None:
    frames = Frames(_series(1, 2, 3), (date(2020, 1, 1), date(2020, 12, 31), date(2021, 12, 31)), np.ones(3, np.bool_))
    assert frames.days.dtype == np.int64
    assert frames.days.tolist() == [0, 364, 364]


@pytest.mark.parametrize(
    ("pixels", "count", "observed"),
    [(_series(1, 2)[:, 0], 2, 2), (_series(1, 2), 1, 2), (_series(1, 2), 2, 3)],
)
def test_frames_that_disagree_are_refused(pixels: np.ndarray, count: int, observed: int) -> None:
    with pytest.raises(ValueError, match="Expected pixels \\(T, C, H, W\\), T dates and observed"):
        Frames(pixels, tuple(_days(1, 2)[:count]), np.ones(observed, np.bool_))


# All acquisitions


def test_acquisitions_are_sorted_with_their_pixels_and_padded_with_a_mask() -> None:
    frames = all_acquisitions(_series(3, 1, 2), _days(20, 5, 10), 5)
    assert _first(frames)[:3] == [1, 2, 3]
    assert np.isnan(frames.pixels[3:]).all()
    assert frames.observed.tolist() == [True, True, True, False, False]
    assert frames.dates == tuple(_days(5, 10, 20, 20, 20))
    assert frames.note == ("2 frames padded",)


def test_without_a_number_all_acquisitions_are_taken_and_equal_dates_stay_in_order() -> None:
    frames = all_acquisitions(_series(1, 2, 3), _days(10, 5, 10))
    assert _first(frames) == [2, 1, 3]
    assert frames.note == ()


def test_too_many_acquisitions_are_an_error_unless_it_is_said_what_to_keep() -> None:
    series, days = _series(1, 2, NAN, 4), _days(4, 3, 2, 1)
    with pytest.raises(ValueError, match="4 acquisitions for 2 frames.*least_cloudy"):
        all_acquisitions(series, days, 2)
    first = all_acquisitions(series, days, 2, keep="first")
    assert _first(first)[0] == 4
    assert np.isnan(first.pixels[1]).all()
    assert first.observed.tolist() == [True, False]
    assert first.note == ("left out: 2021-06-03, 2021-06-04",)
    clear = all_acquisitions(series, days, 2, keep="least_cloudy")
    assert (_first(clear), clear.dates) == ([4, 2], tuple(_days(1, 3)))
    assert clear.note == ("left out: 2021-06-02, 2021-06-04",)


def test_a_cloud_mask_hides_pixels_and_ranks_acquisitions() -> None:
    series = np.ones((3, 2, 1, 4), dtype=np.float32)
    clear = np.array([[[1, 0, 0, 0]], [[1, 1, 1, 0]], [[1, 1, 0, 0]]], dtype=np.bool_)
    frames = all_acquisitions(series, _days(1, 2, 3), 2, keep="least_cloudy", clear=clear)
    assert frames.dates == tuple(_days(2, 3))
    np.testing.assert_array_equal(np.isnan(frames.pixels[:, 0, 0]), [[0, 0, 0, 1], [0, 0, 1, 1]])
    assert not np.isnan(series).any()


def test_frames_never_share_memory_with_the_series() -> None:
    series = _series(1, 2)
    for frames in (
        all_acquisitions(series, _days(1, 2)),
        nearest(series, _days(1, 2), _days(1, 2)),
        composites(series, _days(1, 2), date(2021, 6, 1), date(2021, 6, 3), 2, "least_cloudy"),
    ):
        frames.pixels[:] = 7
    assert series[:, 0, 0, 0].tolist() == [1, 2]


# Composites


@pytest.mark.parametrize(
    ("method", "expected"), [("median", [2.0, 15.0]), ("mean", [13 / 3, 15.0]), ("least_cloudy", [10.0, 20.0])]
)
def test_composites_of_each_sub_window(method: str, expected: list[float]) -> None:
    # 1 to 10 June: 10, 2, 1; 11 to 20 June: 20, 10. The first of equally clear ones is the earliest.
    series, days = _series(20, 1, 2, 10, 10), _days(12, 10, 5, 1, 20)
    frames = composites(series, days, date(2021, 6, 1), date(2021, 6, 21), 2, method)
    assert _first(frames) == pytest.approx(expected, rel=1e-6)
    assert frames.dates == (date(2021, 6, 6), date(2021, 6, 16))
    assert frames.days.tolist() == [156, 166]
    assert frames.observed.all()
    assert frames.note == ()


def test_the_end_of_a_window_belongs_to_the_next() -> None:
    frames = composites(_series(1, 2, 3, 4), _days(1, 10, 11, 21), date(2021, 6, 1), date(2021, 6, 21), 2, "mean")
    assert _first(frames) == [1.5, 3]
    assert frames.note == ("outside the window: 2021-06-21",)


def test_median_and_mean_ignore_what_is_missing_per_pixel() -> None:
    generator = np.random.default_rng(0)
    series = generator.normal(size=(7, 3, 5, 4)).astype(np.float32)
    series[generator.random(series.shape) < 0.5] = NAN
    series[:, 1, 2, 3] = NAN
    window = (date(2021, 6, 1), date(2021, 6, 8), 1)
    with np.errstate(all="raise"):
        median = composites(series, _days(*range(1, 8)), *window).pixels[0]
        mean = composites(series, _days(*range(1, 8)), *window, "mean").pixels[0]
    for c, y, x in np.ndindex(3, 5, 4):
        seen = sorted(value for value in series[:, c, y, x].tolist() if value == value)  # noqa: PLR0124
        if not seen:
            assert np.isnan(median[c, y, x])
            assert np.isnan(mean[c, y, x])
            continue
        middle = (seen[(len(seen) - 1) // 2] + seen[len(seen) // 2]) / 2
        assert median[c, y, x] == pytest.approx(middle, rel=1e-6)
        assert mean[c, y, x] == pytest.approx(sum(seen) / len(seen), rel=1e-6, abs=1e-7)
    assert np.isnan(median[1, 2, 3])


@pytest.mark.parametrize("method", ["median", "mean", "least_cloudy"])
def test_an_empty_sub_window_is_masked_not_invented(method: str) -> None:
    # Third sub-window: nothing. Second: only a cloud.
    series, days = _series(5, 99, 7), _days(1, 12, 31 - 1)
    clear = np.array([True, False, True])[:, None, None]
    window = (date(2021, 6, 1), date(2021, 7, 1), 4)
    frames = composites(series, days, *window, method, clear)
    assert frames.observed.tolist() == [True, False, False, True]
    assert np.isnan(frames.pixels[1:3]).all()
    assert [_first(frames)[i] for i in (0, 3)] == [5, 7]
    # 30 days in 4: bounds 0, 7, 15, 22, 30.
    assert [day.day for day in frames.dates] == [4, 12, 19, 27]
    assert frames.note == (
        "no pixel from 2021-06-08 to 2021-06-16: masked",
        "no pixel from 2021-06-16 to 2021-06-23: masked",
    )


def test_the_whole_window_fills_an_empty_sub_window_only_when_asked_and_says_so() -> None:
    series, days = _series(5, 99, 7, 1000), [*_days(1, 12, 30), date(2021, 8, 1)]
    clear = np.array([True, False, True, True])[:, None, None]
    frames = composites(series, days, date(2021, 6, 1), date(2021, 7, 1), 4, "mean", clear, "whole_window")
    assert _first(frames) == [5, 6, 6, 7]
    assert frames.observed.all()
    assert frames.note[0] == "outside the window: 2021-08-01"
    assert len(frames.note) == 3
    assert frames.note[1].endswith("2021-06-16: filled with the composite of the whole window")
    nothing = composites(_series(1), days[3:], date(2021, 6, 1), date(2021, 7, 1), 2, empty="whole_window")
    assert not nothing.observed.any()


def test_a_window_of_fewer_days_than_frames_repeats_its_days() -> None:
    frames = composites(_series(1, 2, 3), _days(1, 2, 3), date(2021, 6, 1), date(2021, 6, 4), 8)
    assert _first(frames) == [1, 1, 1, 2, 2, 2, 3, 3]


def test_composites_need_far_less_memory_than_a_copy_of_the_series() -> None:
    series = np.zeros((12, 10, 64, 64), dtype=np.float32)
    clear = np.ones((12, 64, 64), dtype=np.bool_)
    days = [date(2021, month, 15) for month in range(1, 13)]
    tracemalloc.start()
    frames = composites(series, days, date(2021, 1, 1), date(2022, 1, 1), 2, "median", clear)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - frames.pixels.nbytes < series.nbytes / 2


# The real series with a frame under cloud


@pytest.fixture
def eolearn(shared: Path) -> tuple[np.ndarray, list[date], np.ndarray]:
    """Reflectance of the 5 dates x 13 bands x 101 x 100, dates, and where the blue band is darker than cloud."""
    files = sorted((shared / "data/s2_l1c_timeseries_eolearn").glob("S2L1C_*.tif"))
    images = []
    for file in files:
        with rasterio.open(file) as dataset:
            images.append(dataset.read().astype(np.float32) / 10000)
    pixels = np.stack(images)
    days = [day for file in files if (day := date_from_name(file.name))]
    return pixels, days, pixels[:, 1] < 0.2


def test_a_frame_under_cloud_is_masked_and_does_not_move_the_median(
    eolearn: tuple[np.ndarray, list[date], np.ndarray],
) -> None:
    pixels, days, clear = eolearn
    assert 1 - clear[2].mean() > 0.9
    assert clear[[0, 1, 3, 4]].mean() > 0.97
    # 11 July to 15 September has 66 days, 22 per sub-window: July, 2 to 23 August (the cloud), the rest.
    window = (date(2015, 7, 11), date(2015, 9, 15), 3)
    masked = composites(pixels, days, *window, clear=clear)
    assert [day.isoformat() for day in masked.dates] == ["2015-07-22", "2015-08-13", "2015-09-04"]
    hidden = ~clear[2]
    assert np.isnan(masked.pixels[1][:, hidden]).all()
    y, x = np.argwhere(hidden & clear[[0, 1, 3, 4]].all(axis=0))[0]
    one = composites(pixels, days, *window[:2], 1, clear=clear).pixels[0, 7, y, x]
    four = sorted(float(pixels[i, 7, y, x]) for i in (0, 1, 3, 4))
    assert one == pytest.approx((four[1] + four[2]) / 2, rel=1e-6)
    best = all_acquisitions(pixels, days, 4, keep="least_cloudy", clear=clear)
    assert date(2015, 8, 20) not in best.dates
    assert best.note == ("left out: 2015-08-20",)
    everything_cloudy = clear.copy()
    everything_cloudy[2] = False
    assert composites(pixels, days, *window, clear=everything_cloudy).observed.tolist() == [True, False, True]


# Nearest


def test_nearest_keeps_the_wanted_order_and_the_real_dates() -> None:
    frames = nearest(_series(1, 2, 3), _days(20, 1, 10), _days(30, 2, 9))
    assert _first(frames) == [1, 2, 3]
    assert frames.dates == tuple(_days(20, 1, 10))


def test_of_two_at_equal_distance_the_earlier_is_taken() -> None:
    assert _first(nearest(_series(1, 2), _days(15, 5), _days(10))) == [2]


def test_beyond_the_greatest_distance_the_frame_is_masked() -> None:
    frames = nearest(_series(1, 2), _days(1, 20), _days(3, 4, 11, 22), max_days=2)
    assert frames.observed.tolist() == [True, False, False, True]
    assert np.isnan(frames.pixels[1:3]).all()
    assert frames.dates == tuple(_days(1, 4, 11, 20))
    # From the 11th it is 10 days to the 1st and 9 to the 20th.
    assert frames.note == (
        "no acquisition within 2 days of 2021-06-04 (nearest: 2021-06-01): masked",
        "no acquisition within 2 days of 2021-06-11 (nearest: 2021-06-20): masked",
    )


def test_nearest_hides_clouds() -> None:
    frames = nearest(_series(1, 2), _days(1, 20), _days(2, 19), clear=np.array([True, False])[:, None, None])
    assert frames.observed.tolist() == [True, False]


@pytest.mark.parametrize(("wanted", "max_days"), [([], None), (_days(1), -1)])
def test_nearest_refuses_no_dates_and_a_negative_distance(wanted: list[date], max_days: int | None) -> None:
    with pytest.raises(ValueError, match="one or more wanted dates"):
        nearest(_series(1), _days(1), wanted, max_days)


# What all three refuse


@pytest.mark.parametrize(
    ("pixels", "days", "clear", "message"),
    [
        (np.zeros((2, 1, 1, 1), np.uint16), _days(1, 2), None, "float32 with NaN.*got uint16"),
        (np.zeros((2, 1, 1), np.float32), _days(1, 2), None, "got float32 of shape \\(2, 1, 1\\)"),
        (np.zeros((0, 1, 1, 1), np.float32), [], None, "no empty axis"),
        (_series(1, 2), _days(1), None, "one date per acquisition, got 1 dates"),
        (_series(1, 2), [*_days(1), 152], None, "Expected a calendar date.*152"),
        (_series(1, 2), _days(1, 2), np.ones((1, 1), np.bool_), "clear to be bool \\(T, H, W\\) = \\(2, 1, 1\\)"),
        (_series(1, 2), _days(1, 2), np.ones((2, 1, 1), np.uint8), "got uint8"),
    ],
)
def test_a_series_that_does_not_fit_is_refused(
    pixels: np.ndarray, days: list[date], clear: np.ndarray | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        all_acquisitions(pixels, days, clear=clear)
    with pytest.raises(ValueError, match=message):
        composites(pixels, days, date(2021, 6, 1), date(2021, 6, 3), 1, clear=clear)
    with pytest.raises(ValueError, match=message):
        nearest(pixels, days, _days(1), clear=clear)


def test_unknown_options_are_refused_with_the_valid_ones() -> None:
    series, days, window = _series(1), _days(1), (date(2021, 6, 1), date(2021, 6, 3), 1)
    with pytest.raises(ValueError, match="method must be one of median, mean, least_cloudy, got 'max'"):
        composites(series, days, *window, method="max")
    with pytest.raises(ValueError, match="empty must be one of mask, whole_window"):
        composites(series, days, *window, empty="zero")
    with pytest.raises(ValueError, match="keep must be one of null, first, least_cloudy"):
        all_acquisitions(series, days, 1, keep="last")
    with pytest.raises(ValueError, match="one or more frames"):
        all_acquisitions(series, days, 0)


# Undated arrays


@pytest.mark.parametrize("case", ["t3", "t8"])
def test_a_series_is_padded_as_the_page_says(shared: Path, case: str) -> None:
    folder = shared / "golden/anysat"
    spec = importlib.util.spec_from_file_location("fill_anysat", folder / "fill_anysat.py")
    assert spec is not None
    assert spec.loader is not None
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    frames = int(case[1:])
    draws = fill.make_input("adapter", case, (frames, 10, 24, 24)).astype(np.float64)
    series = np.clip(2500 + 1500 * draws, 0, 10000)
    if case == "t3":
        # The golden input has missing values here, which the adapter makes 0 later on.
        series[0, 0, 0, 0] = 0
        series[2, :, 5, 5] = 0
    with np.load(folder / "adapter.npz") as golden:
        expected = golden[f"prep|{case}|seed|raw"]
    np.testing.assert_array_equal(resample_frames(series, 8).ravel()[::11], expected)


def test_an_image_is_repeated_and_a_series_cut_or_padded() -> None:
    image = np.arange(6, dtype=np.uint16).reshape(1, 2, 3)
    repeated = resample_frames(image, 3)
    assert (repeated.shape, repeated.dtype) == ((3, 1, 2, 3), np.float32)
    np.testing.assert_array_equal(repeated, np.stack([image] * 3))
    series = _series(1, 2, 3)
    assert resample_frames(series, 2)[:, 0, 0, 0].tolist() == [1, 2]
    assert resample_frames(series, 5)[:, 0, 0, 0].tolist() == [1, 2, 3, 3, 3]
    assert resample_frames(series, 3)[:, 0, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("shape", [(24, 24), (1, 3, 10, 24, 24), (0, 10, 24, 24)])
def test_an_array_that_is_neither_image_nor_series_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="Expected an image \\(C, H, W\\) or a series"):
        resample_frames(np.zeros(shape, np.float32), 8)
    with pytest.raises(ValueError, match="one or more frames"):
        resample_frames(np.zeros((10, 24, 24), np.float32), 0)
