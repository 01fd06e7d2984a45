"""One colour means the same on every tile, and every picture lies where its grid lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from matplotlib.image import imread

from eo_embed.pictures import fit_projection, fitting, main, render_pca
from eo_embed.quicklook import Ground, QuickLooks
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.geotiff import GridWriter
from eo_embed.writers.quantise import Encoding

UTM = rasterio.crs.CRS.from_epsg(32633).to_wkt()
DIMENSIONS = 16


def _field(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Vectors that are a smooth function of the place alone: three patterns in 16 dimensions, and a little noise."""
    patterns = np.stack([np.sin(columns / 9), np.cos(rows / 7), np.sin((rows + columns) / 23)])
    mixing = np.random.default_rng(5).normal(size=(DIMENSIONS, 3)) * [3, 2, 1]
    return np.tensordot(mixing, patterns, 1).astype(np.float32)


def _write(
    folder: Path,
    name: str,
    top: int,
    left: int,
    shape: tuple[int, int] = (24, 24),
    layer: str = "",
    dtype: str = "float32",
    sources: tuple[str, ...] = (),
    hole: bool = False,
) -> np.ndarray:
    rows, columns = np.meshgrid(np.arange(top, top + shape[0]), np.arange(left, left + shape[1]), indexing="ij")
    grid = _field(rows, columns)
    if hole:
        grid[:, :5, :7] = np.nan
    transform = Affine(160, 0, 600_000 + 160 * left, 0, -160, 5_000_000 - 160 * top)
    item = Embedding(name, layer, None, grid, None, transform, UTM, shape, sources=sources)
    GridWriter(folder, Encoding(dtype)).write(item)
    return grid


def _colours(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return np.asarray(file.read())


def test_the_axes_are_those_of_an_independent_svd() -> None:
    vectors = np.random.default_rng(0).normal(size=(500, 8)) @ np.diag([5, 3, 2, 1, 0.5, 0.2, 0.1, 0.1])
    projection = fit_projection(vectors.astype(np.float32) + 7)
    _, singular, axes = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    signs = np.sign(axes[np.arange(3), np.abs(axes[:3]).argmax(axis=1)])
    np.testing.assert_allclose(projection.axes, axes[:3] * signs[:, None], atol=1e-5)
    np.testing.assert_allclose(projection.explained, (singular**2 / np.sum(singular**2))[:3], rtol=1e-5)
    np.testing.assert_allclose(projection.mean, 7 + vectors.mean(axis=0), atol=1e-5)


def test_the_sign_of_an_axis_does_not_depend_on_the_sample() -> None:
    vectors = np.random.default_rng(0).normal(size=(4000, 6)) * [5, 3, 2, 1, 0.5, 0.2]
    one, other = (fit_projection(part.astype(np.float32)) for part in (vectors[:2000], vectors[2000:]))
    assert (np.sum(one.axes * other.axes, axis=1) > 0.9).all()


def test_one_place_has_one_colour_on_two_tiles_that_overlap(tmp_path: Path) -> None:
    _write(tmp_path, "a/tile", 0, 0)
    _write(tmp_path, "b/tile", 0, 12)
    render_pca(tmp_path)
    one, other = (_colours(tmp_path / "pictures" / name / "tile.tif") for name in "ab")
    np.testing.assert_array_equal(one[:, :, 12:], other[:, :, :12])
    assert len(np.unique(one[:3].reshape(3, -1), axis=1).T) > 100


def test_colours_are_the_stretched_components(tmp_path: Path) -> None:
    grids = [_write(tmp_path, f"t{i}", 0, 30 * i) for i in range(3)]
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
    _write(tmp_path, "tile", 10, 20, hole=True)
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
        _write(tmp_path / folder, "tile", 0, 0, dtype=kind, hole=True)
        render_pca(tmp_path / folder)
    exact, small = (_colours(tmp_path / name / "pictures" / "tile.tif").astype(int) for name in ("exact", "small"))
    # int8 rounds each band to 1/127 of its largest value, and the third component is the weakest: 3 % of its range.
    assert np.abs(exact - small).max() <= 8
    assert np.abs(exact - small).mean() < 0.5
    assert (exact[3] == small[3]).all()


def test_a_file_that_carries_the_id_of_another_does_not_replace_its_picture(tmp_path: Path) -> None:
    """A mosaic has the tags of one of its tiles; names with a dot in them stay whole."""
    _write(tmp_path, "raster.v1/tile.0", 0, 0)
    (tmp_path / "grids" / "raster.v1.tif").write_bytes((tmp_path / "grids" / "raster.v1" / "tile.0.tif").read_bytes())
    pictures = {path.relative_to(tmp_path / "pictures").as_posix() for path in render_pca(tmp_path)}
    assert pictures == {"raster.v1.png", "raster.v1/tile.0.png"}


def test_each_layer_has_its_own_analysis(tmp_path: Path) -> None:
    for layer in ("layer_3", "layer_11"):
        _write(tmp_path / "both", "tile", 0, 0 if layer == "layer_3" else 90, layer=layer)
    _write(tmp_path / "one", "tile", 0, 0, layer="layer_3")
    pictures = render_pca(tmp_path / "both")
    render_pca(tmp_path / "one")
    assert [path.parent.name for path in pictures] == ["layer_11", "layer_3"]
    both, one = (_colours(tmp_path / name / "pictures" / "layer_3" / "tile.tif") for name in ("both", "one"))
    np.testing.assert_array_equal(both, one)


def test_a_bounded_sample_gives_the_same_picture_twice_and_almost_that_of_all(tmp_path: Path) -> None:
    for i in range(4):
        _write(tmp_path, f"t{i}", 0, 40 * i, (40, 40))
    runs = [("all", 1 << 26), ("few", DIMENSIONS * 1500), ("again", DIMENSIONS * 1500)]
    for name, values in runs:
        render_pca(tmp_path, tmp_path / name, sample_values=values)
    everything, few, again = (_colours(tmp_path / name / "t2.tif").astype(int) for name, _ in runs)
    np.testing.assert_array_equal(few, again)
    assert not np.array_equal(everything, few)
    assert np.abs(everything - few).mean() < 6


def test_grids_that_are_read_in_pieces_look_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, "tile", 0, 0, (30, 20), hole=True)
    render_pca(tmp_path, tmp_path / "whole")
    monkeypatch.setattr("eo_embed.pictures._BLOCK_VALUES", DIMENSIONS * 20 * 4)
    render_pca(tmp_path, tmp_path / "pieces")
    np.testing.assert_array_equal(_colours(tmp_path / "whole" / "tile.tif"), _colours(tmp_path / "pieces" / "tile.tif"))


