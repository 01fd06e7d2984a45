"""One number for all settings that change a result, and the differences between two sets of such settings."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields, is_dataclass
from datetime import date, time
from enum import Enum
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any

import numpy as np

#: Metadata of a field of a dataclass that came in a later version: it counts where it is not at its default, so that
#: fingerprints of settings that do not use it stay what they were.
LATER: Mapping[str, bool] = MappingProxyType({"later": True})

#: Longest value that a list of differences shows whole.
_SHOWN = 80
#: Stands where one of two sets of facts has no such key.
_ABSENT = "(absent)"


def plain_values(obj: object) -> Any:  # noqa: ANN401
    """Return a value as plain JSON values, the form that is fingerprinted and shown in a manifest.

    A dataclass becomes a mapping of its fields, and of its name under ``class``, because two policies with the same
    fields do different things. Private fields count if the constructor fills them by itself (``init=False``): so the
    content of a statistics file counts, not only its name. Fields that are marked as `LATER` do not count at their
    default. Tuples become lists, sets sorted lists, paths, enum members and dates strings, numpy values the Python
    values of the same size. A float32 becomes the float64 of exactly the same value; ``nan`` and infinities become
    strings, as JSON has none.

    Parameters
    ----------
    obj : object
        Any nesting of the above with str, int, float, bool and ``None``.

    Returns
    -------
    dict, list, str, int, float, bool or None
        ``plain_values`` of it is the same again.

    Raises
    ------
    ValueError
        For any other type, or a mapping with keys that are no names.
    """
    return _plain(obj, "")


def _plain(obj: object, where: str) -> Any:  # noqa: ANN401
    if isinstance(obj, np.generic | np.ndarray):
        obj = obj.tolist()
    if isinstance(obj, Enum):
        return _plain(obj.value, where)
    if obj is None or isinstance(obj, bool | int | str):
        return obj
    if isinstance(obj, float):
        return obj if math.isfinite(obj) else repr(obj)
    if isinstance(obj, PurePath):
        return obj.as_posix()
    if isinstance(obj, date | time):  # a datetime is a date
        return obj.isoformat()
    return _plain_container(obj, where)


def _plain_container(obj: object, where: str) -> Any:  # noqa: ANN401
    if is_dataclass(obj) and not isinstance(obj, type):
        counted = {f.name: getattr(obj, f.name) for f in fields(obj) if _counts(f, getattr(obj, f.name))}
        return {"class": type(obj).__name__} | {key: _plain(value, _join(where, key)) for key, value in counted.items()}
    if isinstance(obj, Mapping):
        plain = {_name(key, where): _plain(value, _join(where, str(key))) for key, value in obj.items()}
        if len(plain) != len(obj):
            msg = f"Two keys of the facts at {where or 'the top'} become the same name: {list(obj)}."
            raise ValueError(msg)
        return plain
    if isinstance(obj, list | tuple):
        return [_plain(value, f"{where}[{i}]") for i, value in enumerate(obj)]
    if isinstance(obj, set | frozenset):
        return sorted((_plain(value, where) for value in obj), key=_canonical)
    msg = (
        f"The fact {where or 'given'} is of type {type(obj).__name__}, which has no stable spelling: {str(obj)[:80]}. "
        "Valid are str, int, float, bool, None, dates, paths, enum members, numpy values, dataclasses, and lists, "
        "sets and mappings of these. Give its settings, or str() of it, instead."
    )
    raise ValueError(msg)


def _counts(field: Field[Any], value: object) -> bool:
    if field.metadata.get("later") and value == field.default:
        return False
    return not (field.init and field.name.startswith("_"))


def _name(key: object, where: str) -> str:
    value = key.value if isinstance(key, Enum) else key
    if isinstance(value, str):
        return str(value)
    msg = f"A key of the facts at {where or 'the top'} is {key!r}, expected a name. Write it as a string."
    raise ValueError(msg)


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _canonical(plain: object) -> str:
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(facts: Mapping[str, Any]) -> str:
    """SHA-256 of the facts as canonical JSON, in hexadecimal digits.

    The order of keys does not matter and a tuple is a list; every digit of a float does matter, and ``1`` is not
    ``1.0``.

    Raises
    ------
    ValueError
        For what ``plain_values`` refuses.
    """
    return hashlib.sha256(_canonical(plain_values(facts)).encode()).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return one line ``data.bands[1]: 'RED' -> 'NIR'`` for each fact that differs; no line if none does.

    Raises
    ------
    ValueError
        For what ``plain_values`` refuses.
    """
    return list(_differing(plain_values(old), plain_values(new), ""))


def _differing(old: Any, new: Any, where: str) -> Iterator[str]:  # noqa: ANN401
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differing(old.get(key, _ABSENT), new.get(key, _ABSENT), _join(where, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differing(one, other, f"{where}[{i}]")
    elif _canonical(old) != _canonical(new):
        yield f"{where}: {' -> '.join(_cut(_spelt(old), _spelt(new)))}"


def _spelt(value: object) -> str:
    return _ABSENT if value is _ABSENT else repr(value)


def _cut(one: str, other: str) -> tuple[str, str]:
    """Shorten two long texts to where they begin to differ."""
    same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    start = max(0, same - _SHOWN // 4) if max(len(one), len(other)) > _SHOWN else 0

    def part(text: str) -> str:
        end = start + _SHOWN
        return ("..." if start else "") + text[start:end] + ("..." if end < len(text) else "")

    return part(one), part(other)


def sha256_of_file(path: str | Path) -> str:
    """SHA-256 of a file in hexadecimal digits, without reading it into memory.

    Raises
    ------
    ValueError
        If there is no such file, or it cannot be read.
    """
    try:
        with Path(path).expanduser().open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        msg = f"The SHA-256 of {str(path)!r} needs a file that can be read, got: {error.strerror or error}."
        raise ValueError(msg) from error
