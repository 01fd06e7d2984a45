"""The whole of shards is the export of one process, whatever is killed on the way; and a hole is never closed over."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from same_exports import assert_same_exports, assert_same_values
from sharded_runs import batches, export, export_by_ranks, exporter, killed_at

import eo_core.files
from eo_data.catalog.shards import Shard
from eo_embed import open_embeddings
from eo_embed.export.folder import FolderState, state_of
from eo_embed.export.shards.whole import merge_shards

THREE = [Shard(i, 3) for i in range(3)]
LARGEST = max(THREE, key=lambda shard: sum(len(batch["id"]) for batch in batches(shard=shard)))


def export_all(folder: Path, shards: list[Shard] = THREE, **settings: Any) -> None:
    for shard in shards:
        export(folder, shard, **settings)


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the manifest, which tells times."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != "manifest.json"}


@pytest.mark.parametrize("grid_format", ["geotiff", "zarr", "netcdf", "npz"])
def test_three_shards_are_one_process(grid_format: str, tmp_path: Path) -> None:
    """All bytes, the manifest's fingerprint, counts and items: and a second merge changes nothing."""
    export(tmp_path / "one", grid_format=grid_format)
    whole = tmp_path / "whole"
    export_all(whole, grid_format=grid_format)
    assert [len(open_embeddings(shard.folder(whole)).ids) for shard in THREE] != [9, 0, 0]
    merged = merge_shards(whole)
    assert (merged.items, merged.shards, merged.failures) == (18, 3, ())
    before = (whole / "manifest.json").read_bytes()
    merge_shards(whole)
    assert (whole / "manifest.json").read_bytes() == before
    merge_shards(whole, remove=True)
    merge_shards(whole)
    assert (whole / "manifest.json").read_bytes() == before
    assert contents(whole) == contents(tmp_path / "one")
    assert_same_exports(tmp_path / "one", whole)
    told = json.loads(before)["provenance"]["shards"]
    assert [(shard["index"], shard["of"], shard["runs"]) for shard in told] == [(0, 3, 1), (1, 3, 1), (2, 3, 1)]
    assert all(shard["start"] <= shard["end"] and shard["host"] for shard in told)


def test_more_shards_than_are_read_side_by_side_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(tmp_path / "one", output="pooled")
    export_all(tmp_path / "whole", output="pooled")
    monkeypatch.setattr("eo_embed.export.shards.whole._MOST_OPEN", 2)
    merge_shards(tmp_path / "whole", remove=True)
    assert contents(tmp_path / "whole") == contents(tmp_path / "one")
    assert_same_exports(tmp_path / "one", tmp_path / "whole")


def test_shards_are_made_in_any_order_and_some_may_be_empty(tmp_path: Path) -> None:
    export(tmp_path / "one", count=3, output="pooled")
    export_all(tmp_path / "whole", [Shard(i, 7) for i in (6, 2, 0, 1, 5, 4, 3)], count=3, output="pooled")
    merge_shards(tmp_path / "whole", remove=True)
    assert_same_exports(tmp_path / "one", tmp_path / "whole")


@pytest.mark.parametrize("seed", range(2))
def test_a_shard_killed_anywhere_loses_and_doubles_nothing(seed: int, tmp_path: Path) -> None:
    """kill -9 at a random step of a file, again and again, until the shard is through; then the same as one process."""
    draw = random.Random(seed)  # noqa: S311
    whole, shard = tmp_path / "whole", LARGEST
    export_all(whole, [other for other in THREE if other != shard])
    tries = 0
    while killed_at(draw.randrange(4, 120), whole, lambda: export(whole, shard)):
        tries += 1
        if state_of(shard.folder(whole)) is FolderState.COMPLETE:  # killed while it gave the lock back
            break
        with pytest.raises(ValueError, match=rf"of 3 shards, 2 are finished; (missing|not finished): {shard.index}"):
            merge_shards(whole)
        assert tries < 60
    assert tries
    export(whole, shard)
    merge_shards(whole, remove=True)
    export(tmp_path / "one")
    assert_same_exports(tmp_path / "one", whole, resumed=True)


@pytest.mark.parametrize("seed", range(2))
def test_a_rank_killed_anywhere_loses_and_doubles_nothing(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)  # noqa: S311
    killed: list[bool] = []

    class LostRankError(Exception):
        """The run ends, as a launcher ends it when one of its processes is gone."""

    def run_until_killed(add: Any) -> None:
        killed.append(killed_at(draw.randrange(4, 60), tmp_path, add))
        if killed[-1]:
            raise LostRankError

    while True:
        try:
            export_by_ranks(tmp_path / "ranks", {1: run_until_killed})
        except LostRankError:
            assert len(killed) < 60
            continue
        break
    assert any(killed)
    export(tmp_path / "one")
    assert_same_exports(tmp_path / "one", tmp_path / "ranks", resumed=True)