def test_one_component_is_grey(tmp_path: Path) -> None:
    _write(tmp_path, "tile", 0, 0)
    render_pca(tmp_path, components=1)
    red, green, blue, _ = _colours(tmp_path / "pictures" / "tile.tif")
    assert (red == green).all()
    assert (red == blue).all()
    assert red.std() > 20


def test_embeddings_that_do_not_vary_are_mid_grey() -> None:
    projection = fit_projection(np.ones((10, 4), np.float32))
    assert np.unique(projection.colours(np.ones((4, 2, 2), np.float32))[:3]).tolist() == [128]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_grid_without_a_place_gets_a_picture_too(tmp_path: Path) -> None:
    grid = _field(*np.meshgrid(np.arange(8), np.arange(8), indexing="ij"))
    GridWriter(tmp_path, Encoding()).write(Embedding("tile", "", None, grid, None, None, None, (8, 8)))
    assert render_pca(tmp_path)[0].is_file()


def _source(path: Path, names: tuple[str, ...], red: int, size: int = 120, dtype: str = "uint16") -> Path:
    """10 m pixels; in one band, the one that is to be seen as red, the north-west quarter is bright."""
    pixels = np.full((len(names), size, size), 100, dtype)
    pixels[red, : size // 2, : size // 2] = 3000
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", count=len(names), height=size, width=size, dtype=dtype, crs=UTM,
        transform=Affine(10, 0, 600_000, 0, -10, 5_000_000),
    ) as file:  # fmt: skip
        file.write(pixels)
        if any(names):
            file.descriptions = names
    return path


@pytest.mark.parametrize(
    ("names", "red"),
    [
        (("BLUE", "GREEN", "RED", "NIR_BROAD"), 2),
        (("nir", "red", "green", "blue"), 1),
        (("B02", "B03", "B04", "B08"), 2),
        (("", "", "", ""), 0),
    ],
)
def test_the_quick_look_finds_red_green_and_blue_by_name(tmp_path: Path, names: tuple[str, ...], red: int) -> None:
    source = _source(tmp_path / "s.tif", names, red)
    ground = Ground(Affine(400, 0, 600_000, 0, -400, 5_000_000), UTM, 3, 3)
    look = QuickLooks(tmp_path).of("s", (str(source),), ground)
    assert look is not None
    assert look.shape == (120, 120, 3)
    assert (look[:60, :60] == [1, 0, 0]).all()
    assert (look[60:, 60:] == 0).all()


def test_the_quick_look_is_cut_to_the_ground_of_the_grid(tmp_path: Path) -> None:
    source = _source(tmp_path / "s.tif", ("RED", "GREEN", "BLUE"), 0)
    ground = Ground(Affine(300, 0, 600_500, 0, -300, 5_000_100), UTM, 3, 3)  # 10 px above, 20 px beyond to the right
    look = QuickLooks(tmp_path).of("s", (str(source),), ground)
    assert look is not None
    assert look.shape == (90, 90, 3)
    assert (look[:10] == 1).all(), "north of the source is white"
    assert (look[:, 70:] == 1).all(), "east of the source is white"
    assert (look[10:70, :10] == [1, 0, 0]).all()
    assert (look[10:, 10:70] == 0).all()


