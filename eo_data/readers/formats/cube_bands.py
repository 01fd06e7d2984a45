"""Which variables of a NetCDF or Zarr cube are the wanted bands: along an axis, as variables, in groups.

Sources: CF conventions 1.11, 4 (coordinate types); rioxarray (``long_name`` lists the names of bands); the product
structure of EOPF, whose pixels lie below ``measurements`` while masks have the same names elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from eo_data.catalog.sources import ImageSource
from eo_data.readers.formats.facts import refuse_many_bands
from eo_data.readers.formats.file_raster import is_quality_layer

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
#: CF's attributes of a coordinate, for dimensions of other names.
_STANDARD_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "time": "time",
        "latitude": "y",
        "projection_y_coordinate": "y",
        "longitude": "x",
        "projection_x_coordinate": "x",
    }
)
_AXES: Mapping[str, str] = MappingProxyType({"T": "time", "Y": "y", "X": "x"})
#: Attributes of an array in which tools list the names of its bands.
_NAME_LISTS = ("long_name", "band_names", "bands", "descriptions")
#: Group of EOPF products that holds what was measured; the others describe it.
_MEASURED = "measurements"


@dataclass(frozen=True, eq=False)
class Group:
    """A group of a cube.

    Parameters
    ----------
    path : str
        Without slashes at its ends; empty for the root.
    data : Dataset
        What it holds.
    parents : sequence of Dataset
        The groups around it, the nearest first.
    """

    path: str
    data: Dataset
    parents: Sequence[Dataset] = ()

    def name(self, variable: object) -> str:
        """Return the name of a variable with its group."""
        return f"{self.path}/{variable}" if self.path else str(variable)

    def axes(self) -> Mapping[str, str]:
        """Return the dimensions that are time, y or x."""
        found = {str(name): self._axis(str(name)) for name in self.data.dims}
        return {name: axis for name, axis in found.items() if axis}

    def _axis(self, name: str) -> str | None:
        by_name = next((axis for axis, names in _DIMENSIONS.items() if name.lower() in names), None)
        if by_name is not None or name not in self.data.coords:
            return by_name
        coordinate = self.data[name]
        stated = _STANDARD_NAMES.get(str(coordinate.attrs.get("standard_name", "")))
        stated = stated or _AXES.get(str(coordinate.attrs.get("axis", "")).upper())
        return "time" if coordinate.dtype.kind == "M" else stated


@dataclass(frozen=True, eq=False)
class CubeBands:
    """Bands of one grid in one group.

    Parameters
    ----------
    group : Group
        Where they are.
    arrays : tuple of DataArray
        One that has all of them along ``axis``, or one for each.
    names : tuple of (str or None)
        Of the bands.
    axis : str or None
        ``None`` for an array a band.
    time, y, x : str
        Dimensions; no time is ``None``. Arrays without the time of the others do not change in it.
    """

    group: Group
    arrays: tuple[DataArray, ...]
    names: tuple[str | None, ...]
    axis: str | None
    time: str | None
    y: str
    x: str

    @property
    def shown(self) -> str:
        """Where they are, for messages."""
        return self.group.name(self.arrays[0].name if self.axis else "")

    def only(self, keep: Iterable[int]) -> CubeBands:
        """Return some of the bands; all of those along an axis."""
        kept = list(keep)
        if self.axis is not None:
            return self
        arrays = tuple(self.arrays[i] for i in kept)
        time = next((self.time for array in arrays if self.time in array.dims), None)
        return replace(self, arrays=arrays, names=tuple(self.names[i] for i in kept), time=time)


class Wish:
    """The bands that a source asks for; by them, variables that nobody wants are left alone.

    Parameters
    ----------
    source : ImageSource
        Names, spelled as the sensor's table knows them.
    """

    def __init__(self, source: ImageSource) -> None:
        self._source = source
        self.keys = frozenset(self._wanted(source.substitutes.get(band, band)) for band in source.bands)

    def _wanted(self, band: str) -> str:
        return band if is_quality_layer(band, self._source) else self.key(band)

    def key(self, name: str | None) -> str:
        """Return what a name of a band means."""
        text, table = (name or "").strip(), self._source.table
        known = table.canonical(text) or table.canonical(text.split(" ")[0]) if table and text else None
        return known or text

    def served(self, bands: CubeBands) -> frozenset[str]:
        """Return which wishes bands fulfil; all, where the config declares the names of as many along an axis."""
        declared = self._source.file_bands
        if bands.axis is not None and declared is not None and len(declared) == len(bands.names):
            return self.keys & {self.key(name) for name in declared}
        return self.keys & {self.key(name) for name in bands.names}

    def all_served(self, found: Iterable[CubeBands]) -> bool:
        """Whether bands fulfil all wishes together."""
        return frozenset().union(*(self.served(bands) for bands in found)) == self.keys


def find_bands(groups: Sequence[Group], source: ImageSource | None) -> list[CubeBands]:
    """Return the bands of a cube that a source asks for; all, where it asks for one that is not there.

    Parameters
    ----------
    groups : sequence of Group
        The root first.
    source : ImageSource or None
        ``None`` returns all.

    Raises
    ------
    ValueError
        If a band is in several places, or ``dataset`` names no variable with bands.
    """
    wish = None if source is None else Wish(source)
    found = [bands for group in groups for bands in _of_group(group, source, wish)]
    if wish is None or source is None or source.dataset is not None:
        return found
    return list(_each_once(found, wish)) if wish.all_served(found) else found


def _of_group(group: Group, source: ImageSource | None, wish: Wish | None) -> Iterator[CubeBands]:
    """Yield the bands of one group: along an axis, then as variables."""
    axes = group.axes()
    stacks: list[CubeBands] = []
    planes: dict[str, DataArray] = {}
    for name, array in group.data.data_vars.items():
        if not {"y", "x"} <= {axes.get(str(dim)) for dim in array.dims} or array.dtype.kind not in "uifbc":
            continue
        others = [str(dim) for dim in array.dims if str(dim) not in axes]
        long = [dim for dim in others if array.sizes[dim] > 1]
        single = array.isel(dict.fromkeys(others, 0)) if others else array
        if not long:
            planes[str(name)] = single
        if len(long) == 1 or (not long and len(others) == 1):
            axis = long[0] if long else others[0]
            stack = array.isel({dim: 0 for dim in others if dim != axis})
            stacks.append(_stack(group, stack, axis, axes, wish))
        elif len(long) > 1 and source is not None and source.dataset == group.name(name):
            msg = f"{name!r} has the dimensions {array.dims}; expected y, x, one of bands, and one of time if any."
            raise ValueError(msg)
    chosen = [] if source and source.variables else _chosen_stacks(group, stacks, planes, source, wish)
    yield from chosen
    if source is not None and source.dataset is not None:
        return
    taken = {str(bands.arrays[0].name) for bands in chosen}
    yield from _planes(group, {name: a for name, a in planes.items() if name not in taken}, axes, source, wish)


def _stack(group: Group, array: DataArray, axis: str, axes: Mapping[str, str], wish: Wish | None) -> CubeBands:
    """Bands along an axis, by the first list of names that has one of the wanted; else that of the coordinate."""
    refuse_many_bands(array.sizes[axis])
    time, y, x = (_dimension(array, axes, name) for name in ("time", "y", "x"))
    bands = CubeBands(group, (array,), (), axis, time, str(y), str(x))
    labelled = [replace(bands, names=names) for names in _labels(group.data, array, axis)]
    return next((one for one in labelled if wish and wish.served(one)), labelled[0])


def _dimension(array: DataArray, axes: Mapping[str, str], axis: str) -> str | None:
    return next((str(dim) for dim in array.dims if axes.get(str(dim)) == axis), None)


def _labels(data: Dataset, array: DataArray, axis: str) -> Iterator[tuple[str | None, ...]]:
    """Lists of names of the bands along an axis, the most usual first."""
    count = array.sizes[axis]
    yield tuple(_text(value) for value in data[axis].values) if axis in data.coords else (None,) * count
    for key in _NAME_LISTS:
        listed = array.attrs.get(key)
        if isinstance(listed, list | tuple | np.ndarray) and len(listed) == count:
            yield tuple(_text(value) for value in listed)
    for name, variable in data.variables.items():
        if variable.dims == (axis,) and name != axis and variable.dtype.kind in "OUST":
            yield tuple(_text(value) for value in variable.values)


def _text(value: object) -> str:
    return (value.decode() if isinstance(value, bytes) else str(value)).strip("\0 ")


def _chosen_stacks(
    group: Group,
    stacks: Sequence[CubeBands],
    planes: Mapping[str, DataArray],
    source: ImageSource | None,
    wish: Wish | None,
) -> list[CubeBands]:
    """Of variables with bands, those that have wanted ones; each band must be in one alone."""
    if source is None or wish is None:
        return [bands for bands in stacks if bands.arrays[0].name not in planes]
    if source.dataset is not None:
        wanted = source.dataset.strip("/")
        chosen = [bands for bands in stacks if group.name(bands.arrays[0].name) == wanted]
        if not chosen and not group.path and "/" not in wanted:
            msg = f"it has no variable {wanted!r} with bands (dataset); it has {[b.arrays[0].name for b in stacks]}."
            raise ValueError(msg)
        return chosen
    serving = [bands for bands in stacks if wish.served(bands)]
    if not serving and not wish.keys & {wish.key(name) for name in planes} and not group.path:
        serving = [bands for bands in stacks if bands.axis in ("band", "bands", "variable")] or list(stacks)
    seen: set[str] = set()
    for bands in serving:
        own = wish.served(bands) or {""}
        if seen & own:
            msg = (
                f"the variables {[str(b.arrays[0].name) for b in serving]} all have bands; name the one to read in "
                "dataset."
            )
            raise ValueError(msg)
        seen |= own
    return serving


def _planes(
    group: Group,
    planes: Mapping[str, DataArray],
    axes: Mapping[str, str],
    source: ImageSource | None,
    wish: Wish | None,
) -> Iterator[CubeBands]:
    """Variables that are bands of their own, by grid; those that do not change in time join those that do."""
    before, _, after = ((source.variables if source else None) or group.name("{band}")).strip("/").partition("{band}")
    named = {
        group.name(name).removeprefix(before).removesuffix(after): array
        for name, array in planes.items()
        if group.name(name).startswith(before) and group.name(name).endswith(after)
    }
    real = {name: a for name, a in named.items() if a.dtype.kind != "c" or (wish and wish.key(name) in wish.keys)}
    grids: dict[tuple[str | None, str | None], dict[str, DataArray]] = {}
    for name, array in (real or named).items():
        if "/" not in name:
            place = _dimension(array, axes, "y"), _dimension(array, axes, "x")
            grids.setdefault(place, {})[name] = array
    for (y, x), there in grids.items():
        arrays = there if wish is None else _wanted_or_all(there, wish)
        times = {name: _dimension(array, axes, "time") for name, array in arrays.items()}
        first = next((time for time in times.values() if time), None)
        for time in dict.fromkeys(own or first for own in times.values()):
            names = [name for name in arrays if (times[name] or first) == time]
            yield CubeBands(group, tuple(arrays[name] for name in names), tuple(names), None, time, str(y), str(x))


def _wanted_or_all(arrays: dict[str, DataArray], wish: Wish) -> dict[str, DataArray]:
    """What is wanted, if all of it is here: what else there is may be of any kind."""
    wanted = {name: array for name, array in arrays.items() if wish.key(name) in wish.keys}
    return wanted if wish.keys == {wish.key(name) for name in wanted} else arrays


def _each_once(found: Sequence[CubeBands], wish: Wish) -> Iterator[CubeBands]:
    """Yield what serves, every band once: that of the root or of what was measured, and of copies the finest.

    Raises
    ------
    ValueError
        If two groups have the same band with as many pixels.
    """
    served = [wish.served(bands) for bands in found]
    place: dict[str, int] = {}
    for key in wish.keys:
        holders = [i for i, keys in enumerate(served) if key in keys]
        first = min(_rank(found[i]) for i in holders)
        holders = sorted((i for i in holders if _rank(found[i]) == first), key=lambda i: -_pixels(found[i]))
        if len(holders) > 1 and _are_rivals(*(found[i] for i in holders[:2])):
            one, two = (found[i].shown for i in holders[:2])
            msg = (
                f"the band {key} is both in {one!r} and in {two!r}. Name the group to read: "
                f"variables: '{one.rstrip('/')}/{{band}}'."
            )
            raise ValueError(msg)
        place[key] = holders[0]
    for i, bands in enumerate(found):
        here = {key for key, holder in place.items() if holder == i}
        if here:
            yield bands.only(j for j, name in enumerate(bands.names) if wish.key(name) in here)


def _rank(bands: CubeBands) -> int:
    """The root comes first, then what was measured."""
    return 0 if not bands.group.path else 1 if _MEASURED in bands.group.path.split("/") else 2


def _are_rivals(one: CubeBands, other: CubeBands) -> bool:
    """Whether two groups have a band with as many pixels; in one group, an axis of bands goes before variables."""
    return one.group is not other.group and _pixels(one) == _pixels(other)


def _pixels(bands: CubeBands) -> int:
    sizes = bands.arrays[0].sizes
    return int(sizes[bands.y] * sizes[bands.x])
