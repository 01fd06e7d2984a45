"""The token layout is exact or refused: no patch that floors away pixels, no silent other patch size."""

from __future__ import annotations

import re

import pytest

from thor_terratorch_ext.model.channels import DEFAULT_BANDS, select_bands
from thor_terratorch_ext.model.layout import resolve_layout

S2_10 = [b for b in DEFAULT_BANDS[:12] if b not in ("COASTAL_AEROSOL", "WATER_VAPOR")]
S2_12 = list(DEFAULT_BANDS[:12])


@pytest.mark.parametrize(
    ("bands", "cover", "patch", "tokens"),
    [
        (S2_10, 2880, 4, 6480),
        (S2_10, 2880, 6, 2880),
        (S2_10, 2880, 8, 1620),
        (S2_10, 2880, 16, 405),
        (S2_12, 2880, 8, 1656),
        (["VV", "VH"], 2880, 8, 1296),
        ([*S2_10, "VV", "VH"], 2880, 8, 2916),
    ],
)
def test_token_counts_of_the_published_table(bands: list[str], cover: int, patch: int, tokens: int) -> None:
    assert resolve_layout(select_bands(bands), cover, [patch]).n_tokens == tokens


@pytest.mark.parametrize(
    ("strategy", "patches", "grids"),
    [("equal-min", [24, 12, 4], [12, 12, 12]), ("equal-max", [48, 24, 8], [6, 6, 6]), ("min", [4, 4, 4], [72, 36, 12])],
)
def test_strategies_of_the_published_example(strategy: str, patches: list[int], grids: list[int]) -> None:
    layout = resolve_layout(select_bands(S2_12), 2880, [4, 8, 12, 24, 48], strategy)
    assert [group.patch_size for group in layout.groups] == patches
    assert [group.grid_size for group in layout.groups] == grids


def test_max_takes_each_groups_largest_patch_that_tiles() -> None:
    layout = resolve_layout(select_bands(S2_12), 2880, [8, 16, 18], "max")
    assert [group.patch_size for group in layout.groups] == [18, 18, 16]
    assert layout.n_tokens == 16**2 + 8**2 + 3**2


@pytest.mark.parametrize(
    ("bands", "cover", "patch", "hint"),
    [
        (
            S2_12,
            2880,
            18,
            r"\[8, 12, 16, 24\].*2160 m .* 3240 m",
        ),  # the published encoder reads 36 of 48 px and says 24
        (["OA01_REFLECTANCE"], 2880, 8, r"\[4, 6, 12\]|\[\d+, .*12\]"),
        (["COASTAL_AEROSOL"], 2880, 10, r"\b12\b"),
        (S2_10, 2890, 8, "2880 m .*or 3040 m"),
        (S2_10, 100, 8, "160 m"),
        (["VV"], 2885, 8, "2880 m .*or 2960 m"),
    ],
)
def test_a_patch_that_does_not_tile_is_refused_with_the_nearest_that_do(
    bands: list[str], cover: int, patch: int, hint: str
) -> None:
    with pytest.raises(ValueError, match="No patch size of") as error:
        resolve_layout(select_bands(bands), cover, [patch])
    assert re.search(hint, str(error.value)), str(error.value)


def test_no_common_grid_names_the_offers() -> None:
    with pytest.raises(ValueError, match=r"none in common.*10 m: 8 px -> 36.*for example"):
        resolve_layout(select_bands(S2_10), 2880, [8], "equal-min")


def test_unknown_strategy_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="Valid: min, max, equal-min, equal-max"):
        resolve_layout(select_bands(["VV"]), 2880, [8], "finest")


def test_coordinates_are_patch_centres_on_the_ground_in_units_of_the_largest_footprint() -> None:
    layout = resolve_layout(select_bands(["RED", "SWIR_1"]), 320, [8])
    coordinates = layout.coordinates()
    # 10 m: 4 x 4 patches of 80 m; 20 m: 2 x 2 patches of 160 m, which is the unit.
    assert coordinates.shape == (20, 2)
    assert coordinates[1].tolist() == [0.25, 0.75]  # first row, second column: row-major
    assert coordinates[16:].tolist() == [[0.5, 0.5], [0.5, 1.5], [1.5, 0.5], [1.5, 1.5]]


def test_patch_size_position_is_footprint_over_40_m_also_for_coarse_sensors() -> None:
    assert resolve_layout(select_bands(S2_12), 2880, [8]).patch_size_positions == (2.0, 4.0, 12.0)
    assert resolve_layout(select_bands(["OA01_REFLECTANCE"]), 15360, [8]).patch_size_positions == (48.0,)
    # A radar suffix finer than 10 m changes the reference for all groups, as in the published encoder.
    assert resolve_layout(select_bands(["RED", "VV_5"]), 2880, [8]).patch_size_positions == (4.0, 2.0)
