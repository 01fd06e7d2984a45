"""AnySat's geometry: a square tile whose side is a multiple of the patch.

Rules are those of its model page, with rs-embed 0.3.1's reflected border as an option.
"""

from __future__ import annotations

import warnings
from typing import Literal, get_args

from eo_core.arguments import one_of
from eo_data.raster.plan import Crop, GeometryPlan, Resize, Step, at_least, centred

NonSquare = Literal["error", "crop", "pad_reflect", "stretch"]
Indivisible = Literal["error", "crop"]

#: rs-embed warns of reflected borders from this ratio of the sides on; they make up half of the square then.
_LONG = 2


def plan_square(
    height: int,
    width: int,
    patch_px: int,
    image_size: int | None = None,
    non_square: NonSquare = "error",
    indivisible: Indivisible = "error",
) -> GeometryPlan:
    """Plan AnySat's geometry: a square tile whose side is a multiple of the patch.

    All steps come before normalisation, which AnySat's adapter does per tile on the resized pixels.

    Parameters
    ----------
    height, width : int
        Size of the raster in pixels.
    patch_px : int
        Side of a patch in pixels of this raster (a patch of 40 m is 4 pixels of 10 m).
    image_size : int, optional
        Side in pixels to resample to; rs-embed takes 24. Patches count the resampled pixels then.
    non_square : {'error', 'crop', 'pad_reflect', 'stretch'}
        ``error``; ``crop`` to the centre; ``pad_reflect`` mirrors the border around the centre and repeats the edge
        where that is too narrow to mirror (rs-embed 0.3.1); ``stretch`` resamples to ``image_size`` as it is (the
        model page).
    indivisible : {'error', 'crop'}
        ``error``; ``crop`` leaves out the last rows and columns, as the published encoder does silently.

    Raises
    ------
    ValueError
        For sizes out of range, an unknown choice, ``stretch`` without ``image_size``, or where ``error`` is chosen.
    """
    size = (at_least("height", height, 1), at_least("width", width, 1))
    at_least("patch_px", patch_px, 1)
    one_of("non_square", non_square, get_args(NonSquare))
    one_of("indivisible", indivisible, get_args(Indivisible))
    steps = _to_square(size, non_square, image_size)
    side = max(size) if non_square == "pad_reflect" else min(size)
    if image_size is not None:
        square = size if non_square == "stretch" else (side, side)
        side = at_least("image_size", image_size, 1)
        if square != (side, side):
            steps = (*steps, Resize(side, side))
    final = side // patch_px * patch_px
    if final == 0 or (final < side and indivisible == "error"):
        valid = ", ".join(str(n) for n in range(1, side + 1) if side % n == 0)
        msg = (
            f"A side of {side} pixels does not split into patches of {patch_px} pixels; patches of {valid} fit. Choose "
            "another patch size or image_size, or set indivisible='crop' for a raster that is larger than a patch."
        )
        raise ValueError(msg)
    if final < side:
        steps = (*steps, Crop(0, 0, final, final))
    record = {
        "raw_input_hw": size,
        "requested_image_size": image_size,
        "non_square": non_square,
        "indivisible": indivisible,
        "patch_px": patch_px,
        "geometry_steps": tuple(repr(step) for step in steps),
        "final_hw": (final, final),
    }
    reason = "+".join(type(step).__name__.lower() for step in steps) or "as_is"
    return GeometryPlan(
        input_hw=size,
        before=steps,
        resize=None,
        reason=reason,
        final_hw=(final, final),
        effective_image_size=final,
        estimated_patch_tokens=(final // patch_px) ** 2,
        ground_cover_m=None,
        true_ground_cover_m=None,
        record=tuple(record.items()),
    )


def _to_square(size: tuple[int, int], non_square: NonSquare, image_size: int | None) -> tuple[Step, ...]:
    short, long = min(size), max(size)
    if short == long:
        return ()
    if non_square == "error" or (non_square == "stretch" and image_size is None):
        msg = (
            f"The encoder needs a square, got {size[0]} x {size[1]} pixels with non_square={non_square!r}. Set "
            "non_square to 'crop' or 'pad_reflect', or to 'stretch' together with image_size."
        )
        raise ValueError(msg)
    if non_square == "crop":
        return centred(size, (short, short))
    if non_square == "stretch":
        return ()
    if long >= _LONG * short:
        msg = (
            f"Most of the square around {size[0]} x {size[1]} pixels is a made-up border. Cut the raster into squares."
        )
        warnings.warn(msg, stacklevel=3)
    return centred(size, (long, long), mode="reflect" if long - short < short else "edge")
