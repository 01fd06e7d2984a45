"""What libraries tell on every run and nobody can act on: a table with reasons, and a block of code without it."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from eo_cli.run.own import is_own


@dataclass(frozen=True)
class Noise:
    """What a library tells.

    Parameters
    ----------
    source : str
        The logger, or ``warnings`` for warnings of Python.
    begins : str
        Regular expression for how the message begins.
    reason : str
        Why nobody can act on it.
    """

    source: str
    begins: str
    reason: str


WARNINGS = "warnings"
_LIGHTNING = "lightning.pytorch.utilities.rank_zero"

NOISE: Sequence[Noise] = (
    Noise(WARNINGS, "LightningCLI's args parameter", "it is how this command hands its arguments over"),
    Noise(WARNINGS, "The ``compute`` method of metric", "Lightning asks metrics of splits that are not in use"),
    Noise(WARNINGS, r".*isinstance.treespec, LeafSpec", "within Lightning, for its authors"),
    Noise(WARNINGS, "flex_attention called without torch.compile", "an encoder's own choice, with its reason"),
    Noise(WARNINGS, "Detected pickle protocol", "of checkpoints that others have written"),
    Noise(WARNINGS, r"`?torch\.jit\.", "within libraries, for their authors"),
    Noise(WARNINGS, "predict returned None", "tasks that write their results return none"),
    Noise(WARNINGS, r"Checkpoint directory .* exists and is not empty", "names get a number; nothing is replaced"),
    Noise("torch.utils._pytree", r".* is an Enum subclass", "between torchao and PyTorch, for their authors"),
    Noise("diffusers.quantizers.torchao.torchao_quantizer", "Unable to import `torchao`", "of a library not in use"),
    Noise(_LIGHTNING, "\N{ELECTRIC LIGHT BULB} Tip:", "advertises other products"),
    Noise(_LIGHTNING, "TPU available: False", "most machines have none"),
)


@contextlib.contextmanager
def without_noise() -> Iterator[None]:
    """Keep `NOISE` back, and tell each further warning of users' interest once; everything is as before behind it."""
    of_logger: dict[str, list[str]] = {}
    for one in NOISE:
        of_logger.setdefault(one.source, []).append(one.begins)
    teller = _Teller(of_logger.pop(WARNINGS))
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        # Not by filters: libraries put theirs in front of any that are there before they are imported.
        warnings.filterwarnings("always", category=UserWarning)
        warnings.showwarning = teller
        for source, begins in of_logger.items():
            logger, kept = logging.getLogger(source), _Filter(begins)
            logger.addFilter(kept)
            stack.callback(logger.removeFilter, kept)
        yield


def _any_of(begins: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{one})" for one in begins), re.IGNORECASE | re.DOTALL)


class _Filter(logging.Filter):
    def __init__(self, begins: Sequence[str]) -> None:
        super().__init__()
        self._noise = _any_of(begins)

    def filter(self, record: logging.LogRecord) -> bool:
        return self._noise.match(record.getMessage()) is None


class _Teller:
    """Tells a warning that was not told before and is no noise; of ours, only what it says."""

    def __init__(self, begins: Sequence[str]) -> None:
        self._noise = _any_of(begins)
        self._told: set[tuple[type[Warning], str]] = set()

    def __call__(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = str(message)
        if (category, text) in self._told or self._noise.match(text):
            return
        self._told.add((category, text))
        if is_own(filename):
            told = f"warning: {text}\n"
        else:
            told = warnings.formatwarning(message, category, filename, lineno, "")
        (file or sys.stderr).write(told)
