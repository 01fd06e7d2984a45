"""The process that leads a run on Ray: it opens the export, says who does what, and completes it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from eo_core.locks import FolderLock
from eo_core.memory import as_bytes
from eo_embed.export.exporter import Exporter
from eo_embed.export.flow.summary import Counts, ProgressLines
from eo_embed.export.record.review import DataSet
from eo_embed.ray.encoding import Driver
from eo_embed.ray.recipes import Built, ObjectRecipe, Recipe, build
from eo_embed.ray.work import Batch, Work

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule, LightningModule

#: Only what actors are built of and lists of samples go through it.
_OBJECT_STORE = "500 MB"


def embed_on_ray(
    data: LightningDataModule,
    task: LightningModule,
    concurrency: int,
    *,
    trainer: Mapping[str, Any] | None = None,
    address: str | None = None,
    cpus_per_actor: int | None = None,
    gpus_per_actor: float = 0,
    tries: int = 2,
    object_store_memory: int | str = _OBJECT_STORE,
) -> str:
    """Export embeddings with several encoders on Ray, as `terratorch predict` does with one.

    Parameters
    ----------
    data : LightningDataModule
        One of `eo_data.datamodules`, not set up yet. It is copied to the actors, which find and read the samples
        themselves: paths must be the same on all machines.
    task : LightningModule
        `eo_embed.EmbeddingTask`; its ``out`` is a folder that all machines share. Its weights are copied, too.
    concurrency : int
        Number of actors.
    trainer : mapping, optional
        Arguments of Lightning's trainer that count: ``accelerator``, ``precision``.
    address, cpus_per_actor, gpus_per_actor, tries, object_store_memory
        As in :func:`run_on_ray`.

    Returns
    -------
    str
        The summary of the run.

    Raises
    ------
    ValueError, OSError
        As :func:`run_on_ray`.
    """
    recipe = ObjectRecipe(data, task, dict(trainer or {}))
    return run_on_ray(
        recipe,
        concurrency,
        address=address,
        cpus_per_actor=cpus_per_actor,
        gpus_per_actor=gpus_per_actor,
        tries=tries,
        object_store_memory=object_store_memory,
    )


def run_on_ray(
    recipe: Recipe,
    concurrency: int,
    *,
    address: str | None = None,
    cpus_per_actor: int | None = None,
    gpus_per_actor: float = 0,
    tries: int = 2,
    object_store_memory: int | str = _OBJECT_STORE,
) -> str:
    """Run an export with an encoder in each of several actors, and return its summary.

    Parameters
    ----------
    recipe : Recipe
        Of the run.
    concurrency : int
        Number of actors.
    address : str, optional
        Of a cluster of Ray, or ``auto``. Without it, Ray starts on this machine and ends with the run.
    cpus_per_actor : int, optional
        Cores of each: threads of PyTorch. By default those of this machine are shared out; on a cluster, 1.
    gpus_per_actor : float
        GPUs of each; a part of one where several share it.
    tries : int
        How often a batch is tried whose process ends, before its samples are tried one by one.
    object_store_memory : int or str
        Room for what Ray copies, where Ray starts on this machine, such as ``500 MB``.

    Raises
    ------
    ValueError
        If Ray is not installed, an argument makes no sense, nobody answers at the address, the folder holds another
        export or is in use, or samples failed under ``on_error: raise``.
    OSError
        If the folder cannot be written to.
    """
    if importlib.util.find_spec("ray") is None:
        msg = "Exports on Ray need Ray: pip install 'thor-anysat-terratorch[ray]'. Or run terratorch predict."
        raise ValueError(msg)
    from eo_embed.ray.actors import Resources, check_address, cores_each  # noqa: PLC0415  (an extra)

    if concurrency < 1:
        msg = f"concurrency must be at least 1, got {concurrency}: it is the number of encoders at work."
        raise ValueError(msg)
    if address is not None:
        check_address(address)
    own = 1 if address else cores_each(concurrency)
    each = Resources(own if cpus_per_actor is None else cpus_per_actor, gpus_per_actor)
    local = {"num_cpus": concurrency * each.cpus, "object_store_memory": as_bytes("memory", object_store_memory)}
    # The driver encodes nothing, and may run where there is no GPU.
    built = build(recipe, "cpu" if gpus_per_actor else None)
    exporter = built.task.exporter(0)
    try:
        exporter.open(None, getattr(built.data, "skipped", ()), cast("DataSet", built.dataset))
        summary = _lead(recipe, built, exporter, concurrency, each, address, local, tries)
    finally:
        exporter.release()
    exporter.raise_if_failed()
    return summary


def _lead(
    recipe: Recipe,
    built: Built,
    exporter: Exporter,
    concurrency: int,
    each: Any,  # noqa: ANN401  (of a module that needs the extra)
    address: str | None,
    local: Mapping[str, Any],
    tries: int,
) -> str:
    """Have everything done that is not finished, and complete the export."""
    from eo_embed.ray.actors import Pool, connected  # noqa: PLC0415

    batches, skipped = unfinished(built)
    work = Work(batches, tries)
    if not batches:
        return exporter.complete(skipped)
    with connected(address, local):
        exporter.go_on()
        driver = Driver(FolderLock(exporter.folder).holder(), frozenset(exporter.rasters_again))
        pool = Pool(recipe, concurrency, each, driver, tries + 1)
        lines = ProgressLines(len(batches), bar=False)
        try:
            for number, counts in enumerate(pool.work_off(work), 1):
                lines.update(number, counts.done, counts.area_m2)
        finally:
            pool.end()
    for name, reason in pool.given_up.items():
        exporter.fail(name, reason)
    return exporter.complete(exporter.close() + pool.counts + skipped)


def unfinished(built: Built) -> tuple[list[Batch], Counts]:
    """Return the batches that an open export does not have yet, and the counts of those that it has."""
    ids = [record.id for record in built.dataset.records]
    sampler: Any = built.loader.batch_sampler
    batches = [Batch(tuple(indices), tuple(ids[i] for i in indices)) for indices in sampler]
    left = [batch for batch in batches if not all(name in built.dataset.finished for name in batch.ids)]
    return left, Counts(skipped=sum(len(batch.ids) for batch in batches) - sum(len(batch.ids) for batch in left))