def test_a_large_source_is_read_at_lower_resolution(tmp_path: Path) -> None:
    source = _source(tmp_path / "s.tif", ("RED", "GREEN", "BLUE"), 0, size=3000, dtype="uint16")
    ground = Ground(Affine(10_000, 0, 600_000, 0, -10_000, 5_000_000), UTM, 3, 3)
    look = QuickLooks(tmp_path).of("s", (str(source),), ground)
    assert look is not None
    assert look.shape == (1000, 1000, 3)
    assert (look[:499, :499, 0] == 1).all()
    assert (look[501:, 501:, 0] == 0).all()


def test_a_source_in_another_crs_is_shown_whole(tmp_path: Path) -> None:
    source = _source(tmp_path / "s.tif", ("RED", "GREEN", "BLUE"), 0)
    ground = Ground(Affine(300, 0, 0, 0, -300, 0), rasterio.crs.CRS.from_epsg(32634).to_wkt(), 3, 3)
    look = QuickLooks(tmp_path).of("s", (str(source),), ground)
    assert look is not None
    assert look.shape == (120, 120, 3)


def test_of_radar_and_optical_sources_the_optical_one_is_shown(tmp_path: Path) -> None:
    radar = _source(tmp_path / "s1.tif", ("VV",), 0)
    optical = _source(tmp_path / "s2.tif", ("BLUE", "GREEN", "RED"), 2)
    ground = Ground(Affine(400, 0, 600_000, 0, -400, 5_000_000), UTM, 3, 3)
    look = QuickLooks(tmp_path).of("s", (str(radar), str(optical)), ground)
    assert look is not None
    assert (look[:60, :60] == [1, 0, 0]).all()
    grey = QuickLooks(tmp_path).of("s", (str(radar),), ground)
    assert grey is not None
    assert (grey[..., 0] == grey[..., 1]).all()


def test_a_source_that_is_lost_or_broken_costs_only_its_half_of_the_picture(tmp_path: Path) -> None:
    (tmp_path / "broken.tif").write_bytes(b"II*\x00half")
    _write(tmp_path, "lost", 0, 0, sources=("/no/such/file.tif",))
    _write(tmp_path, "broken", 0, 24, sources=(str(tmp_path / "broken.tif"),))
    _write(tmp_path, "there", 0, 48, sources=(str(_source(tmp_path / "s.tif", ("RED", "GREEN", "BLUE"), 0)),))
    widths = {path.stem: imread(path).shape[1] for path in render_pca(tmp_path)}
    assert widths["lost"] == widths["broken"]
    assert widths["there"] == 2 * widths["lost"]


def test_the_data_module_reads_sources_that_gdal_alone_would_show_wrongly(tmp_path: Path) -> None:
    """13 bands without names: GDAL's first three are not red, green and blue."""
    _source(tmp_path / "data" / "tile.tif", ("",) * 13, red=3)
    (tmp_path / "config.yaml").write_text(f"""
data:
  class_path: eo_data.datamodules.ChipDataModule
  init_args:
    root: {tmp_path / "data"}
    modalities:
      S2L1C:
        files: "{{id}}.tif"
        file_bands: [B1, B2, B3, B4, B5, B6, B7, B8, B8A, B9, B10, B11, B12]
        bands: [B4, B3, B2, B8]
        unit: digital_number
        pixel_size: 10
    preprocess:
      class_path: eo_data.preprocess.DatasetNormalise
      init_args:
        means: {{S2L1C: [0, 0, 0, 0]}}
        stds: {{S2L1C: [1, 1, 1, 1]}}
""")
    ground = Ground(Affine(600, 0, 600_000, 0, -600, 5_000_000), UTM, 1, 1)
    looks = QuickLooks(tmp_path, tmp_path / "config.yaml")
    look = looks.of("tile", (), ground)
    assert look is not None
    assert look.shape == (60, 60, 3)
    assert (look[..., 1:] == 0).all()
    assert looks.of("other", (), ground) is None


def test_a_long_id_fits_the_picture() -> None:
    assert fitting("tile", 2.0) == "tile"
    assert fitting("a/" * 40 + "tile_7", 2.0) == "...a/a/a/a/a/tile_7"


def test_the_command_writes_and_says_how_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path, "tile", 0, 0)
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


def test_vectors_that_are_too_few_or_too_short_are_refused() -> None:
    for shape, got in (((5, 2), "5 vectors of 2"), ((0, 8), "0 vectors of 8")):
        with pytest.raises(ValueError, match=f"3 principal components need .*got {got}"):
            fit_projection(np.zeros(shape, np.float32))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_grids_of_two_exports_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, "a", 0, 0)
    grid = np.zeros((8, 4, 4), np.float32)
    GridWriter(tmp_path, Encoding()).write(Embedding("b", "", None, grid, None, None, None, (4, 4)))
    with pytest.raises(ValueError, match="differ in their number of bands"):
        render_pca(tmp_path)


def test_a_broken_grid_is_named(tmp_path: Path) -> None:
    _write(tmp_path, "a", 0, 0)
    (tmp_path / "grids" / "b.tif").write_bytes(b"II*\x00half")
    with pytest.raises(ValueError, match="b.tif cannot be read: .*Remove it and export again"):
        render_pca(tmp_path)
