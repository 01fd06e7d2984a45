"""NetCDF and Zarr cubes: axes, bands and groups are found by name, whatever their order.

Numbers are read as they are stored; what `xarray` would decode (CF's packing and no-data) is a fact of the band.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid
from eo_data.readers.formats.cf_attributes import band_facts
from eo_data.readers.formats.cube_place import cube_grid, has_geolocation
from eo_data.readers.formats.facts import BandFacts, FileFacts, OpenLayer, Part, as_floats, mark_missing
from eo_data.temporal.dates import dates_from_time_axis

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

#: Names that the dimensions of a cube may have, in lower case; any other one is an axis of bands.
_DIMENSIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "time": ("t", "time", "times", "date"),
        "y": ("y", "lat", "latitude", "northing"),
        "x": ("x", "lon", "longitude", "easting"),
    }
)


@contextmanager
def open_cube(href: Href, source: ImageSource | None = None) -> Iterator[Sequence[OpenLayer]]:
    """Open a cube; its layers are those that hold bands: one, or one for each group of another grid.

    Parameters
    ----------
    href : Href
        A path to a NetCDF file or a Zarr folder.
    source : ImageSource, optional
        ``variables``: the names of the variables of bands, with the group before the last slash; ``dataset``: the
        variable that holds them all.

    Raises
    ------
    ValueError
        If there are no bands, coordinates are not evenly spaced, its place contradicts itself, or times cannot be read.
    OSError
        If the file cannot be opened.
    """
    import xarray  # noqa: PLC0415

    options: dict[str, Any] = {"engine": "zarr"} if href.suffix == ".zarr" else {}
    options["mask_and_scale"] = False
    with ExitStack() as stack:
        root = stack.enter_context(xarray.open_dataset(href.path, **options))
        groups = {"": root}
        wants_group = source is not None and "/" in f"{source.variables or ''}{source.dataset or ''}".lstrip("/")
        if wants_group or not _images(root):
            opened = xarray.open_groups(href.path, **options)
            for data in opened.values():
                stack.callback(data.close)
            groups |= {path.strip("/"): data for path, data in opened.items() if path != "/"}
        layers = [layer for path, data in groups.items() for layer in _layers(path, data, root, source)]
        if not layers:
            msg = _nothing(groups, source)
            raise ValueError(msg)
        yield layers


def _nothing(groups: Mapping[str, Dataset], source: ImageSource | None) -> str:
    held = {
        path or "/": [f"{name} {tuple(data[name].dims)}" for name in data.data_vars][:6]
        for path, data in groups.items()
    }
    shown = "; ".join(f"{path}: {', '.join(names) or 'nothing'}" for path, names in list(held.items())[:8])
    stated = "" if source is None else f" variables is {source.variables!r}, dataset {source.dataset!r}."
    return (
        f"no variable of the cube has the dimensions y and x and fits.{stated} Groups and variables: {shown}. Name the "
        "variables with their group: variables: 'group/{band}', or rename the dimensions to y and x."
    )


def _images(data: Dataset) -> list[str]:
    """Variables with rows and columns."""
    return [
        str(name)
        for name, array in data.data_vars.items()
        if _dimension(array, "y") and _dimension(array, "x") and array.dtype.kind in "uifbc"
    ]


def _dimension(array: DataArray, axis: str) -> str | None:
    return next((str(name) for name in array.dims if str(name).lower() in _DIMENSIONS[axis]), None)


def _band_axes(array: DataArray) -> list[str]:
    known = [name for names in _DIMENSIONS.values() for name in names]
    return [str(name) for name in array.dims if str(name).lower() not in known]


def _layers(path: str, data: Dataset, root: Dataset, source: ImageSource | None) -> Iterator[_CubeLayer]:
    """Layers of one group."""
    parents = [] if data is root else [root]
    images = _images(data)
    stacked = [name for name in images if _band_axes(data[name])]
    prefix = f"{path}/" if path else ""
    if stacked and (source is None or source.variables is None):
        wanted = None if source is None else source.dataset
        chosen = [name for name in stacked if wanted is None or f"{prefix}{name}" == wanted.strip("/")]
        if wanted is not None and not chosen and not path:
            msg = f"it has no variable {wanted!r} with bands (dataset); it has {stacked}."
            raise ValueError(msg)
        if len(chosen) > 1:
            msg = f"the variables {stacked} all have bands; name the one to read in dataset."
            raise ValueError(msg)
        yield from (_along_axis(data[name], data, parents) for name in chosen)
        return
    before, _, after = ((source.variables if source else None) or f"{prefix}{{band}}").strip("/").partition("{band}")
    found = {
        f"{prefix}{name}".removeprefix(before).removesuffix(after): data[name]
        for name in images
        if f"{prefix}{name}".startswith(before) and name.endswith(after) and not _band_axes(data[name])
    }
    if found:
        yield _of_variables({name: array for name, array in found.items() if "/" not in name}, data, parents)


def _along_axis(variable: DataArray, data: Dataset, parents: Sequence[Dataset]) -> _CubeLayer:
    """Bands along an axis of one variable."""
    axes = _band_axes(variable)
    if len(axes) > 1:
        msg = (
            f"{variable.name!r} has the dimensions {variable.dims}; expected y, x, one of bands, and one of time if "
            "any."
        )
        raise ValueError(msg)
    (axis,) = axes
    dtype, unsigned = _stored_dtype(variable)
    count = variable.sizes[axis]
    names = [str(value) for value in data[axis].values] if axis in data.coords else [None] * count
    facts = band_facts(str(variable.name), dtype, _attributes(variable), unsigned=unsigned)
    bands = tuple(replace(facts, name=name) for name in names)
    return _layer([variable], bands, data, parents, axis=axis)


def _of_variables(variables: Mapping[str, DataArray], data: Dataset, parents: Sequence[Dataset]) -> _CubeLayer:
    """Bands that are variables of their own."""
    dtypes = {name: _stored_dtype(array) for name, array in variables.items()}
    bands = tuple(
        band_facts(name, dtype, _attributes(variables[name]), unsigned=unsigned)
        for name, (dtype, unsigned) in dtypes.items()
    )
    return _layer(list(variables.values()), bands, data, parents, named=True)


def _layer(
    arrays: Sequence[DataArray],
    bands: tuple[BandFacts, ...],
    data: Dataset,
    parents: Sequence[Dataset],
    *,
    axis: str | None = None,
    named: bool = False,
) -> _CubeLayer:
    first = arrays[0]
    time, y, x = (_dimension(first, name) for name in ("time", "y", "x"))
    own = cube_grid(first, data, parents, str(y), str(x))
    facts = FileFacts(
        "cube",
        _north_up(own),
        bands,
        {str(key): str(value) for source in (*parents, data) for key, value in source.attrs.items()},
        named=named,
        points="arrays of latitude and longitude"
        if own.transform is None and has_geolocation(data, str(y), str(x))
        else "",
        packing="cf",
        frames=None if time is None else first.sizes[time],
        frame_dates=() if time is None else _dates(data, time),
    )
    return _CubeLayer(facts, arrays, axis, [name for name in (time, y, x) if name], own)


@dataclass(frozen=True, eq=False)
class _CubeLayer:
    """Bands of one grid; see `eo_data.readers.formats.facts.OpenLayer`.

    Rows run from north to south, whatever their order in the file.
    """

    facts: FileFacts
    arrays: Sequence[DataArray]
    axis: str | None
    order: Sequence[str]
    own: PixelGrid

    def stored(
        self,
        bands: Sequence[int],
        part: Part,
        *,
        nodata: float | None = None,
        alpha: bool = True,
        dtype: type = np.float32,
    ) -> np.ndarray:
        *_, y, x = self.order
        flipped = self.own.transform is not None and self.own.transform.e > 0
        top = self.own.height - part.top - part.height if flipped else part.top
        window = {y: slice(top, top + part.height), x: slice(part.left, part.left + part.width)}
        if self.axis is not None:
            chosen = self.arrays[0].isel({**window, self.axis: list(bands)})
            read = list(chosen.transpose(self.axis, *self.order).values)
        else:
            read = [self.arrays[i].isel(window).transpose(*self.order).values for i in bands]
        lead = read[0].shape[:-2]
        pixels = np.empty((*lead, len(bands), part.height, part.width), dtype=dtype)
        for slot, (values, i) in enumerate(zip(read, bands, strict=True)):
            numbers = values.astype(self.facts.bands[i].dtype, copy=False)
            oriented = numbers[..., ::-1, :] if flipped else numbers
            pixels[..., slot, :, :] = as_floats(oriented, dtype)
            mark_missing(oriented, pixels[..., slot, :, :], self.facts.bands[i], nodata)
        return pixels


def _north_up(grid: PixelGrid) -> PixelGrid:
    """Reverse rows that run from south to north, as in many cubes: images and labels begin in the north."""
    t = grid.transform
    if t is None or t.e < 0:
        return grid
    return replace(grid, transform=Affine(t.a, t.b, t.c, t.d, -t.e, t.f + t.e * grid.height))


def _dates(data: Dataset, time: str) -> tuple[date, ...]:
    return tuple(dates_from_time_axis(data[time].values, data[time].attrs.get("units")))


def _stored_dtype(variable: DataArray) -> tuple[np.dtype, bool]:
    """Return the type of the numbers, and whether an attribute makes them unsigned, as NetCDF 3 has no other way to."""
    if str(_attributes(variable).get("_Unsigned", "")).lower() == "true" and variable.dtype.kind == "i":
        return np.dtype(variable.dtype.str.replace("i", "u")), True
    return variable.dtype, False


def _attributes(variable: DataArray) -> dict[str, Any]:
    """Attributes of a variable, with what xarray keeps apart of them.

    Zarr 3 requires a fill value for every array, so that 0 says nothing there.
    """
    fill = variable.encoding.get("fill_value")
    own = {str(key): value for key, value in variable.attrs.items()}
    if fill is not None and "_FillValue" not in own and np.isscalar(fill) and fill != 0:
        own["_FillValue"] = fill
    for key in ("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned"):
        if key in variable.encoding:
            own.setdefault(key, variable.encoding[key])
    return own
