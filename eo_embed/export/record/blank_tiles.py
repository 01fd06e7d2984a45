"""Tiles of a raster in which nothing was observed: they are not encoded, and are no failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch

from eo_data.dataset.sample_grid import SampleGrid
from eo_embed.export.record.ledger import Ledger
from eo_embed.export.record.manifest import Manifest


def without_blank_tiles(
    batch: Mapping[str, Any], samples: Sequence[SampleGrid]
) -> tuple[Mapping[str, Any], list[SampleGrid], list[SampleGrid]]:
    """Take tiles out of a batch of whose part of the raster nothing was observed.

    Parameters
    ----------
    batch : mapping
        What a data loader yields.
    samples : sequence of SampleGrid
        Its samples, in order.

    Returns
    -------
    mapping, list of SampleGrid, list of SampleGrid
        The batch and the samples without those tiles; those tiles.
    """
    kept = [i for i, sample in enumerate(samples) if not (sample.raster_id and sample.is_blank)]
    if len(kept) == len(samples):
        return batch, list(samples), []
    blank = [sample for i, sample in enumerate(samples) if i not in set(kept)]
    rows = {key: _rows(value, kept) for key, value in batch.items() if key != "faults"}
    return rows, [samples[i] for i in kept], blank


def rasters_with_data(manifest: Manifest, ledger: Ledger) -> set[str]:
    """Return the ids of rasters of which at least one tile is there."""
    return {str(entry.get("raster_id", "")) for entry in chain(manifest.items(), ledger.inputs())}


def _rows(value: Any, kept: Sequence[int]) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):
        return {key: _rows(own, kept) for key, own in value.items()}
    return value[torch.tensor(kept, dtype=torch.int64)] if isinstance(value, torch.Tensor) else [value[i] for i in kept]
