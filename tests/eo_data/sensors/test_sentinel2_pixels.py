"""Offsets that metadata state and pixels deny, and numbers of Sentinel-2 that are no values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio

from eo_data.sensors.sentinel2 import offset_contradiction, special_numbers
from eo_data.sensors.tables import SENTINEL2, SENTINEL2_L2A

TEN = tuple(name for name in SENTINEL2_L2A.band_names if name not in ("COASTAL_AEROSOL", "WATER_VAPOR"))
FOUR = ("BLUE", "GREEN", "RED", "NIR_BROAD")


def scene(reflectances: dict[str, float], water: float = 0.0, *, side: int = 64, spread: float = 0.15) -> np.ndarray:
    """Numbers of ground of these reflectances, which vary by a share, with a part of dark water; without an offset."""
    generator = np.random.default_rng(1)
    ground = np.array([*reflectances.values()])[:, None, None]
    numbers = 1e4 * ground * generator.lognormal(0, spread, (len(reflectances), side, side))
    wet = generator.random((side, side)) < water
    dark = generator.uniform(5, 60, numbers.shape)
    return np.where(wet, dark, numbers).round()


FIELDS = dict(zip(TEN, (0.04, 0.06, 0.05, 0.1, 0.2, 0.25, 0.28, 0.3, 0.2, 0.1), strict=True))
DESERT = dict(zip(TEN, (0.15, 0.22, 0.3, 0.33, 0.35, 0.37, 0.38, 0.4, 0.48, 0.42), strict=True))
SNOW = dict(zip(TEN, (0.9, 0.9, 0.88, 0.88, 0.85, 0.82, 0.8, 0.78, 0.1, 0.07), strict=True))
CLOUD = dict(zip(TEN, (0.6, 0.6, 0.6, 0.6, 0.62, 0.62, 0.62, 0.6, 0.35, 0.25), strict=True))
ASPHALT = dict(zip(TEN, (0.08, 0.09, 0.1, 0.1, 0.11, 0.11, 0.12, 0.12, 0.13, 0.12), strict=True))


@pytest.mark.parametrize(("ground", "water"), [(FIELDS, 0.0), (FIELDS, 0.1), (DESERT, 0.1)])
def test_an_offset_that_metadata_state_and_that_is_gone_is_not_taken_off_twice(
    ground: dict[str, float], water: float
) -> None:
    numbers = scene(ground, water)
    found = offset_contradiction(numbers, TEN, -1000, "L2A")
    assert found is not None
    for words in ("metadata", "-1000", "below 500", "state offset: 0"):
        assert words in found
    assert offset_contradiction(numbers, TEN, 0, "L2A") is None
    assert offset_contradiction(numbers + 1000, TEN, -1000, "L2A") is None


@pytest.mark.parametrize("bands", [TEN, FOUR])
def test_an_offset_that_metadata_deny_and_that_is_there_does_not_brighten_an_image(bands: tuple[str, ...]) -> None:
    numbers = scene({name: FIELDS[name] for name in bands}, water=0.1) + 1000
    found = offset_contradiction(numbers, bands, 0, "sentinel2_l2a")
    assert found is not None
    for words in ("metadata", "near 1000", "state offset: -1000"):
        assert words in found


@pytest.mark.parametrize("ground", [DESERT, SNOW, CLOUD, ASPHALT])
@pytest.mark.parametrize("bands", [TEN, FOUR, FOUR[:3], ("RED",), ("SWIR_1", "SWIR_2")])
@pytest.mark.parametrize("level", ["L2A", "L1C", None])
def test_bright_ground_is_not_taken_for_an_offset(
    ground: dict[str, float], bands: tuple[str, ...], level: str | None
) -> None:
    numbers = scene({name: ground[name] for name in bands}, side=128)
    assert offset_contradiction(numbers, bands, 0, level) is None
    assert offset_contradiction(numbers + 1000, bands, -1000, level) is None


def test_dark_water_below_the_offset_is_a_measurement() -> None:
    # Over-corrected water: reflectances of -0.02 to 0.01.
    numbers = np.random.default_rng(2).integers(800, 1100, (10, 64, 64))
    for bands in (TEN, TEN[:3]):
        assert offset_contradiction(numbers[: len(bands)], bands, -1000, "L2A") is None


def test_few_pixels_and_missing_ones_decide_nothing() -> None:
    numbers = scene(FIELDS, side=64).astype(np.float32)
    assert offset_contradiction(numbers[:, :31, :31], TEN, -1000, "L2A") is None
    for missing in (np.nan, 0, 65535):
        mostly = numbers.copy()
        mostly[:, 10:] = missing
        assert offset_contradiction(mostly, TEN, -1000, "L2A") is None
        # A band without pixels does not hide the others.
        one = numbers.copy()
        one[0] = missing
        assert offset_contradiction(one, TEN, -1000, "L2A") is not None
    assert offset_contradiction(numbers, ("a",) * 10, -1000, "L2A") is None
    assert offset_contradiction(np.full((10, 64, 64), 1010), TEN, 0, "L2A") is None


def test_frames_are_judged_one_by_one_and_small_ones_together() -> None:
    wrong = scene(FIELDS)
    series = np.stack([wrong + 1000] * 9 + [wrong])
    assert offset_contradiction(series, TEN, -1000, "L2A") is not None
    assert offset_contradiction(series[:9], TEN, -1000, "L2A") is None
    tiny = np.stack([wrong[:, i : i + 8, j : j + 8] for i in range(0, 64, 8) for j in range(0, 64, 8)])
    assert offset_contradiction(tiny, TEN, -1000, "L2A") is not None
    assert offset_contradiction(tiny + 1000, TEN, -1000, "L2A") is None


def real_images(shared: Path) -> Iterator[tuple[str, str, np.ndarray, tuple[str, ...], float]]:
    """Yield name, level, numbers, bands, and the offset that is in the numbers."""
    below = shared / "data"
    names = [*below.glob("s2_l1c_timeseries_eolearn/S2*.tif"), *below.glob("sen1floods11_v1.1/data/S2L1CHand/*.tif")]
    names += below.glob("terramesh/S2*/*.tif")
    assert len(names) == 10
    for path in names:
        with rasterio.open(path) as file:
            numbers = file.read()
        level = "L2A" if path.parent.name == "S2L2A" else "L1C"
        bands = (SENTINEL2 if level == "L1C" else SENTINEL2_L2A).band_names
        # The only one of processing baseline 04.00 and later whose cirrus band lies at 1010 instead of 10.
        there = path.parts[-2:] == ("S2L1C", "282D_485L_3_3.tif")
        yield path.name, level, numbers, bands, -1000.0 if there else 0.0


def test_no_real_image_is_refused_whole_or_in_chips(shared: Path) -> None:
    for name, level, numbers, bands, offset in real_images(shared):
        for chosen in (bands, TEN, FOUR, FOUR[:3]):
            part = numbers[[bands.index(band) for band in chosen]]
            for side in (32, 64, 512):
                for row in range(0, numbers.shape[1], side):
                    for column in range(0, numbers.shape[2], side):
                        chip = part[:, row : row + side, column : column + side]
                        assert offset_contradiction(chip, chosen, offset, level) is None, (name, chosen, row, column)


def test_real_images_contradict_wrong_metadata(shared: Path) -> None:
    found = {}
    for name, level, numbers, bands, offset in real_images(shared):
        found[level, name] = offset_contradiction(numbers, bands, -1000.0 - offset, level)
    # A desert without a cirrus band does not tell.
    assert [name for name, said in found.items() if said is None] == [("L2A", "38D_378R_2_3.tif")]


def test_zero_in_all_bands_is_no_data_of_the_product() -> None:
    numbers = np.full((3, 4, 4), 1500, np.uint16)
    numbers[:, 0] = 0
    for offset in (0.0, -1000.0):
        expected = numbers == 0
        for stored in (numbers, numbers.astype(np.float32), numbers[None]):
            found = special_numbers(stored, offset)
            assert found is not None
            np.testing.assert_array_equal(found, expected if stored.ndim == 3 else expected[None])


def test_zero_in_one_band_is_a_value_only_without_an_offset() -> None:
    numbers = np.full((3, 4, 4), 1500, np.float32)
    numbers[2, :2] = 0
    numbers[:2, 0, 0] = np.nan
    found = special_numbers(numbers, -1000.0)
    assert found is not None
    np.testing.assert_array_equal(found, numbers == 0)
    found = special_numbers(numbers, 0.0)
    assert found is not None
    # Where the other bands are missing, 0 is the only band that is left.
    assert np.argwhere(found).tolist() == [[2, 0, 0]]


def test_saturated_numbers_are_missing_and_all_others_are_values() -> None:
    numbers = np.full((2, 3, 4, 4), 1, np.uint16)
    numbers[1, 0, 0, 0] = 65534
    assert special_numbers(numbers, -1000.0) is None
    numbers[1, 2, 1, 1] = 65535
    found = special_numbers(numbers, 0.0)
    assert found is not None
    assert np.argwhere(found).tolist() == [[1, 2, 1, 1]]
    assert special_numbers(np.full((2, 4, 4), -3, np.int16), 0.0) is None
