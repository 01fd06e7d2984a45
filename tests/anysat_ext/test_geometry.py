"""AnySat's geometry is its page's, and what patches do not divide is refused unless cropping is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from anysat_ext.geometry import plan_square
from eo_data.raster.plan import Crop, Pad, Resize


def test_a_square_that_divides_is_left_alone() -> None:
    plan = plan_square(24, 24, 4)
    assert (plan.before, plan.resize, plan.reason, plan.estimated_patch_tokens) == ((), None, "as_is", 36)
    assert plan.describe()["final_hw"] == (24, 24)


def test_choices_for_rectangles() -> None:
    assert plan_square(20, 33, 4, 24, "crop").before == (Crop(0, 6, 20, 20), Resize(24, 24))
    assert plan_square(20, 33, 4, 24, "stretch").before == (Resize(24, 24),)
    padded = plan_square(20, 33, 4, 24, "pad_reflect")
    assert padded.before == (Pad(6, 0, 7, 0, mode="reflect"), Resize(24, 24))
    assert padded.resampled
    # Nothing to resample when the padded square has the size already.
    assert not plan_square(20, 24, 4, 24, "pad_reflect").resampled


def test_a_narrow_strip_repeats_its_edge_and_warns() -> None:
    with pytest.warns(UserWarning, match="made-up border"):
        plan = plan_square(10, 24, 4, None, "pad_reflect")
    assert plan.before == (Pad(7, 0, 7, 0, mode="edge"),)


def test_an_indivisible_side_loses_its_last_rows_and_columns_as_in_the_encoder() -> None:
    """Of 24 pixels and patches of 50 m, the published encoder silently takes 4 x 4 patches from the top left."""
    plan = plan_square(30, 30, 5, 24, indivisible="crop")
    assert plan.before == (Resize(24, 24), Crop(0, 0, 20, 20))
    assert (plan.final_hw, plan.estimated_patch_tokens) == ((20, 20), 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((20, 24, 4), "needs a square, got 20 x 24 .*'crop' or 'pad_reflect', or to 'stretch'"),
        ((20, 24, 4, None, "stretch"), "needs a square.*together with image_size"),
        ((24, 24, 5), "24 pixels does not split into patches of 5 pixels; patches of 1, 2, 3, 4, 6, 8, 12, 24 fit"),
        ((3, 3, 4, None, "error", "crop"), "3 pixels does not split into patches of 4"),
        ((24, 24, 0), "patch_px must be a whole number >= 1"),
        ((0, 24, 4), "height must be"),
        ((24, 24, 4, 0), "image_size must be a whole number >= 1, got 0"),
        ((24, 24, 4, None, "pad"), "non_square must be one of error, crop, pad_reflect, stretch, got 'pad'"),
        ((24, 24, 4, None, "crop", "pad"), "indivisible must be one of error, crop, got 'pad'"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_square(*arguments)
