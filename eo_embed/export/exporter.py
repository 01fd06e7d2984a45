"""An export from batches to a finished folder, whatever drives it: a plain loop, Lightning, or another engine.

One process is enough for :meth:`Exporter.run`. Several processes each have an exporter with a rank of its own, and
keep to this order:

1. ``open``: rank 0 first, then the others;
2. ``add`` for each batch;
3. ``close``, when all batches of this process are written; its counts are added up over all processes;
4. ``complete`` by rank 0 alone, when all processes have closed;
5. ``raise_if_failed``, by all.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Collection, Container, Iterable, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, Protocol, cast

import torch

from eo_core.locks import FolderLock, Holder
from eo_data.catalog.shards import Shard
from eo_data.dataset.contract import extras_of
from eo_data.dataset.sample_grid import SampleGrid, image_size, sample_grids
from eo_embed.export.completing import complete
from eo_embed.export.facts import data_set_of, shard_provenance
from eo_embed.export.flow.summary import Counts, ProgressLines, summary_table
from eo_embed.export.flow.transfer import OnHost, to_host
from eo_embed.export.folder import open_export, place_before, refuse_another_data_set, refuse_beside_whole
from eo_embed.export.items import with_names
from eo_embed.export.opened import Run
from eo_embed.export.record.blank_tiles import rasters_with_data, without_blank_tiles
from eo_embed.export.record.failures import NOTHING_OBSERVED, Failures
from eo_embed.export.record.finished import Key
from eo_embed.export.record.ledger import Ledger
from eo_embed.export.record.manifest import Manifest
from eo_embed.export.record.review import DataSet, inputs_of, made_together
from eo_embed.export.settings import ExportSettings
from eo_embed.export.writing import ItemWriter
from eo_embed.writers.rasters.work import share_work
from eo_models.features import Features

Image = torch.Tensor | Mapping[str, torch.Tensor]


class Encoder(Protocol):
    """Makes features of a batch of images, such as `eo_models.features.FeatureExtractor`."""

    def __call__(self, image: Image, **extras: Any) -> Sequence[Features]:  # noqa: ANN401
        """Return the features of each layer; ``extras`` are the other entries of the batch, such as dates."""
        ...


class Exporter:
    """Writes what an encoder makes of batches to a folder, with ledger and manifest.

    Parameters
    ----------
    folder : str or Path
        Folder of the export.
    encoder : Encoder
        The encoder, in eval mode and on the device of the batches.
    settings : ExportSettings
        What is exported, and how it is stored.
    facts : mapping
        Everything that changes the numbers, as `eo_embed.export.facts.export_facts` gives it.
    provenance : mapping, optional
        What a reader wants to know besides, as `eo_embed.export.facts.run_provenance` gives it.
    rank : int
        Number of this process among those that write to the folder; 0 begins and completes the export.
    root : Path, optional
        Folder of the data set, from which ids and paths of files start.
    shard : Shard, optional
        Which part of the samples the batches are: it becomes a whole export in a folder of its own below ``folder``,
        ``shards/0-of-3``, and `eo_embed.merge` makes one of all of them.
    lines : bool
        Whether to print how far the run is, where there is no terminal.
    """

    def __init__(
        self,
        folder: str | Path,
        encoder: Encoder,
        settings: ExportSettings,
        facts: Mapping[str, Any],
        provenance: Mapping[str, Any] | None = None,
        *,
        rank: int = 0,
        root: Path | None = None,
        shard: Shard | None = None,
        lines: bool = True,
    ) -> None:
        self.folder = Path(folder) if shard is None else shard.folder(Path(folder))
        self.encoder, self.settings, self.facts = encoder, settings, facts
        self.provenance = dict(provenance or {}) | shard_provenance(shard, settings.on_error)
        self.shard, self.rank, self._lines = shard, rank, lines
        self.root = None if root is None else Path(root)
        self._lock = FolderLock(self.folder, take_over=settings.take_over)
        self._alone = False
        self._run: Run | None = None

    def run(
        self, batches: Iterable[Mapping[str, Any]], skipped: Iterable[tuple[str, str, str]] = (), *, alone: bool = False
    ) -> str:
        """Export all batches in this process.

        Parameters
        ----------
        batches : iterable of mapping
            With ``image``, ``filename`` and what `eo_data.dataset.sample_grid.sample_grids` reads. Of a loader whose
            ``dataset`` is a `DataSet`, batches that are finished are not read.
        skipped : iterable of (str, str, str)
            Split, id and reason of samples that the data module has left out.
        alone : bool
            See `open`.

        Returns
        -------
        str
            The summary of the run.

        Raises
        ------
        ValueError
            If the folder holds another export or another run writes there, a batch cannot be exported, or items failed
            under ``on_error: raise``.
        """
        dataset = getattr(batches, "dataset", None)
        try:
            self.open(
                len(batches) if isinstance(batches, Sized) else None,
                skipped,
                dataset if hasattr(dataset, "inputs") else None,
                alone=alone,
            )
            for batch in batches:
                self.add(batch)
            summary = self.complete(self.close())
        finally:
            self.release()
        self.raise_if_failed()
        return summary

    def open(
        self,
        batches: int | None = None,
        skipped: Iterable[tuple[str, str, str]] = (),
        dataset: DataSet | None = None,
        *,
        alone: bool = False,
    ) -> None:
        """Begin the export or go on with it; rank 0 must have returned before another process calls this.

        Rank 0 locks the folder until `complete` or `release`.

        Parameters
        ----------
        batches : int, optional
            Batches that this process will get, for its progress lines.
        skipped : iterable of (str, str, str)
            Split, id and reason of samples that the data module has left out; rank 0 lists them as failures.
        dataset : DataSet, optional
            The samples: those that would come out as they are in the folder become its ``finished``.
        alone : bool
            Whether no other process writes to this folder; grids of Zarr are then written once.

        Raises
        ------
        ValueError
            If the folder holds an export with other facts or of another data set, or files but no export; or another
            run writes to it.
        """
        if self.shard is not None:
            refuse_beside_whole(self.folder.parent.parent, self.folder, overwrite=self.settings.overwrite)
        if self.rank == 0:
            self._lock.acquire()
        else:
            self._lock.follow(self._lock.holder())
        try:
            self._alone = alone and self.shard is None
            self._open(batches, skipped, dataset)
        except BaseException:
            self.release()
            raise

    def join(self, dataset: DataSet, again: Collection[Key], leader: Holder | None) -> None:
        """Open the export for a process that comes while others write, and encodes all that it is given.

        What others have finished by now does not count: they may still be at it, or have ended without recording it.

        Parameters
        ----------
        dataset : DataSet
            The samples.
        again : collection of (str, str)
            `rasters_again` of rank 0.
        leader : Holder or None
            Who holds the lock of the folder: without that process, nothing is written any more.
        """
        self._lock.follow(leader)
        manifest, ledger = open_export(self.folder, self.facts, rank=self.rank)
        dataset.verify = self.settings.verify
        self._begin(manifest, ledger, (), again)

    @property
    def rasters_again(self) -> Collection[Key]:
        """Id and layer of rasters all of whose tiles are made again, if they have no work file yet."""
        return self._opened().items.again

    def _open(self, batches: int | None, skipped: Iterable[tuple[str, str, str]], dataset: DataSet | None) -> None:
        root = self.root if dataset is not None else None  # otherwise nothing tells one data set from another
        data_set = None if root is None else data_set_of(root, absolute_paths=self.settings.absolute_paths)
        manifest, ledger = open_export(
            self.folder,
            self.facts,
            overwrite=self.settings.overwrite,
            rank=self.rank,
            provenance=self.provenance,
            data_set=data_set,
        )
        before = place_before(manifest, root)
        if self.rank == 0 and not self._alone:
            share_work(self.folder)
        known = None if dataset is None else inputs_of(dataset)
        seen_by = (known, self.root, self.settings.verify, before, made_together(dataset, self.settings.dtype))
        finished, review = ledger.review(*seen_by)
        if self.rank == 0 and ledger.remove_outdated_work():
            finished, review = ledger.review(*seen_by)
        if before is not None:
            refuse_another_data_set(manifest, root, review)
        if self.rank == 0:
            review.report()
        if dataset is not None:
            ids, names = (record.id for record in dataset.records), self.settings.layer_names
            dataset.verify = self.settings.verify
            dataset.finished = {name for name in ids if all((name, layer) in finished for layer in names)}
        run = self._begin(manifest, ledger, finished, ledger.rasters_again())
        run.progress.total, run.data_set = batches, data_set
        for _, sample, reason in skipped if self.rank == 0 else ():
            run.failures.add(sample, reason)

    def _begin(self, manifest: Manifest, ledger: Ledger, finished: Container[Key], again: Collection[Key]) -> Run:
        writer = ItemWriter(self.folder, self.settings, self.rank, again, alone=self._alone)
        failures = Failures(self.folder, self.rank, None if self.settings.absolute_paths else self.root)
        self._run = Run(manifest, ledger, finished, writer, failures, ProgressLines(None))
        return self._run

    def expect(self, batches: int) -> None:
        """Say how many batches this process will get, for its progress lines."""
        self._opened().progress.total = batches

    @property
    def ground(self) -> str:
        """What a bar says of the ground that is written so far, such as ``12.30 km2, 0.410 km2/s``; may be empty."""
        run = self._opened()
        return run.progress.ground(run.written.area_m2)

    def add(self, batch: Mapping[str, Any]) -> None:
        """Encode a batch and have it written, unless all of it has been written before.

        A thread writes it while the next batch is encoded. This waits while too much is to be written.

        Items that could not be read, and those whose embedding is not finite, are listed as failures and not written.

        Raises
        ------
        ValueError
            If the export is not open, or this batch or one before it cannot be exported.
        OSError
            If one before it cannot be written.
        """
        run = self._opened()
        self._lock.check()
        run.batches += 1
        for name, reason in batch.get("faults", {}).items():
            self.fail(name, reason)
        if "image" not in batch:
            run.skipped += Counts(skipped=len(batch["id"]))
            return
        samples = [
            with_names(own, self.root, absolute=self.settings.absolute_paths)
            for own in sample_grids(batch, image_size(batch["image"]), self.root)
        ]
        batch, samples, blank = without_blank_tiles(batch, samples)
        run.blank |= {sample.raster_id for sample in blank}
        run.skipped += Counts(blank=len(blank))
        if all((sample.id, name) in run.finished for sample in samples for name in self.settings.layer_names):
            run.skipped += Counts(skipped=len(samples))
            return
        self.go_on()
        with torch.no_grad():
            found = self.encoder(cast("Image", batch["image"]), **extras_of(batch))
            features = to_host(found, samples, self.settings.pooling)
        work = functools.partial(self._write, run, features, samples, run.batches)
        run.background.submit(work, features.size + sum(sample.nbytes for sample in samples))

    def _write(self, run: Run, features: OnHost, samples: Sequence[SampleGrid], batches: int) -> None:
        """Write a batch, beside the encoder that works on the next one."""
        found = features.wait()
        self._lock.check()
        written = run.items.write(found, samples)
        for name, reason in written.faults:
            self.fail(name, reason)
        self._lock.check()  # it may have taken long
        run.ledger.record(written.entries)
        whole = {entry["id"] for entry in written.entries}
        done = [sample for sample in samples if sample.id in whole]
        run.written += Counts(len(done), cells=written.cells, area_m2=sum(sample.area for sample in done))
        if self._lines:
            run.progress.update(batches, run.written.done, run.written.area_m2)

    def go_on(self) -> None:
        """Say in the manifest of a complete export that another run goes on with it, before anything is written.

        `add` does so; where rank 0 adds nothing itself, it calls this.
        """
        run = self._opened()
        if run.manifest.is_complete and self.rank == 0:
            run.manifest.resume(self.provenance)

    def fail(self, item: str, reason: str) -> None:
        """List an item that cannot be read as a failure."""
        self._opened().failures.add(item, reason)

    def close(self) -> Counts:
        """End the work of this process once all is written, and return what it has done.

        Raises
        ------
        ValueError, OSError
            If a batch could not be written.
        """
        run = self._opened()
        run.background.finish()
        self._lock.check()
        run.items.flush()
        for raster in sorted(run.blank):
            run.failures.add(raster, NOTHING_OBSERVED)
        run.blank.clear()  # an actor closes after each batch, and lists each once
        run.failures.write()
        return run.skipped + run.written

    def complete(self, counts: Counts) -> str:
        """Merge what all processes wrote, complete the manifest, and return the summary; for rank 0 alone.

        Parameters
        ----------
        counts : Counts
            Sum of the counts of all processes.

        Raises
        ------
        ValueError
            If rows, grids and the record of finished items do not agree; the export is then not complete.
        OSError
            If the folder has vanished.
        """
        run = self._opened()
        self._lock.check()
        failures = run.failures.merge(lambda: rasters_with_data(run.manifest, run.ledger))
        made = (failures, counts, run.items.dimensions, run.items.gsd, run.data_set)
        shown = complete(self.settings, run.manifest, run.ledger, *made, of_shard=self.shard is not None)
        self._lock.check()  # whoever has moved the folder meanwhile has one that is not tidied up
        self.release()
        return summary_table(shown, time.perf_counter() - run.started, counts.area_m2, self.folder)

    def release(self) -> None:
        """Let other runs write to the folder; a run that ends with an error calls this, too.

        What is encoded is written before, unless writing has failed.
        """
        if self._run is not None:
            self._run.background.stop()
        self._lock.release()

    def raise_if_failed(self) -> None:
        """End the run with an error if items failed, unless they may be skipped.

        Raises
        ------
        ValueError
            Under ``on_error: raise`` if an item of any process failed; also else if all did.
        """
        run = self._opened()
        others = self.rank != 0 or self.shard is not None or any(run.manifest.items())
        run.failures.raise_if_any(self.settings.on_error, others=others, partial=self.shard is not None)

    def _opened(self) -> Run:
        if self._run is None:
            msg = f"The export to {self.folder} is not open. Call Exporter.open before the first batch."
            raise ValueError(msg)
        return self._run
