"""What one process shall export, handed on as JSON; and what it answers."""

from __future__ import annotations

import json
import resource
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """One export.

    Parameters
    ----------
    chips : str
        Folder of chips.
    out : str
        Folder that is written, empty.
    size : {'tiny', 'small', 'base', 'large'}
        Of THOR.
    output : {'pooled', 'grid'}
        A vector a chip, or a map of vectors.
    batch, workers : int
        Chips a batch, and processes that read them.
    matmul : str
        See `eo_models.precision.matmul`.
    precision : str
        Of the task; ``default`` says nothing.
    engine : str
        Of the task, such as ``openvino``; the seconds in the encoder are then unknown.
    count : int
        How many chips are encoded; 0 for all.
    """

    chips: str
    out: str
    size: str = "tiny"
    output: str = "pooled"
    batch: int = 8
    workers: int = 2
    matmul: str = "highest"
    precision: str = "default"
    engine: str = "pytorch"
    count: int = 0

    @classmethod
    def parse(cls, text: str) -> Asked:
        """Read what `text` gave."""
        return cls(**json.loads(text))

    @property
    def text(self) -> str:
        """All of it as JSON."""
        return json.dumps(asdict(self))

    @property
    def files(self) -> list[Path]:
        """The chips."""
        found = sorted(Path(self.chips).glob("*.tif"))
        return found[: self.count] if self.count else found


def cores_busy() -> float:
    """Return the processor's seconds of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def answer(**facts: float | str | None) -> None:
    """Print what was measured, as the last line, with the largest memory of the process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(json.dumps({**facts, "peak_mib": round(peak)}), flush=True)
