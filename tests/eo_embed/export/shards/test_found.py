"""What lies below a folder of shards is looked at before anything is written: holes, strangers, settings, locks."""

from __future__ import annotations

import os
import shutil
import signal
import warnings
from pathlib import Path

import pytest
from sharded_runs import export

from eo_core.locks import FolderLock
from eo_data.catalog.shards import Shard
from eo_embed.export.shards.found import finished_shards
from eo_embed.export.shards.whole import merge_shards


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    for index in range(3):
        export(folder, Shard(index, 3), output="pooled", count=12)
    return folder


@pytest.fixture
def shards(three: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(three, tmp_path / "whole"))


def refused(folder: Path, message: str) -> None:
    """A merge is refused and writes nothing."""
    before = sorted(folder.rglob("*"))
    with pytest.raises(ValueError, match=message):
        merge_shards(folder)
    assert sorted(folder.rglob("*")) == before


def test_all_shards_are_found_by_their_index(shards: Path) -> None:
    assert [found.shard for found in finished_shards(shards)] == [Shard(i, 3) for i in range(3)]


def test_a_hole_is_named_with_what_to_run(shards: Path) -> None:
    shutil.rmtree(shards / "shards" / "1-of-3")
    refused(shards, r"of 3 shards, 2 are finished; missing: 1\. Nothing was written\. .*shard\.index 1 .*--shard 1/3")
    shutil.rmtree(shards / "shards" / "2-of-3")
    refused(shards, r"1 are finished; missing: 1, 2\.")


def test_a_shard_that_was_interrupted_is_no_finished_one(shards: Path) -> None:
    manifest = shards / "shards" / "2-of-3" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"state": "complete"', '"state": "running"'))
    refused(shards, r"not finished: 2\.")


def test_shards_of_two_counts_and_strangers_are_refused(shards: Path) -> None:
    export(shards, Shard(0, 4), output="pooled", count=12)
    refused(shards, r"shards of 3 and of 4 \(0-of-3, 0-of-4, 1-of-3, 2-of-3\)")
    shutil.rmtree(shards / "shards" / "0-of-4")
    (shards / "shards" / "1-of-3 (copy)").mkdir()
    refused(shards, r"what is no shard: 1-of-3 \(copy\)")


def test_shards_of_other_settings_are_refused_with_the_difference(shards: Path) -> None:
    export(shards, Shard(1, 3), output="pooled", count=12, l2_normalise=True, overwrite=True)
    refused(
        shards, r"1-of-3 was made in another way than .*0-of-3 \(there -> here\):\n.*l2_normalise.*[Ff]alse -> [Tt]rue"
    )


def test_a_folder_under_another_name_is_refused(shards: Path) -> None:
    """Two copies of one shard would give its rows twice, and those of another not at all."""
    place = shards / "shards"
    shutil.rmtree(place / "1-of-3")
    shutil.copytree(place / "0-of-3", place / "1-of-3")
    refused(shards, "1-of-3 holds an export that was made as shard 0/3. Remove it, and run shard 1/3")


def test_no_shards_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There are no shards in"):
        finished_shards(tmp_path)
    with pytest.raises(ValueError, match="There is no folder"):
        merge_shards(tmp_path / "missing")


def test_two_writers_of_one_shard_and_a_merge_beside_one_name_the_owner(shards: Path) -> None:
    """Another process holds the lock, as an open file of it does; of one on another host nothing else is known."""
    place = shards / "shards" / "1-of-3"
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, of which the child uses none
        child = os.fork()
    if child == 0:
        lock = FolderLock(place)
        lock.acquire()
        os.write(writing, b"held")
        signal.pause()  # until it is killed
        os._exit(0)
    try:
        assert os.read(reading, 4) == b"held"
        refused(shards, rf"1-of-3 is in use: process {child} on .* since .*")
        with pytest.raises(ValueError, match=rf"1-of-3 is in use: process {child} on "):
            export(shards, Shard(1, 3), output="pooled", count=12)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    merge_shards(shards)  # what a killed process left is taken over


def test_a_lock_of_another_host_is_taken_over_when_that_is_asked_for(shards: Path) -> None:
    holder = '{"host": "node7", "process": 12, "process_start": "1", "since": "2026-01-01T00:00:00+00:00"}'
    (shards / "shards" / "1-of-3" / ".lock").write_text(holder)
    refused(shards, r"1-of-3 is locked by process 12 on node7 since 2026-01-01T00:00:00\+00:00")
    assert merge_shards(shards, take_over=True).shards == 3
