"""COGs in another dtype, of length one, of fewer numbers: an export again, and what others read of it."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from placed_exports import placed, write_export
from published_tiles import CELL, LEFT, TOP, values
from rio_cogeo.cogeo import cog_validate
from sklearn.decomposition import PCA

from eo_embed import open_embeddings
from eo_embed.reading.publishing.convert import Conversion, convert
from eo_embed.reading.publishing.stac import Publication, write_catalogue

TILES = ("t/0", "t/1", "t/2")


def all_cells(export: Path) -> np.ndarray:
    grids = [open_embeddings(export).grid(name).values.reshape(6, -1) for name in TILES]
    flat = np.concatenate(grids, axis=1).T
    return flat[np.isfinite(flat).all(axis=1)]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_a_converted_export_is_an_export_of_valid_cogs_with_its_values_and_places(
    make_tiles: Callable[..., Path], tmp_path: Path, dtype: str
) -> None:
    export, out = make_tiles(), tmp_path / "out"
    made = convert(export, out, Conversion("cog", dtype=dtype))
    assert [path.relative_to(out).as_posix() for path, _ in made] == [
        "grids/t/0.tif", "grids/t/1.tif", "grids/t/2.tif", "embeddings.parquet",
    ]  # fmt: skip
    before, after = open_embeddings(export), open_embeddings(out)
    assert after.ids == before.ids
    assert after.manifest["data_type"] == dtype
    for name in TILES:
        expected, found = before.grid(name), after.grid(name)
        # float16 has 11 bits, int8 half a scale of the largest number of the band.
        most = np.nanmax(np.abs(expected.values), axis=(1, 2))[:, None, None]
        error = {"float32": 0, "float16": 2**-11 * most, "int8": most / 254 * 1.0001 + 1e-7}[dtype]
        assert np.all(np.nan_to_num(np.abs(found.values - expected.values)) <= error)
        np.testing.assert_array_equal(np.isnan(found.values), np.isnan(expected.values))
        assert found.attrs["transform"] == expected.attrs["transform"]
        assert found.attrs["dates"] == expected.attrs["dates"]
        valid, errors, warnings = cog_validate(str(out / "grids" / f"{name}.tif"), quiet=True)
        assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(out / "grids" / "t" / "1.tif") as file:
        assert file.compression.value == "ZSTD"
        assert file.index(LEFT + CELL * 27.5, TOP - CELL * 8.5) == (8, 7)
    entry = next(item for item in after.manifest["inputs"] if item["id"] == "t/1")
    assert entry["files"] == ["grids/t/1.tif", "embeddings.parquet"]


def test_vectors_of_length_one_in_grids_and_in_the_table(make_tiles: Callable[..., Path], tmp_path: Path) -> None:
    export, out = make_tiles(), tmp_path / "out"
    convert(export, out, Conversion("cog", dtype="int8_alphaearth", unit_length=True))
    after = open_embeddings(out)
    expected = values(8, 27, 1, 1)[:, 0, 0]
    expected /= np.linalg.norm(expected)
    found = after.grid("t/1").values[:, 8, 7]
    np.testing.assert_allclose(found, expected, atol=(1 + 0.002) / 127.5)
    assert after.pooled is not None
    np.testing.assert_allclose(np.linalg.norm(np.stack(after.pooled["embedding"]), axis=1), 1, rtol=1e-6)
    with pytest.raises(ValueError, match="int8_alphaearth is for vectors of length 1"):
        convert(export, tmp_path / "longer", Conversion("cog", dtype="int8_alphaearth"))


def test_components_are_those_of_scikit_learn_in_grids_and_vectors_and_can_be_turned_back(
    make_tiles: Callable[..., Path], tmp_path: Path
) -> None:
    export, out = make_tiles(), tmp_path / "out"
    convert(export, out, Conversion("cog", components=3))
    after, cells = open_embeddings(out), all_cells(export).astype(np.float64)
    peer = PCA(3).fit(cells)
    with np.load(out / "pca.npz") as basis:
        mean, axes, explained = basis["mean"], basis["axes"], basis["explained"]
    np.testing.assert_allclose(mean, peer.mean_, atol=1e-6)
    np.testing.assert_allclose(np.abs(np.sum(axes * peer.components_, axis=1)), 1, atol=1e-6)
    np.testing.assert_allclose(explained, peer.explained_variance_ratio_, atol=1e-6)
    vector = values(8, 27, 1, 1)[:, 0, 0]
    np.testing.assert_allclose(after.grid("t/1").values[:, 8, 7], axes @ (vector - mean), atol=1e-5)
    assert after.pooled is not None
    pooled = open_embeddings(export).pooled["embedding"].iloc[1]  # type: ignore[index]
    np.testing.assert_allclose(after.pooled["embedding"].iloc[1], axes @ (pooled - mean), atol=1e-5)
    told = after.manifest["pca"]
    assert told["sha256"] == sha256((out / "pca.npz").read_bytes()).hexdigest()
    assert (told["components"], told["vectors"]) == (3, len(cells))
    assert after.manifest["emb:dimensions"] == 3
    assert after.grid("t/1")["band"].values.tolist() == ["pc000", "pc001", "pc002"]


def test_two_runs_give_the_same_bytes_and_the_seed_draws_the_cells(
    make_tiles: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eo_embed.reading.publishing.change.SAMPLE_VALUES", 600)
    export = make_tiles()

    def bytes_of(name: str, seed: int) -> dict[str, bytes]:
        made = convert(export, tmp_path / name, Conversion("cog", components=2, dtype="int8", seed=seed))
        return {path.name: path.read_bytes() for path, _ in made}

    first = bytes_of("a", 0)
    assert first == bytes_of("b", 0)
    assert first["pca.npz"] != bytes_of("c", 1)["pca.npz"]


def test_a_conversion_that_was_cut_off_is_finished_and_a_finished_one_stays(
    make_tiles: Callable[..., Path], tmp_path: Path
) -> None:
    export, out = make_tiles(), tmp_path / "out"
    whole = convert(export, tmp_path / "whole", Conversion("cog"))
    convert(export, out, Conversion("cog"))
    (out / "grids" / "t" / "1.tif").unlink()
    (out / "grids" / "t" / ".partial-1-2.tif").write_bytes(b"cut off")
    again = convert(export, out, Conversion("cog"))
    assert [now for _, now in again] == [False, True, False, False]
    for (path, _), (other, _) in zip(again, whole, strict=True):
        assert path.read_bytes() == other.read_bytes()
    assert not list(out.rglob(".partial-*"))
    with pytest.raises(ValueError, match="holds another export"):
        convert(export, out, Conversion("cog", dtype="int8"))
    with pytest.raises(ValueError, match="is the export itself"):
        convert(export, export, Conversion("cog"))


def test_memory_does_not_grow_with_the_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("grids", "cogs"):
        monkeypatch.setattr(f"eo_embed.reading.publishing.{module}.BLOCK_VALUES", 1 << 15)

    def peak(depth: int) -> int:
        place = Affine(CELL, 0, LEFT, 0, -CELL, TOP)
        grid = np.random.default_rng(0).standard_normal((depth, 128, 128)).astype(np.float32)
        write_export(tmp_path / f"{depth}", [placed("a", grid, place)])
        del grid
        tracemalloc.start()
        convert(tmp_path / f"{depth}", tmp_path / f"{depth}-out", Conversion("cog", dtype="int8", unit_length=True))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(4)  # modules that are imported late
    few, many = peak(16), peak(128)  # 1 and 8 MB of float32
    assert many < few + (1 << 20)


def test_nothing_is_left_of_what_cogs_are_made_of(
    make_tiles: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export, out = make_tiles(), tmp_path / "out"
    names = {"pca.npz", "manifest.json", "grids", "embeddings.parquet"}

    def full(*_: object, **__: object) -> None:
        msg = "No space left on device"
        raise OSError(msg)

    with monkeypatch.context() as patch:
        patch.setattr("eo_embed.reading.publishing.cogs.cog.write_cog", full)
        with pytest.raises(OSError, match="No space"):
            convert(export, out, Conversion("cog", components=2))
    assert {path.name for path in out.iterdir()} <= names
    convert(export, out, Conversion("cog", components=2))
    assert {path.name for path in out.iterdir()} == names
    assert sorted(path.name for path in (out / "grids" / "t").iterdir()) == ["0.tif", "1.tif", "2.tif"]


def test_more_components_than_numbers_are_refused(make_tiles: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="7 components need vectors of one width of at least 7; there are 6 numbers"):
        convert(make_tiles(), tmp_path / "out", Conversion("cog", components=7))


def test_a_converted_export_can_be_published(make_tiles: Callable[..., Path], tmp_path: Path) -> None:
    convert(make_tiles(), tmp_path / "out", Conversion("cog", dtype="int8", components=2))
    told = json.loads(write_catalogue(tmp_path / "out", Publication("CC-BY-4.0")).read_text(encoding="utf-8"))
    assert (told["emb:dimensions"], told["data_type"]) == (2, "int8")


def test_torchgeo_reads_the_cogs_as_a_raster_data_set(make_tiles: Callable[..., Path], tmp_path: Path) -> None:
    from torchgeo.datasets import RasterDataset

    convert(make_tiles([(0, 0), (0, 20)]), tmp_path / "out", Conversion("cog"))

    class Embeddings(RasterDataset):
        filename_glob = "*.tif"

    data = Embeddings(str(tmp_path / "out" / "grids" / "t"), res=(CELL, CELL))
    left, top = LEFT + 10 * CELL, TOP - 5 * CELL
    found = data[left : left + 20 * CELL, top - 10 * CELL : top]["image"].numpy()
    assert found.shape == (6, 10, 20)
    np.testing.assert_array_equal(found[:, 0, 15], values(5, 25, 1, 1)[:, 0, 0])
