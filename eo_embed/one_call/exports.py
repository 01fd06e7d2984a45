"""Embeddings of one record after another: one bad place never costs the others."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tqdm import tqdm

from eo_data.catalog.scenes.place_tables import PlaceFailure
from eo_data.dataset.batch import collate
from eo_data.dataset.loading.prefetch import prefetched, tensor_bytes
from eo_embed.export.exporter import Exporter
from eo_embed.export.opening import Export, open_embeddings
from eo_embed.one_call.result import Embedded, EmbeddedPlaces
from eo_embed.one_call.run import Run

if TYPE_CHECKING:
    from eo_embed.export.record.review import DataSet


def embedded_one_by_one(run: Run, failures: Sequence[PlaceFailure], *, progress: bool) -> EmbeddedPlaces:
    """Return the embeddings of all records, in memory.

    Parameters
    ----------
    run : Run
        The records and the encoder.
    failures : sequence of PlaceFailure
        Places that have no record.
    progress : bool
        Whether to show a bar.

    Raises
    ------
    ValueError
        Under ``on_error: raise`` for the first that cannot be used, or if none can.
    """
    lost = {failure.id: failure.reason for failure in failures}
    strict = run.request.settings.on_error == "raise"
    _refuse_lost(lost, strict=strict)
    entries: list[Embedded] = []
    for index in _shown(range(len(run)), len(run), progress=progress):
        try:
            entries.append(run.embedded(index))
        except (ValueError, OSError) as error:
            if strict:
                raise
            lost[run.ids[index]] = str(error)
    _report(lost, len(entries))
    return EmbeddedPlaces(tuple(entries), lost)


def exported(run: Run, folder: Path, failures: Sequence[PlaceFailure], *, progress: bool) -> Export:
    """Write the embeddings of all records to a folder, or what of them is missing there, and return the export.

    Parameters
    ----------
    run, failures, progress
        As in `embedded_one_by_one`.
    folder : Path
        Of the export.

    Raises
    ------
    ValueError
        If the folder holds another export; under ``on_error: raise`` when all is written, if some failed.
    """
    settings, dataset, shard = run.request.settings, run.dataset, run.request.shard
    made = (folder, run.encoder, settings, run.facts, run.provenance)
    exporter = Exporter(*made, root=run.prepared.root, shard=shard, lines=False)  # there is a bar
    lost = [("predict", one.id, one.reason) for one in failures if shard is None or shard.holds(one.id)]
    try:
        exporter.open(len(dataset), lost, cast("DataSet", dataset), alone=True)
        with closing(prefetched(_batches(run), tensor_bytes)) as ahead:
            bar = _shown(ahead, len(dataset), progress=progress)
            for name, batch in bar:
                if isinstance(batch, str):
                    exporter.fail(name, batch)
                else:
                    exporter.add(batch)
                bar.set_postfix_str(exporter.ground)
        exporter.complete(exporter.close())
    finally:
        exporter.release()
    exporter.raise_if_failed()
    export = open_embeddings(exporter.folder)
    _report(export.failures, len(export.ids), of_shard=shard is not None)
    return export


def _batches(run: Run) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Yield the id of each record with its batch, or with the reason why it cannot be used."""
    dataset = run.dataset
    for index, record in enumerate(dataset.records):
        try:
            batch = {"id": [record.id]} if record.id in dataset.finished else collate([run.entry(index)])
        except (ValueError, OSError) as error:
            yield record.id, str(error)
        else:
            yield record.id, batch


def _shown[T](entries: Iterable[T], count: int, *, progress: bool) -> tqdm[T]:
    return tqdm(entries, desc="embedding", total=count, disable=not progress or count < 2)


def _refuse_lost(lost: dict[str, str], *, strict: bool) -> None:
    if strict and lost:
        name, reason = next(iter(lost.items()))
        msg = f"{name}: {reason}"
        raise ValueError(msg)


def _report(lost: dict[str, str], done: int, *, of_shard: bool = False) -> None:
    """Say what failed.

    Raises
    ------
    ValueError
        If nothing worked, unless that is only a part of the places.
    """
    if not lost:
        return
    name, reason = next(iter(lost.items()))
    if not done and not of_shard:
        msg = f"No embedding was made: all {len(lost)} places failed; first: {name}: {reason}"
        raise ValueError(msg)
    warnings.warn(f"{len(lost)} of {len(lost) + done} places failed; first: {name}: {reason}", stacklevel=4)