@pytest.mark.parametrize("grid_format", ["geotiff", "zarr"])
def test_a_merge_killed_anywhere_gives_the_same_bytes(grid_format: str, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    export(tmp_path / "one", grid_format=grid_format)
    export_all(whole, grid_format=grid_format)
    draw = random.Random(0)  # noqa: S311
    steps = sorted(draw.sample(range(400), 6 if grid_format == "geotiff" else 3))
    killed = [killed_at(step, whole, lambda: merge_shards(whole, remove=True)) for step in steps]
    assert killed[0]
    merge_shards(whole, remove=True)
    assert contents(whole) == contents(tmp_path / "one")
    assert_same_exports(tmp_path / "one", whole)


def test_what_no_hard_link_can_name_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(eo_core.files.errno.EPERM, "no links here")

    export(tmp_path / "one")
    export_all(tmp_path / "whole")
    monkeypatch.setattr(eo_core.files.os, "link", refuse)
    merge_shards(tmp_path / "whole", remove=True)
    assert_same_exports(tmp_path / "one", tmp_path / "whole")


def test_failed_items_of_all_shards_are_listed_as_by_one_process(tmp_path: Path) -> None:
    lost = [(f"lost_{i}", f"file {i} is truncated") for i in range(5)]
    export(tmp_path / "one", skipped=lost, on_error="skip")
    export_all(tmp_path / "whole", skipped=lost, on_error="skip")
    merged = merge_shards(tmp_path / "whole", remove=True)
    assert [row["id"] for row in merged.failures] == [name for name, _ in lost]
    assert merged.on_error == "skip"
    assert_same_exports(tmp_path / "one", tmp_path / "whole")


def test_a_shard_that_is_run_again_comes_into_the_whole(tmp_path: Path) -> None:
    """After a repair: the whole before must not be taken for the one that there is now."""
    whole, shard = tmp_path / "whole", Shard(1, 3)
    lost = [(name, "unreadable") for name in (f"lost_{i}" for i in range(20)) if shard.holds(name)]
    assert lost
    for one in THREE:
        export(whole, one, skipped=lost, on_error="skip")
    assert merge_shards(whole).failures
    export(whole, shard, on_error="skip")
    assert not merge_shards(whole, remove=True).failures
    export(tmp_path / "one")
    assert_same_exports(tmp_path / "one", whole, resumed=True)


def test_a_damaged_grid_of_the_whole_comes_back_from_its_shard(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    export_all(whole)
    merge_shards(whole)
    lost = next((whole / "grids").rglob("*.tif"))
    lost.unlink()
    merge_shards(whole)
    export(tmp_path / "one")
    assert_same_values(whole, tmp_path / "one")


def test_an_export_of_one_process_is_not_replaced(tmp_path: Path) -> None:
    export(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="export that was made without shards"):
        export(tmp_path, Shard(0, 3))
    export_all(tmp_path / "other")
    shutil.move(tmp_path / "other" / "shards", tmp_path / "shards")
    with pytest.raises(ValueError, match="was not made of shards"):
        merge_shards(tmp_path)
    shutil.rmtree(tmp_path / "shards")
    (tmp_path / "other").rmdir()
    assert contents(tmp_path) == before


def test_a_run_without_shard_and_a_reader_say_that_shards_wait_for_their_merge(tmp_path: Path) -> None:
    export(tmp_path, Shard(0, 3))
    for do in (export, open_embeddings):
        with pytest.raises(ValueError, match=rf"python -m eo_embed.merge {tmp_path}"):
            do(tmp_path)


def test_items_of_another_shard_are_not_merged(tmp_path: Path) -> None:
    """A data module that does not choose by the hash would give every shard all samples: three times the same rows."""
    export_all(tmp_path, THREE[1:])
    exporter(tmp_path, Shard(0, 3)).run(batches())
    with pytest.raises(ValueError, match=r"0-of-3 holds 'region .*', which is not in shard 0/3"):
        merge_shards(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]


def test_a_shard_that_was_merged_and_removed_is_not_made_again_by_mistake(tmp_path: Path) -> None:
    """An array that is submitted twice would encode everything once more."""
    export_all(tmp_path, output="pooled")
    merge_shards(tmp_path, remove=True)
    with pytest.raises(ValueError, match=r"is whole, and 0-of-3 is merged and was removed\. There is nothing to do"):
        export(tmp_path, THREE[0], output="pooled")
    assert not (tmp_path / "shards").exists()
    export_all(tmp_path, output="pooled", overwrite=True)
    assert merge_shards(tmp_path).shards == 3
