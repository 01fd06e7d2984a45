"""A file that is not what it was is noticed, though its size or its time is the same; a copy is not taken for new."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from eo_core.file_state import SMALL, FileState, file_state, is_unchanged


def state(path: Path, verify: str = "stat") -> FileState:
    found = file_state(path, verify)  # type: ignore[arg-type]
    assert found is not None
    return found


def rewritten(path: Path, content: bytes) -> None:
    """Other content with the same time, as tools leave it that keep times."""
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(content)
    os.utime(path, ns=times)


@pytest.mark.parametrize("size", [10, SMALL + 1])
def test_other_content_of_the_same_size_and_time_is_a_change(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"a" * size)
    before = state(path)
    assert is_unchanged(path, before)
    rewritten(path, b"b" * size)
    assert not is_unchanged(path, before)


def test_another_size_time_or_a_missing_file_is_a_change(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"a" * (SMALL + 1))
    before = state(path)
    os.utime(path, (1.5e9, 1.5e9))
    assert not is_unchanged(path, before)
    path.write_bytes(b"a")
    assert not is_unchanged(path, before)
    path.unlink()
    assert not is_unchanged(path, before)
    assert file_state(path) is None
    assert file_state("a\0b") is None


def test_a_small_file_that_was_only_touched_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"a")
    before = state(path)
    os.utime(path, (1.5e9, 1.5e9))
    assert is_unchanged(path, before)


def test_a_large_file_is_the_same_elsewhere_if_its_time_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"a" * (SMALL + 1))
    before = state(path)
    copy = Path(shutil.copy2(path, tmp_path / "b.tif"))
    assert is_unchanged(copy, before, moved=True)
    assert not is_unchanged(copy, before)
    rewritten(copy, b"a" * SMALL + b"b")
    assert not is_unchanged(copy, before, moved=True)
    rewritten(copy, b"a" * (SMALL + 1))
    os.utime(copy, (1.5e9, 1.5e9))
    assert not is_unchanged(copy, before, moved=True)


def test_content_is_compared_whatever_the_times_say(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"a" * (SMALL + 1))
    before = state(path, "content")
    assert before.digest
    os.utime(path, (1.5e9, 1.5e9))
    assert is_unchanged(path, before)
    rewritten(path, b"b" * (SMALL + 1))
    now = path.stat()
    assert not is_unchanged(path, FileState(before.size, now.st_mtime, now.st_ctime, before.digest), "content")


def test_of_version_0_1_size_and_time_of_the_content_count(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"a")
    before = FileState.of_plain({"path": "x", "size": 1, "mtime": path.stat().st_mtime})
    assert before is not None
    assert is_unchanged(path, before)
    assert FileState.of_plain({"path": "https://x/a.tif"}) is None
    assert FileState.of_plain(state(path).plain()) == state(path)


@pytest.mark.parametrize("size", [10, SMALL])
def test_a_store_changes_with_any_of_its_members(tmp_path: Path, size: int) -> None:
    store = tmp_path / "a.zarr"
    for name in ("zarr.json", "s2/c/0", "s2/c/1"):
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_bytes(b"a" * size)
    before = state(store)
    assert before.size == 3 * size
    assert is_unchanged(store, before)
    rewritten(store / "s2/c/1", b"b" * size)
    assert not is_unchanged(store, before)
    before = state(store)
    (store / "s2/c/0").unlink()
    assert not is_unchanged(store, before)


def test_a_copied_store_is_the_same(tmp_path: Path) -> None:
    for size in (10, SMALL):
        store = tmp_path / f"{size}.zarr"
        store.mkdir()
        (store / "0").write_bytes(b"a" * size)
        (store / "1").write_bytes(b"a" * size)
        assert is_unchanged(shutil.copytree(store, tmp_path / f"copy-{size}"), state(store), moved=True)


def test_pipes_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert file_state(tmp_path / "pipe") is None
