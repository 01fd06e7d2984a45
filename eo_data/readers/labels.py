"""Labels: class rasters, value rasters and scalars, checked against what the config declares."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from affine import Affine

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record
from eo_data.catalog.sources import LabelSource, Task
from eo_data.raster.georeference import HALF_A_PIXEL, PixelGrid, compare_grids
from eo_data.raster.raster import Raster
from eo_data.raster.sample import IGNORED, Image, SampleError
from eo_data.readers.files import opened
from eo_data.readers.formats.facts import BandFacts, OpenLayer, Part
from eo_data.readers.formats.file_raster import chosen_layer, reading_errors
from eo_data.readers.formats.limits import USUAL, Limits
from eo_data.readers.grids.differences import refuse_unplaced
from eo_data.readers.grids.regrid import needed_part, read_on_grid

#: Whole numbers below it are exact in float32, in which rasters are resampled.
_EXACT = 2**24


def read_label(
    record: Record, source: LabelSource, task: Task, reference: Image | None, limits: Limits = USUAL
) -> Raster | float | int | None:
    """Read the label of a sample.

    Parameters
    ----------
    record : Record
        The sample.
    source : LabelSource
        Classes, values to ignore, remapping.
    task : {'segmentation', 'regression', 'classification'}
        What the label is. Regression takes rasters or one value per sample.
    reference : Image or None
        The image that a label raster must lie on; ``None`` leaves that unchecked, to look at labels alone.
    limits : Limits
        What reading may touch.

    Returns
    -------
    Raster, float, int or None
        Float32 ``(1, H, W)`` with -1 where there is no label; a class; a value; ``None`` without a label.

    Raises
    ------
    SampleError
        For an unreadable or too large file, another grid than the image, values outside the classes, or no label at
        all in it.
    """
    if record.label is None:
        return None
    if not isinstance(record.label, Href):
        return _scalar(record, record.label, source, task)
    if task == "classification":
        msg = f"{record.id}: classification needs one class per sample, got the raster {record.label}."
        raise SampleError(msg)
    # Of a place, a label is read where its first modality is; so is a map of many places.
    grid = next(iter(record.grids.values()), None)
    with reading_errors(record.label, "The label "):
        return _raster(record, _read(record.label, source, limits, grid), source, task, reference)


def _raster(record: Record, layer: LabelLayer, source: LabelSource, task: Task, reference: Image | None) -> Raster:
    """Return the label of a file as what is learned."""
    if reference is not None:
        layer = _on_image(record, layer, reference)
    values, missing = layer.values, layer.missing | np.isin(layer.values, np.asarray(source.ignore, dtype=np.float64))
    if missing.all():
        msg = f"{record.id}: the label {record.label} holds no label: all pixels are no-data or listed in ignore."
        raise SampleError(msg)
    if task == "segmentation":
        _refuse_swallowed_class(record, layer)
        _refuse_scaled_classes(record, layer, source)
        values, missing = _classes(record, values, missing, source)
    else:
        _refuse_fill_values(record, values[~missing], source)
        values = _scaled(values, layer.facts)
        _refuse_overflow(record, values[~missing])
    missing = _where_image_is_missing(record, missing, reference)
    pixels = np.where(missing, np.float32(IGNORED), values).astype(np.float32)
    return Raster(pixels[None], ~missing, layer.transform, layer.crs)


@dataclass(frozen=True, eq=False)
class LabelLayer:
    """The label in a file.

    Parameters
    ----------
    values : ndarray, (H, W), float64
        As stored; of CF's packed numbers, what they stand for.
    missing : ndarray, (H, W), bool
        Where the file says that there is no label.
    transform : affine.Affine or None
        From (column, row) of the pixels to map coordinates.
    crs : str or None
        Coordinate reference system as WKT.
    facts : BandFacts
        What the file says of the numbers, as far as reading has not used it up.
    points : str
        What says where the pixels lie, if it is no transform: see `eo_data.readers.formats.facts.FileFacts`.
    swallowed : mapping of float to int
        Classes that are also the number for "no data", and how many pixels have it.
    """

    values: np.ndarray
    missing: np.ndarray
    transform: Affine | None = None
    crs: str | None = None
    facts: BandFacts = field(default_factory=BandFacts)
    points: str = ""
    swallowed: Mapping[float, int] = field(default_factory=dict)


def _read(href: Href, source: LabelSource, limits: Limits = USUAL, place: PixelGrid | None = None) -> LabelLayer:
    """Read the layer of a file that holds a label; missing is where whatever the file has for it says so.

    On the grid of a place, a pixel has the label in which its centre lies, and none outside of the file.
    """
    with opened(href, None, limits, "The label ") as layers:
        return _layer(layers, source, limits, place)


def _layer(layers: Sequence[OpenLayer], source: LabelSource, limits: Limits, place: PixelGrid | None) -> LabelLayer:
    places = [(layer, i) for layer in layers for i in range(len(layer.facts.bands)) if i != layer.facts.alpha]
    layer, position = places[chosen_layer(len(places), source.layer)]
    facts = layer.facts.bands[position]
    grid = layer.facts.grid if place is None else place
    part = Part(0, 0, grid.height, grid.width)
    if place is not None:
        refuse_unplaced(layer.facts.grid)
        part = needed_part(layer.facts.grid, place, "nearest") or part
    count = part.height * part.width * (layer.facts.frames or 1)
    limits.refuse_large(count * (8 + np.dtype(facts.dtype).itemsize), f"it has {part.height} x {part.width} pixels and")

    def read(nodata: float | None) -> np.ndarray:
        if place is None:
            return layer.stored([position], part, nodata=nodata, dtype=np.float64)
        return _on_place(layer, position, place, nodata)

    values = read(source.nodata)
    if values.ndim != 3:
        msg = f"it has a time axis of {len(values)}, expected one label. Write a file for each date."
        raise ValueError(msg)
    packed = layer.facts.packing == "cf" and facts.is_scaled
    stated = _scaled(np.asarray(facts.nodata, dtype=np.float64), facts) if packed else facts.nodata
    meant = dict(zip(facts.nodata, map(float, stated), strict=True))
    hidden = [value for value in facts.nodata if source.nodata is None and _is_class(meant[value], source)]
    swallowed: dict[float, int] = {}
    if hidden:
        there = read(math.nan)
        swallowed = {meant[value]: int((there == value).sum()) for value in hidden}
    plane, missing = values[0], ~np.isfinite(values[0])
    if packed:
        # Rounded, because 3 * 0.1 is no whole number.
        plane, facts = _scaled(plane, facts), replace(facts, scale=None, offset=None)
        near = np.round(plane)
        plane = np.where(np.abs(plane - near) < 1e-9, near, plane)
    points = layer.facts.points if place is None else ""
    return LabelLayer(plane, missing, grid.transform, grid.crs, facts, points, swallowed)


def _on_place(layer: OpenLayer, position: int, place: PixelGrid, nodata: float | None) -> np.ndarray:
    """Read a band on the grid of a place by nearest neighbour, float64 ``(1, H, W)``."""
    values = read_on_grid(layer, [position], place, Part(0, 0, place.height, place.width), "nearest", nodata=nodata)
    if np.nanmax(np.abs(values), initial=0.0) >= _EXACT and not layer.facts.bands[position].dtype.startswith("float"):
        msg = f"it holds numbers from {_EXACT} on, which are not exact on the grid of a place. Number the classes anew."
        raise ValueError(msg)
    return values.astype(np.float64)


def _is_class(value: float, source: LabelSource) -> bool:
    """Whether a value of the file is one of the classes."""
    if source.classes is None or value in set(source.ignore) or not float(value).is_integer():
        return False
    new = source.remap.get(int(value), -1) if source.remap else int(value)
    return 0 <= new < source.classes


def _refuse_swallowed_class(record: Record, layer: LabelLayer) -> None:
    for value, count in layer.swallowed.items():
        if count:
            msg = (
                f"{record.id}: the label {record.label} states {value:g} as no-data, which is also a class; its "
                f"{count} pixels of {layer.values.size} would be ignored, and the class never learned. Add {value:g} "
                "to ignore if it means that there is no label, or set nodata: .nan if it is a class."
            )
            raise SampleError(msg)


def _refuse_scaled_classes(record: Record, layer: LabelLayer, source: LabelSource) -> None:
    facts = layer.facts
    if facts.is_scaled and not source.remap:
        scale, offset = 1.0 if facts.scale is None else facts.scale, facts.offset or 0.0
        msg = (
            f"{record.id}: the label {record.label} states that its numbers stand for number * {scale:g} + {offset:g}, "
            "but classes are whole numbers as stored. Take scale and offset out of the file's tags, or state by remap "
            "which stored number is which class."
        )
        raise SampleError(msg)


#: Numbers for no data that are no measurements of anything on the ground, and from where on no number is.
_FILL_VALUES, _HUGE = (-9999.0, -32768.0, -99999.0), 1e19
_LARGEST = float(np.finfo(np.float32).max)


def _is_fill_value(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.isin(values, _FILL_VALUES) | (np.abs(values) >= _HUGE))


def _refuse_fill_values(record: Record, observed: np.ndarray, source: LabelSource) -> None:
    """Refuse targets of -9999 and the like that neither file nor config declares: they would be learned."""
    if source.nodata is not None or not observed.size:
        return
    found = _is_fill_value(observed)
    if found.any():
        values, counts = np.unique(observed[found], return_counts=True)
        value = values[counts.argmax()]
        text = f"{value:.0f}" if abs(value) < _HUGE else repr(float(value))
        msg = (
            f"{record.id}: the label {record.label} holds {text} in {counts.max()} of {observed.size} pixels, a usual "
            f"number for no data, which the file does not declare as such. State nodata: {text} in the label source, "
            "or nodata: .nan if it is a value."
        )
        raise SampleError(msg)


def _refuse_overflow(record: Record, observed: np.ndarray) -> None:
    """Refuse targets that are infinite in float32, in which losses are computed: one makes all weights NaN."""
    largest = float(np.abs(observed).max(initial=0.0))
    if not largest <= _LARGEST:
        msg = (
            f"{record.id}: the label {record.label} has the value {largest:g}, which is no number in float32. State it "
            "as nodata in the label source if it means that there is no label, or bring the values to another unit."
        )
        raise SampleError(msg)


def _scaled(values: np.ndarray, facts: BandFacts) -> np.ndarray:
    """Numbers in the unit that the file states by scale and offset."""
    if not facts.is_scaled:
        return values
    return values * (1.0 if facts.scale is None else facts.scale) + (facts.offset or 0.0)


def _on_image(record: Record, layer: LabelLayer, reference: Image) -> LabelLayer:
    """Return the label with the rows and columns of the image, or refuse it.

    A label whose rows run the other way over the same ground is turned. Without a transform it is taken to lie on the
    pixels of the image as they come.
    """
    raster = reference.raster
    if layer.values.shape != (raster.height, raster.width):
        msg = (
            f"{record.id}: the label {record.label} has {layer.values.shape} pixels, the image {raster.height} x "
            f"{raster.width} (height x width). They must lie on one grid."
        )
        raise SampleError(msg)
    if layer.points and raster.transform is not None:
        msg = (
            f"{record.id}: only {layer.points} say where the pixels of the label {record.label} lie, but the image has "
            "a transform. Warp the label to the image's grid (gdalwarp)."
        )
        raise SampleError(msg)
    if layer.transform is None or raster.transform is None:
        return replace(layer, transform=layer.transform or raster.transform, crs=layer.crs or raster.crs)
    for turned in _turned(layer):
        found = compare_grids(PixelGrid(raster.height, raster.width, turned.transform, layer.crs), raster)
        if found.same_crs is False:
            msg = f"{record.id}: the label {record.label} has another CRS than the image. Warp it to the image's grid."
            raise SampleError(msg)
        if found.same_grid(HALF_A_PIXEL):
            return replace(turned, crs=layer.crs or raster.crs)
    covers = replace(raster, transform=layer.transform).bounds
    without = "" if layer.crs else " It states no CRS; its transform counts all the same."
    msg = (
        f"{record.id}: the label {record.label} covers {covers}, the image {raster.bounds} (left, bottom, right, top): "
        f"they show different ground.{without} Check which files belong together."
    )
    raise SampleError(msg)


def _turned(layer: LabelLayer) -> Iterator[LabelLayer]:
    """Yield the label as it is, and with rows, columns and both in the opposite order over the same ground."""
    height, width = layer.values.shape
    for rows in (1, -1):
        for columns in (1, -1):
            place = layer.transform
            if place is not None and columns < 0:
                t = place
                place = Affine(-t.a, t.b, t.c + t.a * width, -t.d, t.e, t.f + t.d * width)
            if place is not None and rows < 0:
                t = place
                place = Affine(t.a, -t.b, t.c + t.b * height, t.d, -t.e, t.f + t.e * height)
            turned = (slice(None, None, rows), slice(None, None, columns))
            yield replace(layer, values=layer.values[turned], missing=layer.missing[turned], transform=place)


def _where_image_is_missing(record: Record, missing: np.ndarray, reference: Image | None) -> np.ndarray:
    """Leave out labels where the image shows nothing in any frame: there is nothing to learn them from.

    Raises
    ------
    SampleError
        If no label is left.
    """
    if reference is None:
        return missing
    valid = reference.raster.valid
    both = missing | ~(valid.any(axis=0) if valid.ndim == 3 else valid)
    if both.all():
        msg = (
            f"{record.id}: the image has no data wherever the label {record.label} has one ({int((~missing).sum())} "
            "pixels). Check which files belong together, or leave the sample out."
        )
        raise SampleError(msg)
    return both


def _classes(
    record: Record, values: np.ndarray, missing: np.ndarray, source: LabelSource
) -> tuple[np.ndarray, np.ndarray]:
    """Classes 0..n-1, remapped and checked, and where there are none."""
    result = values
    if source.remap:
        result = np.full(values.shape, -2, dtype=np.int64)
        for value, new in source.remap.items():
            result[values == int(value)] = int(new)
        # Values to ignore are those of the file; a class may well have the number of one of them.
        missing = missing | (result == int(IGNORED))
    observed = result[~missing]
    if source.classes is None:
        msg = "Segmentation needs the number of classes: set classes in the label source."
        raise SampleError(msg)
    wrong = np.unique(np.concatenate([observed[observed < 0], observed[observed >= source.classes]]))
    if wrong.size == 0 and observed.dtype.kind == "f":
        wrong = np.unique(observed[observed != np.floor(observed)])
    if wrong.size:
        listed = sorted({float(value) for value in values[~missing & np.isin(result, wrong)]})[:8]
        covered = f" remap covers {sorted(source.remap)}." if source.remap else ""
        msg = (
            f"{record.id}: the label {record.label} holds {listed}, expected classes 0..{source.classes - 1}. Set "
            f"classes, remap values to classes, or list them in ignore.{covered}"
        )
        raise SampleError(msg)
    return result, missing


def _scalar(record: Record, value: float, source: LabelSource, task: Task) -> float | int:
    if task == "segmentation":
        msg = f"{record.id}: segmentation needs a label raster, got {value!r}."
        raise SampleError(msg)
    if not math.isfinite(value):
        msg = f"{record.id}: the label is {value!r}, expected a number."
        raise SampleError(msg)
    if task == "regression":
        if source.nodata is None and _is_fill_value(np.asarray(value)):
            msg = (
                f"{record.id}: the label is {value:g}, a usual number for no data. Leave the label of such a sample "
                "empty, or set nodata: .nan in the label source if it is a value."
            )
            raise SampleError(msg)
        _refuse_overflow(record, np.asarray([value]))
        return float(value)
    new = source.remap.get(int(value), -1 if source.remap else int(value)) if float(value).is_integer() else -1
    if not 0 <= new < (source.classes or new + 1):
        highest = "" if source.classes is None else str(source.classes - 1)
        covered = f", after remap of {sorted(source.remap)}" if source.remap else ""
        msg = f"{record.id}: the label is {value!r}, expected a class 0..{highest}{covered}."
        raise SampleError(msg)
    return new
