"""The last step of an export: what all processes wrote becomes one table and one manifest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from eo_embed.export.flow.summary import Counts
from eo_embed.export.folder import check_complete
from eo_embed.export.record.ledger import Ledger, written_state
from eo_embed.export.record.manifest import Manifest
from eo_embed.export.settings import ExportSettings
from eo_embed.writers.layout import POOLED
from eo_embed.writers.merging import merge
from eo_embed.writers.rasters.makers import finish_raster, work_of


def complete(
    settings: ExportSettings,
    manifest: Manifest,
    ledger: Ledger,
    failures: Sequence[Mapping[str, str]],
    counts: Counts,
    dimensions: int = 0,
    gsd: float = 0.0,
    data_set: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """Merge parts and tiles, complete the manifest, and remove the record of the run.

    Parameters
    ----------
    settings : ExportSettings
        What was exported.
    manifest, ledger : Manifest, Ledger
        Of the export; all entries are written.
    failures : sequence of mapping
        Of all processes, as `eo_embed.export.record.failures.Failures.merge` gives them.
    counts : Counts
        Sum of the counts of all processes.
    dimensions : int
        Numbers in a vector; 0 where this process has written none.
    gsd : float
        Side of a grid cell in metres where it has written one, as of the last item; 0 if there are no cells.
    data_set : mapping, optional
        Which data set it is of, see `eo_embed.export.facts.data_set_of`.

    Returns
    -------
    dict of str to int
        The counts that the manifest tells.

    Raises
    ------
    ValueError
        If rows, grids and the record of finished items do not agree; the export is then not complete.
    """
    folder = manifest.folder
    known = manifest.is_complete and ledger.adds_nothing_to(manifest)
    inputs, written = (list(manifest.items()), manifest.written) if known else _merged(folder, settings, ledger)
    shown = {
        "done": counts.done,
        "skipped": counts.skipped,
        **({"blank": counts.blank} if counts.blank else {}),
        "failed": len(failures),
        "cells": counts.cells,
        "bytes": _bytes(folder, inputs, written),
    }
    if not known or failures != manifest.content["failures"]:
        if data_set is not None:
            manifest.move_to(data_set)
        stac = settings.stac(*_described(folder, settings, inputs, dimensions, gsd))
        manifest.complete(shown, inputs, failures, stac, written)
    ledger.close()
    return shown


def _merged(
    folder: Path, settings: ExportSettings, ledger: Ledger
) -> tuple[list[dict[str, Any]], Mapping[str, Mapping[str, int]]]:
    """Merge parts and tiles, and compare all that is there; return the items, and states of what they share."""
    rows = ledger.rows()
    if settings.writes_vectors:
        merge(folder, folder / POOLED, wanted=rows, before=lambda partial: ledger.will_write(POOLED, partial))
    made = [_raster(folder, settings, ledger, *raster, tiles) for raster, tiles in sorted(ledger.rasters().items())]
    inputs = ledger.inputs()
    check_complete(folder, settings, inputs)
    ledger.remove_outdated()
    return inputs, {file: written_state(folder / file) for file in [*made, *([POOLED] if rows else [])]}


def _raster(
    folder: Path, settings: ExportSettings, ledger: Ledger, raster: str, layer: str, tiles: Sequence[Mapping[str, Any]]
) -> str:
    """Make the file of a raster of its tiles, unless it is finished; return its name."""
    if work_of(folder, tiles[0]).exists:
        return finish_raster(folder, settings.format, raster, layer, tiles, ledger.will_write)
    return settings.format.path(folder, raster, layer).relative_to(folder).as_posix()


def _bytes(folder: Path, inputs: Iterable[Mapping[str, Any]], shared: Mapping[str, Mapping[str, int]]) -> int:
    """Return how much was written; of exports of version 0.1 sizes are not recorded."""
    sizes: dict[str, int] = {file: state["size"] for file, state in shared.items()}
    for entry in inputs:
        recorded = entry.get("written", {})
        for file in entry["files"]:
            if file in recorded:
                sizes[file] = recorded[file]["size"]
            elif file not in sizes:
                sizes[file] = (folder / file).stat().st_size
    return sum(sizes.values())


def _described(
    folder: Path, settings: ExportSettings, inputs: Sequence[Mapping[str, Any]], dimensions: int, gsd: float
) -> tuple[int, float]:
    """Return numbers in a vector and side of a cell of the last item, whichever process and run has written it."""
    if not inputs or (dimensions and not gsd):
        return dimensions, gsd
    last = inputs[-1]
    if not dimensions:
        grid = next((file for file in last["files"] if file != POOLED), None)
        if grid is None:
            dimensions = pq.read_schema(folder / POOLED).field("embedding").type.list_size
        elif "cells" in last:
            dimensions = last["dimensions"]
        else:
            dimensions = len(settings.format.reader(folder / grid).array)
    return dimensions, (last["area_m2"] / math.prod(last["grid_hw"])) ** 0.5
