"""Which code is this project's."""

from __future__ import annotations

import functools
from importlib.metadata import entry_points
from pathlib import Path

from eo_models.preset import GROUP

_ROOT = Path(__file__).resolve().parents[2]
_GENERIC = ("eo_cli", "eo_core", "eo_data", "eo_embed", "eo_finetune", "eo_models")


@functools.cache
def own_packages() -> frozenset[str]:
    """Return the names of this project's packages; those of encoders are known by what they declare."""
    return frozenset((*_GENERIC, *(entry.value.partition(".")[0] for entry in entry_points(group=GROUP))))


def is_own(file: str | Path) -> bool:
    """Whether a file of source is this project's: others may lie beside it where packages are installed."""
    path = Path(file)
    return path.is_relative_to(_ROOT) and path.relative_to(_ROOT).parts[0] in own_packages()
