"""One table knows the formats: what is written is found, read, told apart and removed by its entry alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eo_embed import open_embeddings
from eo_embed.export.folder import open_export
from eo_embed.writers.embedding import Cells, Embedding, StoredGrid
from eo_embed.writers.formats import FORMATS, GRID_FORMATS, Format, format_of, grid_format
from eo_embed.writers.quantise import DTYPES, Encoding

Make = Callable[..., Embedding]
IDS = ("a/tile", "b/tile.v1")


def test_every_name_has_an_entry() -> None:
    """A name that `--help` lists and no entry serves would be a KeyError."""
    assert tuple(FORMATS) == GRID_FORMATS
    assert all(name == one.name for name, one in FORMATS.items())


def test_no_two_formats_claim_the_same_files() -> None:
    assert len({one.suffix for one in FORMATS.values()}) == len(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("layer", ["", "layer_3"])
def test_a_grid_is_written_where_its_format_says_and_found_there(
    name: str, layer: str, make_embedding: Make, tmp_path: Path
) -> None:
    form = grid_format(name, "float32")
    writer = form.writer(tmp_path, Encoding("float32"))
    paths = [writer.write(make_embedding(one, layer=layer)) for one in IDS]
    root = tmp_path / form.root
    assert paths == [form.path(tmp_path, one, layer) for one in IDS]
    assert form.grids_below(root) == sorted(paths)
    assert [form.id_and_layer(path, root, layered=bool(layer)) for path in paths] == [(one, layer) for one in IDS]
    assert [format_of(path) for path in paths] == [form, form]
    np.testing.assert_array_equal(form.reader(paths[0]).array, make_embedding().grid)
    assert [other.grids_below(tmp_path / other.root) for other in FORMATS.values() if other is not form] == [[]] * 3


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_crash_left_is_no_grid(name: str, make_embedding: Make, tmp_path: Path) -> None:
    form = grid_format(name, "float32")
    path = form.writer(tmp_path, Encoding("float32")).write(make_embedding("tile"))
    path.rename(path.with_name(f".partial-0-{path.name}"))
    assert form.grids_below(tmp_path / form.root) == []


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_format_holds_the_encodings_that_it_names_and_no_other(
    name: str, dtype: str, make_embedding: Make, tmp_path: Path
) -> None:
    """An int8 grid in a file that knows no scale would come back as other numbers."""
    if dtype not in FORMATS[name].dtypes:
        with pytest.raises(ValueError, match=f"{name} holds dtype float32, got dtype {dtype}. Use .*geotiff, or dtype"):
            grid_format(name, dtype)
        return
    grid = np.random.default_rng(0).standard_normal((4, 5, 7)).astype(np.float32)
    grid /= np.linalg.norm(grid, axis=0)
    encoding = Encoding.named(dtype)
    path = grid_format(name, dtype).writer(tmp_path, encoding).write(make_embedding(grid=grid))
    np.testing.assert_allclose(open_embeddings(path).grid("a/tile").values, grid, atol=1 / 100)


@pytest.mark.parametrize(
    ("name", "dtype", "message"),
    [
        ("png", "float32", "grid_format must be one of geotiff, zarr, netcdf, npz, got 'png'"),
        ("zarr", "float64", "dtype must be one of float32, float16, int8, int8_alphaearth, got 'float64'"),
    ],
)
def test_unknown_names_are_refused_with_the_valid_ones(name: str, dtype: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grid_format(name, dtype)


def test_a_new_format_needs_its_entry_and_nothing_else(
    make_embedding: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written, opened and overwritten: ledger, opening and folder must have no list of their own."""

    class NpyWriter:
        def __init__(self, folder: Path, _: Encoding) -> None:
            self.folder = folder

        def write(self, embedding: Embedding) -> Path:
            path = own.path(self.folder, embedding.id, embedding.layer)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, embedding.grid)
            return path

    def read(path: Path, cells: Cells | None = None) -> StoredGrid:
        attributes = {"id": path.stem, "quantisation": "float32"}
        grid = np.load(path)
        return StoredGrid(
            grid if cells is None else grid[:, *cells.slices],
            grid.shape[1:],
            names=("a", "b", "c", "d"),
            attributes=attributes,
        )

    own = Format("npy", ".npy", ("float32",), NpyWriter, read)  # type: ignore[arg-type]
    everything = {**FORMATS, "npy": own}
    for module in ("writers.formats", "export.opening", "export.folder"):
        monkeypatch.setattr(f"eo_embed.{module}.FORMATS", everything)
    manifest, ledger = open_export(tmp_path, {"model": "toy"})
    path = own.writer(tmp_path, Encoding("float32")).write(make_embedding("tile"))
    ledger.record([{"id": "tile", "files": [path.relative_to(tmp_path).as_posix()]}])
    manifest.complete({}, ledger.inputs(), [])
    np.testing.assert_array_equal(open_embeddings(tmp_path).grid("tile").values, make_embedding().grid)
    assert open_embeddings(path).ids == ("tile",)
    open_export(tmp_path, {"model": "other"}, overwrite=True)
    assert not path.exists()
