"""THOR's geometry: from the size of a raster to the crops, pads and resizes that make it fit.

Planning needs numbers only: no pixels, no files, no weights. The policy and its record are those of rs-embed 0.3.1
(model page ``thor``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, get_args

from eo_core.arguments import one_of
from eo_data.raster.plan import GeometryPlan, at_least, centred

ResizeMode = Literal["native_snap", "fixed"]
ShapeAdjust = Literal["crop", "pad"]
InputPrep = Literal["resize", "tile"]
NonSquare = Literal["pad", "stretch"]

#: Reason of a plan that keeps the scale; every other reason stands for the ``fixed`` rule.
_SNAPPED = "native_snap_applied"


@dataclass(frozen=True)
class SnapPolicy:
    """THOR's geometry: rs-embed's settings with their defaults.

    Parameters
    ----------
    patch_size : int
        Pixels of a patch at the finest GSD.
    image_size : int
        Side in pixels of the ``fixed`` rule; a multiple of what the patch size and the GSDs need.
    resize_mode : {'native_snap', 'fixed'}
        ``native_snap`` crops or pads to the nearest side that divides; ``fixed`` resamples to ``image_size``.
    shape_adjust : {'crop', 'pad'}
        How a nearly square raster becomes square.
    shape_tol_px : int
        Largest difference of the sides in pixels that counts as nearly square; beyond it, ``fixed``.
    max_native_side : int
        Largest snapped side in pixels; beyond it, ``fixed``.
    max_native_tokens : int
        Most patches over all GSDs of a snapped side; beyond it, ``fixed``, where no limit holds.
    input_prep : {'resize', 'tile'}
        ``tile`` is for tiles of a larger raster: it forces ``fixed``, so that their grids stay aligned.
    fill_value : float
        What a padded border holds, in the raster's unit before normalisation.

    Raises
    ------
    ValueError
        For a setting out of range or an unknown mode.
    """

    patch_size: int = 8
    image_size: int = 288
    resize_mode: ResizeMode = "native_snap"
    shape_adjust: ShapeAdjust = "crop"
    shape_tol_px: int = 8
    max_native_side: int = 384
    max_native_tokens: int = 3000
    input_prep: InputPrep = "resize"
    fill_value: float = 0.0

    def __post_init__(self) -> None:
        for name in ("patch_size", "image_size", "max_native_side", "max_native_tokens"):
            at_least(name, getattr(self, name), 1)
        at_least("shape_tol_px", self.shape_tol_px, 0)
        one_of("resize_mode", self.resize_mode, get_args(ResizeMode))
        one_of("shape_adjust", self.shape_adjust, get_args(ShapeAdjust))
        one_of("input_prep", self.input_prep, get_args(InputPrep))


def nominal_pixel_size(metres: float, gsds: Iterable[int], tolerance: float = 0.25) -> int:
    """Return the whole number of metres that a measured pixel stands for.

    The nearest GSD (in ratio), if ``metres`` is off by less than ``tolerance``; else the nearest whole number, if
    ``metres`` is off by at most 5 %. So 9.98 m, and the 7.9 m from west to east of a 10 m pixel in degrees at a
    latitude of 38, are 10 m to Sentinel-2's GSDs, and Landsat's 30.0 m stays 30 m. Of pixels in degrees, measure the
    side from north to south, which does not shrink with latitude.

    Parameters
    ----------
    metres : float
        Measured, see :func:`eo_data.raster.ground.ground_pixel_size`. A size that the user declares needs no rounding.
    gsds : iterable of int
        GSDs in metres of the bands that the encoder reads.
    tolerance : float
        Share of the GSD, 0 <= tolerance < 1.

    Raises
    ------
    ValueError
        If neither rule fits, or for values out of range.
    """
    known = _gsds(gsds)
    if not math.isfinite(metres) or metres <= 0 or not 0 <= tolerance < 1:
        msg = f"Expected metres > 0 and a tolerance from 0 to below 1, got {metres!r} and {tolerance!r}."
        raise ValueError(msg)
    nearest = min(known, key=lambda gsd: abs(math.log(metres / gsd)))
    if abs(metres / nearest - 1) < tolerance:
        return nearest
    whole = round(metres)
    if whole < 1 or abs(metres / whole - 1) > 0.05:
        msg = (
            f"A pixel of {metres:.4g} m is neither one of the GSDs {known} m nor a whole number of metres. "
            "Resample the raster to one of them, or declare pixel_size if the measurement is wrong."
        )
        raise ValueError(msg)
    return whole


def plan_snap(height: int, width: int, pixel_size: float, band_gsds: Iterable[int], policy: SnapPolicy) -> GeometryPlan:
    """Plan THOR's geometry as rs-embed does.

    Parameters
    ----------
    height, width : int
        Size of the raster in pixels.
    pixel_size : int
        Metres, nominal: what the caller declares, or :func:`nominal_pixel_size` of a measurement.
    band_gsds : iterable of int
        GSDs in metres of the bands that THOR gets.
    policy : SnapPolicy
        The rules.

    Raises
    ------
    ValueError
        For sizes out of range, or if the ``fixed`` rule applies and THOR cannot take ``image_size`` (rs-embed fails
        on those later, inside the model).
    """
    size = (at_least("height", height, 1), at_least("width", width, 1))
    metres = _whole_metres(pixel_size)
    gsds = _gsds(band_gsds)
    reason, snap = _choose(size, metres, gsds, policy)
    if reason == _SNAPPED and snap is not None and snap.tokens is not None:
        side, tokens = snap.side, snap.tokens
        square = (snap.square, snap.square)
        before = (
            *centred(size, square, policy.fill_value),
            *centred(square, (side, side), policy.fill_value),
        )
        resize, true_cover = None, (side * metres, side * metres)
    else:
        side, tokens = policy.image_size, _fixed_tokens(size, metres, gsds, policy, reason)
        before = ()
        resize = None if size == (side, side) else (side, side)
        true_cover = (size[0] * metres, size[1] * metres)
    outcome = {
        "preprocess_reason": reason,
        "final_hw": (side, side),
        "effective_image_size": side,
        "ground_cover_m": side * metres,
        "estimated_patch_tokens": tokens,
    }
    return GeometryPlan(
        input_hw=size,
        before=before,
        resize=resize,
        reason=reason,
        final_hw=(side, side),
        effective_image_size=side,
        estimated_patch_tokens=tokens,
        ground_cover_m=side * metres,
        true_ground_cover_m=true_cover,
        record=tuple((_record(size, policy, reason, snap) | outcome).items()),
    )


def plan_input(
    height: int,
    width: int,
    pixel_size: float,
    band_gsds: Iterable[int],
    policy: SnapPolicy,
    non_square: NonSquare = "pad",
) -> GeometryPlan:
    """Plan THOR's geometry without changing the aspect of a raster, unless that is asked for.

    rs-embed resamples what is not square to ``image_size`` x ``image_size`` where it cannot snap it: sides that differ
    by more than ``shape_tol_px``, limits, and the ``fixed`` rule. Here such a raster becomes square first, around the
    same centre, by a border that repeats its edge and is not valid, and the same rules hold for the square.

    Parameters
    ----------
    height, width, pixel_size, band_gsds, policy
        As for `plan_snap`.
    non_square : {'pad', 'stretch'}
        ``stretch``: as rs-embed.

    Raises
    ------
    ValueError
        As `plan_snap`, or for an unknown choice.
    """
    one_of("non_square", non_square, get_args(NonSquare))
    size = (at_least("height", height, 1), at_least("width", width, 1))
    reason, _ = _choose(size, _whole_metres(pixel_size), _gsds(band_gsds), policy)
    if height == width or reason == _SNAPPED or non_square == "stretch":
        return plan_snap(height, width, pixel_size, band_gsds, policy)
    side = max(size)
    plan = plan_snap(side, side, pixel_size, band_gsds, policy)
    record = plan.describe() | {"raw_input_hw": size, "shape_adjust_applied": "pad_to_square"}
    if "raw_aspect_diff_px" in record:
        record["raw_aspect_diff_px"] = abs(height - width)
    # As in tiles that reach over the end of a raster. 0 dB or reflectance 0 over a large area is no ground at all.
    border = centred(size, (side, side), mode="edge")
    return replace(plan, input_hw=size, before=(*border, *plan.before), record=tuple(record.items()))


def limit_advice(plan: GeometryPlan, pixel_size: float, band_gsds: Iterable[int], policy: SnapPolicy) -> str:
    """Return which rule or limit made a plan resample, and what to set to keep the pixels as they are.

    Parameters
    ----------
    plan : GeometryPlan
        Of `plan_input` or `plan_snap` with the same arguments.
    pixel_size, band_gsds, policy
        As for `plan_snap`.
    """
    if plan.reason == "fixed_mode":
        return "resize_mode: fixed asks for that. Set resize_mode: native_snap to keep the pixels."
    if plan.reason == "tile_preserve_stitch_geometry":
        return f"input_prep: tile asks for that. Give tiles the side of image_size ({policy.image_size})."
    if plan.reason == "rectangular_above_tolerance":
        return (
            f"The sides differ by more than shape_tol_px ({policy.shape_tol_px}). Set non_square: pad to keep the "
            "shape, or cut squares."
        )
    size = plan.input_hw
    square = min(size) if policy.shape_adjust == "crop" and not plan.before else max(size)
    metres, gsds = _whole_metres(pixel_size), _gsds(band_gsds)
    side = snapped_side(square, side_unit(metres, policy.patch_size, gsds))
    tokens = patch_tokens(side, metres, policy.patch_size, gsds) or 0
    hit = [f"max_native_side ({policy.max_native_side}) to {side}"] if side > policy.max_native_side else []
    hit += [f"max_native_tokens ({policy.max_native_tokens}) to {tokens}"] if tokens > policy.max_native_tokens else []
    return f"Raise {' and '.join(hit)} to keep the pixels, or cut tiles."


@dataclass(frozen=True)
class _Snap:
    """What snapping makes of a nearly square raster.

    Parameters
    ----------
    square : int
        Side in pixels after the sides are made equal.
    unit : int
        Pixels that a side must be a multiple of.
    side : int
        The multiple that is nearest to ``square``.
    tokens : int or None
        Patches over all GSDs.
    """

    square: int
    unit: int
    side: int
    tokens: int | None


def _choose(size: tuple[int, int], metres: int, gsds: tuple[int, ...], policy: SnapPolicy) -> tuple[str, _Snap | None]:
    """Return the reason for the rule that applies, and the snapped size if snapping was considered.

    Every reason but ``native_snap_applied`` stands for the ``fixed`` rule.
    """
    if policy.input_prep == "tile":
        return "tile_preserve_stitch_geometry", None
    if policy.resize_mode == "fixed":
        return "fixed_mode", None
    if abs(size[0] - size[1]) > policy.shape_tol_px:
        return "rectangular_above_tolerance", None
    square = min(size) if policy.shape_adjust == "crop" else max(size)
    unit = side_unit(metres, policy.patch_size, gsds)
    side = snapped_side(square, unit)
    tokens = patch_tokens(side, metres, policy.patch_size, gsds)
    snap = _Snap(square, unit, side, tokens)
    if side > policy.max_native_side:
        return "native_side_limit", snap
    if tokens is None or tokens > policy.max_native_tokens:
        return "native_token_limit", snap
    return _SNAPPED, snap


def _fixed_tokens(size: tuple[int, int], metres: int, gsds: tuple[int, ...], policy: SnapPolicy, reason: str) -> int:
    """Return the number of patches of ``image_size``; the encoder takes its pixels for the raster's pixel size.

    Raises
    ------
    ValueError
        If patches do not tile it.
    """
    side = policy.image_size
    tokens = patch_tokens(side, metres, policy.patch_size, gsds)
    if tokens is None:
        unit = side_unit(metres, policy.patch_size, gsds)
        lower = max(unit, side // unit * unit)
        msg = (
            f"image_size must be a multiple of {unit} for patches of {policy.patch_size} pixels, GSDs of {gsds} m and "
            f"pixels of {metres} m, got {side}; the nearest are {lower} and {lower + unit}. It is needed because the "
            f"raster of {size[0]} x {size[1]} pixels falls under the fixed rule ({reason})."
        )
        raise ValueError(msg)
    return tokens


def _record(size: tuple[int, int], policy: SnapPolicy, reason: str, snap: _Snap | None) -> dict[str, object]:
    """Describe a decision under rs-embed's keys, in its order."""
    squared = snap is not None and size[0] != size[1]
    record: dict[str, object] = {
        "resize_mode_requested": policy.resize_mode,
        "input_prep_mode": policy.input_prep,
        "raw_input_hw": size,
        "requested_image_size": policy.image_size,
        "shape_adjust": policy.shape_adjust,
        "shape_tol_px": policy.shape_tol_px,
        "max_native_side": policy.max_native_side,
        "max_native_tokens": policy.max_native_tokens,
        "shape_adjust_applied": f"{policy.shape_adjust}_to_square" if squared else "none",
    }
    if policy.input_prep != "tile" and policy.resize_mode != "fixed":
        record["raw_aspect_diff_px"] = abs(size[0] - size[1])
    if snap is not None:
        record |= {
            "square_side": snap.square,
            "side_unit": snap.unit,
            "snapped_side": snap.side,
            "estimated_patch_tokens": snap.tokens,
        }
    if snap is None or reason != _SNAPPED:
        return record | {"preprocess_strategy": "fixed_resize"}
    adjust = "none" if snap.side == snap.square else f"{'pad' if snap.side > snap.square else 'crop'}_to_valid_side"
    return record | {"snap_adjust_applied": adjust, "preprocess_strategy": "native_snap"}


