"""Two runs in one folder lose rows: the second is refused by name, and a killed run does not block the next."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from eo_core.locks import LOCK, FolderLock, Holder

HOLD = """
import sys, time
from eo_core.locks import FolderLock
lock = FolderLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""
#: As a data loader's workers: a child that outlives its killed parent for a moment.
HOLD_WITH_A_CHILD = HOLD.replace("time.sleep(60)", "import os\nos.fork()\ntime.sleep(8)")


def held_elsewhere(folder: Path, program: str = HOLD) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_by_name_and_a_killed_one_is_taken_over(tmp_path: Path) -> None:
    process = held_elsewhere(tmp_path)
    try:
        with pytest.raises(ValueError, match=rf"in use: process {process.pid} on .* since \d{{4}}-.*another folder"):
            FolderLock(tmp_path).acquire()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with FolderLock(tmp_path).held():
        assert FolderLock(tmp_path).holder() is not None
    assert not (tmp_path / LOCK).exists()


def test_children_of_a_killed_process_do_not_keep_its_lock(tmp_path: Path) -> None:
    process = held_elsewhere(tmp_path, HOLD_WITH_A_CHILD)
    process.send_signal(signal.SIGKILL)
    process.wait()
    start = time.monotonic()
    with FolderLock(tmp_path).held():
        assert time.monotonic() - start < 4


def test_in_one_process_the_last_object_gets_the_lock_and_the_one_before_notices(tmp_path: Path) -> None:
    """As in a notebook, where a run was interrupted and its exporter is still a variable."""
    first, second = FolderLock(tmp_path / "new"), FolderLock(tmp_path / "new")
    first.check()
    first.acquire()
    first.acquire()
    first.check()
    second.acquire()
    with pytest.raises(ValueError, match=f"taken over by process {os.getpid()} .*: this run stops"):
        first.check()
    first.release()
    second.check()
    second.release()
    assert list((tmp_path / "new").iterdir()) == []


def test_a_process_that_follows_another_one_notices_when_that_one_has_lost_the_folder(tmp_path: Path) -> None:
    leader, follower = FolderLock(tmp_path / "out"), FolderLock(tmp_path / "out")
    follower.follow(follower.holder())
    follower.check()  # nobody leads
    leader.acquire()
    follower.follow(follower.holder())
    follower.check()
    (tmp_path / "out").rename(tmp_path / "away")
    for lock in (leader, follower):
        with pytest.raises(OSError, match=rf"{tmp_path}/out is not there as it was: it was removed or renamed"):
            lock.check()
    (tmp_path / "away").rename(tmp_path / "out")
    follower.check()
    entry = {"host": "node-7", "process": 12, "process_start": "1", "since": "2026-01-02T03:04:05+00:00"}
    (tmp_path / "out" / LOCK).write_text(json.dumps(entry))
    with pytest.raises(ValueError, match="taken over by process 12 on node-7"):
        follower.check()
    leader.release()
    with pytest.raises(OSError, match=rf"its {LOCK} was removed or renamed, or the run that leads this one has ended"):
        follower.check()


def test_a_lock_of_another_machine_is_taken_over_on_request_only(tmp_path: Path) -> None:
    entry = {"host": "node-7", "process": 12, "process_start": "1", "since": "2026-01-02T03:04:05+00:00"}
    (tmp_path / LOCK).write_text(json.dumps(entry))
    with pytest.raises(ValueError, match="locked by process 12 on node-7 since 2026-01-02.*take_over: true"):
        FolderLock(tmp_path).acquire()
    with FolderLock(tmp_path, take_over=True).held():
        assert FolderLock(tmp_path).holder() != Holder(**entry)


def test_a_process_of_the_same_number_is_not_taken_for_the_one_that_ended(tmp_path: Path) -> None:
    own = Holder.this_process()
    assert not own.is_gone
    assert Holder(own.host, own.process, "0", own.since).is_gone
    assert not Holder("elsewhere", own.process, "0", own.since).is_gone


def test_an_entry_that_was_cut_off_blocks_nobody(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text('{"host": "x')
    with FolderLock(tmp_path).held():
        pass


def _take(folder: Path, together: Any, wins: Any) -> None:
    lock = FolderLock(folder)
    together.wait()
    try:
        lock.acquire()
    except ValueError:
        pass
    else:
        wins.put(os.getpid())
    together.wait()


def test_of_many_that_come_at_once_one_gets_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    wins, together = context.Queue(), context.Barrier(6, timeout=60)
    processes = [context.Process(target=_take, args=(tmp_path, together, wins)) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert wins.qsize() == 1


def test_a_full_disk_is_told_with_the_file_and_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*\.lock'"):
        FolderLock(tmp_path).acquire()
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "maps").write_text("a file")
    with pytest.raises(OSError, match=r"cannot be made, as .*maps is a file"):
        FolderLock(tmp_path / "maps" / "new").acquire()
