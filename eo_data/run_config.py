"""The config of a run: what Lightning's command line has read, and what a checkpoint carries of it."""

from __future__ import annotations

from typing import Any


def config_text(trainer: Any) -> str | None:  # noqa: ANN401
    """Return the whole config as YAML, where Lightning's command line has put it; ``None`` in a Python program."""
    for callback in trainer.callbacks:
        parser, config = getattr(callback, "parser", None), getattr(callback, "config", None)
        if parser is not None and config is not None:
            return str(parser.dump(config, skip_none=False))
    return None
