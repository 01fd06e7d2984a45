"""What an actor does: it has the encoder, reads the samples that it is told, and writes what comes out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import torch

from eo_core.locks import Holder
from eo_data.catalog.records import Record
from eo_embed.export.exporter import Exporter
from eo_embed.export.record.review import DataSet
from eo_embed.ray.recipes import Built, Recipe, build
from eo_embed.ray.work import Batch


@dataclass(frozen=True)
class Driver:
    """What the other processes of a run are told of the one that leads it.

    Parameters
    ----------
    holder : Holder or None
        Of the lock of the folder: without that process, nothing is written any more.
    again : frozenset of (str, str)
        `Exporter.rasters_again` there.
    """

    holder: Holder | None
    again: frozenset[tuple[str, str]] = frozenset()


class Encoding:
    """One process of a run: a rank of its folder. It knows nothing of Ray.

    Parameters
    ----------
    recipe : Recipe
        Of the run.
    rank : int
        Its number; no other process of the run has or had it.
    threads : int
        Of PyTorch, so that several processes of a machine do not get into each other's way.
    driver : Driver
        What it is told of the process that leads the run.
    """

    def __init__(self, recipe: Recipe, rank: int, threads: int, driver: Driver) -> None:
        self._recipe, self._rank, self._threads, self._driver = recipe, rank, threads, driver
        self._built: Built | None = None
        self._exporter: Exporter | None = None
        # One thread opens and reads files, whatever the others do.
        self._reader = ThreadPoolExecutor(1)
        self._ahead: tuple[Batch, Future[dict[str, Any]]] | None = None

    def process(self) -> int:
        """Return the number of this process."""
        return os.getpid()

    def open(self) -> None:
        """Build encoder and data set, and join the export.

        Raises
        ------
        ValueError
            If they are not those that the driver has.
        """
        torch.set_num_threads(self._threads)
        built = build(self._recipe)
        exporter = built.task.exporter(self._rank)
        exporter.join(cast("DataSet", built.dataset), self._driver.again, self._driver.holder)
        self._built, self._exporter = built, exporter

    def encode(self, own: Batch, ahead: Batch | None = None) -> list[float]:
        """Encode and write a batch, and return the counts of this process; what they count is recorded.

        Parameters
        ----------
        own : Batch
            The batch.
        ahead : Batch, optional
            The batch of the next call, which is read meanwhile.

        Raises
        ------
        ValueError, OSError
            If the data set has other samples, or the driver has lost the folder.
        """
        built, exporter = self._opened()
        reading = self._ahead[1] if self._ahead is not None and self._ahead[0] == own else self._read(own)
        read = reading.result()
        self._ahead = None if ahead is None else (ahead, self._read(ahead))
        with built.on_device(read) as batch:
            exporter.add(batch)
        return exporter.close().numbers()

    def _read(self, batch: Batch) -> Future[dict[str, Any]]:
        built, _ = self._opened()
        check_same_samples(built.dataset.records, batch)
        return self._reader.submit(built.read, batch.indices)

    def _opened(self) -> tuple[Built, Exporter]:
        if self._built is None or self._exporter is None:
            msg = "This process has no encoder yet: call open first."
            raise ValueError(msg)
        return self._built, self._exporter


def check_same_samples(records: Sequence[Record], batch: Batch) -> None:
    """Compare the samples of a batch with those that the data set has at their places.

    Raises
    ------
    ValueError
        If they are others.
    """
    for index, name in zip(batch.indices, batch.ids, strict=True):
        found = records[index].id if index < len(records) else None
        if found != name:
            msg = (
                f"The data set of this process has {found!r} where that of the driver has {name!r}: files came or went "
                "since, or the machines see different folders. Run again."
            )
            raise ValueError(msg)
