"""The cache on disk gives back what it was given or nothing, and stays within its bounds."""

from __future__ import annotations

import os
import time
from pathlib import Path

from eo_core.files import PARTIAL
from eo_data.raster.remote.cache import RangeCache

_ADDRESS = "https://example.org/x.tif"


def _held(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*-*") if path.is_file())


def test_a_damaged_range_is_not_given(tmp_path: Path) -> None:
    """A bad disk would show as pixels."""
    entry = RangeCache(tmp_path).entry(_ADDRESS, 100, "v")
    entry.write(10, b"abcdef")
    assert entry.ranges() == [(10, 16)]
    assert entry.read(10, 16) == b"abcdef"
    path = entry.folder / "10-16"
    path.write_bytes(b"x" + path.read_bytes()[1:])
    assert entry.read(10, 16) is None
    assert entry.ranges() == []


def test_a_half_written_range_is_none(tmp_path: Path) -> None:
    entry = RangeCache(tmp_path).entry(_ADDRESS, 100, "v")
    entry.write(10, b"abcdef")
    (entry.folder / f"{PARTIAL}0-20-30").write_bytes(b"abc")
    assert entry.ranges() == [(10, 16)]


def test_versions_sizes_and_addresses_are_kept_apart(tmp_path: Path) -> None:
    cache = RangeCache(tmp_path)
    cache.entry(_ADDRESS, 100, "v").write(0, b"a")
    assert cache.knows(_ADDRESS)
    assert not cache.knows("https://example.org/y.tif")
    assert cache.entry(_ADDRESS, 100, "w").ranges() == []
    assert cache.entry(_ADDRESS, 101, "v").ranges() == []


def test_what_was_used_longest_ago_goes_first_and_nothing_of_others(tmp_path: Path) -> None:
    (tmp_path / "0-9").write_bytes(bytes(10_000))  # of the user, who named a folder that is in use
    cache = RangeCache(tmp_path, max_bytes=5_000)
    entry = cache.entry(_ADDRESS, 10**6, "v")
    for i in range(10):
        entry.write(i * 1000, bytes(1000))
        os.utime(entry.folder / f"{i * 1000}-{i * 1000 + 1000}", (i, i))
    assert entry.read(0, 1000) is not None  # used now
    cache.tidy()
    assert _held(entry.folder) <= 5_000
    assert sorted(entry.ranges()) == [(0, 1000), (8000, 9000), (9000, 10000)]
    assert (tmp_path / "0-9").exists()


def test_tidying_is_done_once_a_minute_and_takes_what_killed_processes_left(tmp_path: Path) -> None:
    cache = RangeCache(tmp_path, max_bytes=10)
    entry = cache.entry(_ADDRESS, 10**6, "v")
    entry.write(0, bytes(5))
    old, new = (entry.folder / f"{PARTIAL}{name}-0-9" for name in "ab")
    for path in (old, new):
        path.write_bytes(b"a")
    os.utime(old, (time.time() - 7200,) * 2)
    cache.tidy()
    assert (old.exists(), new.exists()) == (False, True)
    entry.write(100, bytes(500))
    cache.tidy()
    assert (100, 600) in entry.ranges()
    os.utime(cache.own / ".tidied", (0, 0))
    cache.tidy()
    assert (100, 600) not in entry.ranges()
