"""Pooled vectors in GeoParquet: every row once, in place, and open in geopandas and torchgeo."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from datetime import date
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from affine import Affine
from pyproj import CRS, Geod, Transformer
from shapely.geometry import Point

from eo_embed.writers import geoparquet
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.geoparquet import PartWriter, merge, part_files

Make = Callable[..., Embedding]
LAEA = "+proj=laea +lat_0=51.3 +lon_0=9.7 +x_0=0 +y_0=0 +ellps=GRS80 +units=m +no_defs"


def _export(folder: Path, *embeddings: Embedding, row_group_size: int = 1024) -> gpd.GeoDataFrame:
    PartWriter(folder, 0, 4).write(list(embeddings))
    out = merge(folder, folder / "embeddings.parquet", row_group_size)
    return gpd.read_parquet(out)


def test_a_row_holds_all_that_is_known(make_embedding: Make, tmp_path: Path) -> None:
    table = _export(tmp_path, make_embedding("høyde/野/tile", layer="layer_3"))
    row = table.iloc[0]
    assert (row["id"], row["layer"], row["crs"]) == ("høyde/野/tile", "layer_3", "EPSG:32633")
    np.testing.assert_array_equal(row["embedding"], np.array([0.5, -1, 2, 4], np.float32))
    assert row["embedding"].dtype == np.float32
    assert row["datetime"] == row["timestamp"] == pd.Timestamp("2024-06-15", tz="UTC")
    assert row["start_datetime"] == pd.Timestamp("2024-05-01", tz="UTC")
    assert row["end_datetime"] == pd.Timestamp("2024-07-01", tz="UTC")
    assert list(row["source"]) == ["in/a;b.tif", "in/ä.tif"]
    assert row["valid_fraction"] == 0.97
    assert tuple(row["proj_transform"]) == (160.0, 0.0, 399960.1234567891, 0.0, -160.0, 5300040.9876543211)
    assert tuple(row["proj_shape"]) == (5, 7)


def test_the_middle_acquisition_is_one_of_them(make_embedding: Make, tmp_path: Path) -> None:
    """Half-way between two winters is a summer without an image; the order of the dates does not matter."""
    table = _export(
        tmp_path,
        make_embedding("two", dates=(date(2025, 1, 10), date(2024, 1, 10))),
        make_embedding("none", dates=()),
    ).set_index("id")
    assert table.loc["two", "datetime"] == pd.Timestamp("2024-01-10", tz="UTC")
    assert table.loc["two", "end_datetime"] == pd.Timestamp("2025-01-10", tz="UTC")
    assert table.loc["none", ["datetime", "timestamp", "start_datetime", "end_datetime"]].isna().all()


def test_the_schema_is_geoparquet_1_1_with_a_fixed_width(make_embedding: Make, tmp_path: Path) -> None:
    _export(tmp_path, make_embedding())
    schema = pq.read_schema(tmp_path / "embeddings.parquet")
    assert str(schema.field("embedding").type).startswith("fixed_size_list<")
    assert schema.field("embedding").type.list_size == 4
    geo = json.loads(schema.metadata[b"geo"])
    column = geo["columns"]["geometry"]
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
    assert (column["encoding"], column["geometry_types"]) == ("WKB", ["Polygon"])
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 4326}
    assert column["covering"]["bbox"]["xmax"] == ["bbox", "xmax"]
    west, south, east, north = column["bbox"]
    assert 13 < west < east < 15
    assert 47 < south < north < 48


def test_the_footprint_is_where_the_grid_is(make_embedding: Make, tmp_path: Path, utm_wkt: str) -> None:
    table = _export(tmp_path, make_embedding())
    assert table.crs.to_epsg() == 4326
    to_lonlat = Transformer.from_crs(CRS.from_wkt(utm_wkt), 4326, always_xy=True)
    left, top = 399960.1234567891, 5300040.9876543211
    corners = [(left, top), (left + 7 * 160, top), (left + 7 * 160, top - 5 * 160), (left, top - 5 * 160)]
    polygon = table.geometry.iloc[0]
    for corner in corners:
        assert polygon.exterior.distance(Point(to_lonlat.transform(*corner))) < 1e-9
    assert polygon.exterior.is_ccw
    lon, lat = to_lonlat.transform(left + 3.5 * 160, top - 2.5 * 160)
    assert (table["centre_lon"].iloc[0], table["centre_lat"].iloc[0]) == pytest.approx((lon, lat), abs=1e-12)
    area, _ = Geod(ellps="WGS84").geometry_area_perimeter(polygon)
    assert area == pytest.approx(7 * 160 * 5 * 160, rel=2e-3)


def test_without_georeference_the_vector_is_kept(make_embedding: Make, tmp_path: Path) -> None:
    table = _export(tmp_path, make_embedding("lost", transform=None, crs=None), make_embedding("placed"))
    lost = table.set_index("id").loc["lost"]
    assert lost["geometry"] is None
    assert pd.isna(lost["centre_lat"])
    assert pd.isna(lost["crs"])
    assert lost["proj_transform"] is None
    assert len(lost["embedding"]) == 4
    only = _export(tmp_path / "only", make_embedding("lost", transform=None, crs=None))
    assert only.geometry.isna().all()
    assert (
        "bbox"
        not in json.loads(pq.read_schema(tmp_path / "only/embeddings.parquet").metadata[b"geo"])["columns"]["geometry"]
    )


def test_a_transform_without_crs_is_kept(make_embedding: Make, tmp_path: Path) -> None:
    row = _export(tmp_path, make_embedding(crs=None)).iloc[0]
    assert row["geometry"] is None
    assert len(row["proj_transform"]) == 6


def test_a_crs_without_authority_is_kept_as_wkt(make_embedding: Make, tmp_path: Path) -> None:
    """PROJ's best guess for this CRS is ETRS89-LAEA, 1.3 degrees away."""
    wkt = CRS.from_user_input(LAEA).to_wkt()
    transform = Affine(160, 0, 0, 0, -160, 0)
    row = _export(tmp_path, make_embedding(crs=wkt, transform=transform)).iloc[0]
    assert row["crs"] == wkt
    assert row["geometry"].distance(Point(9.7, 51.3)) < 1e-9


