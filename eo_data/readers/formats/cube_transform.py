"""The affine transform of a cube: from the coordinates of pixels, compared with what attributes state.

Coordinates count, as they go with the pixels when a cube is cut; rioxarray and odc-geo have the same rule. Sources: CF
conventions 1.11, 5.1; GDAL's NetCDF driver (``GeoTransform``); stackstac, whose coordinates may be those of corners
(``xy_coords="topleft"``) beside an attribute ``transform``; GeoZarr's conventions (``spatial:transform``).
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from eo_data.raster.georeference import HALF_A_PIXEL, PixelGrid, compare_grids

if TYPE_CHECKING:
    from xarray import DataArray

#: Attributes that hold an affine transform, and whether in GDAL's order (origin first).
_TRANSFORMS: Sequence[tuple[str, bool]] = (
    ("GeoTransform", True),
    ("spatial:transform", False),
    ("proj:transform", False),
    ("transform", False),
)
#: Attributes with the size of the raster that a transform is of.
_SHAPES = ("proj:shape", "spatial:shape")
_KILOMETRES = ("km", "kilometer", "kilometers", "kilometre", "kilometres")
#: Largest distance of pixels, in pixels, that is the rounding of stored numbers.
_ROUNDING = 0.1
#: Largest distance of coordinates from a line, in pixels: that of float32, or of a few decimals.
_STRAIGHT = 0.05
#: Largest difference of a step from the mean, as a part of it, that is no uneven grid.
_DRIFT = 0.01


def stated_transforms(
    name: str, attributes: Mapping[str, Any], shape: tuple[int, int] | None = None
) -> Iterator[tuple[str, str, Affine]]:
    """Yield the transforms that attributes state: what states each, its text, and the transform.

    Parameters
    ----------
    name : str
        Of what has the attributes.
    attributes : mapping
        Of an array, a grid mapping or a file.
    shape : tuple of int, optional
        Where given, only a transform counts that is stated to be of a raster of this size.
    """
    if shape is not None and not any(_numbers(attributes.get(key, "")) == [*shape] for key in _SHAPES):
        return
    for key, gdal in _TRANSFORMS:
        numbers = _numbers(attributes.get(key, ""))[:6]
        if len(numbers) < 6:
            continue  # a text about something else
        transform = Affine.from_gdal(*numbers) if gdal else Affine(*numbers)
        if not gdal and abs(transform.c) + abs(transform.f) > 0 and not transform.a and not transform.e:
            transform = Affine.from_gdal(*numbers)
        yield f"{key} of {name}", str(attributes[key]), transform


def _numbers(value: object) -> list[float]:
    """Numbers of a list, or of a text such as ``500000 10 0 ...`` or ``| 10.00, 0.00, 500000.00|...``."""
    if isinstance(value, str):
        parts: Sequence[object] = re.sub(r"Affine|[\[\]()|,]", " ", value).split()
    else:
        parts = list(np.ravel(np.asarray(value, dtype=object)))
    try:
        return [float(str(part)) for part in parts]
    except ValueError:
        return []


def from_coordinates(
    ys: np.ndarray, xs: np.ndarray, names: tuple[str, str], steps: tuple[float, float] | None
) -> Affine | None:
    """Return the affine transform of pixels with these centres.

    Parameters
    ----------
    ys, xs : ndarray
        Coordinates of the rows and columns.
    names : tuple of str
        Of the two dimensions, for messages.
    steps : tuple of float, optional
        Height and width of a pixel, where an axis has only one.

    Raises
    ------
    ValueError
        If they are not evenly spaced.
    """
    found = []
    for name, values, stated in zip(names, (ys, xs), steps or (0.0, 0.0), strict=True):
        if len(values) < 2 and not stated:
            return None
        step = float(np.diff(values).mean()) if len(values) > 1 else stated
        if not (math.isfinite(step) and step and _is_even(values, step)):
            fault = (
                "not evenly spaced" if np.isfinite(values).all() and step else "no place (NaN, infinite or constant)"
            )
            msg = f"the coordinate {name!r} is {fault}, so there is no affine transform. Regrid the cube."
            raise ValueError(msg)
        found.append((step, float(values[0]) - step / 2))
    (dy, top), (dx, left) = found
    return Affine(dx, 0.0, left, 0.0, dy, top)


def _is_even(values: np.ndarray, step: float) -> bool:
    """Whether coordinates lie on a line up to rounding, or have nearly one step and lie near a line."""
    apart = float(np.abs(values - values[0] - step * np.arange(len(values))).max())
    drift = float(np.abs(np.diff(values) - step).max(initial=0.0))
    return apart <= _STRAIGHT * abs(step) or (drift <= _DRIFT * abs(step) and apart <= HALF_A_PIXEL * abs(step))


def in_unit_of_crs(coordinate: DataArray, name: str, crs: str | None) -> np.ndarray:
    """Return the values of a coordinate in the unit of the CRS, decoded if they are packed.

    Raises
    ------
    ValueError
        If they are angles in radians.
    """
    attributes = coordinate.attrs
    values = np.asarray(coordinate.values, dtype=np.float64)
    values = values * float(attributes.get("scale_factor", 1.0)) + float(attributes.get("add_offset", 0.0))
    unit = str(attributes.get("units", "")).strip().lower()
    if unit in ("rad", "radian", "radians"):
        msg = (
            f"the coordinate {name!r} is in radians (a scanning angle, as of geostationary satellites). Multiply it "
            "by the height of the satellite, or warp the cube to a map projection."
        )
        raise ValueError(msg)
    return values * 1000 if unit in _KILOMETRES and crs is not None and _in_metres(crs) else values


def _in_metres(crs: str) -> bool:
    from pyproj import CRS  # noqa: PLC0415

    axes = CRS.from_user_input(crs).axis_info
    return bool(axes) and math.isclose(axes[0].unit_conversion_factor, 1.0)


def agreed(
    own: Affine, stated: Affine, size: tuple[int, int], names: tuple[str, str], text: str, where: object = ""
) -> Affine:
    """Return the transform of coordinates after a look at a stated one.

    They may differ where it is known why: rows in the opposite order (GDAL writes a north-up transform beside rows from
    south to north), coordinates of corners, or a cube that was cut or made coarser after its attributes were written.

    Parameters
    ----------
    own, stated : affine.Affine
        By coordinates, and by an attribute.
    size : tuple of int
        Rows and columns.
    names : tuple of str
        Of the dimensions y and x.
    text : str
        The attribute, for messages.
    where : object
        The file, for a warning; errors get it from those who read.

    Raises
    ------
    ValueError
        If they contradict each other.
    """
    height, width = size
    flipped = Affine(own.a, own.b, own.c, own.d, -own.e, own.f + own.e * height)
    for one in (own, flipped):
        if compare_grids(PixelGrid(height, width, one, None), PixelGrid(height, width, stated, None)).same_grid(
            _ROUNDING
        ):
            return own
    upright = flipped if own.e * stated.e < 0 else own
    if not (stated.b or stated.d) and stated.a and stated.e:
        factors = upright.a / stated.a, upright.e / stated.e
        shifts = (upright.c - stated.c) / stated.a, (upright.f - stated.f) / stated.e
        if _near(factors, (1.0, 1.0), 1e-3) and _near(shifts, (-0.5, -0.5), 1e-2) and upright is own:
            return stated
        if _is_part(factors, shifts, (width, height)):
            warnings.warn(
                f"{where}: its coordinates {names[0]!r} and {names[1]!r} give the transform {tuple(own)[:6]}, {text}: "
                "that of a raster of which this is a part or coarser copy. The coordinates count. Write the transform "
                "again to silence this: rio.write_transform() of rioxarray.",
                stacklevel=2,
            )
            return own
    msg = (
        f"its coordinates {names[0]!r} and {names[1]!r} give the transform {tuple(own)[:6]}, {text}: they contradict "
        "each other. Remove the wrong one, or write the cube again with rioxarray."
    )
    raise ValueError(msg)


def _near(values: tuple[float, float], wanted: tuple[float, float], tolerance: float) -> bool:
    return all(abs(value - want) <= tolerance for value, want in zip(values, wanted, strict=True))


def _is_part(factors: tuple[float, float], shifts: tuple[float, float], size: tuple[int, int]) -> bool:
    """Whether pixels are those of a larger raster, or whole numbers of them; centres of every nth pixel count, too."""
    for factor, shift, length in zip(factors, shifts, size, strict=True):
        whole = round(factor)
        if whole < 1 or abs(factor - whole) * length > _ROUNDING * whole:
            return False
        steps = shift if whole == 1 else 2 * shift
        if abs(steps - round(steps)) > _ROUNDING or shift <= -length * factor:
            return False
    return True
