"""The writer of the sample contract (`eo_data.dataset.contract`): samples as tensors, and samples as a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from affine import Affine
from torch.utils.data import default_collate

from eo_data.catalog.records import Record
from eo_data.dataset.contract import SampleMetadata
from eo_data.raster.georeference import compare_grids
from eo_data.raster.raster import Raster, shifted
from eo_data.raster.sample import Image, Sample, SampleError
from eo_data.sensors.units import all_finite
from eo_data.temporal.calendar_date import day_of_year

__all__ = [
    "UNOBSERVED",
    "collate",
    "countable",
    "filename",
    "image_tensors",
    "input_place",
    "metadata",
    "region_metadata",
    "target",
    "tile_metadata",
]

#: Value of the date plane of a frame that is not observed.
UNOBSERVED = -1.0
#: Decimals of places in pixels; further ones are the rounding of float64 coordinates.
_DECIMALS = 9


def image_tensors(sample: Sample, dates_as: str) -> dict[str, torch.Tensor]:
    """Return the images of a sample by modality.

    Parameters
    ----------
    sample : Sample
        After preprocessing.
    dates_as : {'dict', 'plane', 'none'}
        ``dict``: with ``<modality>_dates`` and ``<modality>_mask`` ``(T,)`` of dated images. ``plane``: with one more
        channel, the last, which holds the day of the year (0..364), or -1 in a frame that is not observed.

    Returns
    -------
    dict of str to Tensor
        Float32 ``(C, H, W)`` or ``(C, T, H, W)``.

    Raises
    ------
    SampleError
        If preprocessing has left missing values.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, image in sample.images.items():
        tensors[name] = _tensor(image, with_dates=dates_as == "plane")
        if image.dates and dates_as == "dict":
            tensors[f"{name}_dates"] = torch.tensor([day_of_year(day) for day in image.dates])
            tensors[f"{name}_mask"] = torch.from_numpy(image.observed.copy())
    return tensors


def _tensor(image: Image, *, with_dates: bool) -> torch.Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(image.raster.pixels))
    if not all_finite(image.raster.pixels):
        where = image.paths[0] if image.paths else ", ".join(image.bands)
        msg = f"{where}: values are missing after preprocessing; it has to fill them."
        raise SampleError(msg)
    series = pixels.transpose(0, 1) if image.is_series else pixels
    if not image.dates or not with_dates:
        return series.contiguous()
    days = [day_of_year(day) if seen else UNOBSERVED for day, seen in zip(image.dates, image.observed, strict=True)]
    plane = torch.tensor(days, dtype=torch.float32).view(-1, 1, 1).expand(-1, *pixels.shape[-2:])
    return torch.cat([series, plane[None] if image.is_series else plane], dim=0)


def target(sample: Sample, task: str) -> dict[str, torch.Tensor]:
    """Return ``mask`` or ``label`` of a sample.

    Parameters
    ----------
    sample : Sample
        With a label.
    task : {'segmentation', 'regression', 'classification'}
        Classes are int64, values float32.
    """
    label = sample.label
    if isinstance(label, Raster):
        plane = torch.from_numpy(np.ascontiguousarray(label.pixels[0]))
        return {"mask": plane.long() if task == "segmentation" else plane}
    if label is None:
        msg = f"{sample.id} has no label. Leave the label source out to predict without."
        raise SampleError(msg)
    if task == "classification":
        return {"label": torch.tensor(int(label))}
    return {"label": torch.tensor(float(label), dtype=torch.float32)}


def filename(sample: Sample) -> str:
    """Return the first file of the reference image; the id of a sample without files."""
    return str(sample.reference.paths[0]) if sample.reference.paths else sample.id


def countable(sample: Sample) -> Sample:
    """Give a lone image without a georeference one that counts its pixels; geometry steps update it."""
    (name, image), *others = sample.images.items()
    if others or image.raster.transform is not None:
        return sample
    return replace(sample, images={name: replace(image, raster=replace(image.raster, transform=Affine.identity()))})


def input_place(before: Sample, after: Sample) -> SampleMetadata:
    """Return where the pixels that preprocessing made lie among those of the input; nothing where that is not known.

    Parameters
    ----------
    before, after : Sample
        Before and after preprocessing; see `countable`.
    """
    old, new = before.reference.raster, after.reference.raster
    if old.transform is None or new.transform is None:
        return {}
    matrix = np.linalg.solve(_matrix(old.transform), _matrix(new.transform))
    a, b, c, d, e, f = np.round(matrix[:2], _DECIMALS).ravel()
    return {
        "to_input": torch.tensor([c, a, b, f, d, e], dtype=torch.float64),
        "input_shape": torch.tensor([old.height, old.width]),
    }


