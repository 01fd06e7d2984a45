"""What a process remembers of files on servers is bounded, and what was used last stays."""

from __future__ import annotations

from eo_data.raster.remote.memory import KnownFile, KnownFiles


def test_what_is_remembered_is_bounded() -> None:
    """Of a hundred thousand files, the tables alone would fill the memory."""
    files = KnownFiles(most_bytes=20_000_000)
    for i in range(6000):
        file = KnownFile(10**6, "v", 0.0)
        files.add(str(i), file)
        for start in range(0, 10**5, 20_000):
            files.keep(file, (start, start + 20_000), bytes(20_000))
    found = [file for i in range(6000) if (file := files.find(str(i)))]
    assert 500 < len(found) < 6000
    assert files.find("5999") is not None
    assert sum(len(data) for file in found for data in file.ranges.values()) == 20_000_000
    for i in range(6000):
        files.forget(str(i))
    assert files.recall(found[-1], (0, 20_000)) is None


def test_bytes_that_were_used_last_stay() -> None:
    """A row of tiles shares its blocks with the next row: what was used longest ago goes, not what came first."""
    files, file = KnownFiles(most_bytes=30), KnownFile(100, "v", 0.0)
    files.add("x", file)
    for start in (0, 10, 20):
        files.keep(file, (start, start + 10), bytes(10))
    assert files.recall(file, (0, 10)) is not None
    files.keep(file, (30, 40), bytes(10))
    assert [files.recall(file, (start, start + 10)) is not None for start in (0, 10, 20, 30)] == [
        True,
        False,
        True,
        True,
    ]