def test_a_place_that_is_none_is_refused(make_embedding: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="have no longitude and latitude in their CRS. Check transform and CRS"):
        _export(tmp_path, make_embedding(transform=Affine(1, 0, 1e30, 0, -1, 1e30)))


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
    _export(tmp_path, make_embedding("b"), make_embedding("a"))
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
        merge(folder, folder / "embeddings.parquet", row_group_size=64)
        python = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(old)
    assert pq.ParquetFile(folder / "embeddings.parquet").metadata.num_rows == parts * 64
    return int(pool.max_memory()) + python


def test_the_memory_of_a_merge_does_not_grow_with_the_export(make_embedding: Make, tmp_path: Path) -> None:
    few, many = (_peak_of_merge(make_embedding, tmp_path / str(parts), parts) for parts in (8, 32))
    assert many < 1.8 * few
    assert many < 32 * 64 * 2048 * 4 / 2


def test_nothing_to_merge_is_no_file(tmp_path: Path) -> None:
    assert merge(tmp_path, tmp_path / "embeddings.parquet") is None
    assert list(tmp_path.iterdir()) == []


def test_vectors_of_two_lengths_are_refused(make_embedding: Make, tmp_path: Path) -> None:
    PartWriter(tmp_path, 0, 4).write([make_embedding()])
    PartWriter(tmp_path, 1, 3).write([make_embedding(pooled=np.zeros(3, np.float32))])
    with pytest.raises(ValueError, match="fixed_size_list.*overwrite: true"):
        merge(tmp_path, tmp_path / "embeddings.parquet")


def test_a_part_needs_pooled_vectors_of_its_width(make_embedding: Make, tmp_path: Path) -> None:
    writer = PartWriter(tmp_path, 0, 4)
    with pytest.raises(ValueError, match="at least one embedding"):
        writer.write([])
    with pytest.raises(ValueError, match="expected a pooled vector of 4 numbers, got no pooled vector"):
        writer.write([make_embedding(pooled=None)])
    with pytest.raises(ValueError, match="expected a pooled vector of 4 numbers, got one of 2"):
        writer.write([make_embedding(pooled=np.zeros(2, np.float32))])
    assert not (tmp_path / "parts").exists()


def test_a_failure_midway_leaves_nothing(make_embedding: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = PartWriter(tmp_path, 0, 4)
    writer.write([make_embedding("a"), make_embedding("b")])
    out = merge(tmp_path, tmp_path / "embeddings.parquet")
    assert out is not None
    before = out.read_bytes()
    calls = []
    gather = geoparquet._gather

    def fail(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return gather(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(geoparquet, "_gather", fail)
    with pytest.raises(OSError, match="No space left"):
        merge(tmp_path, out, row_group_size=1)
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["embeddings.parquet", "parts"]


def test_a_part_that_failed_leaves_nothing(
    make_embedding: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table = pq.write_table

    def fail(table: object, path: Path, **options: object) -> None:
        write_table(table, path, **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(geoparquet.pq, "write_table", fail)
    with pytest.raises(OSError, match="No space left"):
        PartWriter(tmp_path, 0, 4).write([make_embedding()])
    assert list((tmp_path / "parts").iterdir()) == []


def test_one_file_opens_in_the_three_classes_of_torchgeo(make_embedding: Make, tmp_path: Path) -> None:
    lon, lat = Transformer.from_crs(32633, 4326, always_xy=True).transform(399960.1234567891 + 560, 5300040.98765 - 400)
    from torchgeo.datasets import ClayEmbeddings, EarthEmbeddings, MajorTOMEmbeddings

    _export(tmp_path, make_embedding("a/tile"), make_embedding("b/tile", dates=(date(2020, 2, 29),)))
    for kind in (ClayEmbeddings, MajorTOMEmbeddings, EarthEmbeddings):
        data = kind(tmp_path / "embeddings.parquet")
        assert len(data) == 2
        sample = data[1]
        assert sample["embedding"].tolist() == [0.5, -1, 2, 4], kind
        assert float(sample["x"]) == pytest.approx(lon, abs=1e-6)
        assert float(sample["y"]) == pytest.approx(lat, abs=1e-5)
        # 29 February 2020 00:00 UTC; torchgeo keeps float32, whose steps are 128 s here.
        assert float(sample["t"]) == pytest.approx(1582934400, abs=128)
        assert data.plot(sample) is not None
