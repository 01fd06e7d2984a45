"""The entries of a batch: how a sample becomes tensors, and how samples become a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from eo_data.catalog.records import Record
from eo_data.raster.georeference import compare_grids
from eo_data.raster.sample import Image, Sample, SampleError
from eo_data.sensors.units import all_finite
from eo_data.temporal.calendar_date import day_of_year

#: Entries that tell where a sample lies and what it was made of, which TerraTorch's tasks hand to the model.
METADATA_KEYS = (
    *("id", "sources", "acquired", "valid", "crs", "bounds", "geotransform", "raster_shape"),
    *("core", "raster_id", "raster_hw"),
)


#: Value of the date plane of a frame that is not observed.
UNOBSERVED = -1.0


def _part(record: Record, before: Sample, after: Sample) -> dict[str, Any]:
    """Which raster a tile is of, and which share of the tile (top, left, bottom, right in 0..1) it stands for.

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
    return {"core": core, "raster_id": record.raster_id, "raster_hw": torch.tensor(window.of)}


def _tensor(image: Image, dates_as: str) -> torch.Tensor:
    """``(C, H, W)`` or ``(C, T, H, W)``, the date plane last among the channels."""
    pixels = torch.from_numpy(np.ascontiguousarray(image.raster.pixels))
    if not all_finite(image.raster.pixels):
        where = image.paths[0] if image.paths else ", ".join(image.bands)
        msg = f"{where}: values are missing after preprocessing; it has to fill them."
        raise SampleError(msg)
    series = pixels.transpose(0, 1) if image.is_series else pixels
    if not image.dates or dates_as != "plane":
        return series.contiguous()
    days = [day_of_year(day) if seen else UNOBSERVED for day, seen in zip(image.dates, image.observed, strict=True)]
    plane = torch.tensor(days, dtype=torch.float32).view(-1, 1, 1).expand(-1, *pixels.shape[-2:])
    return torch.cat([series, plane[None] if image.is_series else plane], dim=0)


def _name(sample: Sample) -> str:
    return str(sample.reference.paths[0]) if sample.reference.paths else sample.id


def _located(sample: Sample) -> dict[str, Any]:
    raster = sample.reference.raster
    valid = raster.valid if raster.valid.ndim == 2 else raster.valid.any(axis=0)
    acquired = "; ".join(
        f"{name} {day.isoformat()} ({source})"
        for name, image in sample.images.items()
        for day, source in zip(image.dates, image.date_sources, strict=True)
    )
    located: dict[str, Any] = {"valid": torch.from_numpy(valid.copy()), "acquired": acquired, "id": sample.id}
    located["sources"] = "\n".join(dict.fromkeys(str(path) for image in sample.images.values() for path in image.paths))
    if raster.transform is None:
        return located
    return located | {
        "crs": raster.crs or "",
        "bounds": torch.tensor(raster.bounds, dtype=torch.float64),
        "geotransform": torch.tensor(raster.transform.to_gdal(), dtype=torch.float64),
        "raster_shape": torch.tensor([raster.height, raster.width]),
    }


def collate(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Make a batch; samples whose images differ in shape or modalities cannot be one.

    Raises
    ------
    SampleError
        If they differ; the message names the samples and the remedy.
    """
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
