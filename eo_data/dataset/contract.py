"""What a sample and a batch hold: the keys, their types, shapes and units.

`eo_data.dataset.batch` writes these entries, `eo_data.dataset.sample_grid` reads them back into places on the map, and
the callbacks and tasks that write files go through it. Shapes: B samples, C channels, T frames, H x W pixels.

In a batch every text becomes a list of B texts, and every tensor has one more axis of length B in front.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Required, TypedDict

import torch


class SampleMetadata(TypedDict, total=False):
    """Where a sample lies and what it was made of; TerraTorch's tasks hand it on to models that take it."""

    #: Id of the sample, unique in the data set.
    id: str
    #: Files of the input, one on each line.
    sources: str
    #: Every file that was read for the sample, with its state just before, and the dates that were stated: JSON, see
    #: `eo_data.dataset.sample_reader.Inputs.state`.
    inputs: str
    #: Dates and where they came from: ``S2 2020-12-31 (name); S2 2021-01-15 (index)``.
    acquired: str
    #: Bool ``(H, W)``: pixels that were observed, in a series in any frame.
    valid: torch.Tensor
    #: Float64 ``(6,)``: affine transform in GDAL's order, from (column, row) of the pixels in ``image`` to those of the
    #: input before preprocessing. This key and the next are missing where several images have no transform.
    to_input: torch.Tensor
    #: Int64 ``(2,)``: rows and columns of the input.
    input_shape: torch.Tensor
    #: WKT; empty if it is not known. This key and the next three are missing without an affine transform.
    crs: str
    #: Float64 ``(4,)``: left, bottom, right, top of the pixels in ``image``, in CRS units.
    bounds: torch.Tensor
    #: Float64 ``(6,)``: affine transform of the pixels in ``image`` in GDAL's order.
    geotransform: torch.Tensor
    #: Int64 ``(2,)``: rows and columns of ``image``.
    raster_shape: torch.Tensor
    #: Float64 ``(4,)``: top, left, bottom, right of what a tile stands for, as shares (0..1) of its side. This key and
    #: the next four are there for tiles only.
    core: torch.Tensor
    #: Int64 ``(4,)``: first row and column of that part in the raster, and those after its last.
    raster_core: torch.Tensor
    #: Id of the raster that a tile is of.
    raster_id: str
    #: Int64 ``(2,)``: rows and columns of that raster.
    raster_hw: torch.Tensor
    #: Float64 ``(6,)``: its affine transform in GDAL's order; missing without one.
    raster_geotransform: torch.Tensor
    #: Float64 ``(4,)``: as ``core``, of what is blended with the tiles around. This key and the next are there only
    #: for tiles that are blended.
    blended: torch.Tensor
    #: Int64: which of four planes a tile is of; those of one plane are not blended with each other.
    plane: torch.Tensor
    #: Of a place: WKT of what of the image is meant, in its CRS; all of it if empty.
    region: str
    #: Of a place: what a user must know of how its scenes were chosen, a line each; empty if nothing.
    notes: str


class SampleEntry(SampleMetadata, total=False):
    """All that a data set yields for one sample."""

    #: Float32 ``(C, H, W)`` or ``(C, T, H, W)``; or a mapping of them by modality, with ``<modality>_dates`` int64
    #: ``(T,)`` (day of the year, 0..364) and ``<modality>_mask`` bool ``(T,)`` (observed frames).
    image: Required[torch.Tensor | Mapping[str, torch.Tensor]]
    #: First file of the reference image; the id of a sample without files.
    filename: Required[str]
    #: Label raster ``(H, W)``: int64 classes with -1 ignored, or float32 values.
    mask: torch.Tensor
    #: Label of the whole sample: an int64 class, or a float32 value.
    label: torch.Tensor


#: Keys that tell where a sample lies and what it was made of.
METADATA_KEYS = tuple(SampleMetadata.__annotations__)
#: Keys that TerraTorch's tasks do not hand to the model as further arguments.
NOT_FOR_MODEL = frozenset(("image", "mask", "label", "filename"))


def extras_of(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a batch that an encoder gets beside its image, such as dates."""
    return {key: value for key, value in batch.items() if key not in NOT_FOR_MODEL and key not in METADATA_KEYS}
