"""Files that are there whole or not at all, and stay there after a power cut."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Beginning of temporary names; a crash leaves them, and the next run removes them.
PARTIAL = ".partial-"


def partial_path(path: Path) -> Path:
    """Return a new temporary path in the folder of ``path``, which is made if it is missing.

    The name keeps the suffix, by which writers choose their format.
    """
    _make_folder(path.parent)
    return path.with_name(f"{PARTIAL}{uuid.uuid4().hex}-{path.name}")


def put_in_place(partial: Path, path: Path) -> None:
    """Give a finished file or folder its final name, once all of it is on the disk.

    The content reaches the disk before the rename and the new name after it, so that no crash leaves an empty or
    half-written file under the final name. A file that was at ``path`` is replaced.

    Parameters
    ----------
    partial : Path
        A path from :func:`partial_path`. Writers must have closed it.
    path : Path
        The final name, in the same folder.

    Raises
    ------
    OSError
        If something cannot be written. What was at ``path`` is then still there.
    """
    _sync_tree(partial)
    partial.replace(path)
    _sync_folder(path.parent)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder that is renamed to ``path`` when the block ends well.

    On an error the temporary file is removed, and what was at ``path`` before stays.
    """
    partial = partial_path(path)
    try:
        yield partial
        put_in_place(partial, path)
    finally:
        if partial.is_file():
            partial.unlink()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new temporary folder that is renamed to ``path`` when the block ends well, as :func:`atomic_path`.

    A folder that was at ``path`` is moved away for a moment, as the file system cannot replace one that holds
    something. If the rename fails, it is moved back.
    """
    partial, old = partial_path(path), partial_path(path)
    partial.mkdir()
    try:
        yield partial
        had_one = path.is_dir()
        if had_one:
            path.replace(old)
        try:
            put_in_place(partial, path)
        except OSError:
            if had_one:
                old.replace(path)
            raise
    finally:
        for left in (partial, old):
            if left.is_dir():
                shutil.rmtree(left)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all; line ends are written as they are."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def remove_partials(folder: Path) -> int:
    """Remove what a crash left below a folder; return how many files and folders."""
    left = list(folder.rglob(f"{PARTIAL}*"))
    for path in left:
        remove_file_or_folder(path)
    return len(left)


def remove_file_or_folder(path: Path) -> None:
    """Remove what is at a path, if anything is."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents, and bring their names to the disk."""
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for part in reversed(missing):
        _sync_folder(part.parent)


def _sync_tree(path: Path) -> None:
    """Bring a file, or a folder with all that it holds, to the disk."""
    if not path.is_dir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        return
    for root, _, names in path.walk():
        for name in names:
            _sync_tree(root / name)
        _sync_folder(root)


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the file system can be asked for it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems know no fsync of folders.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
