"""Pooled vectors in GeoParquet: every row once, in place, and open in geopandas and torchgeo."""

from __future__ import annotations

import json
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
from eo_embed.writers.geoparquet import PartWriter
from eo_embed.writers.merging import merge

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


def test_a_part_needs_pooled_vectors_of_its_width(make_embedding: Make, tmp_path: Path) -> None:
    writer = PartWriter(tmp_path, 0, 4)
    with pytest.raises(ValueError, match="at least one embedding"):
        writer.write([])
    with pytest.raises(ValueError, match="expected a pooled vector of 4 numbers, got no pooled vector"):
        writer.write([make_embedding(pooled=None)])
    with pytest.raises(ValueError, match="expected a pooled vector of 4 numbers, got one of 2"):
        writer.write([make_embedding(pooled=np.zeros(2, np.float32))])
    assert not (tmp_path / "parts").exists()


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
    assert not list(tmp_path.rglob("*"))


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
