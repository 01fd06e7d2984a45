"""Zarr stores of the embeddings convention: what others read of them is what the export holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr_cm
from embedding_schemas import ZARR, validate
from geotessera.store import GeoTesseraZarr
from published_tiles import CELL, LEFT, TOP, values
from pyproj import CRS, Transformer

from eo_embed import open_embeddings
from eo_embed.reading.publishing.convert import Conversion, convert


def attributes(store: Path) -> dict[str, Any]:
    return json.loads((store / "zarr.json").read_text(encoding="utf-8"))


def store_of(export: Path, out: Path, **other: Any) -> Path:
    (path, _), *_ = convert(export, out, Conversion("zarr", **other))
    return path


def test_the_store_of_a_crs_says_by_the_schema_of_the_convention_what_it_is(
    make_tiles: Callable[..., Path], tmp_path: Path
) -> None:
    store = store_of(make_tiles(), tmp_path / "out", model="https://example.org/model")
    assert store.name == "EPSG-32633.zarr"
    node = attributes(store)
    validate(node, ZARR)
    told = node["attributes"]
    assert told["geoemb:model"] == "https://example.org/model"
    assert (told["geoemb:dimensions"], told["geoemb:gsd"], told["geoemb:data_type"]) == (6, 10.0, "int8")
    # From the first row and column of the first tile to the last of the last one.
    assert told["spatial:bbox"] == [LEFT, TOP - 600, LEFT + 800, TOP]
    zarr_cm.validate_all({name: own for name, own in told.items() if not name.startswith("geoemb:")})


def test_xarray_finds_each_cell_at_its_place_and_nothing_where_no_item_is(
    make_tiles: Callable[..., Path], tmp_path: Path
) -> None:
    export = make_tiles()
    store = store_of(export, tmp_path / "out")
    data = xr.open_zarr(store, group="utm33", chunks=None)
    decoded = data["embeddings"].astype(np.float32) * data["scales"].where(np.isfinite(data["scales"]))
    assert decoded.dims == ("time", "band", "y", "x")
    for name in ("t/0", "t/1", "t/2"):
        grid = open_embeddings(export).grid(name)
        found = decoded.sel(time=2024, y=grid["y"], x=grid["x"]).to_numpy()
        # Half a scale, which is the largest number of the cell over 127.
        tolerance = np.abs(grid.values).max(axis=0) / 127 / 2 + 1e-6
        np.testing.assert_array_equal(np.isnan(found), np.isnan(grid.values))
        assert np.all(np.nan_to_num(np.abs(found - grid.values)) <= np.nan_to_num(tolerance))
    empty = decoded.sel(y=TOP - CELL * 30.5, x=LEFT + CELL * 5.5, method="nearest")
    assert np.isnan(empty.to_numpy()).all()
    assert CRS.from_wkt(data["spatial_ref"].attrs["crs_wkt"]).to_epsg() == 32633


def test_another_reader_of_the_convention_finds_the_vector_of_a_place_in_degrees(
    make_tiles: Callable[..., Path], tmp_path: Path
) -> None:
    store = store_of(make_tiles(), tmp_path / "out")
    reader = GeoTesseraZarr(str(store))
    assert (reader.years, reader.n_bands) == ([2024], 6)
    x, y = LEFT + CELL * 27.5, TOP - CELL * 8.5  # row 8, column 27: tile t/1
    lon, lat = Transformer.from_crs(32633, 4326, always_xy=True).transform(x, y)
    found = reader.sample_at(lon, lat, 2024, cross_zone=False)
    expected = values(8, 27, 1, 1)[:, 0, 0]
    np.testing.assert_allclose(found, expected, atol=np.abs(expected).max() / 254 + 1e-6)


def test_gdal_reads_a_store_without_shards_with_its_place(make_tiles: Callable[..., Path], tmp_path: Path) -> None:
    store = store_of(make_tiles(), tmp_path / "out", shards=False, dtype="float32")
    with rasterio.open(f'ZARR:"{store}":/utm33/embeddings') as file:
        assert file.crs.to_epsg() == 32633
        assert file.count == 6
        row, column = file.index(LEFT + CELL * 27.5, TOP - CELL * 8.5)
        assert (row, column) == (8, 27)
        np.testing.assert_array_equal(file.read()[:, row, column], values(8, 27, 1, 1)[:, 0, 0])


def test_years_are_steps_of_time_and_the_same_cells_of_two_items_are_refused(
    make_tiles: Callable[..., Path], tmp_path: Path
) -> None:
    export = make_tiles([(0, 0), (0, 0)], days=[date(2023, 5, 1), date(2024, 5, 1)])
    data = xr.open_zarr(store_of(export, tmp_path / "years"), group="utm33", chunks=None)
    assert data["time"].to_numpy().tolist() == [2023, 2024]
    assert int(np.isfinite(data["scales"]).sum()) == 2 * 399
    export = make_tiles([(0, 0), (10, 10)])
    with pytest.raises(ValueError, match=r"t/0 and t/1 have cells in common in 2024.*overlap: first"):
        store_of(export, tmp_path / "refused")
    data = xr.open_zarr(store_of(export, tmp_path / "first", overlap="first", dtype="float32"), group="utm33")
    # The hole of the first tile lies outside of the second one; that of the second is filled by the first.
    assert int(np.isfinite(data["embeddings"][0, 0]).sum()) == 700 - 1
    with pytest.raises(ValueError, match="1 of 2 items have no date"):
        store_of(make_tiles([(0, 0), (0, 20)], days=[None, date(2024, 1, 1)]), tmp_path / "undated")


def test_grids_that_lie_between_the_cells_of_others_are_refused_by_name(
    make_tiles: Callable[..., Path], tmp_path: Path
) -> None:
    export = make_tiles([(0, 0), (20, 0.5)])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"t/1 .* and t/0 .* do not lie on one lattice in EPSG:32633.*cog"):
        store_of(export, tmp_path / "out")


def test_a_second_run_keeps_the_store_and_what_a_crash_left_is_removed(
    make_tiles: Callable[..., Path], tmp_path: Path
) -> None:
    export, out = make_tiles(), tmp_path / "out"
    left = out / ".partial-x-EPSG-32633.zarr"
    left.mkdir(parents=True)
    store = store_of(export, out)
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    assert convert(export, out, Conversion("zarr")) == [(store, False)]
    assert before == {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    assert [path.name for path in out.iterdir()] == [store.name]
    with pytest.raises(ValueError, match="made of other things or in another way"):
        convert(export, out, Conversion("zarr", unit_length=True))


def test_shards_are_written_and_read_across_their_borders(
    make_tiles: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eo_embed.reading.publishing.geoemb._SHARD_VALUES", 1 << 12)
    export = make_tiles([(0, 0), (20, 20), (25, 40)])
    store = store_of(export, tmp_path / "out", dtype="float32")
    assert len([path for path in (store / "utm33" / "embeddings" / "c").rglob("*") if path.is_file()]) == 4
    data = xr.open_zarr(store, group="utm33", chunks=None)
    for name in ("t/0", "t/1", "t/2"):
        grid = open_embeddings(export).grid(name)
        np.testing.assert_array_equal(data["embeddings"].sel(time=2024, y=grid["y"], x=grid["x"]), grid.values)