def side_unit(pixel_size: int, patch_size: int, band_gsds: Iterable[int]) -> int:
    """Return the number of pixels that a side must be a multiple of, so that every GSD gets whole patches.

    A patch of GSD g covers ``patch_size * g`` metres, which must be whole pixels for the least common multiple of
    ``patch_size * g / gcd(pixel_size, patch_size * g)`` over the GSDs.
    """
    covers = [patch_size * gsd for gsd in band_gsds]
    return math.lcm(*(cover // math.gcd(pixel_size, cover) for cover in covers))


def snapped_side(side: int, unit: int) -> int:
    """Return the multiple of ``unit`` (at least one) that is nearest to ``side``; ties go down."""
    lower = max(unit, side // unit * unit)
    upper = max(unit, -(-side // unit) * unit)
    return lower if abs(side - lower) <= abs(upper - side) else upper


def patch_tokens(side: int, pixel_size: int, patch_size: int, band_gsds: Iterable[int]) -> int | None:
    """Return the number of patches over all distinct GSDs, or ``None`` if one GSD does not get whole patches."""
    cover = side * pixel_size
    patches = [patch_size * gsd for gsd in set(band_gsds)]
    if any(cover % patch for patch in patches):
        return None
    return sum((cover // patch) ** 2 for patch in patches)


def _gsds(band_gsds: Iterable[int]) -> tuple[int, ...]:
    gsds = tuple(sorted({at_least("Each of band_gsds", gsd, 1) for gsd in band_gsds}))
    if not gsds:
        msg = "band_gsds must name at least one GSD in metres, such as (10, 20), got none."
        raise ValueError(msg)
    return gsds


def _whole_metres(pixel_size: float) -> int:
    if not math.isfinite(pixel_size) or pixel_size <= 0 or pixel_size % 1 != 0:
        msg = (
            f"pixel_size must be a positive whole number of metres, got {pixel_size!r}. Declare the nominal size (10 "
            "for Sentinel-2), or take nominal_pixel_size(...) of a measured one."
        )
        raise ValueError(msg)
    return int(pixel_size)
