"""What was exported is what is opened: every format, quantised or not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
from affine import Affine
from pyproj import CRS

from eo_embed import open_embeddings
from eo_embed.export.record.manifest import Manifest
from eo_embed.writers.cubes import NetcdfWriter, ZarrWriter
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.geoparquet import PartWriter
from eo_embed.writers.geotiff import GridWriter
from eo_embed.writers.layout import POOLED
from eo_embed.writers.merging import merge
from eo_embed.writers.npz import NpzWriter
from eo_embed.writers.quantise import Encoding

Make = Callable[..., Embedding]
Writer = Callable[[Path], Any]
LAEA = "+proj=laea +lat_0=51.3 +lon_0=9.7 +x_0=0 +y_0=0 +ellps=GRS80 +units=m +no_defs"
IDS = ("a/tile", "b/tile", "høyde/野/tile.v1")


def _geotiff(dtype: str) -> Writer:
    return lambda folder: GridWriter(folder, Encoding(dtype))


FORMATS = {
    "tif float32": _geotiff("float32"),
    "tif float16": _geotiff("float16"),
    "tif int8": _geotiff("int8"),
    "npz": NpzWriter,
    "netcdf": NetcdfWriter,
    "zarr": ZarrWriter,
}
ERROR = {"tif float16": 2.0**-11, "tif int8": 0.5 / 127}


def _manifest(folder: Path, state: str = "complete") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps({"state": state, "model": "thor"}), encoding="utf-8")


@pytest.fixture(params=FORMATS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _check(array: Any, embedding: Embedding, kind: str) -> None:
    grid = embedding.grid
    assert grid is not None
    largest = np.nanmax(np.abs(grid), axis=(1, 2), keepdims=True)
    assert array.dtype == np.float32
    assert array.dims == ("d", "y", "x")
    np.testing.assert_array_equal(np.isnan(array.values), np.isnan(grid))
    known = ~np.isnan(grid)
    error = np.abs(array.values - grid)
    assert np.all((error <= largest * ERROR.get(kind, 0) * (1 + 1e-5))[known])
    assert array.attrs["transform"] == embedding.transform


def test_grids_come_back_in_place(make_embedding: Make, tmp_path: Path, kind: str) -> None:
    writer = FORMATS[kind](tmp_path)
    items = {name: make_embedding(name, grid=make_embedding().grid * (i + 1)) for i, name in enumerate(IDS)}
    for item in items.values():
        writer.write(item)
    _manifest(tmp_path)
    export = open_embeddings(tmp_path)
    assert export.manifest["model"] == "thor"
    assert export.ids == IDS
    assert export.layers == ("",)
    assert export.pooled is None
    for name, item in items.items():
        array = export.grid(name)
        _check(array, item, kind)
        assert CRS.from_wkt(array.attrs["crs"]).to_epsg() == 32633
        assert array["x"].values.tolist() == [399960.1234567891 + 160 * (i + 0.5) for i in range(7)]
        assert array["y"].values.tolist() == [5300040.9876543211 - 160 * (i + 0.5) for i in range(5)]
        assert array["band"].values.tolist() == ["e000", "e001", "e002", "e003"]
        assert array.attrs["id"] == name
        assert array.attrs["dates"] == ("2024-05-01", "2024-06-15", "2024-07-01")
        assert array.attrs["sources"] == ("in/a;b.tif", "in/ä.tif")
        assert array.attrs["valid_fraction"] == 0.97


def test_degrees_come_back_in_place(make_embedding: Make, tmp_path: Path, kind: str) -> None:
    item = make_embedding(transform=Affine(0.00143, 0, 13.123456789012345, 0, -0.00143, 52.98765432109876))
    item = make_embedding(transform=item.transform, crs=CRS.from_epsg(4326).to_wkt())
    array = open_embeddings(FORMATS[kind](tmp_path).write(item)).grid("a/tile")
    _check(array, item, kind)
    assert CRS.from_wkt(array.attrs["crs"]).to_epsg() == 4326
    assert float(array["x"][0]) == 13.123456789012345 + 0.00143 / 2
    assert float(array["y"][1]) == 52.98765432109876 - 0.00143 * 1.5


def test_rotated_grids_come_back_in_place(make_embedding: Make, tmp_path: Path, kind: str) -> None:
    item = make_embedding(transform=Affine(100, 20, 5.5, 10, -100, 7.25))
    array = open_embeddings(FORMATS[kind](tmp_path).write(item)).grid("a/tile")
    _check(array, item, kind)
    assert float(array["xc"][2, 3]) == 5.5 + 100 * 3.5 + 20 * 2.5
    assert float(array["yc"][2, 3]) == 7.25 + 10 * 3.5 - 100 * 2.5


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_without_georeference_there_is_no_place(make_embedding: Make, tmp_path: Path, kind: str) -> None:
    item = make_embedding(transform=None, crs=None)
    array = open_embeddings(FORMATS[kind](tmp_path).write(item)).grid("a/tile")
    _check(array, item, kind)
    assert array.attrs["crs"] is None
    assert set(array.coords) == {"band"}


def test_a_crs_without_authority_comes_back(make_embedding: Make, tmp_path: Path, kind: str) -> None:
    item = make_embedding(crs=CRS.from_user_input(LAEA).to_wkt())
    crs = CRS.from_wkt(open_embeddings(FORMATS[kind](tmp_path).write(item)).grid("a/tile").attrs["crs"])
    operation = crs.coordinate_operation
    assert operation is not None
    numbers = {p.name: p.value for p in operation.params}
    assert (numbers["Latitude of natural origin"], numbers["Longitude of natural origin"]) == (51.3, 9.7)


def test_layers_are_told_from_folders(make_embedding: Make, tmp_path: Path, kind: str) -> None:
    writer = FORMATS[kind](tmp_path)
    for layer in ("layer_0", "layer_11"):
        for name in IDS:
            writer.write(make_embedding(name, layer=layer))
    _manifest(tmp_path)
    export = open_embeddings(tmp_path)
    assert export.ids == IDS
    assert export.layers == ("layer_0", "layer_11")
    assert export.grid("b/tile", "layer_11").attrs["layer"] == "layer_11"
    with pytest.raises(ValueError, match="no grid of id 'b/tile' and layer ''. It has 6 grids.*'layer_0', 'layer_11'"):
        export.grid("b/tile")


def test_the_only_layer_need_not_be_named(make_embedding: Make, tmp_path: Path) -> None:
    path = NpzWriter(tmp_path).write(make_embedding(layer="layer_3"))
    assert open_embeddings(path).grid("a/tile").attrs["layer"] == "layer_3"


def test_alphaearth_comes_back_de_quantised(make_embedding: Make, tmp_path: Path) -> None:
    grid = np.random.default_rng(0).standard_normal((64, 5, 7)).astype(np.float32)
    grid /= np.linalg.norm(grid, axis=0)
    grid[:, 1, 2] = np.nan
    path = GridWriter(tmp_path, Encoding("int8_alphaearth")).write(make_embedding(grid=grid))
    assert path.stat().st_size < 20_000
    with rasterio.open(path) as file:
        assert (file.dtypes[0], file.nodata) == ("int8", -128)
    array = open_embeddings(path).grid("a/tile")
    assert array.attrs["quantisation"] == "int8_alphaearth"
    np.testing.assert_allclose(array.values, grid, atol=1 / 127.5)


def test_pooled_vectors_and_grids_of_one_export(make_embedding: Make, tmp_path: Path) -> None:
    items = [make_embedding(name) for name in IDS]
    PartWriter(tmp_path, 0, 4).write(items[:2])
    GridWriter(tmp_path, Encoding("float32")).write(items[2])
    merge(tmp_path, tmp_path / "embeddings.parquet")
    _manifest(tmp_path)
    export = open_embeddings(str(tmp_path))
    assert export.ids == IDS
    pooled = export.pooled
    assert pooled is not None
    assert pooled.crs.to_epsg() == 4326
    assert pooled["id"].tolist() == list(IDS[:2])
    assert np.stack(pooled["embedding"].to_list()).dtype == np.float32
    assert export.grid(IDS[2]).shape == (4, 5, 7)
    with pytest.raises(ValueError, match="no grid of id 'a/tile'"):
        export.grid("a/tile")


def test_an_incomplete_export_is_not_taken_for_a_whole_one(make_embedding: Make, tmp_path: Path) -> None:
    _manifest(tmp_path, "running")
    PartWriter(tmp_path, 0, 4).write([make_embedding("b"), make_embedding("a")])
    PartWriter(tmp_path, 0, 4).write([make_embedding("b", pooled=np.ones(4, np.float32))])
    with pytest.raises(ValueError, match="incomplete .state 'running'.*Run the same command again"):
        open_embeddings(tmp_path)
    pooled = open_embeddings(tmp_path, allow_incomplete=True).pooled
    assert pooled is not None
    assert pooled["id"].tolist() == ["a", "b"]
    assert pooled.loc[1, "embedding"].tolist() == [1, 1, 1, 1]


def test_single_files_open_with_the_manifest_above(make_embedding: Make, tmp_path: Path, kind: str) -> None:
    path = FORMATS[kind](tmp_path).write(make_embedding())
    assert open_embeddings(path).manifest == {}
    _manifest(tmp_path, "running")
    export = open_embeddings(path)
    assert export.manifest["model"] == "thor"
    assert export.ids == ("a/tile",)
    assert export.pooled is None


def test_a_manifest_of_somebody_else_is_not_taken(make_embedding: Make, tmp_path: Path) -> None:
    _manifest(tmp_path)
    path = NpzWriter(tmp_path / "export").write(make_embedding())
    assert open_embeddings(path).manifest == {}


def test_a_store_and_a_table_open_alone(make_embedding: Make, tmp_path: Path) -> None:
    ZarrWriter(tmp_path).write(make_embedding("a/tile"))
    ZarrWriter(tmp_path).write(make_embedding("b/tile"))
    assert open_embeddings(tmp_path / "grids.zarr").ids == ("a/tile", "b/tile")
    PartWriter(tmp_path, 0, 4).write([make_embedding("c")])
    out = merge(tmp_path, tmp_path / "embeddings.parquet")
    assert out is not None
    table = open_embeddings(out)
    assert table.ids == ("c",)
    with pytest.raises(ValueError, match="has no grid of id 'c'"):
        table.grid("c")


def test_what_a_crash_left_is_no_grid(make_embedding: Make, tmp_path: Path, kind: str) -> None:
    path = FORMATS[kind](tmp_path).write(make_embedding())
    path.rename(path.with_name(f".partial-0-{path.name}"))
    _manifest(tmp_path, "running")
    assert open_embeddings(tmp_path, allow_incomplete=True).ids == ()


def test_an_unknown_id_names_the_nearest(make_embedding: Make, tmp_path: Path) -> None:
    path = NpzWriter(tmp_path).write(make_embedding("a/tile_07"))
    with pytest.raises(ValueError, match="no grid of id 'a/tile_7'.*nearest ids: a/tile_07"):
        open_embeddings(path).grid("a/tile_7")


def test_other_folders_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no manifest.json"):
        open_embeddings(tmp_path)
    with pytest.raises(ValueError, match="nowhere is no folder or file"):
        open_embeddings(tmp_path / "nowhere")
    (tmp_path / "failures.csv").write_text("id,reason")
    with pytest.raises(ValueError, match="Expected .tif, .nc, .npz, .parquet or a zarr store, got .*failures.csv"):
        open_embeddings(tmp_path / "failures.csv")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="manifest.json is no JSON .*overwrite: true"):
        open_embeddings(tmp_path)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    import xarray as xr

    np.savez(tmp_path / "x.npz", other=np.zeros(3))
    xr.Dataset({"other": ("t", [1.0])}).to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    with rasterio.open(tmp_path / "x.tif", "w", driver="GTiff", width=2, height=2, count=1, dtype="uint8") as file:
        file.write(np.ones((1, 2, 2), np.uint8))
    for suffix in ("npz", "nc", "tif"):
        with pytest.raises(ValueError, match="no id, quantisation among its attributes: eo_embed has not"):
            open_embeddings(tmp_path / f"x.{suffix}").grid("x")


def test_a_table_of_somebody_else_is_refused_by_its_columns(tmp_path: Path) -> None:
    import geopandas as gpd

    frame = gpd.GeoDataFrame({"id": ["x"], "name": ["y"]}, geometry=gpd.points_from_xy([1], [2]), crs="EPSG:4326")
    frame.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"no export of embeddings: .* layer is not there \(columns: id, name, geom"):
        _ = open_embeddings(tmp_path / "x.parquet").pooled


@pytest.mark.parametrize("kind", sorted(FORMATS.keys() - {"npz"}))
def test_the_grid_of_a_tile_reads_its_cells_and_not_the_whole_raster(
    make_embedding: Make, tmp_path: Path, kind: str
) -> None:
    grid = np.random.default_rng(0).standard_normal((64, 256, 256)).astype(np.float32)
    place = Affine(10, 0, 600_000, 0, -10, 4_500_000)
    whole = make_embedding("r", shape=(256, 256), grid=grid, transform=place)
    FORMATS[kind](tmp_path).write(whole)
    tile = {"id": "r/0", "layer": "", "raster_id": "r", "cells": [70, 130, 20, 30], "dates": [], "valid_fraction": 1.0}
    Manifest.create(tmp_path, {"task": "test"}, {}).complete({"done": 1}, [tile], [])
    open_embeddings(tmp_path).grid("r/0")  # modules that are imported late
    export = open_embeddings(tmp_path)
    tracemalloc.start()
    found = export.grid("r/0")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < grid.nbytes / 5
    expected = grid[:, 70:90, 130:160]
    largest = np.abs(grid).max(axis=(1, 2), keepdims=True)
    assert np.all(np.abs(found.values - expected) <= largest * ERROR.get(kind, 0) * (1 + 1e-5))
    assert found.attrs["transform"] == Affine(10, 0, 601_300, 0, -10, 4_499_300)
    assert (found.x.values[0], found.y.values[0]) == (601_305, 4_499_295)
    assert found.attrs["id"] == "r/0"


def test_a_damaged_grid_is_named_with_what_to_do(make_embedding: Make, tmp_path: Path, kind: str) -> None:
    """GDAL said "Read failed. See previous exception for details.", and no file."""
    grid = np.random.default_rng(0).standard_normal((4, 40, 40)).astype(np.float32)
    path = FORMATS[kind](tmp_path).write(make_embedding("a", shape=(40, 40), grid=grid))
    _manifest(tmp_path)
    name = re.escape(str(path))
    file = path if path.is_file() else max(path.rglob("c/*/*/*"), key=lambda part: part.stat().st_size)
    if kind == "zarr":
        file.write_bytes(b"damaged" * 10)
    else:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=f"{name} cannot be read, as it is damaged .*Run the export again"):
        open_embeddings(tmp_path).grid("a")


def _complete_with_vectors(make_embedding: Make, folder: Path) -> Path:
    """Return the table of an export of three vectors, whose manifest has its size, as an exporter writes it."""
    manifest = Manifest.create(folder, {"task": "test"}, {})
    PartWriter(folder, 0, 4).write([make_embedding(name) for name in IDS])
    merge(folder, table := folder / POOLED)
    shutil.rmtree(folder / "parts")
    inputs = [{"id": name, "layer": "", "files": [POOLED]} for name in IDS]
    manifest.complete({"done": 3}, inputs, [], written={POOLED: {"size": table.stat().st_size}})
    return table


@pytest.mark.parametrize("content", [b"", b"PAR1 and so on PAR1"])
def test_a_damaged_table_is_named_with_what_to_do(content: bytes, make_embedding: Make, tmp_path: Path) -> None:
    table = _complete_with_vectors(make_embedding, tmp_path)
    table.write_bytes(content)
    with pytest.raises(ValueError, match=r"embeddings.parquet cannot be read, as it is damaged .*Run the export again"):
        _ = open_embeddings(tmp_path).pooled


def test_a_table_that_lost_rows_is_not_opened_as_a_whole_one(make_embedding: Make, tmp_path: Path) -> None:
    """3 of 6 rows were opened without a word."""
    table = _complete_with_vectors(make_embedding, tmp_path)
    whole = pq.read_table(table)
    pq.write_table(whole, table, compression="none")  # the same rows, packed otherwise
    pooled = open_embeddings(tmp_path).pooled
    assert pooled is not None
    assert len(pooled) == 3
    pq.write_table(whole.slice(1), table)
    for path in (tmp_path, table):
        with pytest.raises(ValueError, match=r"2 vectors, manifest.json tells of 3; 1 are lost and 0 unknown. Run the"):
            _ = open_embeddings(path).pooled


def test_importing_eo_embed_loads_no_heavy_library() -> None:
    code = "import sys, eo_embed; print(sorted({'torch', 'rasterio', 'xarray', 'geopandas'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  (our own)
    assert found.stdout.strip() == "[]"


def test_unknown_names_of_the_package_are_attribute_errors() -> None:
    import eo_embed

    with pytest.raises(AttributeError, match="no attribute 'open_embedings'"):
        _ = eo_embed.open_embedings
