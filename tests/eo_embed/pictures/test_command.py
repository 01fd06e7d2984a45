"""One colour means the same on every tile, and every picture lies where its grid lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from smooth_grids import DIMENSIONS, smooth_field, write_grid

from eo_embed.pictures.command import fitting, main, render_pca
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.geotiff import GridWriter
from eo_embed.writers.quantise import Encoding


def _colours(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return np.asarray(file.read())


def test_one_place_has_one_colour_on_two_tiles_that_overlap(tmp_path: Path) -> None:
    write_grid(tmp_path, "a/tile", 0, 0)
    write_grid(tmp_path, "b/tile", 0, 12)
    render_pca(tmp_path)
    one, other = (_colours(tmp_path / "pictures" / name / "tile.tif") for name in "ab")
    np.testing.assert_array_equal(one[:, :, 12:], other[:, :, :12])
    assert len(np.unique(one[:3].reshape(3, -1), axis=1).T) > 100


def test_colours_are_the_stretched_components(tmp_path: Path) -> None:
    grids = [write_grid(tmp_path, f"t{i}", 0, 30 * i) for i in range(3)]
    render_pca(tmp_path)
    vectors = np.concatenate([grid.reshape(DIMENSIONS, -1).T for grid in grids]).astype(np.float64)
    centred = vectors - vectors.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:3] * np.sign(axes[np.arange(3), np.abs(axes[:3]).argmax(axis=1)])[:, None]
    values = centred @ axes.T
    low, high = np.percentile(values, (2, 98), axis=0)
    expected = np.rint(np.clip((values - low) / (high - low), 0, 1) * 255)[: 24 * 24].T.reshape(3, 24, 24)
    assert np.abs(_colours(tmp_path / "pictures" / "t0.tif")[:3] - expected).max() <= 1


def test_a_picture_is_a_georeferenced_cog_with_transparent_no_data(tmp_path: Path) -> None:
    write_grid(tmp_path, "tile", 10, 20, hole=True)
    (png,) = render_pca(tmp_path)
    assert png == tmp_path / "pictures" / "tile.png"
    with rasterio.open(png.with_suffix(".tif")) as file, rasterio.open(tmp_path / "grids" / "tile.tif") as grid:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert (file.transform, file.crs, file.shape) == (grid.transform, grid.crs, grid.shape)
        assert [band.name for band in file.colorinterp] == ["red", "green", "blue", "alpha"]
        assert file.dtypes == ("uint8",) * 4
        alpha = file.read(4)
    assert (alpha[:5, :7] == 0).all()
    assert alpha.sum() == 255 * (24 * 24 - 5 * 7)
    assert {path.suffix for path in (tmp_path / "pictures").iterdir()} == {".png", ".tif"}


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_smaller_numbers_give_nearly_the_same_colours(tmp_path: Path, dtype: str) -> None:
    for folder, kind in (("exact", "float32"), ("small", dtype)):
        write_grid(tmp_path / folder, "tile", 0, 0, dtype=kind, hole=True)
        render_pca(tmp_path / folder)
    exact, small = (_colours(tmp_path / name / "pictures" / "tile.tif").astype(int) for name in ("exact", "small"))
    # int8 rounds each band to 1/127 of its largest value, and the third component is the weakest: 3 % of its range.
    assert np.abs(exact - small).max() <= 8
    assert np.abs(exact - small).mean() < 0.5
    assert (exact[3] == small[3]).all()


def test_a_file_that_carries_the_id_of_another_does_not_replace_its_picture(tmp_path: Path) -> None:
    """A mosaic has the tags of one of its tiles; names with a dot in them stay whole."""
    write_grid(tmp_path, "raster.v1/tile.0", 0, 0)
    (tmp_path / "grids" / "raster.v1.tif").write_bytes((tmp_path / "grids" / "raster.v1" / "tile.0.tif").read_bytes())
    pictures = {path.relative_to(tmp_path / "pictures").as_posix() for path in render_pca(tmp_path)}
    assert pictures == {"raster.v1.png", "raster.v1/tile.0.png"}


def test_each_layer_has_its_own_analysis(tmp_path: Path) -> None:
    for layer in ("layer_3", "layer_11"):
        write_grid(tmp_path / "both", "tile", 0, 0 if layer == "layer_3" else 90, layer=layer)
    write_grid(tmp_path / "one", "tile", 0, 0, layer="layer_3")
    pictures = render_pca(tmp_path / "both")
    render_pca(tmp_path / "one")
    assert [path.parent.name for path in pictures] == ["layer_11", "layer_3"]
    both, one = (_colours(tmp_path / name / "pictures" / "layer_3" / "tile.tif") for name in ("both", "one"))
    np.testing.assert_array_equal(both, one)


def test_a_bounded_sample_gives_the_same_picture_twice_and_almost_that_of_all(tmp_path: Path) -> None:
    for i in range(4):
        write_grid(tmp_path, f"t{i}", 0, 40 * i, (40, 40))
    runs = [("all", 1 << 26), ("few", DIMENSIONS * 1500), ("again", DIMENSIONS * 1500)]
    for name, values in runs:
        render_pca(tmp_path, tmp_path / name, sample_values=values)
    everything, few, again = (_colours(tmp_path / name / "t2.tif").astype(int) for name, _ in runs)
    np.testing.assert_array_equal(few, again)
    assert not np.array_equal(everything, few)
    assert np.abs(everything - few).mean() < 6


def test_grids_that_are_read_in_pieces_look_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_grid(tmp_path, "tile", 0, 0, (30, 20), hole=True)
    render_pca(tmp_path, tmp_path / "whole")
    monkeypatch.setattr("eo_embed.pictures.command._BLOCK_VALUES", DIMENSIONS * 20 * 4)
    render_pca(tmp_path, tmp_path / "pieces")
    np.testing.assert_array_equal(_colours(tmp_path / "whole" / "tile.tif"), _colours(tmp_path / "pieces" / "tile.tif"))


def test_one_component_is_grey(tmp_path: Path) -> None:
    write_grid(tmp_path, "tile", 0, 0)
    render_pca(tmp_path, components=1)
    red, green, blue, _ = _colours(tmp_path / "pictures" / "tile.tif")
    assert (red == green).all()
    assert (red == blue).all()
    assert red.std() > 20


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_grid_without_a_place_gets_a_picture_too(tmp_path: Path) -> None:
    grid = smooth_field(*np.meshgrid(np.arange(8), np.arange(8), indexing="ij"))
    GridWriter(tmp_path, Encoding()).write(Embedding("tile", "", None, grid, None, None, None, (8, 8)))
    assert render_pca(tmp_path)[0].is_file()


def test_a_long_id_fits_the_picture() -> None:
    assert fitting("tile", 2.0) == "tile"
    assert fitting("a/" * 40 + "tile_7", 2.0) == "...a/a/a/a/a/tile_7"


def test_the_command_writes_and_says_how_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_grid(tmp_path, "tile", 0, 0)
    main([str(tmp_path), "--out", str(tmp_path / "shown"), "--components", "1"])
    assert capsys.readouterr().out == f"1 pictures in {tmp_path / 'shown'}\n"
    assert {path.name for path in (tmp_path / "shown").iterdir()} == {"tile.png", "tile.tif"}


def test_the_command_ends_with_a_message_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main([str(tmp_path)])
    assert error.value.code == 2
    assert "holds no grids/*.tif to draw" in capsys.readouterr().err


def test_another_number_of_components_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="components must be 3 .* or 1 .*got 2"):
        render_pca(tmp_path, components=2)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_grids_of_two_exports_are_refused(tmp_path: Path) -> None:
    write_grid(tmp_path, "a", 0, 0)
    grid = np.zeros((8, 4, 4), np.float32)
    GridWriter(tmp_path, Encoding()).write(Embedding("b", "", None, grid, None, None, None, (4, 4)))
    with pytest.raises(ValueError, match="differ in their number of bands"):
        render_pca(tmp_path)


def test_a_broken_grid_is_named(tmp_path: Path) -> None:
    write_grid(tmp_path, "a", 0, 0)
    (tmp_path / "grids" / "b.tif").write_bytes(b"II*\x00half")
    with pytest.raises(ValueError, match="b.tif cannot be read: .*Remove it and export again"):
        render_pca(tmp_path)
