"""What an export that is open works with."""

from __future__ import annotations

import time
from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from eo_embed.export.flow.background import Background
from eo_embed.export.flow.summary import Counts, ProgressLines
from eo_embed.export.record.failures import Failures
from eo_embed.export.record.finished import Key
from eo_embed.export.record.ledger import Ledger
from eo_embed.export.record.manifest import Manifest
from eo_embed.export.writing import ItemWriter


@dataclass
class Run:
    """What an open export works with."""

    manifest: Manifest
    ledger: Ledger
    finished: Container[Key]
    items: ItemWriter
    failures: Failures
    progress: ProgressLines
    data_set: Mapping[str, str] | None = None
    blank: set[str] = field(default_factory=set)
    started: float = field(default_factory=time.perf_counter)
    batches: int = 0
    #: What needed no work; and what the background has written, which is complete once that has finished.
    skipped: Counts = field(default_factory=Counts)
    written: Counts = field(default_factory=Counts)
    background: Background = field(default_factory=lambda: Background("writer of embeddings"))
