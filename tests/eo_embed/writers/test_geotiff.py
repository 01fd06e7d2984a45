"""Grids as GeoTIFF: in place to the last digit, small, with no-data, and never half there."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS

from eo_embed.writers import geotiff
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.geotiff import GridWriter
from eo_embed.writers.quantise import Encoding

Make = Callable[..., Embedding]
FLOAT32 = Encoding("float32")
DEGREES = Affine(0.00143, 0, 13.123456789012345, 0, -0.00143, 52.98765432109876)
ROTATED = Affine(150.1, 20.3, 399960.5, 19.7, -150.2, 5300040.25)
LAEA = "+proj=laea +lat_0=51.3 +lon_0=9.7 +x_0=0 +y_0=0 +ellps=GRS80 +units=m +no_defs"


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("transform", [None, DEGREES, ROTATED], ids=["utm", "degrees", "rotated"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_every_cell_is_where_it_was_to_the_last_digit(
    make_embedding: Make, tmp_path: Path, dtype: str, transform: Affine | None
) -> None:
    other = {} if transform is None else {"transform": transform}
    if transform == DEGREES:
        other["crs"] = CRS.from_epsg(4326).to_wkt()
    embedding = make_embedding(**other)
    path = GridWriter(tmp_path, Encoding(dtype)).write(embedding)
    assert path == tmp_path / "grids/a/tile.tif"
    with rasterio.open(path) as file:
        assert file.transform == embedding.transform
        assert file.crs.to_epsg() == (4326 if transform == DEGREES else 32633)
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert set(file.dtypes) == {dtype}


def test_no_data_is_where_the_input_had_none(make_embedding: Make, tmp_path: Path) -> None:
    embedding = make_embedding()
    for dtype in ("float32", "float16", "int8"):
        with rasterio.open(GridWriter(tmp_path, Encoding(dtype)).write(embedding)) as file:
            mask = file.read_masks()
            assert mask[:, 1, 2].tolist() == [0] * 4, dtype
            assert np.count_nonzero(mask == 0) == 4, dtype
            assert file.nodata == -128 if dtype == "int8" else np.isnan(file.nodata)


def test_int8_comes_back_with_the_scale_of_the_file(make_embedding: Make, tmp_path: Path) -> None:
    embedding = make_embedding()
    with rasterio.open(GridWriter(tmp_path, Encoding("int8")).write(embedding)) as file:
        values = file.read(masked=True) * np.array(file.scales)[:, None, None] + np.array(file.offsets)[:, None, None]
        assert len(set(file.scales)) == 4
    assert embedding.grid is not None
    np.testing.assert_allclose(values.filled(np.nan), embedding.grid, atol=float(np.nanmax(embedding.grid)) / 254)


def test_a_file_says_what_it_is(make_embedding: Make, tmp_path: Path) -> None:
    path = GridWriter(tmp_path, FLOAT32).write(make_embedding("a/b/tile", layer="layer_11"))
    assert path == tmp_path / "grids/layer_11/a/b/tile.tif"
    with rasterio.open(path) as file:
        tags = file.tags()
        assert file.descriptions == ("e000", "e001", "e002", "e003")
    assert tags["id"] == "a/b/tile"
    assert tags["layer"] == "layer_11"
    assert tags["dates"] == "2024-05-01;2024-06-15;2024-07-01"
    assert tags["sources"] == '["in/a;b.tif", "in/ä.tif"]'
    assert tags["valid_fraction"] == "0.97"
    assert tags["quantisation"] == "float32"
    assert (path.parent / tags["manifest"]).resolve() == (tmp_path / "manifest.json").resolve()


def test_bands_have_the_names_they_were_given(make_embedding: Make, tmp_path: Path) -> None:
    names = ("mean_ä", "max", "min", "cls")
    with rasterio.open(GridWriter(tmp_path, FLOAT32).write(make_embedding(names=names))) as file:
        assert file.descriptions == names
    with pytest.raises(ValueError, match="expected 4 names, one for each band, or none; got 1"):
        GridWriter(tmp_path, FLOAT32).write(make_embedding(names=("one",)))


def test_two_files_of_one_name_are_two_outputs(make_embedding: Make, tmp_path: Path) -> None:
    writer = GridWriter(tmp_path, FLOAT32)
    for name in ("a/tile", "b/tile", "tile.v1", "tile.v2", "høyde/野/tile"):
        writer.write(make_embedding(name))
    found = {path.relative_to(tmp_path / "grids").as_posix() for path in _files(tmp_path)}
    assert found == {"a/tile.tif", "b/tile.tif", "tile.v1.tif", "tile.v2.tif", "høyde/野/tile.tif"}


@pytest.mark.parametrize(
    "id", ["../x", "a/../../x", "/etc/x", "", "a/", "a//b", "a\\b", ".", "a/.partial-x", "x" * 250, "a\nb", "a\0b"]
)
def test_no_id_leaves_the_folder(make_embedding: Make, tmp_path: Path, id: str) -> None:  # noqa: A002
    with pytest.raises(ValueError, match="cannot name a file. Expected a relative path"):
        GridWriter(tmp_path, FLOAT32).write(make_embedding(id))
    assert _files(tmp_path) == []


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_without_georeference_the_pixels_are_kept(make_embedding: Make, tmp_path: Path) -> None:
    embedding = make_embedding(transform=None, crs=None)
    path = GridWriter(tmp_path, FLOAT32).write(embedding)
    with rasterio.open(path) as file:
        assert file.crs is None
        np.testing.assert_array_equal(file.read(), embedding.grid)


def test_a_crs_without_authority_is_the_same_crs(make_embedding: Make, tmp_path: Path) -> None:
    wkt = CRS.from_user_input(LAEA).to_wkt()
    with rasterio.open(GridWriter(tmp_path, FLOAT32).write(make_embedding(crs=wkt))) as file:
        found = CRS.from_wkt(file.crs.to_wkt())
    numbers = {p.name: p.value for p in found.coordinate_operation.params}
    assert numbers["Latitude of natural origin"] == 51.3
    assert numbers["Longitude of natural origin"] == 9.7
    assert found.ellipsoid.inverse_flattening == pytest.approx(298.257222101)


def test_small_grids_have_one_small_tile_and_large_ones_overviews(make_embedding: Make, tmp_path: Path) -> None:
    """A band is unpacked by whole tiles: 36 x 36 cells in a tile of 512 x 512 would cost 800 MB."""
    with rasterio.open(GridWriter(tmp_path, FLOAT32).write(make_embedding(shape=(36, 36)))) as file:
        assert file.block_shapes[0] == (128, 128)
        assert file.overviews(1) == []
    large = make_embedding(shape=(600, 1100))
    with rasterio.open(GridWriter(tmp_path, FLOAT32).write(large)) as file:
        assert file.block_shapes[0] == (512, 512)
        assert file.overviews(1) == [2, 4]
        np.testing.assert_array_equal(file.read(), large.grid)
    with rasterio.open(GridWriter(tmp_path, FLOAT32, overviews=False).write(large)) as file:
        assert file.overviews(1) == []


def test_the_layout_is_that_of_a_cog(make_embedding: Make, tmp_path: Path) -> None:
    """Header first, then overviews from the smallest, then the grid; the bands of a tile lie together."""
    import tifffile

    path = GridWriter(tmp_path, FLOAT32).write(make_embedding(shape=(600, 1100)))
    assert path.read_bytes()[8:43].startswith(b"GDAL_STRUCTURAL_METADATA_SIZE=")
    with tifffile.TiffFile(path) as file:
        headers = [page.offset for page in file.pages]
        tiles = [[at for at in page.dataoffsets if at] for page in file.pages]
        counts = [len(page.dataoffsets) for page in file.pages]
    assert len(headers) == 3
    assert headers == sorted(headers)
    assert max(headers) < min(map(min, tiles))
    assert max(tiles[2]) < min(tiles[1])
    assert max(tiles[1]) < min(tiles[0])
    assert counts[0] == 4 * 2 * 3
    by_band = np.reshape(tiles[0], (4, 6))
    assert np.all(np.diff(by_band.T.ravel()) > 0)


@pytest.mark.parametrize("compress", ["deflate", "zstd", "lzw", "none"])
def test_compression_is_lossless(make_embedding: Make, tmp_path: Path, compress: str) -> None:
    embedding = make_embedding()
    with rasterio.open(GridWriter(tmp_path, FLOAT32, compress=compress).write(embedding)) as file:
        np.testing.assert_array_equal(file.read(), embedding.grid)
        found = file.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION", "none")
    assert found.lower() == compress


def test_unknown_compression_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="compress must be one of deflate, zstd, lzw, none, got 'jpeg'"):
        GridWriter(tmp_path, FLOAT32, compress="jpeg")


def test_an_old_rasterio_without_float16_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geotiff, "check_dtype", lambda dtype: dtype != "float16")
    with pytest.raises(ValueError, match="float16 needs a newer rasterio.*Update it, or use dtype float32"):
        GridWriter(tmp_path, Encoding("float16"))


def test_writing_is_quiet(make_embedding: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for dtype in ("float32", "float16", "int8"):
        GridWriter(tmp_path, Encoding(dtype)).write(make_embedding())
    assert caplog.text == ""


def test_sizes_are_those_of_the_dtypes(make_embedding: Make, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((4, 256, 256)).astype(np.float32)
    sizes = {}
    for dtype in ("float32", "float16", "int8"):
        embedding = make_embedding(shape=(256, 256), grid=noise, valid=None)
        writer = GridWriter(tmp_path, Encoding(dtype), compress="none")
        sizes[dtype] = writer.write(embedding).stat().st_size
    for dtype, size in sizes.items():
        assert size == pytest.approx(noise.size * np.dtype(dtype).itemsize, rel=0.02), dtype


def test_an_embedding_without_grid_is_refused(make_embedding: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a/tile: there is no grid to write; pooled vectors go to GeoParquet"):
        GridWriter(tmp_path, FLOAT32).write(make_embedding(grid=None))


def test_a_failure_midway_leaves_nothing_and_keeps_what_was_there(
    make_embedding: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = GridWriter(tmp_path, FLOAT32).write(make_embedding())
    before = path.read_bytes()

    monkeypatch.setattr(geotiff, "band_names", lambda *_: ("one name too few",))
    with pytest.raises(ValueError):  # noqa: PT011  (rasterio's)
        GridWriter(tmp_path, FLOAT32).write(make_embedding(grid=np.ones((4, 5, 7), np.float32)))
    assert path.read_bytes() == before
    assert _files(tmp_path) == [path]


def test_a_full_disk_is_an_error_and_leaves_no_short_file(make_embedding: Make, tmp_path: Path) -> None:
    """The file is written when it is closed; an error there must not be lost."""
    noise = np.random.default_rng(0).standard_normal((4, 256, 256)).astype(np.float32)
    embedding = make_embedding(shape=(256, 256), grid=noise, valid=None)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(OSError, match="too large: .*tile.tif"):
            GridWriter(tmp_path, FLOAT32).write(embedding)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert _files(tmp_path) == []
