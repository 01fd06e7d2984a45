"""A plan moves pixels, validity and transform as it says, for rasters of its own size only."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasters import plain_raster

from eo_data.raster.plan import Crop, GeometryPlan, Pad, Resize, Step, apply_after, apply_before, at_least, centred

UTM = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)


def plan(before: tuple[Step, ...] = (), resize: tuple[int, int] | None = None, **more: Any) -> GeometryPlan:
    settings: dict[str, Any] = {"input_hw": (6, 8), "final_hw": (6, 8), "reason": "test", "record": (("mode", "test"),)}
    settings |= {"effective_image_size": 8, "estimated_patch_tokens": 4, "ground_cover_m": None}
    return GeometryPlan(before=before, resize=resize, true_ground_cover_m=None, **(settings | more))


def numbered(height: int = 6, width: int = 8) -> Any:
    return plain_raster(np.arange(height * width).reshape(1, height, width), UTM)


def test_steps_are_applied_in_their_order() -> None:
    """Crop, then pad: the other order would keep other pixels."""
    given = numbered()
    done = apply_before(plan((Crop(1, 2, 4, 4), Pad(0, 1, 0, 0, value=-1.0))), given)
    assert done.pixels.shape == (1, 4, 5)
    np.testing.assert_array_equal(done.pixels[0, :, 1:], given.pixels[0, 1:5, 2:6])
    assert set(done.pixels[0, :, 0]) == {-1.0}
    assert not done.valid[:, 0].any()
    assert done.valid[:, 1:].all()
    # Two columns cut off and one added: the upper left corner moves by one column and one row.
    assert (done.transform.c, done.transform.f) == (500_010.0, 4_999_990.0)


def test_a_plan_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rasters of \(6, 8\) pixels \(height, width\), got \(8, 6\)"):
        apply_before(plan(), numbered(8, 6))


def test_what_comes_after_normalisation_ends_at_the_final_size() -> None:
    done = apply_after(plan(resize=(3, 4)), numbered())
    assert done.pixels.shape == (1, 3, 4)
    # Half of the size without antialias: each value is the mean of 2 x 2 pixels.
    assert done.pixels[0, 0, 0] == pytest.approx(np.mean([0, 1, 8, 9]))
    assert (done.transform.a, done.transform.e) == (20.0, -20.0)
    given = numbered()
    assert apply_after(plan(), given) is given
    with pytest.raises(ValueError, match=r"Expected \(6, 8\) pixels, got \(3, 4\). Call apply_before first"):
        apply_after(plan(), done)


def test_whether_values_are_interpolated() -> None:
    assert not plan((Crop(0, 0, 6, 6), Pad(0, 0, 1, 1))).resampled
    assert plan((Resize(3, 4),)).resampled
    assert plan(resize=(3, 4)).resampled


def test_the_record_is_handed_out_as_a_copy() -> None:
    described = plan().describe()
    described["mode"] = "changed"
    assert plan().describe() == {"mode": "test"}


@pytest.mark.parametrize(
    ("size", "target", "step"),
    [
        ((6, 8), (6, 8), ()),
        ((6, 8), (4, 8), (Crop(1, 0, 4, 8),)),
        ((7, 8), (4, 5), (Crop(1, 1, 4, 5),)),
        ((6, 8), (9, 8), (Pad(1, 0, 2, 0, 0.0),)),
    ],
)
def test_an_odd_pixel_goes_to_the_bottom_or_right(
    size: tuple[int, int], target: tuple[int, int], step: tuple[Step, ...]
) -> None:
    assert centred(size, target, 0.0) == step


def test_a_border_is_missing_by_default() -> None:
    (step,) = centred((6, 8), (8, 8))
    assert isinstance(step, Pad)
    assert math.isnan(step.value)
    assert step.mode == "constant"


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "3", None])
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    assert at_least("side", np.int64(4), 1) == 4
    with pytest.raises(ValueError, match="side must be a whole number >= 1, got"):
        at_least("side", value, 1)
