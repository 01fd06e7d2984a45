"""Labels: class rasters, value rasters and scalars, checked against what the config declares."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from rasterio.errors import RasterioError

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record
from eo_data.catalog.sources import LabelSource, Task
from eo_data.raster.georeference import HALF_A_PIXEL, PixelGrid, compare_grids
from eo_data.raster.raster import Raster
from eo_data.raster.sample import IGNORED, Image, SampleError
from eo_data.readers.files import reader_of
from eo_data.readers.formats.file_raster import LabelLayer


def read_label(record: Record, source: LabelSource, task: Task, reference: Image | None) -> Raster | float | int | None:
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

    Returns
    -------
    Raster, float, int or None
        Float32 ``(1, H, W)`` with -1 where there is no label; a class; a value; ``None`` without a label.

    Raises
    ------
    SampleError
        For an unreadable file, another grid than the image, values outside the classes, or no label at all in it.
    """
    if record.label is None:
        return None
    if not isinstance(record.label, Href):
        return _scalar(record, record.label, source, task)
    if task == "classification":
        msg = f"{record.id}: classification needs one class per sample, got the raster {record.label}."
        raise SampleError(msg)
    layer = _read(record.label, source.layer)
    transform, crs = layer.transform, layer.crs
    if reference is not None:
        _check_grid(record, layer, reference)
        transform, crs = transform or reference.raster.transform, crs or reference.raster.crs
    values, missing = layer.values, layer.missing
    missing = missing | np.isin(values, np.asarray(source.ignore, dtype=np.float64))
    if missing.all():
        msg = f"{record.id}: the label {record.label} holds no label: all pixels are no-data or listed in ignore."
        raise SampleError(msg)
    if task == "segmentation":
        values, missing = _classes(record, values, missing, source)
    pixels = np.where(missing, np.float32(IGNORED), values).astype(np.float32)
    return Raster(pixels[None], ~missing, transform, crs)


def _read(href: Href, layer: int | None) -> LabelLayer:
    try:
        return reader_of(href).label(href, layer)
    except (RasterioError, OSError) as error:
        msg = f"The label {href} cannot be read: {error}. The file may be truncated; copy it again."
        raise SampleError(msg) from error
    except ValueError as error:
        msg = f"The label {href} cannot be used: {error}"
        raise SampleError(msg) from error


def _check_grid(record: Record, layer: LabelLayer, reference: Image) -> None:
    raster = reference.raster
    if layer.values.shape != (raster.height, raster.width):
        msg = (
            f"{record.id}: the label {record.label} has {layer.values.shape} pixels, the image {raster.height} x "
            f"{raster.width} (height x width). They must lie on one grid."
        )
        raise SampleError(msg)
    if layer.transform is None or raster.transform is None:
        return
    label = replace(raster, transform=layer.transform)
    found = compare_grids(PixelGrid(raster.height, raster.width, layer.transform, layer.crs), raster)
    if found.same_crs is False:
        msg = f"{record.id}: the label {record.label} has another CRS than the image. Warp it to the image's grid."
        raise SampleError(msg)
    if not found.same_grid(HALF_A_PIXEL):
        msg = (
            f"{record.id}: the label {record.label} covers {label.bounds}, the image {raster.bounds} (left, bottom, "
            "right, top), or their rows run in opposite directions: they show different ground. Check which files "
            "belong together."
        )
        raise SampleError(msg)


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
        return float(value)
    new = source.remap.get(int(value), -1 if source.remap else int(value)) if float(value).is_integer() else -1
    if not 0 <= new < (source.classes or new + 1):
        highest = "" if source.classes is None else str(source.classes - 1)
        covered = f", after remap of {sorted(source.remap)}" if source.remap else ""
        msg = f"{record.id}: the label is {value!r}, expected a class 0..{highest}{covered}."
        raise SampleError(msg)
    return new
