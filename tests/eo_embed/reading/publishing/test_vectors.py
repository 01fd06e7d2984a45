"""GeoParquet in the order of the ground: what others read of it, and how little of it."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
from affine import Affine
from placed_exports import placed, write_export

from eo_embed.reading.publishing.convert import Conversion, convert

#: Places of a square of 16 x 16 chips of 400 m, numbered at random.
SIDE, STEP = 16, 400.0


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vectors") / "export"
    rng = np.random.default_rng(3)
    numbers = rng.permutation(SIDE * SIDE)
    items = []
    for place, number in enumerate(numbers.tolist()):
        row, column = divmod(place, SIDE)
        transform = Affine(80, 0, 500_000 + STEP * column, 0, -80, 5_000_000 - STEP * row)
        vector = np.array([row, column, number / 7, -1e-3, 0, 2], np.float32)
        items.append(placed(f"s{number:03d}", None, transform, pooled=vector, shape=(5, 5)))
    items.append(placed("z-no-place", None, None, pooled=np.zeros(6, np.float32)))
    write_export(folder, items)
    return folder


def test_a_window_reads_few_row_groups_and_finds_all_rows(export: Path, tmp_path: Path) -> None:
    ((path, _),) = convert(export, tmp_path / "out", Conversion("parquet", group=16))
    whole = gpd.read_parquet(export / "embeddings.parquet")
    window = tuple(whole[whole["id"] == whole["id"].iloc[5]].total_bounds)
    expected = set(whole.cx[window[0] : window[2], window[1] : window[3]]["id"])
    found = gpd.read_parquet(path, bbox=window)
    assert set(found["id"]) == expected
    assert len(expected) >= 4
    with pq.ParquetFile(path) as file:
        met = [group for group in range(file.num_row_groups) if _meets(file, group, window)]
        assert file.num_row_groups == 17
        # In the export's own order, by ids that say nothing of the place, a window meets nearly all row groups.
        assert len(met) <= 4


def _meets(file: pq.ParquetFile, group: int, window: tuple[float, ...]) -> bool:
    """Whether statistics say that a row group may hold something of a window."""
    columns = file.metadata.row_group(group)
    found = {
        columns.column(i).path_in_schema: columns.column(i).statistics
        for i in range(columns.num_columns)
        if columns.column(i).path_in_schema.startswith("bbox.")
    }
    assert all(own is not None and (own.has_min_max or own.null_count) for own in found.values())
    if not found["bbox.xmin"].has_min_max:
        return False
    west, south, east, north = window
    return bool(
        found["bbox.xmin"].min <= east
        and found["bbox.xmax"].max >= west
        and found["bbox.ymin"].min <= north
        and found["bbox.ymax"].max >= south
    )


def test_rows_keep_their_vectors_and_places_and_the_file_is_geoparquet(export: Path, tmp_path: Path) -> None:
    ((path, _),) = convert(export, tmp_path / "out", Conversion("parquet", group=50))
    before, after = (
        gpd.read_parquet(file).set_index("id").sort_index() for file in (export / "embeddings.parquet", path)
    )
    assert after.index.tolist() == before.index.tolist()
    for name in ("layer", "centre_lon", "proj_transform", "crs"):
        assert after[name].astype(str).tolist() == before[name].astype(str).tolist()
    np.testing.assert_array_equal(np.stack(after["embedding"]), np.stack(before["embedding"]))
    assert after.geometry.dropna().geom_equals(before.geometry.dropna()).all()
    # A neighbour in the file is a neighbour on the ground: 400 m at most, as the curve makes no jumps.
    ordered = gpd.read_parquet(path).dropna(subset="centre_lon")
    metres = ordered.to_crs(32633).geometry.centroid
    steps = metres.distance(metres.shift()).dropna()
    assert np.median(steps) < 1.1 * STEP
    geo = json.loads(pq.read_schema(path).metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    np.testing.assert_allclose(geo["columns"]["geometry"]["bbox"], before.total_bounds)


def test_int8_has_a_scale_for_each_vector_and_float16_none(export: Path, tmp_path: Path) -> None:
    ((path, _),) = convert(export, tmp_path / "int8", Conversion("parquet", dtype="int8"))
    before = gpd.read_parquet(export / "embeddings.parquet").set_index("id")
    after = gpd.read_parquet(path).set_index("id")
    scales = after["embedding_scale"].to_numpy()
    decoded = np.stack(after["embedding"]) * scales[:, None]
    expected = np.stack(before.loc[after.index, "embedding"])
    assert np.stack(after["embedding"]).dtype == np.int8
    assert np.all(np.abs(decoded - expected) <= scales[:, None] / 2 + 1e-6)
    ((path, _),) = convert(export, tmp_path / "float16", Conversion("parquet", dtype="float16"))
    half = np.stack(gpd.read_parquet(path).set_index("id").loc[before.index, "embedding"])
    np.testing.assert_array_equal(half, np.stack(before["embedding"]).astype(np.float16))


def test_rows_that_do_not_fit_the_memory_go_through_files_with_the_same_result(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((whole, _),) = convert(export, tmp_path / "whole", Conversion("parquet", group=16))
    monkeypatch.setattr("eo_embed.reading.publishing.vectors._MEMORY", 20_000)
    monkeypatch.setattr("eo_embed.reading.publishing.vectors._READ", 10)
    ((parts, _),) = convert(export, tmp_path / "parts", Conversion("parquet", group=16))
    assert pq.read_table(parts).equals(pq.read_table(whole))
    assert [path.name for path in parts.parent.iterdir()] == ["embeddings.parquet"]


def test_a_second_run_keeps_the_file_and_another_one_is_refused(export: Path, tmp_path: Path) -> None:
    ((path, made),) = convert(export, tmp_path, Conversion("parquet"))
    assert made
    assert convert(export, tmp_path, Conversion("parquet")) == [(path, False)]
    with pytest.raises(ValueError, match="made of other things or in another way"):
        convert(export, tmp_path, Conversion("parquet", dtype="int8"))


def test_some_ids_only(export: Path, tmp_path: Path) -> None:
    ((path, _),) = convert(export, tmp_path, Conversion("parquet", ids="s00*"))
    assert sorted(gpd.read_parquet(path)["id"]) == [f"s00{i}" for i in range(10)]
    with pytest.raises(ValueError, match="No item of .* matches ids 'x\\*'"):
        convert(export, tmp_path / "none", Conversion("parquet", ids="x*"))
