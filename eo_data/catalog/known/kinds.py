"""What the project knows of a public data set: how its index is made, and what its own file of dates looks like."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from eo_data.catalog.index_table import Row


@dataclass(frozen=True)
class IndexContent:
    """What ``python -m eo_data.index`` writes and says.

    Parameters
    ----------
    rows : sequence of dict
        One per sample, see `eo_data.catalog.index_table.from_index`.
    statistics : mapping of str to mapping
        By modality, as `eo_data.statistics` writes them.
    classes : sequence of str
        Names of the classes in the order of their numbers.
    """

    rows: Sequence[Row]
    statistics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    classes: Sequence[str] = ()


def _no_options(_: argparse.ArgumentParser) -> None:
    """Add nothing to the command."""


@dataclass(frozen=True)
class KnownIndex:
    """How the index of a data set is made from its published files.

    Parameters
    ----------
    name : str
        Name of the sub-command.
    summary : str
        One line of help.
    make : callable
        Makes the index from the options of the command; ``root`` is always one of them. Raises ``ValueError`` if the
        files are not those of the data set.
    add_options : callable
        Adds further options to the sub-command.
    """

    name: str
    summary: str
    make: Callable[[argparse.Namespace], IndexContent]
    add_options: Callable[[argparse.ArgumentParser], None] = _no_options


@dataclass(frozen=True)
class DateRequest:
    """For which samples a file of dates is read.

    Parameters
    ----------
    file : Path
        The file, for messages.
    ids : sequence of str
        Ids of the samples.
    radar : bool
        Whether the dates of the radar images are wanted, where a file has them beside those of optical images.
    skip_unknown : bool
        Leave out samples that the file does not know; else they are an error.
    """

    file: Path
    ids: Sequence[str]
    radar: bool = False
    skip_unknown: bool = False


@dataclass(frozen=True)
class KnownDates:
    """A published file of dates that is not a table of names and dates.

    Parameters
    ----------
    name : str
        Name of the data set.
    columns : frozenset of str
        The properties by which its features are recognised.
    read : callable
        Returns the date of each sample, given the properties of all features. Raises ``ValueError`` for a feature or
        sample that it cannot use.
    """

    name: str
    columns: frozenset[str]
    read: Callable[[Sequence[Mapping[str, object]], DateRequest], Mapping[str, date]]

    def fits(self, features: Iterable[Mapping[str, object]]) -> bool:
        """Whether features have all of these properties."""
        return self.columns <= {name for properties in features for name in properties}
