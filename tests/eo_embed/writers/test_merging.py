"""Parts become one table: each row once, the one that counts, in order, and nothing half-written."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest

from eo_embed.writers import merging
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.geoparquet import PartWriter, part_files
from eo_embed.writers.merging import keys_of, merge

Make = Callable[..., Embedding]


def test_rows_are_sorted_by_id_and_the_last_of_two_wins(make_embedding: Make, tmp_path: Path) -> None:
    first, second = PartWriter(tmp_path, 0, 4), PartWriter(tmp_path, 1, 4)
    old = np.zeros(4, np.float32)
    first.write([make_embedding("b/tile", pooled=old), make_embedding("a/tile")])
    second.write([make_embedding("c/tile", layer="layer_1"), make_embedding("c/tile", layer="layer_0")])
    # After a crash the same ranks start again, and get other items in another order.
    PartWriter(tmp_path, 1, 4).write([make_embedding("b/tile")])
    PartWriter(tmp_path, 0, 4).write([make_embedding("d/tile")])
    assert [path.name for path in part_files(tmp_path)] == [
        "part-0000-000000.parquet",
        "part-0001-000000.parquet",
        "part-0001-000001.parquet",
        "part-0000-000002.parquet",
    ]
    out = merge(tmp_path, tmp_path / "embeddings.parquet", row_group_size=2)
    assert out is not None
    table = gpd.read_parquet(out)
    assert table["id"].tolist() == ["a/tile", "b/tile", "c/tile", "c/tile", "d/tile"]
    assert table["layer"].tolist() == ["", "", "layer_0", "layer_1", ""]
    assert table.loc[1, "embedding"][3] == 4
    assert [pq.ParquetFile(out).metadata.row_group(i).num_rows for i in range(3)] == [2, 2, 1]


def test_merging_again_changes_nothing_and_a_finished_export_can_grow(make_embedding: Make, tmp_path: Path) -> None:
    out = tmp_path / "embeddings.parquet"
    PartWriter(tmp_path, 0, 4).write([make_embedding("b"), make_embedding("a")])
    merge(tmp_path, out)
    before = out.read_bytes()
    merge(tmp_path, out)
    assert out.read_bytes() == before
    for part in part_files(tmp_path):
        part.unlink()
    PartWriter(tmp_path, 0, 4).write([make_embedding("0"), make_embedding("b", pooled=np.ones(4, np.float32))])
    merge(tmp_path, out)
    table = gpd.read_parquet(out)
    assert table["id"].tolist() == ["0", "a", "b"]
    assert table.loc[2, "embedding"].tolist() == [1, 1, 1, 1]


def test_the_order_of_batches_does_not_change_the_file(make_embedding: Make, tmp_path: Path) -> None:
    items = [make_embedding(f"{i:02d}", pooled=np.full(4, i, np.float32)) for i in range(20)]
    files = []
    for name, step in (("one", 20), ("some", 3)):
        for start in reversed(range(0, 20, step)):
            PartWriter(tmp_path / name, start % 2, 4).write(items[start : start + step])
        files.append(merge(tmp_path / name, tmp_path / name / "out.parquet", row_group_size=7))
    assert files[0] is not None
    assert files[1] is not None
    assert files[0].read_bytes() == files[1].read_bytes()


def _peak_of_merge(make_embedding: Make, folder: Path, parts: int) -> int:
    """Return the most bytes that pyarrow and Python hold while merging parts of 64 x 2048 numbers (0.5 MB)."""
    import pyarrow as pa

    rng = np.random.default_rng(0)
    writer = PartWriter(folder, 0, 2048)
    for part in range(parts):
        vectors = rng.standard_normal((64, 2048)).astype(np.float32)
        # Neighbours in the result come from different parts.
        writer.write([make_embedding(f"{i:03d}-{part:03d}", pooled=v, dates=()) for i, v in enumerate(vectors)])
    old = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(old)
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        merge(folder, folder / "embeddings.parquet", row_group_size=64, memory=500_000)
        python = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(old)
    assert pq.ParquetFile(folder / "embeddings.parquet").metadata.num_rows == parts * 64
    return int(pool.max_memory()) + python


def test_the_memory_of_a_merge_does_not_grow_with_the_export(make_embedding: Make, tmp_path: Path) -> None:
    few, many = (_peak_of_merge(make_embedding, tmp_path / str(parts), parts) for parts in (8, 32))
    assert many < 1.8 * few
    assert many < 32 * 64 * 2048 * 4 / 1.5


def test_nothing_to_merge_is_no_file(tmp_path: Path) -> None:
    assert merge(tmp_path, tmp_path / "embeddings.parquet") is None
    assert list(tmp_path.iterdir()) == []


def test_vectors_of_two_lengths_are_refused(make_embedding: Make, tmp_path: Path) -> None:
    PartWriter(tmp_path, 0, 4).write([make_embedding()])
    PartWriter(tmp_path, 1, 3).write([make_embedding(pooled=np.zeros(3, np.float32))])
    with pytest.raises(ValueError, match="fixed_size_list.*overwrite: true"):
        merge(tmp_path, tmp_path / "embeddings.parquet")


def test_a_failure_midway_leaves_nothing(make_embedding: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = PartWriter(tmp_path, 0, 4)
    writer.write([make_embedding("a"), make_embedding("b")])
    out = merge(tmp_path, tmp_path / "embeddings.parquet")
    assert out is not None
    before = out.read_bytes()
    calls = []
    placed = merging._placed

    def fail(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return placed(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(merging, "_placed", fail)
    with pytest.raises(OSError, match="No space left"):
        merge(tmp_path, out, row_group_size=1, memory=1)
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["embeddings.parquet", "parts"]


@pytest.mark.parametrize("memory", [1, 1_000_000])
def test_only_wanted_rows_of_the_file_that_has_them_are_merged(
    make_embedding: Make, tmp_path: Path, memory: int
) -> None:
    """Rows of another run, or of a sample that changed since, are in parts and must not come back."""
    old, new = (np.full(4, value, np.float32) for value in (1, 2))
    writer = PartWriter(tmp_path, 0, 4)
    writer.write([make_embedding("b", pooled=new), make_embedding("a", pooled=new)])
    writer.write([make_embedding("a", pooled=old), make_embedding("foreign")])
    first, second = (f"parts/part-0000-00000{i}.parquet" for i in (0, 1))
    out = tmp_path / "embeddings.parquet"
    merge(tmp_path, out, 1, wanted=[(("a", ""), first), (("b", ""), first)], memory=memory)
    table = gpd.read_parquet(out)
    assert table["id"].tolist() == ["a", "b"]
    assert table.loc[0, "embedding"].tolist() == [2, 2, 2, 2]
    merge(tmp_path, out, 1, wanted=[(("a", ""), second), (("b", ""), out.name)], memory=memory)
    assert gpd.read_parquet(out).loc[0, "embedding"].tolist() == [1, 1, 1, 1]
    assert list(keys_of(out)) == [("a", ""), ("b", "")]


def test_a_recorded_row_that_is_nowhere_is_an_error(make_embedding: Make, tmp_path: Path) -> None:
    PartWriter(tmp_path, 0, 4).write([make_embedding("a")])
    part = "parts/part-0000-000000.parquet"
    with pytest.raises(ValueError, match="1 rows are recorded and are not in part-0000-000000.parquet .*'b'"):
        merge(tmp_path, tmp_path / "out.parquet", wanted=[(("a", ""), part), (("b", ""), part)])
    assert not (tmp_path / "out.parquet").exists()


def test_the_last_row_that_is_not_wanted_any_more_takes_the_file_along(make_embedding: Make, tmp_path: Path) -> None:
    PartWriter(tmp_path, 0, 4).write([make_embedding("a")])
    out = tmp_path / "embeddings.parquet"
    merge(tmp_path, out)
    assert merge(tmp_path, out, wanted=[]) is None
    assert not out.exists()


def test_a_file_that_was_spoilt_on_its_way_gets_no_name(make_embedding: Make, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    PartWriter(tmp_path, 0, 4).write([make_embedding(str(i), pooled=rng.random(4, np.float32)) for i in range(200)])
    good = merge(tmp_path, tmp_path / "good.parquet")
    assert good is not None
    content, spoilt, unnoticed = good.read_bytes(), tmp_path / "spoilt.parquet", 0
    keys = merging._Keys()
    for key in sorted((str(i), "") for i in range(200)):
        keys.add(key)
    for at in range(4, len(content) - 8, 97):
        spoilt.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            merging._check_rows(spoilt, keys)
        except ValueError:
            continue
        shutil.copy(spoilt, tmp_path / "unnoticed.parquet")
        unnoticed += not gpd.read_parquet(tmp_path / "unnoticed.parquet").equals(gpd.read_parquet(good))
    assert unnoticed == 0
