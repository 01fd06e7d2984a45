"""A raster in memory: pixels, validity mask, affine transform and CRS, which every geometric step changes together.

Steps return new objects; the pixels of a crop are a view of the old ones, so nobody writes into them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from affine import Affine

from eo_core.arguments import one_of
from eo_data.raster.resampling import OBSERVED, bilinear_of_finite, interpolate

#: What a border shows.
PadMode = Literal["constant", "reflect", "edge"]
#: How pixels of another size get their values.
Resampling = Literal["bilinear", "nearest"]
PAD_MODES, RESAMPLINGS = get_args(PadMode), get_args(Resampling)


@dataclass(frozen=True, eq=False)
class Raster:
    """An image or a series of images on one pixel grid.

    Parameters
    ----------
    pixels : numpy.ndarray
        Float32, (C, H, W) or (T, C, H, W). Missing values are NaN until normalisation is done.
    valid : numpy.ndarray
        Bool, (H, W) or (T, H, W); true where the sensor observed something.
    transform : affine.Affine or None
        From (column, row) of exactly these pixels to map coordinates; (0, 0) is the outer corner of the first pixel.
    crs : str or None
        Coordinate reference system as WKT.

    Raises
    ------
    ValueError
        If a shape or dtype is not as stated, or there are no pixels.
    """

    pixels: np.ndarray
    valid: np.ndarray
    transform: Affine | None
    crs: str | None

    def __post_init__(self) -> None:
        if self.pixels.ndim not in {3, 4} or 0 in self.pixels.shape:
            msg = (
                f"pixels must be (C, H, W) or (T, C, H, W) without a zero, got shape {self.pixels.shape}. "
                "One band needs an axis too: pixels[None]."
            )
            raise ValueError(msg)
        if self.pixels.dtype != np.float32:
            msg = f"pixels must be float32, got {self.pixels.dtype}. Convert the unit first, then astype(np.float32)."
            raise ValueError(msg)
        expected = (*self.pixels.shape[:-3], *self.pixels.shape[-2:])
        if self.valid.shape != expected or self.valid.dtype != np.bool_:
            msg = (
                f"valid must be bool of shape {expected}, which is that of the pixels {self.pixels.shape} without the "
                f"band axis; got {self.valid.dtype} of shape {self.valid.shape}."
            )
            raise ValueError(msg)

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[-2])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[-1])

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top in float64 CRS units: the extremes of the corners, so rotation is allowed.

        Raises
        ------
        ValueError
            If there is no transform.
        """
        transform = self._located("bounds")
        corners = [to_map(transform, x, y) for x in (0, self.width) for y in (0, self.height)]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Length of a pixel's upper and of its left edge (x, y) in CRS units, positive.

        Raises
        ------
        ValueError
            If there is no transform.
        """
        transform = self._located("pixel_size")
        return math.hypot(transform.a, transform.d), math.hypot(transform.b, transform.e)

    def with_pixels(self, pixels: np.ndarray) -> Raster:
        """Return the raster with other pixel values or bands on the same grid.

        Raises
        ------
        ValueError
            If there are not as many frames, rows or columns.
        """
        return replace(self, pixels=pixels)

    def crop(self, top: int, left: int, height: int, width: int) -> Raster:
        """Return a window of the raster, as a view.

        Parameters
        ----------
        top, left, height, width : int
            In pixels.

        Raises
        ------
        ValueError
            If the window is empty or reaches over the edge.
        """
        inside = min(top, left) >= 0 and top + height <= self.height and left + width <= self.width
        if height < 1 or width < 1 or not inside:
            msg = (
                f"The window of {height} x {width} pixels at row {top}, column {left} is not inside the raster of "
                f"{self.height} x {self.width}. Pad first, or take a smaller window."
            )
            raise ValueError(msg)
        window = (..., slice(top, top + height), slice(left, left + width))
        transform = shifted(self.transform, left, top)
        return replace(self, pixels=self.pixels[window], valid=self.valid[window], transform=transform)

    def pad(
        self, top: int, left: int, bottom: int, right: int, value: float = math.nan, mode: PadMode = "constant"
    ) -> Raster:
        """Return the raster with a border; the border is not valid, whatever it shows.

        Parameters
        ----------
        top, left, bottom, right : int
            Pixels to add on each side.
        value : float
            What a constant border holds.
        mode : {'constant', 'reflect', 'edge'}
            ``constant`` fills with ``value``; ``reflect`` mirrors at the centres of the edge pixels; ``edge`` repeats
            the edge pixels.

        Raises
        ------
        ValueError
            For a negative border, an unknown mode, or a reflection that is as wide as the raster.
        """
        one_of("mode", mode, PAD_MODES)
        if min(top, left, bottom, right) < 0:
            msg = f"Borders must be >= 0 pixels, got {(top, left, bottom, right)}. To cut pixels off, use crop."
            raise ValueError(msg)
        if mode == "reflect" and (max(top, bottom) >= self.height or max(left, right) >= self.width):
            msg = (
                f"A reflected border must be narrower than the raster of {self.height} x {self.width} pixels, got "
                f"{(top, left, bottom, right)} (top, left, bottom, right). Use mode 'edge'."
            )
            raise ValueError(msg)
        around = ((top, bottom), (left, right))
        options: dict[str, Any] = {"constant_values": value} if mode == "constant" else {}
        pixels = np.pad(self.pixels, ((0, 0),) * (self.pixels.ndim - 2) + around, mode, **options)
        valid = np.pad(self.valid, ((0, 0),) * (self.valid.ndim - 2) + around)
        return replace(self, pixels=pixels, valid=valid, transform=shifted(self.transform, -left, -top))

    def resize(self, height: int, width: int, resampling: Resampling = "bilinear") -> Raster:
        """Return the raster on a grid of other pixels over the same ground.

        ``bilinear`` is ``torch.nn.functional.interpolate(align_corners=False)`` without antialias, also downwards.
        Pixels that are NaN or infinite take no part: the weights of the others are scaled up to one. Where less than
        half of the weight is left, the result is NaN, so a missing pixel neither spreads nor gets filled. The mask
        follows the same rule: valid where at least half of the weight was valid. Pixels that are finite but not valid
        (padding, filled values) do take part. ``nearest`` copies the pixel under the new centre.

        Parameters
        ----------
        height, width : int
            New size in pixels.
        resampling : {'bilinear', 'nearest'}
            As above.

        Raises
        ------
        ValueError
            For a size below 1 or an unknown resampling.
        """
        one_of("resampling", resampling, RESAMPLINGS)
        if height < 1 or width < 1:
            msg = f"The new size must be at least 1 x 1 pixels, got {height} x {width}."
            raise ValueError(msg)
        transform = scaled(self.transform, self.width / width, self.height / height)
        if resampling == "nearest":
            pixels = interpolate(self.pixels, height, width, "nearest-exact")
            valid = interpolate(self.valid.astype(np.float32), height, width, "nearest-exact") > 0
        else:
            pixels = bilinear_of_finite(self.pixels, height, width, least=OBSERVED)
            valid = interpolate(self.valid.astype(np.float32), height, width, "bilinear") >= OBSERVED
        return replace(self, pixels=pixels, valid=valid, transform=transform)

    def _located(self, what: str) -> Affine:
        if self.transform is None:
            msg = f"The raster has no affine transform, so it has no {what}. Read it from a file with a georeference."
            raise ValueError(msg)
        return self.transform


def to_map(transform: Affine, x: float, y: float) -> tuple[float, float]:
    """Return the map coordinates of a column and row (by hand, because affine 3 renames its operator)."""
    t = transform
    return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f


def shifted(transform: Affine | None, x: float, y: float) -> Affine | None:
    """Move the origin by columns (x) and rows (y)."""
    if transform is None:
        return None
    t = transform
    new_x, new_y = to_map(t, x, y)
    return Affine(t.a, t.b, new_x, t.d, t.e, new_y)


def scaled(transform: Affine | None, x: float, y: float) -> Affine | None:
    """Make pixels that are ``x`` times as wide and ``y`` times as high."""
    if transform is None:
        return None
    t = transform
    return Affine(t.a * x, t.b * y, t.c, t.d * x, t.e * y, t.f)
