"""A geometry plan: crops, pads and resizes as values, and their application to rasters."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Integral

from eo_data.raster.raster import PadMode, Raster, Resampling


@dataclass(frozen=True)
class Crop:
    """Keep a window; all in pixels."""

    top: int
    left: int
    height: int
    width: int

    def apply(self, raster: Raster) -> Raster:
        """Return the window of a raster."""
        return raster.crop(self.top, self.left, self.height, self.width)


@dataclass(frozen=True)
class Pad:
    """Add a border; in pixels, with the value and the mode of :meth:`eo_data.raster.raster.Raster.pad`."""

    top: int
    left: int
    bottom: int
    right: int
    value: float = math.nan
    mode: PadMode = "constant"

    def apply(self, raster: Raster) -> Raster:
        """Return a raster with the border around it."""
        return raster.pad(self.top, self.left, self.bottom, self.right, self.value, self.mode)


@dataclass(frozen=True)
class Resize:
    """Resample to another size in pixels."""

    height: int
    width: int

    def apply(self, raster: Raster, resampling: Resampling = "bilinear") -> Raster:
        """Return a raster on the new grid."""
        return raster.resize(self.height, self.width, resampling)


Step = Crop | Pad | Resize


@dataclass(frozen=True)
class GeometryPlan:
    """What will be done to a raster, and what the encoder will be told about it.

    Parameters
    ----------
    input_hw : tuple of int
        Height and width in pixels of the rasters that the plan is for.
    before : tuple of Crop, Pad or Resize
        Steps before normalisation, in order.
    resize : tuple of int or None
        Height and width of the bilinear resampling after normalisation.
    reason : str
        Which rule led to this plan.
    final_hw : tuple of int
        Height and width in pixels that the encoder gets.
    effective_image_size : int
        The side of that square in pixels.
    estimated_patch_tokens : int
        Patches over all GSDs.
    ground_cover_m : float or None
        Side in metres that the encoder is told, by its policy.
    true_ground_cover_m : tuple of float or None
        Height and width in metres of the ground that the final pixels show. A policy may tell the encoder something
        else: 512 pixels of 10 m squeezed into 288 show 5120 m, and an encoder that is told 10 m a pixel, 2880 m.
    record : tuple of (str, object)
        What :meth:`describe` returns, as pairs.
    """

    input_hw: tuple[int, int]
    before: tuple[Step, ...]
    resize: tuple[int, int] | None
    reason: str
    final_hw: tuple[int, int]
    effective_image_size: int
    estimated_patch_tokens: int
    ground_cover_m: float | None
    true_ground_cover_m: tuple[float, float] | None
    record: tuple[tuple[str, object], ...] = field(repr=False)

    @property
    def resampled(self) -> bool:
        """Whether pixel values are interpolated anywhere."""
        return self.resize is not None or any(isinstance(step, Resize) for step in self.before)

    def describe(self) -> dict[str, object]:
        """Return the record for metadata: a mapping of the pairs in ``record``."""
        return dict(self.record)


def apply_before(plan: GeometryPlan, raster: Raster, resampling: Resampling = "bilinear") -> Raster:
    """Apply the steps that come before normalisation.

    Parameters
    ----------
    plan : GeometryPlan
        The steps.
    raster : Raster
        Of the size that the plan is for.
    resampling : {'bilinear', 'nearest'}
        How a `Resize` finds values: ``nearest`` for classes.

    Raises
    ------
    ValueError
        If the plan is for rasters of another size.
    """
    if (raster.height, raster.width) != plan.input_hw:
        msg = (
            f"The plan is for rasters of {plan.input_hw} pixels (height, width), got {(raster.height, raster.width)}. "
            "Make one plan per size."
        )
        raise ValueError(msg)
    for step in plan.before:
        raster = step.apply(raster, resampling) if isinstance(step, Resize) else step.apply(raster)
    return raster


def apply_after(plan: GeometryPlan, raster: Raster) -> Raster:
    """Apply the resampling that comes after normalisation, if there is one.

    Raises
    ------
    ValueError
        If there is none and the raster has not the final size.
    """
    if plan.resize is not None:
        return raster.resize(*plan.resize)
    if (raster.height, raster.width) != plan.final_hw:
        msg = f"Expected {plan.final_hw} pixels, got {(raster.height, raster.width)}. Call apply_before first."
        raise ValueError(msg)
    return raster


def at_least(name: str, value: object, least: int) -> int:
    """Return a whole number that is not too small.

    Raises
    ------
    ValueError
        If it is too small, or no whole number.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        msg = f"{name} must be a whole number >= {least}, got {value!r}."
        raise ValueError(msg)
    return int(value)


def centred(
    size: tuple[int, int], target: tuple[int, int], value: float = math.nan, mode: PadMode = "constant"
) -> tuple[Step, ...]:
    """Return the step from one size to another around the same centre; an odd pixel goes to the bottom or right.

    Parameters
    ----------
    size, target : tuple of int
        Height and width in pixels; ``target`` is smaller in neither axis, or larger in neither.
    value, mode : float, str
        Those of `Pad`, if a border is needed.

    Returns
    -------
    tuple of Crop or Pad
        Empty if the sizes are equal.
    """
    if size == target:
        return ()
    rows, columns = target[0] - size[0], target[1] - size[1]
    if min(rows, columns) < 0:
        return (Crop(-rows // 2, -columns // 2, *target),)
    top, left = rows // 2, columns // 2
    return (Pad(top, left, rows - top, columns - left, value, mode),)
