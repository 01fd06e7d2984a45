"""NetCDF and Zarr cubes: axes, bands and groups are found by name, whatever their order.

Numbers are read as they are stored; what `xarray` would decode (CF's packing and no-data) is a fact of the band.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from affine import Affine

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid
from eo_data.raster.remote.stream import RemoteStream, open_stream
from eo_data.raster.zarr_chunks import check_chunks
from eo_data.readers.formats.cf_attributes import band_facts, facts_along_axis
from eo_data.readers.formats.cube_bands import CubeBands, Group, Wish, find_bands
from eo_data.readers.formats.cube_place import cube_grid, has_geolocation
from eo_data.readers.formats.facts import BandFacts, FileFacts, OpenLayer, Part, as_floats, mark_missing
from eo_data.sensors.quality import missing_numbers
from eo_data.temporal.dates import dates_from_time_axis

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

    from eo_data.raster.remote.zarr_store import RemoteZarr

#: What xarray opens: a path, or what reads on a server.
type _Place = Path | RemoteStream | RemoteZarr


@contextmanager
def open_cube(href: Href, source: ImageSource | None = None) -> Iterator[Sequence[OpenLayer]]:
    """Open a cube; its layers are those that hold bands: one, or one for each group of another grid.

    Parameters
    ----------
    href : Href
        A path or an address (``http(s)://``, ``s3://``) of a NetCDF file or a Zarr folder.
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

    with ExitStack() as stack:
        place = stack.enter_context(_located(href))
        store, options = cast("Any", place), _options(place)
        data = stack.enter_context(xarray.open_dataset(store, **options))
        _keep_fill_values(place, "", data)
        root = Group("", data)
        groups, found = [root], find_bands([root], source)
        if _needs_groups(found, source) and _may_have_groups(place):
            opened = xarray.open_groups(store, **options)
            for path, data in opened.items():
                stack.callback(data.close)
                _keep_fill_values(place, path.strip("/"), data)
            groups += _below(root.data, {path.strip("/"): data for path, data in opened.items()})
            found = find_bands(groups, source)
        if source is None and not found:
            found = _unnamed_plane(groups)
        if not found:
            msg = _nothing(groups, source)
            raise ValueError(msg)
        yield [_layer(bands, source, place) for bands in found]


@contextmanager
def _located(href: Href) -> Iterator[_Place]:
    """Give what xarray opens."""
    if href.is_local:
        yield href.path
    elif href.suffix != ".zarr":
        with open_stream(href) as stream:
            yield stream
    else:
        from eo_data.raster.remote.zarr_store import RemoteZarr  # noqa: PLC0415  (Zarr may not be installed)

        store = RemoteZarr(href)
        try:
            yield store
        finally:
            store.tidy()


def _keep_fill_values(place: _Place, group: str, data: Dataset) -> None:
    """Add the fill values of the arrays of a Zarr 3 group to their encodings, where xarray before 2026.7 drops them."""
    for name, variable in data.data_vars.items():
        if "fill_value" not in variable.encoding:
            value = _fill_value(place, f"{group}/{name}".lstrip("/"))
            if isinstance(value, int | float) and not isinstance(value, bool):
                variable.encoding["fill_value"] = value


def _fill_value(place: _Place, path: str) -> object:
    """Return the fill value of an array of Zarr 3, or nothing."""
    if not isinstance(place, Path):
        return None if isinstance(place, RemoteStream) else place.fill_value(path)
    metadata = place / path / "zarr.json"
    return json.loads(metadata.read_text(encoding="utf-8")).get("fill_value") if metadata.is_file() else None


def _options(place: _Place) -> dict[str, Any]:
    """Options of xarray: numbers as stored; metadata in one place only where they are."""
    options: dict[str, Any] = {"mask_and_scale": False, "decode_timedelta": False}
    if isinstance(place, RemoteStream):
        return options | {"engine": "h5netcdf"}
    if not isinstance(place, Path):
        return options | {"engine": "zarr", "consolidated": place.consolidated}
    if place.suffix.lower() != ".zarr":
        return options
    root = place / "zarr.json"
    consolidated = (place / ".zmetadata").is_file()
    if root.is_file():
        consolidated = bool(json.loads(root.read_text(encoding="utf-8")).get("consolidated_metadata"))
    return options | {"engine": "zarr", "consolidated": consolidated}


def _needs_groups(found: Sequence[CubeBands], source: ImageSource | None) -> bool:
    """Whether something that is wanted is not in the root."""
    named = None if source is None else source.variables or source.dataset
    if source is None or not found:
        return named is None or "/" in named.strip("/")
    return "/" in named.strip("/") if named else not Wish(source).all_served(found)


def _may_have_groups(place: _Place) -> bool:
    """Whether this kind of file has groups: NetCDF 3 has none."""
    if not isinstance(place, Path) or place.is_dir():
        return True
    with place.open("rb") as file:
        return file.read(3) != b"CDF"


def _below(root: Dataset, opened: Mapping[str, Dataset]) -> Iterator[Group]:
    """Groups with those around them."""
    for path, data in opened.items():
        if path:
            steps = path.split("/")
            around = ["/".join(steps[:i]) for i in range(len(steps) - 1, 0, -1)]
            yield Group(path, data, [*(opened[name] for name in around if name in opened), root])


def _unnamed_plane(groups: Sequence[Group]) -> list[CubeBands]:
    """The one array of two dimensions, whatever they are called: a label that somebody wrote without coordinates."""
    planes = [
        CubeBands(group, (array,), (str(name),), None, None, str(array.dims[0]), str(array.dims[1]))
        for group in groups
        for name, array in group.data.data_vars.items()
        if array.ndim == 2 and array.dtype.kind in "uifb"
    ]
    return planes if len(planes) == 1 else []


def _nothing(groups: Sequence[Group], source: ImageSource | None) -> str:
    held = {
        group.path or "/": [f"{name} {tuple(array.dims)}" for name, array in group.data.data_vars.items()][:6]
        for group in groups
    }
    shown = "; ".join(f"{path}: {', '.join(names) or 'nothing'}" for path, names in list(held.items())[:8])
    stated = "" if source is None else f" variables is {source.variables!r}, dataset {source.dataset!r}."
    remedy = "Name the variables with their group: variables: 'group/{band}', or rename the dimensions to y and x."
    names = {str(name).lower() for group in groups for name, own in group.data.variables.items() if own.ndim > 1}
    if {"latitude", "longitude"} <= names or {"lat", "lon"} <= names:
        remedy = "Arrays of latitude and longitude say where its pixels lie (a swath): warp it to a map grid first."
    return (
        "no variable of the cube has the dimensions y and x, one of bands or none, and one of time if any, and fits."
        f"{stated} Groups and variables: {shown}. {remedy}"
    )


def _layer(bands: CubeBands, source: ImageSource | None, place: _Place) -> _CubeLayer:
    group, first = bands.group, bands.arrays[0]
    if source is None and bands.time is not None and first.sizes[bands.time] == 1:
        still = tuple(array.isel({bands.time: 0}) if bands.time in array.dims else array for array in bands.arrays)
        bands = replace(bands, arrays=still, time=None)
    own = cube_grid(first, group.data, group.parents, bands.y, bands.x)
    if bands.axis is not None:
        dtype, unsigned = _stored_dtype(first)
        facts = facts_along_axis(str(first.name), bands.names, dtype, _attributes(first), unsigned=unsigned)
    else:
        kinds = [_stored_dtype(array) for array in bands.arrays]
        facts = tuple(
            band_facts(name, dtype, _attributes(array), unsigned=unsigned)
            for name, array, (dtype, unsigned) in zip(bands.names, bands.arrays, kinds, strict=True)
        )
    if source is not None and source.cloud_band is not None:
        facts = tuple(_of_clouds(band, source) for band in facts)
    return _CubeLayer(
        FileFacts(
            "cube",
            _north_up(own),
            facts,
            _tags(group),
            named=bands.axis is None,
            points="arrays of latitude and longitude"
            if own.transform is None and has_geolocation(group.data, bands.y, bands.x)
            else "",
            packing="cf",
            frames=None if bands.time is None else group.data.sizes[bands.time],
            frame_dates=() if bands.time is None else _dates(group.data, bands.time),
            block_bytes=max(_block_bytes(array) for array in bands.arrays),
        ),
        bands,
        own,
        place,
    )


def _block_bytes(array: DataArray) -> int:
    """Memory of a block: a chunk of Zarr or HDF5."""
    sides = array.encoding.get("chunks") or array.encoding.get("chunksizes") or ()
    return math.prod(sides) * array.dtype.itemsize if sides else 0


def _tags(group: Group) -> dict[str, str]:
    """Attributes of a group and those around it; a lone time that is no axis is one, too."""
    tags = {str(key): str(value) for data in (*group.parents[::-1], group.data) for key, value in data.attrs.items()}
    time = group.data.coords.get("time")
    if time is not None and time.ndim == 0 and time.dtype.kind == "M":
        tags.setdefault("datetime", str(time.values)[:19])
    return tags


def _of_clouds(band: BandFacts, source: ImageSource) -> BandFacts:
    if band.name != source.cloud_band:
        return band
    return replace(band, nodata=missing_numbers(source.cloud_kind, band.nodata))


@dataclass(frozen=True, eq=False)
class _CubeLayer:
    """Bands of one grid; see `eo_data.readers.formats.facts.OpenLayer`.

    Rows run from north to south, whatever their order in the file.
    """

    facts: FileFacts
    cube: CubeBands
    own: PixelGrid
    place: _Place

    def stored(
        self,
        bands: Sequence[int],
        part: Part,
        *,
        nodata: float | None = None,
        alpha: bool = True,
        dtype: type = np.float32,
    ) -> np.ndarray:
        flipped = self.own.transform is not None and _is_south_up(self.own.transform)
        top = self.own.height - part.top - part.height if flipped else part.top
        window = {
            self.cube.y: slice(top, top + part.height),
            self.cube.x: slice(part.left, part.left + part.width),
        }
        lead = () if self.facts.frames is None else (self.facts.frames,)
        pixels = np.empty((*lead, len(bands), part.height, part.width), dtype=dtype)
        for slot, (values, i) in enumerate(zip(self._planes(bands, window), bands, strict=True)):
            numbers = values.astype(self.facts.bands[i].dtype, copy=False)
            oriented = numbers[..., ::-1, :] if flipped else numbers
            plane = pixels[..., slot, :, :]
            plane[...] = as_floats(oriented, dtype)
            mark_missing(np.broadcast_to(oriented, plane.shape), plane, self.facts.bands[i], nodata)
        return pixels

    def _planes(self, bands: Sequence[int], window: Mapping[str, slice]) -> list[np.ndarray]:
        """Read the window of each band as stored: ``(H, W)``, or ``(T, H, W)`` of what changes in time."""
        cube = self.cube
        order = [cube.axis, cube.time, cube.y, cube.x]
        arrays = dict.fromkeys(str(cube.arrays[0 if cube.axis else i].name) for i in bands)
        spans = {name: [window.get(str(d), slice(None)) for d in cube.group.data[name].dims] for name in arrays}
        if isinstance(self.place, Path) and self.place.is_dir():
            for name, span in spans.items():
                check_chunks(self.place / cube.group.path / name, span)
        try:
            if cube.axis is not None:
                planes = list(_loaded(cube.arrays[0].isel({**window, cube.axis: _as_slice(bands)}), order))
            else:
                planes = [_loaded(cube.arrays[i].isel(window), order) for i in bands]
        except RuntimeError as error:  # of a codec
            msg = f"its pixels cannot be decoded: {error}"
            raise OSError(msg) from error
        if not isinstance(self.place, Path | RemoteStream):
            for name, span in spans.items():
                self.place.report_missing(f"{cube.group.path}/{name}".lstrip("/"), span)
        return planes


def _loaded(array: DataArray, order: Sequence[str | None]) -> np.ndarray:
    """Pixels with their axes in an order; they are turned in memory, as xarray would look for each by itself."""
    axes = [array.dims.index(dim) for dim in order if dim in array.dims]
    return np.transpose(array.values, axes)


def _as_slice(bands: Sequence[int]) -> slice | list[int]:
    """Neighbours as a slice, which is read at once."""
    start, stop = bands[0], bands[-1] + 1
    return slice(start, stop) if list(bands) == list(range(start, stop)) else list(bands)


def _is_south_up(transform: Affine) -> bool:
    return bool(transform.e > 0)


def _north_up(grid: PixelGrid) -> PixelGrid:
    """Reverse rows that run from south to north, as in many cubes: images and labels begin in the north."""
    t = grid.transform
    if t is None or not _is_south_up(t):
        return grid
    return replace(grid, transform=Affine(t.a, -t.b, t.c + t.b * grid.height, t.d, -t.e, t.f + t.e * grid.height))


def _dates(data: Dataset, time: str) -> tuple[date, ...]:
    """Dates of the time axis; none where it has no coordinate, so that an index may have them.

    Raises
    ------
    ValueError
        If a time is no date of the usual calendar.
    """
    if time not in data.coords:
        return ()
    values = data[time].values
    if values.dtype == object:
        values = np.array([_of_calendar(value) for value in values], dtype=object)
    return tuple(dates_from_time_axis(values, data[time].attrs.get("units")))


def _of_calendar(value: Any) -> object:  # noqa: ANN401  (a text, or a time of cftime, which may not be installed)
    if not hasattr(value, "calendar"):
        return value
    try:
        return date(value.year, value.month, value.day)
    except ValueError as error:
        msg = (
            f"the time {value} of its calendar {value.calendar!r} is no date of the usual (standard) calendar. Write "
            "the cube with one: convert_calendar('standard') of xarray."
        )
        raise ValueError(msg) from error


def _stored_dtype(variable: DataArray) -> tuple[np.dtype, bool]:
    """Return the type of the numbers, and whether an attribute makes them unsigned, as NetCDF 3 has no other way to."""
    said = str(_attributes(variable).get("_Unsigned", "")).lower()
    if said == "true" and variable.dtype.kind == "i":
        return np.dtype(variable.dtype.str.replace("i", "u")), True
    if said == "false" and variable.dtype.kind == "u":
        return np.dtype(variable.dtype.str.replace("u", "i")), False
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
