"""Shards: the samples of a data set shared out over jobs that know nothing of each other."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eo_core.text import composed

if TYPE_CHECKING:
    from eo_data.catalog.records import Record

#: Folder below that of a whole that holds what its shards made.
SHARDS = "shards"
_NAME = re.compile(r"(\d+)-of-(\d+)")
_TEXT = re.compile(r"(\d+)/(\d+)")


@dataclass(frozen=True)
class Shard:
    """One of several equal parts of a data set.

    A sample belongs to a shard by a hash of its id (a tile by that of its own): whatever other samples there are, and
    in whatever order, it stays in its shard, and shards are of about the same size.

    Parameters
    ----------
    index : int
        Which part, from 0.
    of : int
        How many parts there are.

    Raises
    ------
    ValueError
        If there is no such part; the message has the valid ones.
    """

    index: int
    of: int

    def __post_init__(self) -> None:
        for name, value in (("index", self.index), ("of", self.of)):
            if isinstance(value, bool) or not isinstance(value, int):
                msg = f"shard.{name} must be a whole number, got {value!r}. A shard is {{index: 0, of: 3}}."
                raise ValueError(msg)
        if self.of < 1:
            msg = f"shard.of must be at least 1, got {self.of}: it is the number of shards."
            raise ValueError(msg)
        if not 0 <= self.index < self.of:
            msg = f"shard.index must be from 0 to {self.of - 1} (shard.of is {self.of}), got {self.index}."
            raise ValueError(msg)

    @classmethod
    def of_text(cls, text: str) -> Shard:
        """Return the shard that ``0/3`` names.

        Raises
        ------
        ValueError
            If it is no such text, or names no shard.
        """
        found = _TEXT.fullmatch(text)
        if found is None:
            msg = f"A shard is INDEX/OF, such as 0/3 for the first of three, got {text!r}."
            raise ValueError(msg)
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def named(cls, name: str) -> Shard | None:
        """Return the shard whose folder has a name; ``None`` if it is none."""
        found = _NAME.fullmatch(name)
        if found is None or not int(found[1]) < int(found[2]):
            return None
        shard = cls(int(found[1]), int(found[2]))
        return shard if shard.name == name else None

    @property
    def name(self) -> str:
        """Name of its folder, such as ``0-of-3``."""
        return f"{self.index}-of-{self.of}"

    def __str__(self) -> str:
        """Return how a command line names it, such as ``0/3``."""
        return f"{self.index}/{self.of}"

    def folder(self, whole: Path) -> Path:
        """Return the folder of what this shard makes, below the folder of the whole."""
        return whole / SHARDS / self.name

    def holds(self, id: str) -> bool:  # noqa: A002  (the word of every export's column)
        """Tell whether a sample is in this shard.

        Parameters
        ----------
        id : str
            Of the sample. SHA-256 of its Unicode composed form (NFC) in UTF-8 decides: its first 8 bytes as a number,
            the first byte counting most, modulo ``of``.
        """
        digest = hashlib.sha256(composed(id).encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8]) % self.of == self.index


def in_shard(shard: Shard | None, records: Sequence[Record]) -> list[Record]:
    """Return the samples of a shard in their order; all of them without one."""
    return [record for record in records if shard is None or shard.holds(record.id)]


def agreed(of_data: Shard | None, of_task: Shard | None) -> Shard | None:
    """Return the shard that a data module, a task or both state.

    Raises
    ------
    ValueError
        If they state different ones.
    """
    if of_data is not None and of_task is not None and of_data != of_task:
        msg = (
            f"The data module states shard {of_data} and the task shard {of_task}. Leave one out: "
            "data.init_args.shard is enough."
        )
        raise ValueError(msg)
    return of_data or of_task


def shard_of(data_module: object, of_task: Shard | None) -> Shard | None:
    """Return the shard of the samples that a data module gives.

    Parameters
    ----------
    data_module : object
        That has been set up.
    of_task : Shard, optional
        What the task states.

    Raises
    ------
    ValueError
        If the task states a shard and the data module does not know what that is.
    """
    shard: Shard | None = getattr(data_module, "shard", None)
    if of_task is not None and shard != of_task:
        kind = type(data_module).__name__
        msg = (
            f"shard is {of_task}, but {kind} gives all samples: only data modules of eo_data.datamodules know shards. "
            "Use one of them, give a split file for each job, or leave shard out."
        )
        raise ValueError(msg)
    return shard
