"""Rasters without data in some shards, or in all: the whole of shards says what one process says."""

from __future__ import annotations

from pathlib import Path

import pytest
from same_exports import assert_same_exports
from tiled_runs import Tiles, export, write_raster

from eo_data.catalog.shards import Shard
from eo_embed.export.record.failures import NOTHING_OBSERVED
from eo_embed.export.record.manifest import read_manifest
from eo_embed.export.shards.whole import merge_shards

THREE = [Shard(index, 3) for index in range(3)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Of ``corner`` only the first tile (of three) has data, of ``nothing`` none, of ``full`` all."""
    root = tmp_path / "data"
    write_raster(root / "corner.tif", blank=(slice(20, None), slice(None)), shape=(101, 40))
    write_raster(root / "nothing.tif", blank=(slice(None), slice(None)))
    write_raster(root / "full.tif", 1, (70, 90))
    return root


@pytest.mark.parametrize("grid_format", ["geotiff", "zarr"])
def test_a_raster_without_data_in_one_shard_and_one_without_any(root: Path, tmp_path: Path, grid_format: str) -> None:
    """That a shard saw no data of a raster is no failure of the whole, unless none saw any: then it is one, once."""
    whole, one = tmp_path / "whole", tmp_path / "one"
    ids = [record.id for record in Tiles(root).dataset.records]
    holders = {name: {shard.index for shard in THREE for own in ids if own.startswith(name) and shard.holds(own)}
               for name in ("corner/", "nothing/")}  # fmt: skip
    assert all(len(own) > 1 for own in holders.values())
    for _ in range(2):  # the second time, only what is blank is looked at again
        for shard in THREE:
            export(root, whole, shard=shard, grid_format=grid_format)
    failed = [row["id"] for shard in THREE for row in read_manifest(shard.folder(whole)).content["failures"]]
    assert failed.count("corner") == len(holders["corner/"]) - 1
    assert failed.count("nothing") == len(holders["nothing/"])
    merged = merge_shards(whole, remove=True)
    export(root, one, grid_format=grid_format)
    assert [(row["id"], row["reason"]) for row in merged.failures] == [("nothing", NOTHING_OBSERVED)]
    assert_same_exports(one, whole, resumed=True)
    assert merged.counts["blank"] == read_manifest(one).content["counts"]["blank"] > 0


def test_a_shard_without_any_data_is_no_error_where_failures_are(root: Path, tmp_path: Path) -> None:
    """Under on_error: raise its run ends well, as others may have data; the merge then says what has none."""
    for path in ("corner.tif", "full.tif"):
        (root / path).unlink()
    for shard in THREE:
        export(root, tmp_path / "whole", shard=shard, on_error="raise")
    merged = merge_shards(tmp_path / "whole")
    assert (merged.items, merged.on_error, [row["id"] for row in merged.failures]) == (0, "raise", ["nothing"])
    with pytest.raises(ValueError, match="No item could be exported: nothing: nothing of it was observed"):
        export(root, tmp_path / "one", on_error="raise")
