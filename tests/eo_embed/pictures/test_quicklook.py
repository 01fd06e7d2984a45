"""A picture of the source shows the same ground as the grid beside it, in the colours that people see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from matplotlib.image import imread
from smooth_grids import UTM, write_grid

from eo_embed.export.record.manifest import Manifest
from eo_embed.pictures.command import render_pca
from eo_embed.pictures.quicklook import Ground, QuickLooks


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
    write_grid(tmp_path, "lost", 0, 0, sources=("/no/such/file.tif",))
    write_grid(tmp_path, "broken", 0, 24, sources=(str(tmp_path / "broken.tif"),))
    write_grid(tmp_path, "there", 0, 48, sources=(str(_source(tmp_path / "s.tif", ("RED", "GREEN", "BLUE"), 0)),))
    widths = {path.stem: imread(path).shape[1] for path in render_pca(tmp_path)}
    assert widths["lost"] == widths["broken"]
    assert widths["there"] == 2 * widths["lost"]


def test_sources_are_found_from_the_root_that_the_config_names_or_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Manifests hold paths from the root on, and of an absolute root its last folder only."""
    _source(tmp_path / "data" / "s.tif", ("RED", "GREEN", "BLUE"), 0)
    out = tmp_path / "out"
    write_grid(out, "a", 0, 0, sources=("s.tif",))
    Manifest.create(out, {}, {"config": "data:\n  init_args:\n    root: data\n", "root": "data"})
    widths = [imread(render_pca(out)[0]).shape[1]]
    widths.append(imread(render_pca(out, root=tmp_path / "data")[0]).shape[1])
    monkeypatch.chdir(tmp_path)
    widths.append(imread(render_pca(out)[0]).shape[1])
    assert widths == [widths[0], 2 * widths[0], 2 * widths[0]]


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
        scale: 0.0001
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
