"""Arrays as the input of an encoder: numpy, torch, xarray.

An array becomes a GeoTIFF in memory, and is read as any other file: the same checks, the same numbers.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from eo_data.readers.described.images import UnknownFactsError, unit_of_text
from eo_data.readers.formats.cube_place import cube_grid
from eo_data.temporal.calendar_date import parse_date

if TYPE_CHECKING:
    import xarray as xr

_BAND_AXES = ("band", "bands", "channel", "channels", "c", "variable")
_TIME_AXES = ("time", "t", "date", "dates")
#: Types of numbers that no GeoTIFF holds, and what holds the same numbers.
_HELD_AS = {"float16": "float32", "bool": "uint8"}


@dataclass(frozen=True, eq=False)
class ArrayImage:
    """An array and what is known of it.

    Parameters
    ----------
    pixels : ndarray
        ``(T, C, H, W)`` as given.
    bands : tuple of str
        Name of each channel.
    dates : tuple of date
        One a frame; may be empty.
    transform : affine.Affine or None
        From (column, row) of the pixels to map coordinates.
    crs : str or None
        Code or WKT.
    unit : str or None
        What its attributes say.
    nodata : float or None
        Number of missing pixels that its attributes state; NaN is always missing.
    """

    pixels: np.ndarray
    bands: tuple[str, ...]
    dates: tuple[date, ...] = ()
    transform: Affine | None = None
    crs: str | None = None
    unit: str | None = None
    nodata: float | None = None

    @property
    def sha256(self) -> str:
        """Digest of the numbers."""
        return hashlib.sha256(np.ascontiguousarray(self.pixels).tobytes()).hexdigest()

    @contextmanager
    def files(self) -> Iterator[list[str]]:
        """Give the names of one file in memory for each frame."""
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            yield [self._file(stack, frame) for frame in self.pixels]

    def _file(self, stack: ExitStack, frame: np.ndarray) -> str:
        held = frame.astype(_HELD_AS.get(frame.dtype.name, frame.dtype.name))
        memory = stack.enter_context(MemoryFile(ext=".tif"))
        place = {} if self.transform is None else {"transform": self.transform, "crs": self.crs}
        count, height, width = held.shape
        with memory.open(
            driver="GTiff", dtype=held.dtype.name, count=count, height=height, width=width, BIGTIFF="IF_SAFER", **place
        ) as file:
            file.write(held)
            file.descriptions = self.bands
        return str(memory.name)


def is_array(given: object) -> bool:
    """Whether something is an array of numpy, torch or xarray, or what can be one without copying."""
    return isinstance(given, np.ndarray) or (hasattr(given, "dtype") and hasattr(given, "shape")) or _is_dataset(given)


def array_image(
    given: Any,  # noqa: ANN401  (any array)
    bands: Sequence[str] | None,
    dates: Sequence[str | date] | str | date | None,
    transform: Affine | Sequence[float] | None = None,
    crs: str | None = None,
) -> ArrayImage:
    """Return an array with what is known of it.

    Parameters
    ----------
    given : ndarray, Tensor, DataArray or Dataset
        ``(C, H, W)``, ``(T, C, H, W)``, or ``(H, W)`` of one band. Of xarray the names of the dimensions count.
    bands : sequence of str, optional
        Name of each channel; xarray may name them itself.
    dates : date or sequence of date, optional
        One a frame.
    transform : affine.Affine or sequence of float, optional
        Affine transform, as such or as six numbers in affine's order.
    crs : str, optional
        Code or WKT.

    Raises
    ------
    UnknownFactsError
        If the bands are not named.
    ValueError
        For another shape or complex numbers, or another number of names or dates than bands or frames.
    """
    image = _of_xarray(given) if hasattr(given, "dims") else ArrayImage(_as_numpy(given), ())
    pixels = image.pixels
    if pixels.ndim not in (2, 3, 4) or 0 in pixels.shape:
        msg = f"An array must be (C, H, W), (T, C, H, W), or (H, W) of one band, got shape {pixels.shape}."
        raise ValueError(msg)
    if pixels.dtype.kind not in "iufb":
        msg = f"An array must hold real numbers, got {pixels.dtype}. Of complex radar, take the intensity abs(z)**2."
        raise ValueError(msg)
    pixels = pixels.reshape((1,) * (4 - pixels.ndim) + pixels.shape)
    names = tuple(str(band) for band in bands) if bands is not None else image.bands
    if not names:
        msg = (
            f"An array does not say what its {pixels.shape[1]} bands are. Add their names in the order of its "
            'channels: bands=["BLUE", "GREEN", ...].'
        )
        raise UnknownFactsError(msg)
    if len(names) != pixels.shape[1]:
        msg = (
            f"{len(names)} bands are named ({', '.join(names)}), and the array {pixels.shape} has {pixels.shape[1]} "
            "channels, which come before rows and columns. Name each channel once, or move the axis of bands there."
        )
        raise ValueError(msg)
    days = _days(dates) or image.dates
    if days and len(days) != len(pixels):
        msg = f"{len(days)} dates are given for {len(pixels)} frames. Give one a frame, in their order."
        raise ValueError(msg)
    place = image.transform if transform is None else Affine(*tuple(transform)[:6])
    return replace(image, pixels=pixels, bands=names, dates=days, transform=place, crs=crs or image.crs)


def _days(dates: Sequence[str | date] | str | date | None) -> tuple[date, ...]:
    if dates is None:
        return ()
    return tuple(parse_date(day) for day in ([dates] if isinstance(dates, str | date) else dates))


def _as_numpy(given: Any) -> np.ndarray:  # noqa: ANN401
    if hasattr(given, "detach"):  # a tensor, which may be on another device or of a type that numpy does not have
        held = given.detach().cpu()
        return np.asarray(held.float() if str(held.dtype) == "torch.bfloat16" else held)
    return np.asarray(given)


def _is_dataset(given: object) -> bool:
    return hasattr(given, "data_vars") and hasattr(given, "to_array")


def _of_xarray(given: Any) -> ArrayImage:  # noqa: ANN401
    """Return an array of xarray in the order time, band, y, x, with place, dates and names where it has them."""
    array: xr.DataArray = given.to_array("band") if _is_dataset(given) else given
    rows, columns = array.dims[-2:] if not {"y", "x"} <= set(array.dims) else ("y", "x")
    others = [name for name in array.dims if name not in (rows, columns)]
    band = next((name for name in others if str(name).lower() in _BAND_AXES), None)
    time = next((name for name in others if str(name).lower() in _TIME_AXES), None)
    unknown = [str(name) for name in others if name not in (band, time)]
    if unknown:
        msg = (
            f"The dimensions of the array are {', '.join(map(str, array.dims))}, of which {', '.join(unknown)} is not "
            f"known. Rename them: time, band, y, x."
        )
        raise ValueError(msg)
    if time is not None and band is None:
        array = array.expand_dims("band")
        band = "band"
    array = array.transpose(*(name for name in (time, band) if name is not None), rows, columns)
    cube = given if _is_dataset(given) else array.to_dataset(name="pixels")
    grid = cube_grid(array, cube, [], str(rows), str(columns))
    names = () if band is None or band not in array.coords else tuple(str(name) for name in array[band].values)
    attributes = {**given.attrs, **array.attrs}
    nodata = attributes.get("_FillValue", attributes.get("nodata", array.encoding.get("_FillValue")))
    return ArrayImage(
        np.asarray(array.values),
        () if all(name.isdigit() for name in names) else names,
        tuple(parse_date(str(day)[:10]) for day in array[time].values) if time in array.coords else (),
        grid.transform,
        grid.crs,
        str(attributes["units"]) if "units" in attributes else None,
        None if nodata is None else float(nodata),
    )


def stated_of_array(image: ArrayImage, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is stated of an array, with what its attributes say.

    Raises
    ------
    UnknownFactsError
        If its pixel size is not known.
    """
    own = dict(stated) | {"bands": image.bands}
    if own.get("nodata") is None and image.nodata is not None:
        own["nodata"] = image.nodata
    if own.get("unit") is None:
        own["unit"] = unit_of_text(image.unit)
    if image.transform is None and own.get("pixel_size") is None:
        msg = "An array does not say how large its pixels are. Add pixel_size=10 (metres), or transform and crs."
        raise UnknownFactsError(msg)
    own.pop("crs", None)
    return own
