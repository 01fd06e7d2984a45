"""Files that are there whole or not at all, and stay there after a power cut.

All of the project writes through this module. What is written lies under a temporary name beside the final one until it
is on the disk and has been read back: only then it gets its name. On any failure there is an error, what was under the
name before is still there, and nothing temporary is left.

`write_bytes`, `write_text`, `write_file` and `write_folder` compare what was written themselves. What is too large for
the memory is written to a path of `atomic_path`, with a check of its own.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import functools
import io
import os
import shutil
import uuid
from collections.abc import Buffer, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

#: Beginning of temporary names; a crash leaves them, and the next run removes them.
PARTIAL = ".partial-"
#: Bytes that are read back at once.
_BLOCK = 1 << 20
#: What file systems say that know no hard links, or none between two of them, or no more of a file.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK)
#: Raises an error if a closed file does not hold what it should.
Check = Callable[[Path], object]


def write_bytes(path: Path, content: Buffer) -> None:
    """Write a file whole or not at all.

    Raises
    ------
    OSError
        If it cannot be written, or does not hold the content afterwards.
    """

    def check(partial: Path) -> None:
        _expect(partial, path, content)

    with atomic_path(path, check) as partial, file_named(path):
        partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, as `write_bytes`; line ends are written as they are."""
    write_bytes(path, text.encode())


def write_file(path: Path, write: Callable[[io.BytesIO], object]) -> None:
    """Write what a library puts into an open binary file, as `write_bytes`.

    The library writes to memory, because few of them tell of a full disk: some lose the error, and some end the
    interpreter.

    Parameters
    ----------
    path : Path
        The file.
    write : callable
        Takes a file that can be written, read and sought, and need not close it.
    """
    memory = io.BytesIO()
    write(memory)
    write_bytes(path, memory.getvalue())  # no copy, and no view: CPython crashes where an error outlives one


def write_folder(path: Path, files: Mapping[str, Buffer]) -> None:
    """Write a folder whole or not at all; it replaces one that was there.

    A folder that was at ``path`` is moved away for a moment, as the file system cannot replace one that holds
    something. If the rename fails, it is moved back.

    Parameters
    ----------
    path : Path
        The folder.
    files : mapping
        The content of its files by their paths below it, with ``/`` between the parts.

    Raises
    ------
    OSError
        If something cannot be written, or does not hold its content afterwards.
    """
    partial, old = partial_path(path), partial_path(path)
    try:
        partial.mkdir()
        for name, content in files.items():
            file = partial / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with file_named(path / name):
                file.write_bytes(content)
        _sync_tree(partial)
        for name, content in files.items():
            _expect(partial / name, path / name, content)
        _exchange(partial, path, old)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def atomic_path(path: Path, check: Check) -> Iterator[Path]:
    """Yield a temporary path in the same folder that is renamed to ``path`` when the block ends well.

    On an error the temporary file is removed, and what was at ``path`` before stays.

    Parameters
    ----------
    path : Path
        The file.
    check : callable, optional
        Called with the temporary path when the block has ended, so with a file that is closed; raises an error if it
        does not hold what it should. Only a block that reads the file back itself needs none.
    """
    partial = partial_path(path)
    try:
        yield partial
        put_in_place(partial, path, check)
    finally:
        remove_partial(partial)


def partial_path(path: Path) -> Path:
    """Return a new temporary path in the folder of ``path``, which is made if it is missing.

    The name keeps the suffix, by which writers choose their format.
    """
    make_folder(path.parent)
    return path.with_name(f"{PARTIAL}{uuid.uuid4().hex}-{path.name}")


def put_in_place(partial: Path, path: Path, check: Check) -> None:
    """Give a finished file its final name, once all of it is on the disk and has been checked.

    The content reaches the disk before the rename and the new name after it, so that no crash leaves an empty or
    half-written file under the final name. A file that was at ``path`` is replaced.

    Parameters
    ----------
    partial : Path
        A path from `partial_path`. Writers must have closed it.
    path : Path
        The final name, in the same folder.
    check : callable
        Raises an error if the file does not hold what it should.

    Raises
    ------
    OSError
        If something cannot be written. What was at ``path`` is then still there.
    """
    with file_named(path):
        _sync_tree(partial)
    check(partial)
    partial.replace(path)
    sync_folder(path.parent)


