"""The command that merges shards: what it prints, and its exit code, by which a job after it is started or not."""

from __future__ import annotations

from pathlib import Path

import pytest
from sharded_runs import export

from eo_data.catalog.shards import Shard
from eo_embed.cli import main as eo
from eo_embed.merge import main

LOST = [("lost", "truncated")]


def test_a_whole_ends_well_and_the_shards_go_if_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(2):
        export(tmp_path, Shard(index, 2), output="pooled", count=4)
    main([str(tmp_path)])
    assert "2 shards are one export: 8 items, 0 failed" in capsys.readouterr().out
    assert (tmp_path / "shards").is_dir()
    with pytest.raises(SystemExit) as ended:
        eo(["merge", str(tmp_path), "--remove-shards"])
    assert not ended.value.code
    assert not (tmp_path / "shards").exists()


def test_a_hole_ends_with_2_and_failed_items_with_1_unless_they_may_be_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = next(i for i in range(2) if Shard(i, 2).holds("lost"))
    export(tmp_path, Shard(1 - held, 2), output="pooled", count=4)
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path)])
    assert ended.value.code == 2
    assert f"missing: {held}" in capsys.readouterr().err
    with pytest.raises(ValueError, match="1 items could not be exported"):
        export(tmp_path, Shard(held, 2), output="pooled", count=4, skipped=LOST)
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path)])
    assert ended.value.code == 1
    assert "failed: lost: truncated" in capsys.readouterr().err
    assert (tmp_path / "failures.csv").read_text() == "id,reason,file\nlost,truncated,\n"
    for shard in (Shard(0, 2), Shard(1, 2)):
        export(tmp_path, shard, output="pooled", count=4, skipped=LOST, on_error="skip", overwrite=True)
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path)])
    assert ended.value.code == 0


def test_a_whole_of_nothing_but_failures_does_not_end_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One process says that no item could be exported, whatever on_error is."""
    for index in range(2):
        export(tmp_path, Shard(index, 2), output="pooled", count=0, skipped=LOST, on_error="skip")
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path)])
    assert ended.value.code == 1
    assert "failed: lost: truncated" in capsys.readouterr().err
