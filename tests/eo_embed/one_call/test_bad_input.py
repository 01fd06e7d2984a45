"""What cannot be embedded is refused or listed by name, with what to do; nothing is left half-written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch
from pyproj import Transformer
from small_products import write_sentinel2
from small_scenes import CORNER, numbers, write_scene

from eo_data.raster.raster import to_map
from eo_embed import PointBuffer, Region, embed, open_embeddings
from eo_embed.one_call import run as run_module
from eo_models.contract import Features
from eo_models.precision.numbers import Arithmetic

TINY: dict[str, Any] = {"pretrained": False, "device": "cpu", "progress": False}
SUMMER = ("2022-06-01", "2022-09-01")
SIDE = 96


def lonlat(column: float, row: float) -> tuple[float, float]:
    """Longitude and latitude of a pixel of the scenes."""
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(*to_map(CORNER, column, row))
    return float(lon), float(lat)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two dates of one tile of 96 x 96 pixels."""
    folder = tmp_path_factory.mktemp("scenes")
    for seed, day in enumerate(("20220603", "20220613")):
        write_scene(folder / f"S2A_MSIL2A_{day}.tif", numbers(side=SIDE, seed=seed))
    return folder


@pytest.fixture(scope="module")
def scene(scenes: Path) -> Path:
    return scenes / "S2A_MSIL2A_20220603.tif"


def refusal(given: Any, error: type[Exception] = ValueError, encoder: str = "thor_v1_tiny", **options: Any) -> str:
    """Return the message with which something is refused."""
    with pytest.raises(error) as caught:
        embed(encoder, given, **{**TINY, **options})
    return str(caught.value)


def test_a_place_outside_of_all_scenes_is_told_where_they_are(scenes: Path) -> None:
    text = refusal(PointBuffer(0, 0, 160, id="gulf"), time=SUMMER, source=scenes)
    assert "gulf" in text
    assert "longitude 9 to 9.012, latitude 45.14 to 45.15" in text
    assert "their order" in text
    assert "no scenes" in refusal(PointBuffer(0, 0, 160), time=SUMMER, source=scenes.parent / _empty(scenes))
    assert "There is no folder" in refusal(PointBuffer(0, 0, 160), time=SUMMER, source=scenes / "gone")


def _empty(beside: Path) -> str:
    folder = beside.parent / "empty"
    folder.mkdir(exist_ok=True)
    return folder.name


def test_a_place_half_outside_says_which_half_was_seen(scenes: Path) -> None:
    """The half that no scene shows must not look like ground."""
    found = embed("thor_v1_tiny", PointBuffer(*lonlat(SIDE, 48), 160), time=SUMMER, source=scenes, **TINY)
    assert found.valid.tolist() == [[1, 1, 0, 0]] * 4
    assert np.isnan(found.grid.to_numpy()[:, :, 2:]).all()
    assert np.isfinite(found.grid.to_numpy()[:, :, :2]).all()
    assert "50% observed" in repr(found)
    # Of a polygon the vector is that of what was seen.
    box = shapely.box(*lonlat(SIDE - 16, 64), *lonlat(SIDE + 16, 32))
    half = embed("thor_v1_tiny", Region(box, id="half"), time=SUMMER, source=scenes, **TINY)
    assert np.isfinite(half.vector).all()
    assert 0.4 < half.layers[""].valid_fraction < 0.6


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (SUMMER[::-1], "2022-09-01 .. 2022-06-01. Exchange them"),
        ("2022", 'time must be a window such as ("2022-06-01", "2022-09-01")'),
        (("summer", "autumn"), 'time must be a window such as ("2022-06-01", "2022-09-01")'),
        (None, 'add time=("2022-06-01", "2022-09-01")'),
        (("2021-01-01", "2021-02-01"), "The nearest days are 2022-06-03, 2022-06-13. Widen the time"),
    ],
)
def test_a_time_that_is_none_or_shows_nothing(time: Any, said: str, scenes: Path) -> None:
    """``time="2022"`` was "time_window() takes 2 positional arguments but 4 were given"."""
    assert said in refusal(PointBuffer(*lonlat(48, 48), 160), time=time, source=scenes)


def test_a_single_image_must_lie_in_the_time_that_is_asked_for(scene: Path) -> None:
    """The time was ignored: the image of another year was encoded."""
    text = refusal(scene, time=("2019-01-01", "2020-01-01"))
    assert "No acquisition is in the window" in text
    assert "2022-06-03" in text
    assert "makes a series" in refusal(scene, frames=3)
    assert "frames must be" in refusal(scene, frames="many")
    inside = embed("thor_v1_tiny", scene, time=SUMMER, **TINY)
    np.testing.assert_allclose(inside.vector, embed("thor_v1_tiny", scene, **TINY).vector, atol=1e-6)


