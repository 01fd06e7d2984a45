"""Damage to files: bytes, members of an archive or a folder, and values in tables; all drawn from a seed."""

from __future__ import annotations

import io
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple


class Damage(NamedTuple):
    """What was done to a file.

    Parameters
    ----------
    name : str
        For the report.
    lost : bool
        Whether something was cut off or taken away, and nothing put in its place: what is still read must then be what
        was there before, or be marked as missing.
    """

    name: str
    lost: bool = False


Mutator = Callable[[Path, Random], Damage]
#: Half of the damage is done here, in bytes from either end, where headers and directories are.
_HEADER = 700


def any_bytes(path: Path, chance: Random) -> Damage:
    """Damage a file, or any file below a folder."""
    file = path if path.is_file() else chance.choice(sorted(p for p in path.rglob("*") if p.is_file()))
    content = bytearray(file.read_bytes())
    kind = chance.choice(_KINDS)
    lost = kind in (_truncate, _empty)
    where = kind(content, chance)
    file.write_bytes(content)
    inside = "" if file == path else f" of {file.relative_to(path).as_posix()}"
    return Damage(f"{kind.__name__.strip('_')} {where}{inside}", lost)


def _place(content: bytearray, chance: Random) -> int:
    size = max(1, len(content))
    if chance.random() < 0.5:
        near = chance.randrange(min(_HEADER, size))
        return near if chance.random() < 0.7 else size - 1 - near
    return chance.randrange(size)


def _flip(content: bytearray, chance: Random) -> str:
    places = [_place(content, chance) for _ in range(chance.choice((1, 1, 2, 8)))]
    for place in places:
        if content:
            content[place] ^= 1 << chance.randrange(8)
    return f"bits at {places}"


def _word(content: bytearray, chance: Random) -> str:
    """Sizes, counts and offsets are words of two, four or eight bytes."""
    width = chance.choice((2, 4, 8))
    place = _place(content, chance) // width * width
    order: Literal["little", "big"] = "little" if chance.random() < 0.5 else "big"
    old = int.from_bytes(content[place : place + width], order)
    most = (1 << 8 * width) - 1
    new = chance.choice((0, 1, most, most >> 1, old + 1, old - 1, old * 2, old << 8, old >> 8, chance.randrange(most)))
    content[place : place + width] = (new & most).to_bytes(width, order)
    return f"{width} bytes at {place}: {old} -> {new & most}"


def _truncate(content: bytearray, chance: Random) -> str:
    keep = chance.choice((_place(content, chance), int(len(content) * chance.random()), len(content) - 1))
    del content[max(0, keep) :]
    return f"after {keep}"


def _empty(content: bytearray, _: Random) -> str:
    content.clear()
    return ""


def _zero(content: bytearray, chance: Random) -> str:
    start, length = _place(content, chance), chance.choice((4, 16, 64, 512))
    stretch = len(content[start : start + length])
    content[start : start + length] = bytes(stretch)
    return f"{stretch} bytes at {start}"


def _noise(content: bytearray, chance: Random) -> str:
    start, length = _place(content, chance), chance.choice((4, 16, 64, 512))
    stretch = len(content[start : start + length])
    content[start : start + length] = chance.randbytes(stretch)
    return f"{stretch} bytes at {start}"


def _swap(content: bytearray, chance: Random) -> str:
    length = chance.choice((2, 4, 8, 64))
    a, b = sorted((_place(content, chance), _place(content, chance)))
    if a + length > b or b + length > len(content):
        return "nothing"
    content[a : a + length], content[b : b + length] = content[b : b + length], content[a : a + length]
    return f"{length} bytes at {a} and {b}"


def _insert(content: bytearray, chance: Random) -> str:
    start, added = _place(content, chance), chance.randbytes(chance.choice((1, 4, 100)))
    content[start:start] = added
    return f"{len(added)} bytes at {start}"


def _cut_out(content: bytearray, chance: Random) -> str:
    start, length = _place(content, chance), chance.choice((1, 4, 100))
    del content[start : start + length]
    return f"{length} bytes at {start}"


def _append(content: bytearray, chance: Random) -> str:
    content += chance.randbytes(1000)
    return "1000 bytes"


_KINDS = (_flip, _flip, _flip, _word, _word, _word, _truncate, _zero, _noise, _swap, _insert, _cut_out, _append, _empty)


def members(path: Path, chance: Random) -> Damage:
    """Take away, rename, double or empty a file of a folder, such as a chunk or the description of a Zarr."""
    file = chance.choice(sorted(p for p in path.rglob("*") if p.is_file()))
    other = chance.choice(sorted(p for p in path.rglob("*") if p.is_file()))
    name, kind = file.relative_to(path).as_posix(), chance.choice(("remove", "rename", "exchange", "copy", "folder"))
    if kind == "remove":
        file.unlink()
    elif kind == "rename":
        file.rename(file.with_name(f"{file.name}~"))
    elif kind == "copy":
        shutil.copyfile(file, file.with_name(f"{file.name}.1"))
    elif kind == "exchange" and other != file:
        content = file.read_bytes()
        file.write_bytes(other.read_bytes())
        other.write_bytes(content)
    elif kind == "folder":
        file.unlink()
        file.mkdir()
    return Damage(f"{kind} {name}", lost=kind in ("remove", "rename", "folder"))


def zip_members(path: Path, chance: Random) -> Damage:
    """The same to a member of a ZIP archive, with checksums that fit."""
    with zipfile.ZipFile(path) as archive:
        content = {info.filename: archive.read(info) for info in archive.infolist()}
    name, other = chance.choice(sorted(content)), chance.choice(sorted(content))
    kind = chance.choice(("remove", "rename", "exchange", "damage", "long name", "twice"))
    if kind == "remove":
        del content[name]
    elif kind == "rename":
        content[f"{name}~"] = content.pop(name)
    elif kind == "exchange":
        content[name], content[other] = content[other], content[name]
    elif kind == "long name":
        content["x" * 60_000] = b""
    else:
        inside = bytearray(content[name])
        kind = f"damage ({chance.choice(_KINDS)(inside, chance)})"
        content[name] = bytes(inside)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for key, value in content.items():
            archive.writestr(key, value)
        if kind == "twice":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                archive.writestr(name, content[other])
    path.write_bytes(target.getvalue())
    return Damage(f"{kind} {name}", lost=kind in ("remove", "rename"))
