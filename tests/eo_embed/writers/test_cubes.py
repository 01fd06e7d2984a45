"""Grids as npz, NetCDF and Zarr: named axes, cell centres, and whole or not at all."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from pyproj import CRS

from eo_core.files import remove_partials
from eo_embed.writers.cubes import NetcdfWriter, ZarrWriter
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.npz import NpzWriter

Make = Callable[..., Embedding]
WRITERS = [NpzWriter, NetcdfWriter, ZarrWriter]
LEFT, TOP = 399960.1234567891, 5300040.9876543211


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _open(path: Path) -> xr.Dataset:
    if path.is_dir():
        return xr.open_zarr(path, consolidated=False, chunks=None)
    return xr.open_dataset(path, engine="h5netcdf")


@pytest.mark.parametrize("writer", [NetcdfWriter, ZarrWriter])
def test_xarray_opens_it_on_the_centres_of_the_cells(make_embedding: Make, tmp_path: Path, writer: Any) -> None:
    embedding = make_embedding()
    path = writer(tmp_path).write(embedding)
    with _open(path) as data:
        assert data["embedding"].dims == ("d", "y", "x")
        assert data["embedding"].dtype == np.float32
        np.testing.assert_array_equal(data["embedding"].values, embedding.grid)
        assert data["x"].values.tolist() == [LEFT + 160 * (i + 0.5) for i in range(7)]
        assert data["y"].values.tolist() == [TOP - 160 * (i + 0.5) for i in range(5)]
        assert data["x"].attrs["standard_name"] == "projection_x_coordinate"
        assert data["x"].attrs["units"] == "m"
        np.testing.assert_array_equal(data["valid"].values, np.ones((5, 7)))
        assert data.attrs["id"] == "a/tile"
        assert data.attrs["dates"] == "2024-05-01;2024-06-15;2024-07-01"
        assert json.loads(data.attrs["names"]) == ["e000", "e001", "e002", "e003"]
        assert (path.parent / data.attrs["manifest"]).resolve() == (tmp_path / "manifest.json").resolve()


@pytest.mark.parametrize("writer", [NetcdfWriter, ZarrWriter])
def test_rioxarray_finds_crs_and_transform(make_embedding: Make, tmp_path: Path, writer: Any) -> None:
    import rioxarray  # noqa: F401

    embedding = make_embedding()
    path = writer(tmp_path).write(embedding)
    options: dict[str, Any] = {"engine": "zarr", "consolidated": False} if path.is_dir() else {"engine": "h5netcdf"}
    with xr.open_dataset(path, decode_coords="all", **options) as data:
        assert data["embedding"].rio.crs.to_epsg() == 32633
        assert data["embedding"].rio.transform(recalc=False) == embedding.transform


def test_degrees_are_longitude_and_latitude(make_embedding: Make, tmp_path: Path) -> None:
    transform = Affine(0.25, 0, 13, 0, -0.25, 53)
    with _open(NetcdfWriter(tmp_path).write(make_embedding(transform=transform, crs="EPSG:4326"))) as data:
        assert data["x"].attrs["standard_name"] == "longitude"
        assert data["y"].attrs["units"] == "degrees_north"
        assert data["y"].values.tolist() == [52.875, 52.625, 52.375, 52.125, 51.875]


@pytest.mark.parametrize("writer", WRITERS)
def test_two_files_of_one_name_are_two_outputs(make_embedding: Make, tmp_path: Path, writer: Any) -> None:
    paths = {writer(tmp_path).write(make_embedding(name)) for name in ("a/tile", "b/tile", "t.v1", "t.v2")}
    assert len(paths) == 4
    assert all(path.exists() for path in paths)


@pytest.mark.parametrize("writer", WRITERS)
def test_no_id_leaves_the_folder(make_embedding: Make, tmp_path: Path, writer: Any) -> None:
    for name in ("../x", "/etc/x", "a/../../x"):
        with pytest.raises(ValueError, match="cannot name a file"):
            writer(tmp_path).write(make_embedding(name))
    with pytest.raises(ValueError, match="there is no grid to write"):
        writer(tmp_path).write(make_embedding(grid=None))
    assert _files(tmp_path) == []


@pytest.mark.parametrize("writer", WRITERS)
def test_without_georeference_the_numbers_are_kept(make_embedding: Make, tmp_path: Path, writer: Any) -> None:
    path = writer(tmp_path).write(make_embedding(transform=None, crs=None, valid=None))
    if path.suffix == ".npz":
        with np.load(path) as file:
            assert not {"x", "crs", "transform", "valid"} & set(file.files)
    else:
        with _open(path) as data:
            assert set(data.variables) == {"embedding"}


@pytest.mark.parametrize("writer", WRITERS)
def test_rotated_cells_have_two_axes_of_places(make_embedding: Make, tmp_path: Path, writer: Any) -> None:
    path = writer(tmp_path).write(make_embedding(transform=Affine(100, 20, 5, 10, -100, 7)))
    with np.load(path) if path.suffix == ".npz" else _open(path) as data:
        assert float(data["xc"][2, 3]) == 5 + 100 * 3.5 + 20 * 2.5
        assert float(data["yc"][2, 3]) == 7 + 10 * 3.5 - 100 * 2.5


def test_a_store_is_one_zarr_v3_that_zarr_walks(make_embedding: Make, tmp_path: Path) -> None:
    import zarr

    writer = ZarrWriter(tmp_path)
    for name in ("a/tile", "b/tile"):
        for layer in ("layer_0", "layer_1"):
            writer.write(make_embedding(name, layer=layer))
    store = zarr.open_group(tmp_path / "grids.zarr", mode="r")
    assert store.metadata.zarr_format == 3
    assert sorted(name for name, _ in store.groups()) == ["layer_0", "layer_1"]
    array: Any = store["layer_1/b/tile/embedding"]
    assert array.shape == (4, 5, 7)
    assert array.metadata.dimension_names == ("d", "y", "x")


def test_zarr_chunks_hold_all_bands_of_a_place(make_embedding: Make, tmp_path: Path) -> None:
    import zarr

    path = ZarrWriter(tmp_path).write(make_embedding(shape=(100, 30)))
    array: Any = zarr.open_group(path, mode="r")["embedding"]
    assert array.chunks == (4, 64, 30)


def test_writing_a_zarr_item_again_replaces_it(make_embedding: Make, tmp_path: Path) -> None:
    writer = ZarrWriter(tmp_path)
    path = writer.write(make_embedding(shape=(9, 9)))
    assert writer.write(make_embedding()) == path
    with _open(path) as data:
        assert data["embedding"].shape == (4, 5, 7)
    assert [p.name for p in path.parent.iterdir() if p.is_dir()] == ["tile"]


def test_zarr_items_do_not_lie_inside_each_other(make_embedding: Make, tmp_path: Path) -> None:
    writer = ZarrWriter(tmp_path)
    writer.write(make_embedding("a"))
    writer.write(make_embedding("b/tile"))
    for name in ("a/tile", "b"):
        with pytest.raises(ValueError, match="would lie inside each other.*Use grid_format: geotiff"):
            writer.write(make_embedding(name))
    with pytest.raises(ValueError, match="names that begin with '__' are reserved"):
        writer.write(make_embedding("c/__tile"))


def test_without_zarr_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"Zarr needs the package zarr >= 3: pip install .*\[zarr\]"):
        ZarrWriter(tmp_path)


@pytest.mark.parametrize("writer", [NetcdfWriter, ZarrWriter])
def test_a_failure_midway_leaves_nothing_and_keeps_what_was_there(
    make_embedding: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: Any
) -> None:
    path = writer(tmp_path).write(make_embedding())
    before = {file: file.read_bytes() for file in _files(tmp_path)}
    method = "to_zarr" if writer is ZarrWriter else "to_netcdf"
    write = getattr(xr.Dataset, method)

    def fail(*arguments: Any, **options: Any) -> None:
        write(*arguments, **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.Dataset, method, fail)
    for name in ("a/tile", "other/tile"):
        with pytest.raises(OSError, match="No space left"):
            writer(tmp_path).write(make_embedding(name, grid=np.ones((4, 5, 7), np.float32)))
    found = {file: file.read_bytes() for file in _files(tmp_path) if "other" not in file.parts}
    assert found == before
    assert path.exists()
    left = [file for file in _files(tmp_path) if "other" in file.parts and file.name != "zarr.json"]
    assert left == []
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith(".partial-")]


def test_what_a_killed_zarr_writer_leaves_is_removed(make_embedding: Make, tmp_path: Path) -> None:
    path = ZarrWriter(tmp_path).write(make_embedding())
    partial = path.with_name(".partial-0-other")
    (partial / "embedding").mkdir(parents=True)
    (partial / "embedding/zarr.json").write_text("{}")
    assert remove_partials(tmp_path) == 1
    assert not partial.exists()
    assert path.is_dir()


def test_a_crs_without_authority_is_the_same_crs(make_embedding: Make, tmp_path: Path) -> None:
    wkt = CRS.from_user_input("+proj=laea +lat_0=51.3 +lon_0=9.7 +ellps=GRS80 +units=m").to_wkt()
    with _open(NetcdfWriter(tmp_path).write(make_embedding(crs=wkt))) as data:
        assert data["spatial_ref"].attrs["crs_wkt"] == wkt
        assert data["spatial_ref"].attrs["grid_mapping_name"] == "lambert_azimuthal_equal_area"
