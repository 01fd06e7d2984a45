"""Labels: class rasters, value rasters and scalars, checked against what the config declares."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.errors import RasterioError

from eo_data.catalog.records import Record
from eo_data.catalog.sources import LabelSource
from eo_data.raster.georeference import HALF_A_PIXEL, PixelGrid, compare_grids
from eo_data.raster.raster import Raster
from eo_data.raster.sample import IGNORED, Image, SampleError
from eo_data.readers.npy import NPY, chosen_layer, read_npy_layer

TASKS = ("segmentation", "regression", "classification")


def read_label(record: Record, source: LabelSource, task: str, reference: Image | None) -> Raster | float | int | None:
    """Read the label of a sample.

    Parameters
    ----------
    record : Record
        The sample.
    source : LabelSource
        Classes, values to ignore, remapping.
    task : {'segmentation', 'regression', 'classification'}
        What is learned. Regression takes rasters or one value per sample.
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
    if not isinstance(record.label, Path):
        return _scalar(record, source, task)
    if task == "classification":
        msg = f"{record.id}: classification needs one class per sample, got the raster {record.label}."
        raise SampleError(msg)
    values, missing, transform, crs = _read(record.label, source.layer)
    if reference is not None:
        _check_grid(record, values, transform, crs, reference)
        transform, crs = transform or reference.raster.transform, crs or reference.raster.crs
    missing |= np.isin(values, np.asarray(source.ignore, dtype=np.float64))
    if missing.all():
        msg = f"{record.id}: the label {record.label} holds no label: all pixels are no-data or listed in ignore."
        raise SampleError(msg)
    if task == "segmentation":
        values = _classes(record, values, missing, source)
    pixels = np.where(missing, np.float32(IGNORED), values).astype(np.float32)
    return Raster(pixels[None], ~missing, transform, crs)


def _read(path: Path, layer: int | None) -> tuple[np.ndarray, np.ndarray, Affine | None, str | None]:
    """Values ``(H, W)``, where they are missing, and the georeference."""
    try:
        if path.suffix.lower() == NPY:
            values = read_npy_layer(path, layer)
            return values, _not_finite(values), None, None
        with rasterio.open(path) as file:
            values = file.read(chosen_layer(file.count, layer) + 1)
            missing = _not_finite(values)
            if file.nodata is not None and np.isfinite(file.nodata):
                missing |= values == file.nodata
            located = file.crs is not None
            return values, missing, file.transform if located else None, file.crs.to_wkt() if located else None
    except (RasterioError, OSError) as error:
        msg = f"The label {path} cannot be read: {error}. The file may be truncated; copy it again."
        raise SampleError(msg) from error
    except ValueError as error:
        msg = f"The label {path} cannot be used: {error}"
        raise SampleError(msg) from error


def _not_finite(values: np.ndarray) -> np.ndarray:
    return ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(values.shape, dtype=bool)


def _check_grid(
    record: Record, values: np.ndarray, transform: Affine | None, crs: str | None, reference: Image
) -> None:
    raster = reference.raster
    if values.shape != (raster.height, raster.width):
        msg = (
            f"{record.id}: the label {record.label} has {values.shape} pixels, the image {raster.height} x "
            f"{raster.width} (height x width). They must lie on one grid."
        )
        raise SampleError(msg)
    if transform is None or raster.transform is None:
        return
    label = replace(raster, transform=transform)
    found = compare_grids(PixelGrid(raster.height, raster.width, transform, crs), raster)
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


def _classes(record: Record, values: np.ndarray, missing: np.ndarray, source: LabelSource) -> np.ndarray:
    """Classes 0..n-1, remapped and checked."""
    result = values
    if source.remap:
        result = np.full(values.shape, -2, dtype=np.int64)
        for value, new in source.remap.items():
            result[values == int(value)] = int(new)
        # Values to ignore are those of the file; a class may well have the number of one of them.
        missing |= result == int(IGNORED)
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
    return result


def _scalar(record: Record, source: LabelSource, task: str) -> float | int:
    value = record.label
    if task == "segmentation" or isinstance(value, Path) or value is None:
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
