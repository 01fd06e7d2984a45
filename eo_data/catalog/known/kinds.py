"""How the index of a public data set is made."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
