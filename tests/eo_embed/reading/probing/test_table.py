"""Each vector gets its own label; what is left out is counted, and what is ambiguous is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import Point

from eo_embed.export.opening import Export, open_embeddings
from eo_embed.reading.probing.table import Columns, Labelled, join, read_table
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.geoparquet import PartWriter
from eo_embed.writers.merging import merge

Make = Callable[..., Embedding]
#: Ids of the fixture ``opened``.
IDS = ("a/tile_1", "a/tile_2", "b/tile_2", "c.v1")


def _joined(export: Export, rows: dict[str, Any], **columns: Any) -> Labelled:
    return join(export, pd.DataFrame(rows), Columns(**columns), "classification")


def test_vectors_get_the_labels_of_their_ids(opened: Callable[..., Export]) -> None:
    found = _joined(opened(), {"id": ["c.v1", "a/tile_1", "b/tile_2"], "label": ["x", "y", "z"]})
    assert found.ids.tolist() == ["a/tile_1", "b/tile_2", "c.v1"]
    assert found.labels.tolist() == ["y", "z", "x"]
    assert found.vectors[:, 0].tolist() == [0, 2, 3]
    assert found.vectors.dtype == np.float64
    assert found.counts["embeddings without label"] == 1
    assert found.notes == ("Of 3 labels and 4 embeddings, not used: 1 embeddings without label.",)


def test_rows_of_one_id_must_agree(opened: Callable[..., Export]) -> None:
    same = {"id": ["a/tile_1", "tile_1", "c.v1"], "label": ["x", "x", "y"]}
    found = _joined(opened(), same)
    assert (found.ids.tolist(), found.counts["duplicate rows"]) == (["a/tile_1", "c.v1"], 1)
    with pytest.raises(ValueError, match="1 ids stand in several rows .* differ, such as a/tile_1"):
        _joined(opened(), same | {"label": ["x", "y", "y"]})
    with pytest.raises(ValueError, match="differ, such as a/tile_1: .*'split': 'train'.*'split': 'test'"):
        _joined(opened(), same | {"part": ["train", "test", "test"]}, split="part")


def test_missing_labels_and_vectors_are_left_out_and_counted(make_embedding: Make, tmp_path: Path) -> None:
    vectors = [np.full(3, value, np.float32) for value in (1, np.nan, 3, np.inf, 5)]
    items = [make_embedding(f"s{i}", pooled=v, grid=None, valid=None) for i, v in enumerate(vectors)]
    PartWriter(tmp_path, 0, 3).write(items)
    path = merge(tmp_path, tmp_path / "embeddings.parquet")
    assert path is not None
    export = open_embeddings(path)
    rows = {"id": ["s0", "s1", "s2", "s3", "s4", None], "label": ["x", "y", None, "x", "nan", "z"]}
    found = _joined(export, rows)
    assert found.ids.tolist() == ["s0"]
    assert found.counts["without id or label"] == 3
    assert found.counts["vectors with NaN"] == 2
    values = join(
        export, pd.DataFrame({"id": ["s0", "s2", "s4"], "label": [1.5, np.inf, np.nan]}), Columns(), "regression"
    )
    assert values.labels.tolist() == [1.5]
    with pytest.raises(ValueError, match="No label is left .* 2 vectors with NaN"):
        _joined(export, {"id": ["s1", "s3"], "label": ["x", "y"]})


def test_numbers_and_names_survive_the_csv(opened: Callable[..., Export], tmp_path: Path) -> None:
    export = opened(("007", "7", "8", "9"))
    (tmp_path / "l.csv").write_text("\ufeffid,label\n007,NA\n7, wet \n8,\n9,None\n", encoding="utf-8")
    found = join(export, read_table(tmp_path / "l.csv"), Columns(), "classification")
    assert dict(zip(found.ids, found.labels, strict=True)) == {"007": "NA", "7": "wet", "9": "None"}


def test_whole_numbers_are_one_class_however_they_are_spelt(opened: Callable[..., Export]) -> None:
    """pandas writes the classes 1 and 2 of a column with a gap as 1.0 and 2.0."""
    export = opened(("s0", "s1", "s2", "s3"))
    ids = ["s0", "s1", "s2", "s3"]
    for labels in ([1, 2, 1, 10], [1.0, 2.0, 1.0, 10.0], ["1.0", "2", "1", "10.0"]):
        assert _joined(export, {"id": ids, "label": labels}).labels.tolist() == ["1", "2", "1", "10"]
    assert _joined(export, {"id": ids, "label": [True, False, True, None]}).labels.tolist() == ["True", "False", "True"]


def test_numbers_are_not_taken_for_classes_nor_words_for_numbers(opened: Callable[..., Export]) -> None:
    with pytest.raises(ValueError, match="Labels such as 0.25 are no classes. Use task regression"):
        _joined(opened(), {"id": list(IDS), "label": [1, 2, 0.25, 3]})
    with pytest.raises(ValueError, match=r"Regression needs numbers as labels, got '1,5' \(1 such rows\)"):
        join(opened(), pd.DataFrame({"id": IDS[:2], "label": ["1", "1,5"]}), Columns(), "regression")


def test_the_layer_must_be_clear(opened: Callable[..., Export]) -> None:
    export = opened(layers=("layer_0", "layer_3"))
    table = pd.DataFrame({"id": IDS, "label": list("xyxy")})
    assert join(export, table, Columns(), "classification", "layer_3").vectors[:, 0].tolist() == [10, 11, 12, 13]
    for layer in ("", "layer_1"):
        with pytest.raises(ValueError, match=f"Expected one of the layers 'layer_0', 'layer_3', got '{layer}'"):
            join(export, table, Columns(), "classification", layer)


def test_an_export_without_vectors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no pooled vectors. Export with output: pooled or both"):
        _joined(Export(tmp_path, {}), {"id": ["x"], "label": ["y"]})


def test_columns_are_looked_up(opened: Callable[..., Export]) -> None:
    with pytest.raises(ValueError, match="no column class, part; it has: id, label"):
        _joined(opened(), {"id": ["x"], "label": ["y"]}, label="class", split="part")
    with pytest.raises(ValueError, match="no column id; it has: id;label"):
        _joined(opened(), {"id;label": ["x"], "label": ["y"]})


def test_the_split_column_is_read_and_checked(opened: Callable[..., Export]) -> None:
    rows = {"id": list(IDS), "label": list("xyxy"), "part": ["Train", "test", "val", None]}
    found = _joined(opened(), rows, split="part")
    assert found.splits is not None
    assert found.splits.tolist() == ["train", "test"]
    assert found.counts["neither train nor test"] == 2
    with pytest.raises(ValueError, match="'part' holds 'tset'. Valid: train, training, test"):
        _joined(opened(), rows | {"part": ["train", "tset", "test", "test"]}, split="part")


def test_a_sample_without_group_is_refused(opened: Callable[..., Export]) -> None:
    with pytest.raises(ValueError, match="1 samples have no 'event', such as b/tile_2"):
        _joined(opened(), {"id": list(IDS), "label": list("xyxy"), "event": [1, 2, None, 2]}, group="event")


def test_tables_of_all_kinds_are_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": ["007", "s1"], "label": ["x", "y"]})
    places = gpd.GeoDataFrame(frame, geometry=[Point(0, 1), Point(2, 3)], crs=4326)
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    places.to_parquet(tmp_path / "t.geoparquet")
    places.to_file(tmp_path / "t.geojson")
    places.to_file(tmp_path / "t.gpkg")
    for name in ("t.csv", "t.parquet", "t.geoparquet", "t.geojson", "t.gpkg"):
        found = read_table(tmp_path / name)
        assert found[["id", "label"]].to_numpy().tolist() == [["007", "x"], ["s1", "y"]]


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.xlsx").write_text("")
    (tmp_path / "labels.geojson").write_text("{")
    with pytest.raises(ValueError, match="Expected a label table .*labels.xlsx: it is of another kind"):
        read_table(tmp_path / "labels.xlsx")
    with pytest.raises(ValueError, match="no.csv: there is no such file"):
        read_table(tmp_path / "no.csv")
    with pytest.raises(ValueError, match="labels.geojson cannot be read"):
        read_table(tmp_path / "labels.geojson")
