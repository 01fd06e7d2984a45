"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Beginning of temporary names; a crash leaves them, and the next run removes them.
PARTIAL = ".partial-"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder that is renamed to ``path`` when the block ends well.

    Its name keeps the suffix, by which writers choose their format. On an error it is removed, and what was at
    ``path`` before stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{PARTIAL}{uuid.uuid4().hex}-{path.name}")
    try:
        yield partial
        if partial.is_file():
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        if partial.is_file():
            partial.unlink()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new temporary folder that is renamed to ``path`` when the block ends well, as :func:`atomic_path`.

    A folder that was at ``path`` is removed in between, as the file system cannot replace one that holds something.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{PARTIAL}{uuid.uuid4().hex}-{path.name}")
    old = path.with_name(f"{PARTIAL}{uuid.uuid4().hex}-{path.name}")
    partial.mkdir()
    try:
        yield partial
        if path.is_dir():
            path.replace(old)
        partial.replace(path)
    finally:
        for left in (partial, old):
            if left.is_dir():
                shutil.rmtree(left)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def remove_partials(folder: Path) -> int:
    """Remove what a crash left below a folder; return how many files and folders."""
    left = list(folder.rglob(f"{PARTIAL}*"))
    for path in left:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return len(left)
