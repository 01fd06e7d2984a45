"""Where the pixels of a NetCDF or Zarr cube lie: the many ways in which tools write a CRS.

Sources: CF conventions 1.11, 2.7 (the nearest group counts), 5.6 and appendix F (grid mappings); GDAL's NetCDF driver
(``spatial_ref``); the coordinate ``epsg`` of stackstac; the attribute ``crs`` of ``xarray.open_rasterio`` and Open Data
Cube, which also give it to the coordinates; the STAC projection extension and GeoZarr's conventions (``proj:code``,
``proj:wkt2``).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eo_data.raster.georeference import PixelGrid, fault_of_transform, same_crs
from eo_data.readers.formats.cube_transform import agreed, from_coordinates, in_unit_of_crs, stated_transforms

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

#: Attributes by the name of what has them.
type _Places = list[tuple[str, Mapping[str, Any]]]

_WKT = ("crs_wkt", "spatial_ref", "proj:wkt2")
_CODES = ("proj:code", "proj:epsg", "proj:projjson", "epsg", "crs", "EPSG")
#: Parameters of a grid mapping that name its datum or ellipsoid.
_DATUM = frozenset({"horizontal_datum_name", "reference_ellipsoid_name", "geographic_crs_name", "towgs84"})
_DEGREES = ("degrees_north", "degree_north", "degrees_east", "degree_east")
#: Codes below are none of EPSG: the number that a grid mapping variable happens to hold.
_LOWEST_CODE = 1024
#: Two CRS are one if they put the corners of the cube on the same place, in pixels.
_SAME_PLACE = 0.5


def cube_grid(array: DataArray, cube: Dataset, parents: Sequence[Dataset], y: str, x: str) -> PixelGrid:
    """Return size and place of the pixels of an array, as its rows and columns are stored.

    Parameters
    ----------
    array : DataArray
        The pixels.
    cube : Dataset
        What the array is part of.
    parents : sequence of Dataset
        Groups around it, the nearest first: their coordinates and attributes count where it has none.
    y, x : str
        Dimensions.

    Raises
    ------
    ValueError
        If coordinates are not evenly spaced or in radians, or what says the place contradicts itself.
    """
    height, width = array.sizes[y], array.sizes[x]
    coordinates = [_coordinate(name, array.sizes[name], cube, parents) for name in (y, x)]
    near = _places(array, cube)
    stated = [found for name, attributes in near for found in stated_transforms(name, attributes)]
    stated += [
        found for group in parents for found in stated_transforms("a group around it", group.attrs, (height, width))
    ]
    corners = _corners(coordinates)
    crs = _crs(array, cube, parents, coordinates, corners)
    own = None
    if coordinates[0] is not None and coordinates[1] is not None:
        values = [in_unit_of_crs(c, name, crs) for c, name in zip(coordinates, (y, x), strict=True) if c is not None]
        steps = (stated[0][2].e, stated[0][2].a) if stated else None
        own = from_coordinates(values[0], values[1], (y, x), steps)
        if crs is None and own is not None and str(coordinates[0].attrs.get("units", "")).strip().lower() in _DEGREES:
            crs = _geographic()
    for key, text, transform in stated:
        said, where = f"{key} says {text!r}", cube.encoding.get("source", "the cube")
        own = transform if own is None else agreed(own, transform, (height, width), (y, x), said, where)
    if own is not None and (fault := fault_of_transform(own)):
        msg = f"{fault}. Correct the coordinates {y!r} and {x!r}, or what states the transform."
        raise ValueError(msg)
    return PixelGrid(height, width, own, crs)


def has_geolocation(cube: Dataset, y: str, x: str) -> bool:
    """Whether only arrays of latitudes and longitudes say where each pixel is, as for a swath."""
    names = {str(name).lower() for name, array in cube.variables.items() if {y, x} <= set(map(str, array.dims))}
    return bool(names & {"lat", "latitude", "nav_lat"}) and bool(names & {"lon", "longitude", "nav_lon"})


def _coordinate(name: str, size: int, cube: Dataset, parents: Sequence[Dataset]) -> DataArray | None:
    """The coordinate of a dimension, in the group or the nearest one around it that has the dimension.

    Numbers that only count rows or columns are no place.
    """
    for data in (cube, *parents):
        if name in data.coords and data[name].dims == (name,):
            found = data[name]
            counts = size > 1 and not found.attrs.get("units") and np.array_equal(found.values, np.arange(size))
            return None if counts or found.size != size else found
    return None


def _places(array: DataArray, cube: Dataset) -> _Places:
    """Attributes that may say the place; the grid mapping of the array first."""
    return [*_mappings(array, cube), (str(array.name), array.attrs), ("the file", cube.attrs)]


def _mappings(array: DataArray, data: Dataset) -> _Places:
    """Variables of a group that say a CRS: the one that the array names, or any."""
    named = str(array.attrs.get("grid_mapping", array.encoding.get("grid_mapping", ""))).split(":")[0].split()
    places: _Places = [(name, data[name].attrs) for name in named if name in data.variables]
    if places:
        return places
    variables = sorted(data.variables.items(), key=lambda item: len(item[1].dims))
    return [(str(name), own.attrs) for name, own in variables if {*_WKT, "grid_mapping_name"} & set(own.attrs)]


def _scopes(
    array: DataArray, cube: Dataset, parents: Sequence[Dataset], coordinates: Sequence[DataArray | None]
) -> Iterator[tuple[_Places, Dataset]]:
    """Where a CRS may be stated, the most telling first."""
    yield _places(array, cube), cube
    yield [(str(c.name), c.attrs) for c in coordinates if c is not None], cube
    yield [(str(name), v.attrs) for name, v in cube.data_vars.items() if set(array.dims[-2:]) <= set(v.dims)], cube
    for group in parents:
        yield [*_mappings(array, group), ("a group around it", group.attrs)], group


def _crs(
    array: DataArray,
    cube: Dataset,
    parents: Sequence[Dataset],
    coordinates: Sequence[DataArray | None],
    corners: Sequence[tuple[float, float]],
) -> str | None:
    unread: list[str] = []
    for places, data in _scopes(array, cube, parents, coordinates):
        found = list(_stated_crs(places, data, unread))
        for name, crs in found[1:]:
            if same_crs(found[0][1], crs) is False and not _same_place(found[0][1], crs, corners):
                msg = (
                    f"it states two CRS: {_short(found[0][1])} by {found[0][0]}, {_short(crs)} by {name}. Remove the "
                    "wrong one, or write the cube again with rioxarray."
                )
                raise ValueError(msg)
        if found:
            return found[0][1]
    if unread:
        warnings.warn(
            f"{cube.encoding.get('source', 'the cube')} is used without a CRS: {unread[0]}. Write it as EPSG:32633 or "
            "as WKT (crs_wkt).",
            stacklevel=2,
        )
    return None


def _stated_crs(places: _Places, data: Dataset, unread: list[str]) -> Iterator[tuple[str, str]]:
    """All CRS that something states, as WKT; what cannot be read is added to a list."""
    for name, attributes in places:
        text = next((attributes[key] for key in _WKT if attributes.get(key)), None)
        if text is not None:
            yield name, str(text)
        elif "grid_mapping_name" in attributes and (crs := _from_cf(name, attributes, unread)):
            yield f"the grid mapping {name}", crs
    for key in _CODES:
        for name, attributes in places:
            if key in attributes and (crs := _from_code(key, attributes[key], unread)):
                yield f"{key} of {name}", crs
        if key in data.coords and data[key].ndim == 0 and (crs := _from_code(key, data[key].values.item(), unread)):
            yield f"the coordinate {key}", crs


def _from_cf(name: str, attributes: Mapping[str, Any], unread: list[str]) -> str | None:
    """WKT of the parameters of a grid mapping; an ellipsoid of WGS 84 without the name of a datum is that datum."""
    from pyproj import CRS  # noqa: PLC0415
    from pyproj.exceptions import CRSError  # noqa: PLC0415

    stated = {key: _plain(value) for key, value in attributes.items()}
    try:
        if not _DATUM & set(stated) and _is_wgs84(stated):
            stated |= {"horizontal_datum_name": "World Geodetic System 1984", "reference_ellipsoid_name": "WGS 84"}
            stated.setdefault("prime_meridian_name", "Greenwich")
        return str(CRS.from_cf(stated).to_wkt())
    except (CRSError, KeyError, TypeError, ValueError) as error:
        unread.append(f"its grid mapping {name} cannot be read as a CRS: {error}")
        return None


def _is_wgs84(stated: Mapping[str, Any]) -> bool:
    axis, inverse = float(stated.get("semi_major_axis", 0)), float(stated.get("inverse_flattening", 0))
    return axis == 6378137.0 and math.isclose(inverse, 298.257223563, abs_tol=1e-7)


def _from_code(key: str, value: object, unread: list[str]) -> str | None:
    """WKT of a code or definition; ``None`` for an attribute that is none, such as the name of a variable."""
    from pyproj import CRS  # noqa: PLC0415
    from pyproj.exceptions import CRSError  # noqa: PLC0415

    plain = _plain(value)
    text = str(plain).strip().removeprefix("+init=")
    if not text or text.lower() in ("none", "null", "nan"):
        return None
    if text.removesuffix(".0").isdigit():
        text = text.removesuffix(".0")
        if int(text) < _LOWEST_CODE:
            return None
        text = f"EPSG:{text}"
    try:
        return str(CRS.from_user_input(plain if isinstance(plain, dict) else text).to_wkt())
    except CRSError as error:
        if key != "crs" or not text.replace("_", "").isalnum():  # else the name of a grid mapping variable
            unread.append(f"its attribute {key} = {text!r} cannot be read as a CRS: {error}")
        return None


def _corners(coordinates: Sequence[DataArray | None]) -> list[tuple[float, float]]:
    """Map coordinates of two pixels at opposite corners, and of a neighbour of the first."""
    y, x = (None if c is None or c.size < 2 else np.asarray(c.values, dtype=np.float64) for c in coordinates)
    return [] if y is None or x is None else [(x[0], y[0]), (x[-1], y[-1]), (x[1], y[1])]


def _same_place(one: str, other: str, corners: Sequence[tuple[float, float]]) -> bool:
    """Whether two CRS are one by what coordinates mean, whatever the names of datums and methods in them."""
    from pyproj import CRS, Transformer  # noqa: PLC0415
    from pyproj.exceptions import ProjError  # noqa: PLC0415

    if not corners:
        return False
    try:
        change = Transformer.from_crs(CRS.from_user_input(one), CRS.from_user_input(other), always_xy=True)
        moved = [change.transform(*corner) for corner in corners]
    except ProjError:
        return False
    pixel = max(abs(a - b) for a, b in zip(corners[0], corners[2], strict=True))
    gaps = [
        abs(a - b) for before, after in zip(corners, moved, strict=True) for a, b in zip(before, after, strict=True)
    ]
    return max(gaps) <= _SAME_PLACE * pixel


def _geographic() -> str:
    from pyproj import CRS  # noqa: PLC0415

    return str(CRS.from_epsg(4326).to_wkt())


def _plain(value: object) -> Any:  # noqa: ANN401  (an attribute may be anything)
    return value.item() if isinstance(value, np.ndarray | np.generic) and np.size(value) == 1 else value


def _short(crs: str) -> str:
    return crs if len(crs) < 60 else f"{crs[:57]}..."
