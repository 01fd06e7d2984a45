"""Embeddings as an export: those that were made before, or of one record after another."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tqdm import tqdm

from eo_data.catalog.scenes.place_tables import PlaceFailure
from eo_data.dataset.batch import collate
from eo_embed.export.exporter import Exporter
from eo_embed.export.facts import encoder_facts, run_provenance
from eo_embed.export.opening import Export, open_embeddings
from eo_embed.export.settings import ExportSettings
from eo_embed.one_call.result import Embedded, EmbeddedPlaces
from eo_embed.one_call.run import Run

if TYPE_CHECKING:
    from eo_embed.export.review import DataSet
    from eo_embed.one_call.result import Encoded
    from eo_models.contract import Features


class _Replay:
    """An encoder that gives what was made before, in the same order."""

    def __init__(self, made: Sequence[Encoded]) -> None:
        self._features = iter([own.features for own in made])

    def __call__(self, image: object, **_: Any) -> Sequence[Features]:  # noqa: ANN401
        return next(self._features)


def save(made: Sequence[Encoded], folder: Path, settings: Mapping[str, Any]) -> Path:
    """Write embeddings to a folder as one export.

    Parameters
    ----------
    made : sequence of Encoded
        What was made.
    folder : Path
        Of the export.
    settings : mapping
        Fields of `ExportSettings` that are about files; without ``grid_format`` GeoTIFF, or npz for grids without a
        place.

    Raises
    ------
    ValueError
        If there are none, they were made in different ways, or as `Exporter.run`.
    """
    if not made:
        msg = "There is nothing to save: no embedding was made."
        raise ValueError(msg)
    if any(own.facts != made[0].facts for own in made):
        msg = "These embeddings were made with different settings, and one export has one. Save them one by one."
        raise ValueError(msg)
    whole = stored_as(made[0].request.settings, settings, place="geotransform" in made[0].batch)
    facts = {**made[0].facts, "task": task_facts(made[0], whole)}
    provenance = run_provenance(made[0].request.encoder.ckpt, None, made[0].root, absolute_paths=whole.absolute_paths)
    exporter = Exporter(folder, _Replay(made), whole, facts, provenance, root=made[0].root)
    exporter.run([own.batch for own in made])
    return folder


def stored_as(asked: ExportSettings, settings: Mapping[str, Any], *, place: bool) -> ExportSettings:
    """Return the settings of an export: what was asked of the encoder, and how files are to be."""
    usual = {} if place or not asked.writes_grids else {"grid_format": "npz"}
    return replace(asked, **{**usual, **settings})


def task_facts(own: Encoded, settings: ExportSettings) -> dict[str, Any]:
    """Return encoder and settings as `eo_embed.EmbeddingTask` states them."""
    task = own.facts["task"]
    return encoder_facts(task["backbone"], task["backbone_args"], settings)


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
    for index in _shown(run, progress=progress):
        try:
            entries.append(run.embedded(index))
        except (ValueError, OSError) as error:
            if strict:
                raise
            lost[run.dataset.records[index].id] = str(error)
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
    settings, dataset = run.request.settings, run.dataset
    provenance = run_provenance(run.request.encoder.ckpt, None, run.prepared.root)
    exporter = Exporter(folder, run.encoder, settings, run.facts(), provenance, root=run.prepared.root)
    try:
        exporter.open(
            len(dataset), [("predict", failure.id, failure.reason) for failure in failures], cast("DataSet", dataset)
        )
        for index in _shown(run, progress=progress):
            name = dataset.records[index].id
            try:
                batch = {"id": [name]} if name in dataset.finished else collate([dataset[index]])
            except (ValueError, OSError) as error:
                exporter.fail(name, str(error))
                continue
            exporter.add(batch)
        exporter.complete(exporter.close())
    finally:
        exporter.release()
    exporter.raise_if_failed()
    export = open_embeddings(folder)
    _report({entry["id"]: entry["reason"] for entry in export.manifest["failures"]}, len(dataset))
    return export


def _shown(run: Run, *, progress: bool) -> Iterator[int]:
    yield from tqdm(
        range(len(run.dataset)), desc="embedding", unit="place", disable=not progress or len(run.dataset) < 2
    )


def _refuse_lost(lost: dict[str, str], *, strict: bool) -> None:
    if strict and lost:
        name, reason = next(iter(lost.items()))
        msg = f"{name}: {reason}"
        raise ValueError(msg)


def _report(lost: dict[str, str], done: int) -> None:
    """Say what failed.

    Raises
    ------
    ValueError
        If nothing worked.
    """
    if not lost:
        return
    name, reason = next(iter(lost.items()))
    if not done:
        msg = f"No embedding was made: all {len(lost)} places failed; first: {name}: {reason}"
        raise ValueError(msg)
    warnings.warn(f"{len(lost)} of {len(lost) + done} places failed; first: {name}: {reason}", stacklevel=4)
