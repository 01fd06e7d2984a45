"""Where the pixels of a NetCDF or Zarr cube lie: the many ways in which tools write CRS and transform.

Sources: CF conventions 1.11, 5.6 and appendix F (grid mappings); GDAL's NetCDF driver (``spatial_ref``,
``GeoTransform``); the coordinate ``epsg`` of stackstac; the attributes ``crs`` and ``transform`` of
``xarray.open_rasterio`` and Open Data Cube; the STAC projection extension and GeoZarr's conventions (``proj:code``,
``proj:wkt2``, ``spatial:transform``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from eo_data.raster.georeference import HALF_A_PIXEL, PixelGrid, compare_grids, same_crs

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

_WKT = ("crs_wkt", "spatial_ref", "proj:wkt2")
_CODES = ("proj:code", "proj:epsg", "proj:projjson", "epsg", "crs", "EPSG")
#: Attributes that hold an affine transform, and whether in GDAL's order (origin first).
_TRANSFORMS: Sequence[tuple[str, bool]] = (
    ("GeoTransform", True),
    ("spatial:transform", False),
    ("proj:transform", False),
    ("transform", False),
)
_KILOMETRES = ("km", "kilometer", "kilometers", "kilometre", "kilometres")
_DEGREES = ("degrees_north", "degree_north", "degrees_east", "degree_east")


def cube_grid(array: DataArray, cube: Dataset, parents: Sequence[Dataset], y: str, x: str) -> PixelGrid:
    """Return size and place of the pixels of an array, as its rows and columns are stored.

    Parameters
    ----------
    array : DataArray
        The pixels.
    cube : Dataset
        What the array is part of.
    parents : sequence of Dataset
        Groups around it, whose attributes count too.
    y, x : str
        Dimensions.

    Raises
    ------
    ValueError
        If coordinates are not evenly spaced or in radians, or what says the place contradicts itself.
    """
    places = _places(array, cube, parents)
    height, width = array.sizes[y], array.sizes[x]
    crs = _crs(places, cube, array)
    own = _from_coordinates(cube, y, x, crs)
    if crs is None and own is not None and _units(cube, y) in _DEGREES:
        crs = _geographic()
    for key, text, transform in _stated_transforms(places):
        stated = PixelGrid(height, width, transform, crs)
        if own is None:
            own = transform
        elif not compare_grids(PixelGrid(height, width, own, crs), stated).same_grid(HALF_A_PIXEL):
            if transform.e * own.e < 0 and _is_flipped(own, transform, height):
                continue  # GDAL writes a north-up transform beside rows from south to north
            msg = (
                f"its coordinates {y!r} and {x!r} give the transform {tuple(own)[:6]}, {key} says {text!r}: they "
                "contradict each other. Remove the wrong one, or write the cube again with rioxarray."
            )
            raise ValueError(msg)
    return PixelGrid(height, width, own, crs)


def has_geolocation(cube: Dataset, y: str, x: str) -> bool:
    """Whether only arrays of latitudes and longitudes say where each pixel is, as for a swath."""
    names = {str(name).lower() for name, array in cube.variables.items() if {y, x} <= set(map(str, array.dims))}
    return bool(names & {"lat", "latitude", "nav_lat"}) and bool(names & {"lon", "longitude", "nav_lon"})


def _places(array: DataArray, cube: Dataset, parents: Sequence[Dataset]) -> list[tuple[str, Mapping[str, Any]]]:
    """Attributes that may say the place, by the name of what has them; the grid mapping of the array first."""
    named = str(array.attrs.get("grid_mapping", array.encoding.get("grid_mapping", ""))).split(":")[0].split()
    places = [(name, cube[name].attrs) for name in named if name in cube.variables]
    if not places:
        variables = [(str(name), variable.attrs) for name, variable in cube.variables.items() if not variable.dims]
        variables += [(str(name), variable.attrs) for name, variable in cube.variables.items() if variable.dims]
        places = [entry for entry in variables if {*_WKT, "grid_mapping_name"} & set(entry[1])]
    return [*places, (str(array.name), array.attrs), *(("the file", data.attrs) for data in (cube, *parents))]


def _crs(places: Sequence[tuple[str, Mapping[str, Any]]], cube: Dataset, array: DataArray) -> str | None:
    found = list(_stated_crs(places, cube, array))
    for name, crs in found[1:]:
        if same_crs(found[0][1], crs) is False:
            msg = (
                f"it states two CRS: {_short(found[0][1])} by {found[0][0]}, {_short(crs)} by {name}. Remove the "
                "wrong one, or write the cube again with rioxarray."
            )
            raise ValueError(msg)
    return found[0][1] if found else None


def _stated_crs(
    places: Sequence[tuple[str, Mapping[str, Any]]], cube: Dataset, array: DataArray
) -> Iterator[tuple[str, str]]:
    """All CRS that something states, as WKT."""
    for name, attributes in places:
        text = next((attributes[key] for key in _WKT if attributes.get(key)), None)
        if text is not None:
            yield name, str(text)
        elif "grid_mapping_name" in attributes:
            yield f"the grid mapping {name}", _from_cf(name, attributes)
    for key in _CODES:
        for name, attributes in places:
            if key in attributes and (crs := _from_code(key, attributes[key])):
                yield f"{key} of {name}", crs
        if key in cube.coords and cube[key].ndim == 0 and (crs := _from_code(key, cube[key].values.item())):
            yield f"the coordinate {key}", crs


def _from_cf(name: str, attributes: Mapping[str, Any]) -> str:
    from pyproj import CRS  # noqa: PLC0415
    from pyproj.exceptions import CRSError  # noqa: PLC0415

    try:
        return str(CRS.from_cf({key: _plain(value) for key, value in attributes.items()}).to_wkt())
    except (CRSError, KeyError, TypeError, ValueError) as error:
        msg = f"its grid mapping {name} cannot be read as a CRS: {error}. Write a crs_wkt beside it."
        raise ValueError(msg) from error


def _from_code(key: str, value: object) -> str | None:
    """WKT of a code or definition; ``None`` for an attribute that is none, such as the name of a variable."""
    from pyproj import CRS  # noqa: PLC0415
    from pyproj.exceptions import CRSError  # noqa: PLC0415

    plain = _plain(value)
    text = str(plain).strip().removeprefix("+init=")
    if not text or text.lower() in ("none", "null", "nan"):
        return None
    if text.removesuffix(".0").isdigit():
        text = f"EPSG:{text.removesuffix('.0')}"
    try:
        return str(CRS.from_user_input(plain if isinstance(plain, dict) else text).to_wkt())
    except CRSError as error:
        if key == "crs" and text.replace("_", "").isalnum():
            return None  # the name of a grid mapping variable
        msg = f"its attribute {key} = {text!r} cannot be read as a CRS: {error}. Write it as EPSG:32633 or as WKT."
        raise ValueError(msg) from error


def _geographic() -> str:
    from pyproj import CRS  # noqa: PLC0415

    return str(CRS.from_epsg(4326).to_wkt())


def _plain(value: object) -> Any:  # noqa: ANN401  (an attribute may be anything)
    return value.item() if isinstance(value, np.ndarray | np.generic) and np.size(value) == 1 else value


def _short(crs: str) -> str:
    return crs if len(crs) < 60 else f"{crs[:57]}..."


def _stated_transforms(places: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[tuple[str, str, Affine]]:
    for name, attributes in places:
        for key, gdal in _TRANSFORMS:
            if key not in attributes:
                continue
            value = attributes[key]
            parts = value.replace(",", " ").split() if isinstance(value, str) else list(np.ravel(value))
            try:
                numbers = [float(part) for part in parts][:6]
                transform = Affine.from_gdal(*numbers) if gdal else Affine(*numbers)
            except (TypeError, ValueError) as error:
                msg = f"{key} of {name} is {value!r}; expected six numbers of an affine transform."
                raise ValueError(msg) from error
            if not gdal and abs(transform.c) + abs(transform.f) > 0 and not transform.a and not transform.e:
                transform = Affine.from_gdal(*numbers)
            yield f"{key} of {name}", str(value), transform


def _is_flipped(one: Affine, other: Affine, height: int) -> bool:
    """Whether two transforms show one ground with rows in opposite order."""
    flipped = Affine(one.a, one.b, one.c, one.d, -one.e, one.f + one.e * height)
    return compare_grids(PixelGrid(height, 1, flipped, None), PixelGrid(height, 1, other, None)).same_grid(HALF_A_PIXEL)


def _units(cube: Dataset, name: str) -> str:
    return str(cube[name].attrs.get("units", "")).strip().lower() if name in cube.coords else ""


def _from_coordinates(cube: Dataset, y: str, x: str, crs: str | None) -> Affine | None:
    """Affine transform from the coordinates of pixel centres."""
    if y not in cube.coords or x not in cube.coords:
        return None
    ys, xs = (_coordinate(cube, name, crs) for name in (y, x))
    if len(ys) < 2 or len(xs) < 2:
        return None
    for name, values in ((x, xs), (y, ys)):
        step = np.diff(values)
        if not np.abs(step - step.mean()).max() <= 0.01 * abs(step.mean()):
            msg = f"the coordinate {name!r} is not evenly spaced, so there is no affine transform. Regrid the cube."
            raise ValueError(msg)
    dx, dy = float(np.diff(xs).mean()), float(np.diff(ys).mean())
    return Affine(dx, 0.0, float(xs[0]) - dx / 2, 0.0, dy, float(ys[0]) - dy / 2)


def _coordinate(cube: Dataset, name: str, crs: str | None) -> np.ndarray:
    """Values of a coordinate in the unit of the CRS, decoded if they are packed."""
    attributes = cube[name].attrs
    values = np.asarray(cube[name].values, dtype=np.float64)
    values = values * float(attributes.get("scale_factor", 1.0)) + float(attributes.get("add_offset", 0.0))
    unit = _units(cube, name)
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
