"""Every pixel keeps its place on the map, whatever a plan crops, pads and resamples."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from rasters import located, plain_raster

from anysat_ext.geometry import plan_square
from eo_data.raster.plan import GeometryPlan, Pad, apply_after, apply_before
from thor_terratorch_ext.geometry import SnapPolicy, plan_snap

S2 = (10, 20)


def random_plans(count: int) -> list[tuple[str, GeometryPlan]]:
    """THOR and AnySat in all modes on rasters of random sizes."""
    rng = np.random.default_rng(7)
    plans: list[tuple[str, GeometryPlan]] = []
    while len(plans) < count:
        height = int(rng.integers(20, 130))
        near = max(20, height + int(rng.integers(-8, 9)))
        width = near if rng.random() < 0.7 else int(rng.integers(max(20, height // 2), 2 * height))
        patch, kind = int(rng.choice([2, 3, 4, 8])), len(plans) % 6
        if kind < 2:
            policy = SnapPolicy(patch, 96, shape_adjust=("crop", "pad")[kind], max_native_side=110)
            plans.append((f"snap {kind}", plan_snap(height, width, 10, S2, policy)))
        elif kind == 2:
            policy = SnapPolicy(patch, 48, resize_mode="fixed")
            plans.append(("fixed", plan_snap(height, width, 10, S2, policy)))
        else:
            choice = ("crop", "pad_reflect", "stretch")[kind - 3]
            size = 24 if choice == "stretch" or rng.random() < 0.5 else None
            plans.append((choice, plan_square(height, width, patch, size, choice, "crop")))
    return plans


TRANSFORMS = (Affine(1, 0, 5, 0, -1, 7), Affine(0.5, 0, -3, 0, -0.4, 2), Affine(0.8, 0.6, 3, 0.6, -0.8, -4))


@pytest.mark.filterwarnings("ignore:Most of the square")
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_centre_of_every_output_pixel_maps_to_where_it_came_from(transform: Affine) -> None:
    """Pixels that hold their own map coordinates: interpolating them gives the coordinates of the new centres."""
    for name, plan in random_plans(60):
        height, width = plan.input_hw
        columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        image = plain_raster(np.stack(located(transform, columns, rows)), transform)
        result = apply_after(plan, apply_before(plan, image))
        assert (result.height, result.width) == plan.final_hw
        columns, rows = np.meshgrid(np.arange(result.width) + 0.5, np.arange(result.height) + 0.5)
        assert result.transform is not None
        full = full_weight(plan)
        assert full.any(), (name, plan)
        for actual, expected in zip(result.pixels, located(result.transform, columns, rows), strict=True):
            np.testing.assert_allclose(actual[full], expected[full], atol=2e-4, err_msg=f"{name} {plan}")


def full_weight(plan: GeometryPlan) -> np.ndarray:
    """Output pixels that are made of pixels of the raster alone: none of a border, and not extrapolated at its edge."""
    flags = np.zeros((1, *plan.input_hw))
    flags[:, 1:-1, 1:-1] = 1
    raster = plain_raster(flags)
    for step in plan.before:
        blank = isinstance(step, Pad)
        raster = replace(step, value=0.0, mode="constant").apply(raster) if blank else step.apply(raster)
    return apply_after(plan, raster).pixels[0] > 1 - 1e-6


@pytest.mark.filterwarnings("ignore:Most of the square")
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_painted_spot_is_found_at_the_same_map_coordinate(transform: Affine) -> None:
    rng = np.random.default_rng(3)
    found = 0
    for name, plan in random_plans(120):
        height, width = plan.input_hw
        shrink = max(height / plan.final_hw[0], width / plan.final_hw[1], 1) if plan.resampled else 1
        # Bilinear without antialias may step over a single pixel when it shrinks by more than two.
        reach = 0 if shrink <= 2 else math.ceil(shrink / 2)
        row, column = int(rng.integers(reach, height - reach)), int(rng.integers(reach, width - reach))
        pixels = np.zeros((1, height, width), np.float32)
        pixels[0, row - reach : row + reach + 1, column - reach : column + reach + 1] = 1
        result = apply_after(plan, apply_before(plan, plain_raster(pixels, transform)))
        assert result.transform is not None
        painted = located(transform, np.array(column + 0.5), np.array(row + 0.5))
        x, y = inverse(result.transform, *painted)
        spot = np.where(result.valid, result.pixels[0], 0)  # a mirrored copy in a border is not the spot
        if not (reach < x < result.width - reach and reach < y < result.height - reach):
            continue  # cropped away
        assert spot.max() > 0, (name, plan)
        brightest_row, brightest_column = np.unravel_index(spot.argmax(), spot.shape)
        weight = spot / spot.sum()
        centre_x = float((weight * (np.arange(result.width) + 0.5)).sum())
        centre_y = float((weight.T * (np.arange(result.height) + 0.5)).sum())
        assert abs(centre_x - x) <= 1, (name, plan)
        assert abs(centre_y - y) <= 1, (name, plan)
        if reach == 0:
            assert abs(brightest_column + 0.5 - x) <= 1, (name, plan)
            assert abs(brightest_row + 0.5 - y) <= 1, (name, plan)
        found += 1
    assert found > 90


def inverse(transform: Affine, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    t = transform
    determinant = t.a * t.e - t.b * t.d
    dx, dy = x - t.c, y - t.f
    return float((t.e * dx - t.b * dy) / determinant), float((t.a * dy - t.d * dx) / determinant)
