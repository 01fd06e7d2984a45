"""The last step of an export: what all processes wrote becomes one table and one manifest."""

from __future__ import annotations

import functools
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from eo_core.file_state import written_state
from eo_embed.export.flow.summary import Counts
from eo_embed.export.folder import checked
from eo_embed.export.record.ledger import Ledger
from eo_embed.export.record.manifest import Manifest
from eo_embed.export.settings import ExportSettings
from eo_embed.writers.embedding import NO_CELLS
from eo_embed.writers.layout import POOLED
from eo_embed.writers.merging import merge
from eo_embed.writers.rasters.makers import finish_raster
from eo_embed.writers.rasters.work import WORK, WorkFile


def complete(
    settings: ExportSettings,
    manifest: Manifest,
    ledger: Ledger,
    failures: Sequence[Mapping[str, str]],
    counts: Counts,
    dimensions: int = 0,
    gsd: float = 0.0,
    data_set: Mapping[str, str] | None = None,
    *,
    of_shard: bool = False,
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
    of_shard : bool
        Whether other tiles of its rasters may be in other shards: the merge of these puts them together.

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
    seen = _Seen(folder)
    if known:
        for _ in seen.watch(manifest.items()):
            pass
        inputs, written = manifest.content["inputs"], manifest.written
    else:
        if settings.writes_vectors:
            rows, before = ledger.rows(), functools.partial(ledger.will_write, POOLED)
            merge(folder, folder / POOLED, wanted=rows, before=before)
        rasters = ledger.rasters() if settings.writes_grids and not of_shard else ()
        made = [_raster(folder, settings, ledger, *raster, tiles) for raster, tiles in rasters]
        if not of_shard:
            shutil.rmtree(folder / WORK, ignore_errors=True)
        inputs = manifest.list_items(seen.watch(checked(folder, settings, ledger.inputs())))
        ledger.remove_outdated()
        shared = [*made, *([POOLED] if settings.writes_vectors and (folder / POOLED).exists() else [])]
        written = {file: written_state(folder / file) for file in shared}
    shown = {
        "done": counts.done,
        "skipped": counts.skipped,
        **({"blank": counts.blank} if counts.blank else {}),
        "failed": len(failures),
        "cells": counts.cells,
        "bytes": seen.bytes_with(written),
    }
    if not known or failures != manifest.content["failures"]:
        if data_set is not None:
            manifest.move_to(data_set)
        stac = settings.stac(*_described(folder, settings, seen.last, dimensions, gsd))
        manifest.complete(shown, inputs, failures, stac, written)
    ledger.close()
    return shown


def _raster(
    folder: Path, settings: ExportSettings, ledger: Ledger, raster: str, layer: str, tiles: Sequence[Mapping[str, Any]]
) -> str:
    """Make the file of a raster of its tiles, unless it is finished; return its name."""
    if WorkFile(folder, raster, layer).exists:
        return finish_raster(folder, settings.format, raster, layer, tiles, ledger.will_write)
    return settings.format.path(folder, raster, layer).relative_to(folder).as_posix()


class _Seen:
    """What the manifest tells of all items together, gathered while they pass.

    Parameters
    ----------
    folder : Path
        Folder of the export.

    Attributes
    ----------
    last : mapping or None
        The last item.
    """

    def __init__(self, folder: Path) -> None:
        self.last: Mapping[str, Any] | None = None
        self._folder = folder
        self._bytes = 0
        self._others: set[str] = set()

    def watch(self, entries: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield items as they are."""
        for entry in entries:
            states = entry.get("written", {})
            self._bytes += sum(states[file]["size"] for file in entry["files"] if file in states)
            self._others.update(file for file in entry["files"] if file not in states)
            self.last = entry
            yield entry

    def bytes_with(self, shared: Mapping[str, Mapping[str, int]]) -> int:
        """Return how much was written; of exports of version 0.1 sizes are not recorded."""
        # The raster of a shard's tiles is not there yet.
        there = (path for file in self._others - shared.keys() if (path := self._folder / file).exists())
        others = sum(path.stat().st_size for path in there)
        return self._bytes + others + sum(state["size"] for state in shared.values())


def _described(
    folder: Path, settings: ExportSettings, last: Mapping[str, Any] | None, dimensions: int, gsd: float
) -> tuple[int, float]:
    """Return numbers in a vector and side of a cell of the last item, whichever process and run has written it."""
    if last is None or (dimensions and not gsd):
        return dimensions, gsd
    if not dimensions:
        grid = next((file for file in last["files"] if file != POOLED), None)
        if grid is None:
            dimensions = pq.read_schema(folder / POOLED).field("embedding").type.list_size
        elif "cells" in last:
            dimensions = last["dimensions"]
        else:
            dimensions = len(settings.format.reader(folder / grid, NO_CELLS).array)
    return dimensions, (last["area_m2"] / math.prod(last["grid_hw"])) ** 0.5
