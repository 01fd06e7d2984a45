"""The lines of the documentation run as written, on the pixels of the embedded sample and with weights in the cache."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from pyproj import CRS, Transformer
from small_products import write_sentinel2
from small_scenes import S2_BANDS, write_scene

import anysat_ext.checkpoint
import thor_terratorch_ext.checkpoint
from eo_embed import embed, open_embeddings
from eo_models.preset import find_preset

#: In UTM zone 51 N, the south-west of what is written around the place of the lines.
UTM = "EPSG:32651"
PLACE = (121.5, 31.2)
FILES = "datasets/sample/v1.1/data/flood_events/HandLabeled/S2Hand"
#: Bands of the sample's files by their numbers.
NUMBERS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
SCENE_NUMBERS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")


def _pixels(root: Path, chip: str = "Spain_SYN01") -> dict[str, np.ndarray]:
    """Digital numbers of a chip of the sample, by number of the band."""
    with rasterio.open(root / FILES / f"{chip}_S2Hand.tif") as file:
        return dict(zip(NUMBERS, file.read().astype(np.uint16), strict=True))


def _scene(pixels: Mapping[str, np.ndarray], repeat: int = 1) -> np.ndarray:
    return np.tile(np.stack([pixels[number] for number in SCENE_NUMBERS]), (1, repeat, repeat))


def _corner() -> Affine:
    """Upper left corner of 512 x 512 pixels around the place, on a multiple of 160 m."""
    x, y = Transformer.from_crs(4326, UTM, always_xy=True).transform(*PLACE)
    return Affine(10, 0, round(x / 160) * 160 - 2560, 0, -10, round(y / 160) * 160 + 2560)


def _product(folder: Path, pixels: Mapping[str, np.ndarray], name: str) -> None:
    """Write a product of the sample's pixels, with the offset of today's products."""
    sizes = {number: 1 if number in ("B02", "B03", "B04", "B08") else 2 for number in SCENE_NUMBERS}
    whole = {number: pixels[number][:120, :120][::step, ::step] + 1000 for number, step in sizes.items()}
    made = write_sentinel2(folder, pixels={number: values.astype(np.uint16) for number, values in whole.items()})
    made.rename(folder / name)


def _cache(folder: Path, repository: str, file: str, state: Mapping[str, torch.Tensor]) -> None:
    """Put weights where `huggingface_hub` keeps what it has downloaded."""
    snapshot = folder / f"models--{repository.replace('/', '--')}" / "snapshots" / "abc123"
    (snapshot / file).parent.mkdir(parents=True)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("abc123")
    torch.save({key: value.half() for key, value in state.items()}, snapshot / file)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of both base encoders, of random numbers in half precision, as downloads have them."""
    folder = tmp_path_factory.mktemp("hub")
    places = {
        "thor_v1_base": thor_terratorch_ext.checkpoint.hub_location("base"),
        "anysat_base": anysat_ext.checkpoint.hub_location("base"),
    }
    for name, (repository, file) in places.items():
        arguments = {"pretrained": False} | ({"model_bands": ["VV"]} if name.startswith("thor") else {})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            state = find_preset(name).build(name, arguments, (-1,)).model.state_dict()
        prefix = "encoder." if name.startswith("thor") else ""
        _cache(folder, repository, file, {prefix + key: value for key, value in state.items()})
    return folder


def lines(page: Path) -> str:
    """The code of the page's section."""
    text = page.read_text(encoding="utf-8").partition("\n## In one call\n")[2]
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    return code[1]


def run(code: str, names: dict[str, Any]) -> list[Any]:
    """Run lines one by one, and return each embedding that they call ``e``."""
    found = []
    for line in ast.parse(code).body:
        exec(compile(ast.Module([line], []), "first_embedding.md", "exec"), names)  # noqa: S102
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "e":
            found.append(names["e"])
    return found


@pytest.mark.filterwarnings("ignore:image_size resamples")  # as rs-embed does; it says so
@pytest.mark.filterwarnings("ignore:THOR's rule resamples")
@pytest.mark.filterwarnings("ignore:.*has no offset")
def test_the_lines_of_the_documentation_run_as_they_are_written(
    root: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib as mpl
    from huggingface_hub import constants  # not before the tests are set offline

    mpl.use("Agg")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)
    code = lines(root / "docs" / "start" / "first_embedding.md")
    spain, ghana = _pixels(root), _pixels(root, "Ghana_SYN03")
    write_scene(tmp_path / "scene.tif", _scene(spain))
    for day, pixels in (("20220601", spain), ("20220611", ghana)):
        write_scene(tmp_path / f"a_{day}.tif", _scene(pixels))
        scene = tmp_path / "scenes" / f"S2A_MSIL2A_{day}.tif"
        write_scene(scene, _scene(pixels, 4), transform=_corner(), crs=UTM)
    (name,) = re.findall(r'"(S2A_MSIL2A_\w+\.SAFE)"', code)
    _product(tmp_path, spain, name)
    centre = gpd.GeoSeries([shapely.Point(*PLACE)], crs=4326).to_crs(UTM)
    field = gpd.GeoDataFrame({"crop": ["rice"]}, geometry=centre.buffer(300, cap_style="square"), crs=UTM)
    field.to_crs(4326).to_file(tmp_path / "fields.gpkg")
    array = _scene(spain)[[0, 1, 2, 6]].astype(np.float32) / np.float32(1e4)
    file, series, of_array, product, place = run(code, {"array": array})

    assert file.vector.shape == of_array.vector.shape == (768,)
    assert file.provenance["weights"] == "thor_v1_vit_base.pt"
    assert series.provenance["weights"] == "AnySat.pth"
    assert [day.isoformat() for day in series.dates] == ["2022-06-01", "2022-06-11"]
    assert CRS(product.crs) == CRS("EPSG:32632")
    assert CRS(place.crs) == CRS(UTM)
    assert (len(place.dates), place.dates[0]) == (8, date(2022, 6, 6))  # the middles of eight parts of the time
    assert (place.valid == 1).all()
    # The product's pixels are those of the file but for the offset and its edge, and so are the numbers.
    cut = embed("thor_v1_base", _scene(spain)[:, :112, :112], bands=S2_BANDS, offset=0, pixel_size=10, device="cpu")
    assert np.corrcoef(product.vector, cut.vector)[0, 1] > 0.99
    assert open_embeddings(tmp_path / "out/one").ids == (place.id,)
    fields = open_embeddings(tmp_path / "out/fields")
    assert len(fields.ids) == 1
    assert fields.pooled.embedding[0].shape == (768,)
    assert date.fromisoformat(str(fields.pooled.datetime[0])[:10]).year == 2022