def _matrix(t: Affine) -> np.ndarray:
    return np.array([[t.a, t.b, t.c], [t.d, t.e, t.f], [0, 0, 1]], dtype=np.float64)


def metadata(sample: Sample) -> SampleMetadata:
    """Return where a sample lies and what it was made of."""
    raster = sample.reference.raster
    valid = raster.valid if raster.valid.ndim == 2 else raster.valid.any(axis=0)
    acquired = "; ".join(
        f"{name} {day.isoformat()} ({source})"
        for name, image in sample.images.items()
        for day, source in zip(image.dates, image.date_sources, strict=True)
    )
    sources = "\n".join(dict.fromkeys(str(path) for image in sample.images.values() for path in image.paths))
    found = SampleMetadata(valid=torch.from_numpy(valid.copy()), acquired=acquired, id=sample.id, sources=sources)
    if raster.transform is not None:
        found["crs"] = raster.crs or ""
        found["bounds"] = torch.tensor(raster.bounds, dtype=torch.float64)
        found["geotransform"] = torch.tensor(raster.transform.to_gdal(), dtype=torch.float64)
        found["raster_shape"] = torch.tensor([raster.height, raster.width])
    return found


def region_metadata(record: Record) -> SampleMetadata:
    """Return what of the images of a place is meant, and how they were chosen; nothing for what is no place."""
    notes = "\n".join(f"{name}: {note}" for name, own in record.notes.items() for note in own)
    return {"region": record.region, "notes": notes} if record.grids else {}


def tile_metadata(record: Record, before: Sample, after: Sample) -> SampleMetadata:
    """Return which raster a tile is of, and which share of the tile it stands for; nothing for a whole sample.

    Parameters
    ----------
    record : Record
        The sample.
    before, after : Sample
        Before and after preprocessing.

    Raises
    ------
    SampleError
        If preprocessing has changed the tile's ground.
    """
    window = record.window
    if window is None:
        return {}
    old, new = before.reference.raster, after.reference.raster
    if not compare_grids(old, new).same_ground():
        msg = (
            f"{record.id}: preprocessing crops or pads tiles of {old.height} px, so that they no longer fit "
            "together. Choose a tile that it keeps: a multiple of the patch size at the coarsest GSD."
        )
        raise SampleError(msg)
    core = torch.tensor(window.core, dtype=torch.float64) / window.side
    found: SampleMetadata = {
        "core": core,
        "raster_core": torch.tensor(window.core_in_raster),
        "raster_id": record.raster_id,
        "raster_hw": torch.tensor(window.of),
    }
    if window.reach:
        found["blended"] = torch.tensor(window.blended, dtype=torch.float64) / window.side
        found["plane"] = torch.tensor(window.plane)
    whole = shifted(old.transform, -window.left, -window.top)
    if whole is not None:
        found["raster_geotransform"] = torch.tensor(whole.to_gdal(), dtype=torch.float64)
    return found


def collate(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Make a batch; samples whose images differ in shape or modalities cannot be one.

    Returns
    -------
    dict
        The keys of `eo_data.dataset.contract.SampleEntry`: tensors with one more axis in front, texts as lists. Only
        ``id`` for samples that an export has already. ``faults``, a mapping of ids to reasons, if some cannot be used.

    Raises
    ------
    SampleError
        If they differ; the message names the samples and the remedy.
    """
    if faults := {str(entry["id"]): str(entry["fault"]) for entry in entries if "fault" in entry}:
        return collate([entry for entry in entries if "fault" not in entry]) | {"faults": faults}
    if all("image" not in entry for entry in entries):
        return {"id": [str(entry["id"]) for entry in entries]}  # nothing of them is wanted any more
    shapes = [_shapes(entry["image"]) for entry in entries]
    for entry in entries:
        if entry.keys() != entries[0].keys():
            odd = sorted(entry.keys() ^ entries[0].keys())
            msg = (
                f"{entries[0]['filename']} and {entry['filename']} cannot be one batch: only one of them has "
                f"{', '.join(odd)}. Do all files have a georeference? Use batch_size: 1, or georeference: never."
            )
            raise SampleError(msg)
    for entry, own in zip(entries, shapes, strict=True):
        if own != shapes[0]:
            msg = (
                f"Samples of different shapes cannot be one batch: {entries[0]['filename']} has {shapes[0]}, "
                f"{entry['filename']} has {own}. Use batch_size: 1, a crop in the transforms, or a fixed number of "
                "frames."
            )
            raise SampleError(msg)
    return default_collate(list(entries))


def _shapes(image: torch.Tensor | Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]] | tuple[int, ...]:
    if isinstance(image, Mapping):
        return {name: tuple(value.shape) for name, value in image.items()}
    return tuple(image.shape)