def test_an_array_without_bands_or_unit_is_asked_for_them() -> None:
    pixels = numbers()
    assert 'bands=["BLUE", "GREEN", ...]' in refusal(pixels)
    named = {"bands": ["B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"], "pixel_size": 10}
    assert "offset=-1000" in refusal(pixels, **named)
    assert 'unit="reflectance"' in refusal(pixels / 1e4, **named)


def test_a_file_whose_facts_do_not_say_the_unit(tmp_path: Path) -> None:
    file = write_scene(tmp_path / "S2A_MSIL2A_20220603.tif", numbers().astype("float32"), scale=None)
    text = refusal(file)
    assert str(file) in text
    assert 'unit="reflectance"' in text


def test_mixed_sensors_are_refused_or_chosen_from(tmp_path: Path) -> None:
    """Radar and an optical image of one place are never one series."""
    optical = write_scene(tmp_path / "S2A_MSIL2A_20220603.tif", numbers(side=SIDE))
    decibel = -numbers(2, side=SIDE).astype("float32") / 200
    radar = write_scene(tmp_path / "S1A_IW_20220604.tif", decibel, bands=["VV", "VH"], unit="dB", scale=None)
    assert '{"s2": [...], "s1": [...]}' in refusal([optical, radar])
    place = PointBuffer(*lonlat(48, 48), 160)
    text = refusal(place, time=SUMMER, source=tmp_path)
    assert 'sensor="sentinel2_l2a", or sensor=("sentinel2_l2a", "sentinel1") for all' in text
    options = {"sensor": ("sentinel2_l2a", "sentinel1"), "group_merge": "concat", **TINY}
    both = embed("thor_v1_tiny", place, time=SUMMER, source=tmp_path, **options)
    assert both.grid.shape == (3 * 192, 4, 4)  # 10 m, 20 m, radar
    assert set(both.provenance["images"]) == {"S2", "S1"}


def test_a_product_that_is_not_whole_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    product = write_sentinel2(tmp_path / "granule")
    shutil.rmtree(product / "GRANULE")
    text = refusal(product)
    assert product.name in text
    assert "no granule" in text
    product = write_sentinel2(tmp_path / "metadata")
    (product / "MTD_MSIL2A.xml").unlink()
    text = refusal(product)
    assert product.name in text
    assert "lacks its metadata" in text
    assert "Download" in text


def test_a_product_without_the_file_of_a_band_is_no_product_of_fewer_bands(tmp_path: Path) -> None:
    """A broken download was encoded without its red band, and nothing said so."""
    product = write_sentinel2(tmp_path)
    for file in product.rglob("*B04_*.jp2"):
        file.unlink()
    text = refusal(product)
    assert product.name in text
    assert "lists the bands RED, but their files are not there" in text
    found = embed("thor_v1_tiny", product, bands=["BLUE", "GREEN", "NIR_BROAD"], **TINY)
    assert found.provenance["images"]["S2"]["bands"] == ["BLUE", "GREEN", "NIR_BROAD"]


def test_a_folder_that_is_no_product_is_told_what_folders_are_for(scenes: Path) -> None:
    """It was "not recognized as being in a supported file format. Copy it again"."""
    text = refusal(scenes)
    assert f'source="{scenes}"' in text
    assert "as a list" in text


