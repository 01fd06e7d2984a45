"""Coercion of constructor arguments that arrive as text.

TerraTorch keeps a model's arguments in an untyped dictionary. What is set there from the command line arrives as a
string, and the string ``'false'`` is true for Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

#: Spellings of "no path" on a command line and in YAML.
_NO_PATH = ("", "none", "null", "~")


def from_text(value: object) -> object:
    """Parse a string as YAML (``'false'``, ``'[2, 5]'``, ``'none'``); return anything else as it is."""
    if not isinstance(value, str):
        return value
    if value.strip().lower() in ("none", ""):
        return None
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def as_path(value: str | Path | None) -> Path | None:
    """Return a path exactly as it is written, or ``None`` for ``None``, ``''``, ``none``, ``null`` and ``~``.

    A path is never parsed as YAML, which would cut ``runs/my #1/best.ckpt`` off at the ``#``.
    """
    if value is None or str(value).strip().lower() in _NO_PATH:
        return None
    return Path(value)


def as_bool(name: str, value: object) -> bool:
    """Return a truth value.

    Raises
    ------
    ValueError
        For anything but a boolean, 0, 1, or a spelling of true and false.
    """
    parsed = from_text(value)
    if isinstance(parsed, bool) or parsed in (0, 1):
        return bool(parsed)
    msg = f"{name} must be true or false, got {value!r}."
    raise ValueError(msg)


def as_int(name: str, value: object) -> int:
    """Return a whole number; ``2880.0`` and ``'2880'`` count as one.

    Raises
    ------
    ValueError
        For anything else.
    """
    parsed = from_text(value)
    if isinstance(parsed, bool) or not isinstance(parsed, int | float) or parsed % 1 != 0:
        msg = f"{name} must be a whole number, got {value!r}."
        raise ValueError(msg)
    return int(parsed)


def as_ints(name: str, value: object, example: str) -> tuple[int, ...]:
    """Return a tuple of whole numbers from one number or a flat list of them.

    Raises
    ------
    ValueError
        For an empty list or other content; the message shows ``example``.
    """
    parsed = from_text(value)
    items = list(parsed) if isinstance(parsed, Sequence) and not isinstance(parsed, str) else [parsed]
    if not items or any(isinstance(item, list | tuple | Mapping) or item is None for item in items):
        msg = f"{name} must be a list of whole numbers such as {example}, got {value!r}."
        raise ValueError(msg)
    return tuple(as_int(name, item) for item in items)


def one_of[Choice: str | None](name: str, value: object, valid: Sequence[Choice]) -> Choice:
    """Return ``value`` (``'none'`` counts as ``None``) if it is valid.

    Raises
    ------
    ValueError
        If it is not; the message lists the valid values.
    """
    parsed = None if isinstance(value, str) and value.strip().lower() == "none" and None in valid else value
    if parsed is None or isinstance(parsed, str):
        for choice in valid:
            if choice == parsed:
                return choice
    msg = f"{name} must be one of {', '.join('null' if v is None else v for v in valid)}, got {value!r}."
    raise ValueError(msg)