def link_or_copy(source: Path, path: Path) -> None:
    """Give a finished file a second name, whole or not at all; where there are no hard links, copy it.

    What was at ``path`` is replaced. `sync_folder` brings the name to the disk, once for all files of a folder.

    Parameters
    ----------
    source : Path
        A file that nobody changes in place, as none of those that this module writes.
    path : Path
        Its second name.

    Raises
    ------
    OSError
        If the source is not there, or the file cannot be made.
    """
    partial = partial_path(path)
    try:
        try:
            os.link(source, partial)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with file_named(path):
                shutil.copyfile(source, partial)
            put_in_place(partial, path, functools.partial(_expect_copy, source))
        else:
            partial.replace(path)
    finally:
        remove_partial(partial)


def place_if_first(partial: Path, path: Path) -> None:
    """Give a file its final name, unless another process was faster: then what that one has put there stays.

    Where there are no hard links, two processes that come at the same moment cannot be told apart.

    Raises
    ------
    OSError
        If it cannot get its name.
    """
    try:
        os.link(partial, path)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if not path.exists():
            partial.replace(path)


def _expect_copy(source: Path, partial: Path) -> None:
    if not filecmp.cmp(source, partial, shallow=False):
        msg = f"The copy of {source} does not hold what was read. Check the disk."
        raise OSError(msg)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, and bring their names to the disk.

    Raises
    ------
    OSError
        If it cannot be made; of a file in its way, its name is told.
    """
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next(part for part in (folder, *folder.parents) if part.exists())
        msg = f"The folder {folder} cannot be made, as {file} is a file. Give one of them another name."
        raise OSError(msg) from error
    for part in reversed(missing):
        sync_folder(part.parent)


def remove_partial(partial: Path) -> None:
    """Remove a temporary file, if it is there; a failure would hide the error for which it is removed."""
    with contextlib.suppress(OSError):
        partial.unlink(missing_ok=True)


def remove_partials(folder: Path, names: str = "*") -> int:
    """Remove what a crash left below a folder, of files whose names are as stated; return how many."""
    left = list(folder.rglob(f"{PARTIAL}{names}"))
    for path in left:
        remove_file_or_folder(path)
    return len(left)


def remove_file_or_folder(path: Path) -> None:
    """Remove what is at a path, if anything is."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def file_named(path: Path) -> Iterator[None]:
    """Say of errors that come from an open file which file it is."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _expect(partial: Path, path: Path, content: Buffer) -> None:
    """Read a file back, and compare it with its content."""
    with memoryview(content) as given, given.cast("B") as expected, partial.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size != len(expected):
            msg = f"{path} was not written whole: {size} of {len(expected)} bytes are there. Is the disk full?"
            raise OSError(msg)
        for start in range(0, size, _BLOCK):
            if file.read(_BLOCK) != bytes(expected[start : start + _BLOCK]):
                msg = f"{path} does not hold what was written, from byte {start} on. Check the disk."
                raise OSError(msg)


def _exchange(partial: Path, path: Path, old: Path) -> None:
    """Put a folder in the place of another one, which is at ``old`` for a moment."""
    replaced = path.is_dir()
    if replaced:
        path.replace(old)
    try:
        partial.replace(path)
    except OSError:
        if replaced:
            old.replace(path)
        raise
    sync_folder(path.parent)
    if replaced:
        shutil.rmtree(old)


def _sync_tree(path: Path) -> None:
    """Bring a file, or a folder with all that it holds, to the disk."""
    if not path.is_dir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        return
    for root, _, names in path.walk():
        for name in names:
            _sync_tree(root / name)
        sync_folder(root)


def sync_folder(folder: Path) -> None:
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