def test_all_of_a_product_is_no_single_image(
    scene: Path, fields: Callable[..., Path], scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """110 km became 288 pixels, which THOR took for 2.9 km; there was only a warning."""
    monkeypatch.setattr(run_module, "_LONGEST", 64)
    text = refusal(scene)
    assert "96 x 96 pixels" in text
    assert "tile=... to encode it by parts (a multiple of 16 pixels)" in text
    assert embed("thor_v1_tiny", scene, tile=48, **TINY).grid.shape == (192, 12, 12)
    with pytest.warns(UserWarning, match="resamples"):
        asked = embed("thor_v1_tiny", scene, image_size=48, max_native_side=64, **TINY)
    assert asked.grid.shape == (192, 6, 6)
    wide = PointBuffer(*lonlat(48, 48), 400, id="wide")
    assert "wide has 96 x 96" in refusal(wide, time=SUMMER, source=scenes)
    assert len(embed("thor_v1_tiny", fields(2), time=SUMMER, source=scenes, **TINY)) == 2


def test_what_there_is_not_is_told_before_anything_is_written(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    out = {"out": tmp_path / "out"}
    assert "gone.pt" in refusal(scene, ckpt=tmp_path / "gone.pt", **out)
    assert "There is no device 'gpu'. Valid: auto, cpu" in refusal(scene, device="gpu", **out)
    assert "ask for random weights" in refusal(scene, pretrained=True, **out)
    assert "There are no published weights" in refusal(
        scene, encoder="anysat_tiny", pretrained=True, image_size=None, patch_size=80, **out
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_graphics_card_that_is_not_here(scene: Path) -> None:
    """It was "Found no NVIDIA driver on your system", whatever the machine is."""
    assert 'Use device="auto"' in refusal(scene, device="cuda")


class StandIn:
    """An encoder of one number a cell, which may stop after some images."""

    weights_sha256 = "0" * 64
    arithmetic = Arithmetic("32-true", "highest", torch.device("cpu"))

    def __init__(self) -> None:
        self.seen, self.stop_after = 0, 10**9

    def __call__(self, image: torch.Tensor, **_: Any) -> list[Features]:
        if self.seen == self.stop_after:
            raise KeyboardInterrupt
        self.seen += 1
        grid = torch.nn.functional.avg_pool2d(image[:, :2], 8)
        return [Features(grid.flatten(2).transpose(1, 2), None, grid)]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    encoder = StandIn()
    monkeypatch.setattr(run_module, "encoder_for", lambda *_: encoder)
    return encoder


@pytest.fixture
def fields(tmp_path: Path) -> Callable[..., Path]:
    """Write a GeoPackage of small fields within the scenes, of which one has no geometry that can be used."""

    def write(count: int, bad: Any = None) -> Path:
        rng = np.random.default_rng(0)
        west, south = np.array([lonlat(*place) for place in rng.uniform(20, 70, (count, 2))]).T
        shapes = [shapely.box(x, y, x + 2e-4, y + 2e-4) for x, y in zip(west, south, strict=True)]
        if bad is not None:
            shapes[count // 2] = bad
        path = tmp_path / "fields.gpkg"
        gpd.GeoDataFrame({"name": [f"f{i:03d}" for i in range(count)]}, geometry=shapes, crs=4326).to_file(path)
        return path

    return write


BOWTIE = shapely.Polygon([(9.001, 45.141), (9.003, 45.143), (9.003, 45.141), (9.001, 45.143)])


def test_one_bad_geometry_of_hundreds_costs_nothing_but_itself(
    stand_in: StandIn, fields: Callable[..., Path], scenes: Path, tmp_path: Path
) -> None:
    path = fields(300, BOWTIE)
    options = {**TINY, "time": ("2022-06-01", "2022-06-10"), "source": scenes, "id_column": "name", "output": "pooled"}
    with pytest.warns(UserWarning, match=r"1 of 300 places failed; first: f150: "):
        export = embed("thor_v1_tiny", path, out=tmp_path / "out", **options)
    assert len(export.ids) == 299
    assert [entry["id"] for entry in export.manifest["failures"]] == ["f150"]
    assert "valid" in export.manifest["failures"][0]["reason"]
    assert stand_in.seen == 299
    with pytest.raises(ValueError, match="f150"):
        embed("thor_v1_tiny", path, on_error="raise", **options)


def test_all_places_bad_is_an_error(fields: Callable[..., Path], scenes: Path, tmp_path: Path) -> None:
    path = fields(1, BOWTIE)
    text = refusal(path, time=SUMMER, source=scenes, id_column="name", out=tmp_path / "out")
    assert "f000" in text
    assert not (tmp_path / "out").exists()


def test_an_interrupted_export_goes_on_where_it_stopped(
    stand_in: StandIn, fields: Callable[..., Path], scenes: Path, tmp_path: Path
) -> None:
    options = {**TINY, "time": SUMMER, "source": scenes, "id_column": "name", "out": tmp_path / "out"}
    path = fields(12)
    stand_in.stop_after = 7
    with pytest.raises(KeyboardInterrupt):
        embed("thor_v1_tiny", path, **options)
    stand_in.stop_after = 10**9
    export = embed("thor_v1_tiny", path, **options)
    assert export.manifest["state"] == "complete"
    assert len(export.ids) == 12
    assert stand_in.seen <= 13  # at most the one that was at work
    before = stand_in.seen
    embed("thor_v1_tiny", path, **options)
    assert stand_in.seen == before


def test_one_folder_holds_one_set_of_options(
    stand_in: StandIn, fields: Callable[..., Path], scenes: Path, tmp_path: Path
) -> None:
    options = {**TINY, "time": SUMMER, "source": scenes, "id_column": "name", "out": tmp_path / "out"}
    path = fields(3)
    embed("thor_v1_tiny", path, **options)
    before = open_embeddings(tmp_path / "out").pooled
    text = refusal(path, **{**options, "normalization": "unit_scale"})
    assert "normalization" in text
    text = refusal(path, **{**options, "time": ("2022-06-01", "2022-06-10")})
    assert "2022-06-10" in text
    after = open_embeddings(tmp_path / "out").pooled
    np.testing.assert_array_equal(np.stack(before.embedding), np.stack(after.embedding))


def test_a_saved_single_is_not_overwritten_by_another(scene: Path, tmp_path: Path) -> None:
    embed("thor_v1_tiny", scene, out=tmp_path / "out", **TINY)
    text = refusal(scene, out=tmp_path / "out", patch_size=16)
    assert "patch_size" in text
    assert open_embeddings(tmp_path / "out").grid(scene.stem).shape == (192, 12, 12)
    assert date(2022, 6, 3).isoformat() in open_embeddings(tmp_path / "out").grid(scene.stem).attrs["dates"]
