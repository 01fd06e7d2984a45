"""Arrays as the input of an encoder: numpy, torch, xarray.

An array becomes a GeoTIFF in memory, and is read as any other file: the same checks, the same numbers.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from eo_data.readers.described.images import UnknownFactsError
from eo_data.readers.formats.cube_place import cube_grid
from eo_data.temporal.calendar_date import parse_date

if TYPE_CHECKING:
    import xarray as xr
    from rasterio.io import DatasetWriter

_BAND_AXES = ("band", "bands", "channel", "channels", "c", "variable")
_TIME_AXES = ("time", "t", "date", "dates")
#: Types of numbers that no GeoTIFF holds, and what holds the same numbers.
_HELD_AS = {"float16": "float32", "bool": "uint8"}
#: Attributes that state the number of missing pixels.
_MISSING = ("_FillValue", "missing_value", "nodata")


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
    attributes : sequence of mapping
        What is said of each channel, as CF names it: ``units``, ``scale_factor``, ``add_offset``, ``_FillValue``. It
        becomes the tags of the file, so that a caller who states something else is refused. NaN is always missing.
    """

    pixels: np.ndarray
    bands: tuple[str, ...]
    dates: tuple[date, ...] = ()
    transform: Affine | None = None
    crs: str | None = None
    attributes: Sequence[Mapping[str, Any]] = field(default=())

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
            self._tag(file)
        return str(memory.name)

    def _tag(self, file: DatasetWriter) -> None:
        if not self.attributes:
            return
        file.units = [str(own.get("units", "")) for own in self.attributes]
        file.scales = [float(own.get("scale_factor", 1)) for own in self.attributes]
        file.offsets = [float(own.get("add_offset", 0)) for own in self.attributes]
        nodata = {float(own[key]) for own in self.attributes for key in _MISSING if own.get(key) is not None}
        nodata = {value for value in nodata if _holds(file.dtypes[0], value)}
        if len(nodata) > 1:
            msg = (
                f"The variables of the array mark missing pixels by different numbers ({sorted(nodata)}). Open the "
                "cube with mask_and_scale=True, which makes them NaN."
            )
            raise ValueError(msg)
        file.nodata = next(iter(nodata), None)


def _holds(dtype: str, value: float) -> bool:
    """Whether pixels of a type can have a value; that NaN is missing need not be said."""
    if np.dtype(dtype).kind == "f":
        return not np.isnan(value)
    return value.is_integer() and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max


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
    if place is not None and place.e > 0 and not place.b and not place.d:  # encoders have seen north up
        top = place.f + place.e * pixels.shape[-2]
        place, pixels = Affine(place.a, 0, place.c, 0, -place.e, top), pixels[..., ::-1, :]
    return replace(image, pixels=pixels, bands=names, dates=days, transform=place, crs=crs or image.crs)


def _days(dates: Sequence[str | date] | str | date | None) -> tuple[date, ...]:
    if dates is None:
        return ()
    return tuple(parse_date(day) for day in ([dates] if isinstance(dates, str | date) else dates))


def _as_numpy(given: Any) -> np.ndarray:  # noqa: ANN401
    if hasattr(given, "detach"):  # a tensor, which may be on another device or of a type that numpy does not have
        held = given.detach().cpu()
        return np.asarray(held.float() if str(held.dtype) == "torch.bfloat16" else held)
    if np.ma.is_masked(given) and given.dtype.kind in "iufb":
        return np.ma.filled(given.astype(np.promote_types(given.dtype, np.float32)), np.nan)
    return np.asarray(given)


def _is_dataset(given: object) -> bool:
    return hasattr(given, "data_vars") and hasattr(given, "to_array")


def _of_xarray(given: Any) -> ArrayImage:  # noqa: ANN401
    """Return an array of xarray in the order time, band, y, x, with place, dates and names where it has them."""
    own = _planes(given) if _is_dataset(given) else None
    array: xr.DataArray = given if own is None else own.to_array("band")
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
    cube = given if own is not None else array.to_dataset(name="pixels")
    grid = cube_grid(array, cube, [], str(rows), str(columns))
    days = array.coords.get("time") if time is None else array.coords.get(time)
    count = 1 if band is None else array.sizes[band]
    return ArrayImage(
        np.asarray(array.values),
        _names(array, band),
        () if days is None else tuple(parse_date(str(day)[:10]) for day in np.atleast_1d(days.values)),
        grid.transform,
        grid.crs,
        [array.attrs] * count if own is None else [{**given.attrs, **variable.attrs} for variable in own.values()],
    )


def _planes(cube: xr.Dataset) -> xr.Dataset:
    """Return a cube without variables that are no images, such as that of its CRS."""
    return cube[[name for name, variable in cube.data_vars.items() if variable.ndim > 1]]


def _names(array: xr.DataArray, band: Any) -> tuple[str, ...]:  # noqa: ANN401  (any hashable)
    """Return the names of the bands: those of their coordinate, or as rioxarray has them; none for numbers."""
    found = array[band].values if band is not None and band in array.coords else ()
    names = tuple(str(name) for name in found)
    if not all(name.isdigit() for name in names):
        return names
    described = array.attrs.get("long_name")
    one_each = isinstance(described, list | tuple) and len(described) == (1 if band is None else array.sizes[band])
    return tuple(map(str, described)) if one_each and described is not None else ()


def stated_of_array(image: ArrayImage, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is stated of an array, without its place, which its file has.

    Raises
    ------
    UnknownFactsError
        If its pixel size is not known.
    """
    if (image.transform is None or image.crs is None) and stated.get("pixel_size") is None:
        msg = "An array does not say how large its pixels are. Add pixel_size=10 (metres), or transform and crs."
        raise UnknownFactsError(msg)
    return {key: value for key, value in stated.items() if key not in ("crs", "transform")} | {"bands": image.bands}
