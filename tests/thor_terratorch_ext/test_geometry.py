"""THOR's geometry is rs-embed's to the pixel, AnySat's is its page's, and what THOR cannot take is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasters import plain_raster
from rs_embed_tiling import plan_tiles

from eo_data.raster.plan import Crop, GeometryPlan, Pad, apply_after, apply_before, centred
from thor_terratorch_ext.geometry import SnapPolicy, nominal_pixel_size, plan_snap, side_unit

GOLDEN = 208
S2 = (10, 20)


def golden_rows(shared: Path) -> list[dict[str, Any]]:
    return json.loads((shared / "golden" / "thor" / "adapter_prep.json").read_text(encoding="utf-8"))


def plan_of(row: dict[str, Any]) -> GeometryPlan:
    names = ("patch_size", "image_size", "resize_mode", "shape_adjust", "shape_tol_px", "max_native_side")
    settings = {name: row[name] for name in (*names, "max_native_tokens", "fill_value")}
    policy = SnapPolicy(input_prep=row["input_prep_mode"] or "resize", **settings)
    return plan_snap(row["h"], row["w"], row["scale_m"], row["band_gsds"], policy)


def golden_input(height: int, width: int) -> np.ndarray:
    """Two channels of a million per channel, a thousand per row and one per column."""
    channel, row, column = np.meshgrid(np.arange(2), np.arange(height), np.arange(width), indexing="ij")
    return channel * 1_000_000 + row * 1000 + column


class TestGolden:
    def test_every_row_is_reproduced_or_refused_where_the_peer_fails(self, shared: Path) -> None:
        rows = golden_rows(shared)
        assert len(rows) == GOLDEN
        outcomes = {"equal": 0, "refused by both": 0, "refused here, fails in the peer's model": 0}
        for row in rows:
            if "error" in row:
                with pytest.raises(ValueError, match="must be a (positive )?whole number"):
                    plan_of(row)
                outcomes["refused by both"] += 1
                continue
            expected = row["out"]
            if expected["meta"]["estimated_patch_tokens"] is None:
                with pytest.raises(ValueError, match="image_size must be a multiple of"):
                    plan_of(row)
                outcomes["refused here, fails in the peer's model"] += 1
                continue
            plan = plan_of(row)
            assert json.loads(json.dumps(plan.describe())) == expected["meta"], row
            pixels = apply_before(plan, plain_raster(golden_input(row["h"], row["w"]))).pixels
            assert list(pixels.shape) == expected["shape"], row
            assert pixels[1, 0, 0] == expected["corner00"], row
            assert pixels[1, -1, -1] == expected["corner11"], row
            assert pixels.sum(dtype=np.float64) == expected["sum"], row
            outcomes["equal"] += 1
        assert list(outcomes.values()) == [200, 3, 5]

    def test_the_end_to_end_cases_say_the_same(self, shared: Path) -> None:
        """With its tiles: without a choice the peer tiles by 288 pixels, and ``auto`` snaps to tiles, then resizes."""
        cases = json.loads((shared / "golden" / "thor" / "adapter_cases.json").read_text(encoding="utf-8"))["cases"]
        for case in cases:
            meta, environment, prep = case["meta"], case["env"], case["input_prep"]
            policy = SnapPolicy(
                patch_size=meta["patch_size"],
                image_size=int(environment.get("RS_EMBED_THOR_IMG", 288)),
                shape_adjust=environment.get("RS_EMBED_THOR_SHAPE_ADJUST", "crop"),
                input_prep="resize" if prep in ("resize", "auto") else "tile",
            )
            size = tuple(case["input"]["shape"][1:])
            if prep != "resize":
                tile = prep["tile_size"] if isinstance(prep, dict) else 288
                size = plan_tiles(*size, tile).snapped_hw if prep == "auto" else (tile, tile)
            described = plan_snap(*size, 10, S2 if meta["modality"] == "s2" else (10,), policy).describe()
            shared_keys = meta.keys() & described.keys()
            assert len(shared_keys) >= 6, case["id"]
            for key in shared_keys:
                assert json.loads(json.dumps(described[key])) == meta[key], (case["id"], key)
        assert len(cases) == 28


class TestPlanSnap:
    @pytest.mark.parametrize(
        ("side", "snapped"), [(280, 272), (281, 288), (289, 288), (296, 288), (297, 304), (392, 384), (9, 16)]
    )
    def test_sides_go_to_the_nearest_multiple_and_ties_go_down(self, side: int, snapped: int) -> None:
        plan = plan_snap(side, side, 10, S2, SnapPolicy())
        assert plan.final_hw == (snapped, snapped)
        assert plan.ground_cover_m == snapped * 10
        assert not plan.resampled

    def test_the_unit_is_the_least_side_with_whole_patches_of_every_gsd(self) -> None:
        assert side_unit(10, 8, (10, 20)) == 16
        assert side_unit(10, 8, (10,)) == 8
        assert side_unit(10, 10, (10, 20)) == 20
        assert side_unit(15, 8, (10, 20)) == 32  # 80 m and 160 m patches of 15 m pixels: 240 m and 480 m
        assert side_unit(10, 8, (10, 20, 60)) == 48

    def test_a_squeezed_raster_says_what_it_really_covers(self) -> None:
        """The peer tells THOR 2880 m for any raster; the plan says so and tells the truth beside it."""
        plan = plan_snap(512, 500, 10, S2, SnapPolicy())
        assert (plan.reason, plan.resize, plan.before) == ("rectangular_above_tolerance", (288, 288), ())
        assert plan.ground_cover_m == 2880
        assert plan.true_ground_cover_m == (5120, 5000)
        assert plan.resampled
        image = plain_raster(np.ones((1, 512, 500)))
        assert apply_after(plan, apply_before(plan, image)).pixels.shape == (1, 288, 288)

    def test_the_fixed_rule_leaves_a_raster_of_its_size_alone(self) -> None:
        plan = plan_snap(288, 288, 10, S2, SnapPolicy(input_prep="tile"))
        assert plan.reason == "tile_preserve_stitch_geometry"
        assert plan.resize is None
        assert not plan.resampled
        assert plan.true_ground_cover_m == (2880, 2880)

    def test_gsds_count_once_and_in_any_order(self) -> None:
        assert plan_snap(100, 100, 10, [20, 10, 20, 10], SnapPolicy()) == plan_snap(100, 100, 10, S2, SnapPolicy())

    def test_padding_is_not_observed(self) -> None:
        plan = plan_snap(300, 300, 10, S2, SnapPolicy(fill_value=-7))
        image = apply_before(plan, plain_raster(np.ones((1, 300, 300))))
        assert image.pixels.shape == (1, 304, 304)
        assert (image.pixels[0][~image.valid] == -7).all()
        assert image.valid.sum() == 300 * 300

    def test_an_image_size_that_thor_cannot_take_is_refused_with_those_it_can(self) -> None:
        policy = SnapPolicy(image_size=280, resize_mode="fixed")
        with pytest.raises(ValueError, match=r"multiple of 16 .* got 280; the nearest are 272 and 288.*fixed_mode"):
            plan_snap(288, 288, 10, S2, policy)
        assert plan_snap(288, 288, 10, (10,), policy).final_hw == (280, 280)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((0, 5, 10, S2), "height must be a whole number >= 1, got 0"),
            ((5, 2.5, 10, S2), "width must be a whole number >= 1, got 2.5"),
            ((5, 5, 9.98, S2), "pixel_size must be a positive whole number of metres, got 9.98.*nominal_pixel_size"),
            ((5, 5, 0, S2), "pixel_size must be a positive whole number"),
            ((5, 5, math.nan, S2), "pixel_size must be a positive whole number"),
            ((5, 5, 10, ()), "band_gsds must name at least one GSD"),
            ((5, 5, 10, (10, 0)), "Each of band_gsds must be a whole number >= 1, got 0"),
        ],
    )
    def test_impossible_sizes_are_refused(self, arguments: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            plan_snap(*arguments, SnapPolicy())

    @pytest.mark.parametrize(
        ("setting", "value", "message"),
        [
            ("patch_size", 0, "patch_size must be a whole number >= 1, got 0"),
            ("patch_size", True, "patch_size must be a whole number >= 1, got True"),
            ("image_size", -1, "image_size must be a whole number >= 1"),
            ("shape_tol_px", -1, "shape_tol_px must be a whole number >= 0"),
            ("max_native_side", 0, "max_native_side must be"),
            ("max_native_tokens", 2.5, "max_native_tokens must be"),
            ("resize_mode", "native", "resize_mode must be one of native_snap, fixed, got 'native'"),
            ("shape_adjust", "stretch", "shape_adjust must be one of crop, pad, got 'stretch'"),
            ("input_prep", "auto", "input_prep must be one of resize, tile, got 'auto'"),
        ],
    )
    def test_impossible_settings_are_refused(self, setting: str, value: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            SnapPolicy(**{setting: value})

    def test_a_plan_is_for_one_size(self) -> None:
        plan = plan_snap(300, 300, 10, S2, SnapPolicy())
        with pytest.raises(ValueError, match=r"for rasters of \(300, 300\) pixels .*got \(300, 301\)"):
            apply_before(plan, plain_raster(np.ones((1, 300, 301))))
        with pytest.raises(ValueError, match=r"Expected \(304, 304\) pixels, got \(300, 300\). Call apply_before"):
            apply_after(plan, plain_raster(np.ones((1, 300, 300))))


class TestNominalPixelSize:
    @pytest.mark.parametrize(
        ("metres", "gsds", "nominal"),
        [
            (10.0, S2, 10),
            (9.98, S2, 10),
            (7.9, S2, 10),  # west to east at a latitude of 38 degrees
            (19.3, S2, 20),
            (30.0, S2, 30),
            (29.9, S2, 30),
            (15.0, S2, 15),  # just a quarter below 20: not close
            (300.0, (240, 480), 300),
            (0.98, (10,), 1),
        ],
    )
    def test_measured_sizes(self, metres: float, gsds: tuple[int, ...], nominal: int) -> None:
        assert nominal_pixel_size(metres, gsds) == nominal

    def test_a_zero_tolerance_leaves_whole_numbers(self) -> None:
        assert nominal_pixel_size(7.9, S2, tolerance=0) == 8

    @pytest.mark.parametrize("metres", [1.5, 0.2, 5.4])
    def test_sizes_far_from_everything_are_refused(self, metres: float) -> None:
        with pytest.raises(ValueError, match="neither one of the GSDs .*10, 20.* nor a whole number"):
            nominal_pixel_size(metres, S2)

    @pytest.mark.parametrize(("metres", "tolerance"), [(0, 0.25), (-1, 0.25), (math.nan, 0.25), (10, 1), (10, -0.1)])
    def test_impossible_values_are_refused(self, metres: float, tolerance: float) -> None:
        with pytest.raises(ValueError, match="Expected metres > 0 and a tolerance"):
            nominal_pixel_size(metres, S2, tolerance)


def test_odd_pixels_go_to_the_bottom_and_the_right() -> None:
    assert centred((5, 5), (2, 2)) == (Crop(1, 1, 2, 2),)
    assert centred((2, 3), (5, 5), -1.0) == (Pad(1, 1, 2, 1, -1.0),)
    assert centred((3, 3), (3, 3)) == ()
