"""`eo embed`: files, places and what goes wrong, by exit code and message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import Transformer
from small_scenes import CORNER, S2_BANDS, numbers, write_scene

from eo_data.raster.raster import to_map
from eo_embed import PointBuffer, embed, models, open_embeddings
from eo_embed.cli import main

RANDOM = ("--random-weights", "--device", "cpu")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    for seed, day in enumerate(("20220603", "20220613")):
        write_scene(folder / f"S2A_MSIL2A_{day}.tif", numbers(seed=seed))
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run ``eo embed`` and return its exit code, output and messages."""

    def command(*arguments: object) -> tuple[int, str, str]:
        code = 0
        try:
            main(["embed", *map(str, arguments)])
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return command


def lonlat(column: float, row: float) -> tuple[float, float]:
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(*to_map(CORNER, column, row))
    return float(lon), float(lat)


def test_a_file_is_embedded_as_by_the_function(
    run: Callable[..., tuple[int, str, str]], scenes: Path, tmp_path: Path
) -> None:
    file = scenes / "S2A_MSIL2A_20220603.tif"
    code, told, _ = run("thor_v1_tiny", file, *RANDOM, "--option", "patch_size=16", "--out", tmp_path / "out")
    assert code == 0
    assert str(tmp_path / "out") in told
    export = open_embeddings(tmp_path / "out")
    same = embed("thor_v1_tiny", file, patch_size=16, pretrained=False, device="cpu")
    np.testing.assert_array_equal(export.pooled.embedding[0], same.vector)
    assert export.grid(export.ids[0]).shape == (192, 4, 4)


def test_several_files_are_a_series_and_options_are_those_of_the_function(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """Names of bands, unit, dates and yaml values arrive as they are meant."""
    files = []
    for i in range(2):
        pixels = numbers(seed=i).astype("float32") / np.float32(1e4)
        files.append(write_scene(tmp_path / f"{i}.tif", pixels, bands=[""] * 10, scale=None))
    code, _, _ = run(
        *("anysat_tiny", *files, *RANDOM, "--out", tmp_path / "out", "--id", "field"),
        *("--bands", *S2_BANDS, "--sensor", "sentinel2_l2a", "--unit", "reflectance"),
        *("--dates", "2022-06-03", "2022-06-13", "--output", "pooled"),
        *("--option", "image_size=null", "--option", "patch_size=80"),
    )
    assert code == 0
    export = open_embeddings(tmp_path / "out")
    assert export.ids == ("field",)
    same = embed(
        "anysat_tiny",
        files,
        bands=S2_BANDS,
        sensor="sentinel2_l2a",
        unit="reflectance",
        dates=["2022-06-03", "2022-06-13"],
        image_size=None,
        patch_size=80,
        pretrained=False,
        device="cpu",
    )
    np.testing.assert_array_equal(export.pooled.embedding[0], same.vector)


def test_a_place_is_embedded_as_by_the_function(
    run: Callable[..., tuple[int, str, str]], scenes: Path, tmp_path: Path
) -> None:
    lon, lat = lonlat(32, 32)
    when = ("--time", "2022-06-01", "2022-09-01", "--source", scenes)
    code, _, _ = run("thor_v1_tiny", "--point", lon, lat, 160, *when, *RANDOM, "--out", tmp_path / "out")
    assert code == 0
    place = PointBuffer(lon, lat, 160)
    time = ("2022-06-01", "2022-09-01")
    same = embed("thor_v1_tiny", place, time=time, source=scenes, pretrained=False, device="cpu")
    np.testing.assert_array_equal(open_embeddings(tmp_path / "out").pooled.embedding[0], same.vector)
    west, south = lonlat(20, 40)
    east, north = lonlat(40, 20)
    code, _, _ = run("thor_v1_tiny", "--bbox", west, south, east, north, *when, *RANDOM, "--out", tmp_path / "box")
    assert code == 0


def test_failed_places_are_named_and_end_with_exit_code_1(
    run: Callable[..., tuple[int, str, str]], scenes: Path, tmp_path: Path
) -> None:
    (x, y), far = lonlat(32, 32), shapely.box(0, 0, 0.001, 0.001)
    table = gpd.GeoDataFrame(geometry=[shapely.box(x, y, x + 0.001, y + 0.001), far], crs=4326)
    table.to_file(tmp_path / "fields.gpkg")
    options = ("--time", "2022-06-01", "2022-09-01", "--source", scenes, *RANDOM, "--out", tmp_path / "out")
    with pytest.warns(UserWarning, match="1 of 2 places failed"):
        code, told, _ = run("thor_v1_tiny", "--places", tmp_path / "fields.gpkg", *options)
    assert code == 1
    assert "failed: 1: " in told
    assert len(open_embeddings(tmp_path / "out").ids) == 1
    code, _, told = run("thor_v1_tiny", "--places", tmp_path / "fields.gpkg", *options, "--shard", "2/2")
    assert (code, "shard.index must be from 0 to 1" in told) == (2, True)


def test_encoders_are_listed_and_described(run: Callable[..., tuple[int, str, str]]) -> None:
    code, told, _ = run("--models")
    assert (code, told.split()) == (0, list(models()))
    code, told, _ = run("anysat_base", "--describe")
    assert code == 0
    assert "patch_size=10" in told
    assert "g-astruc/AnySat" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Name an encoder: "),
        (("thor_v1_tini", "x.tif", "--out", "o"), "Did you mean 'thor_v1_tiny'"),
        (("thor_v1_tiny", "x.tif"), "--out FOLDER"),
        (("thor_v1_tiny", "--out", "o"), "Give either files, --point, --bbox or --places"),
        (("thor_v1_tiny", "x.tif", "--point", "9", "45", "160", "--out", "o"), "got files and point"),
        (("thor_v1_tiny", "gone.tif", "--out", "o"), "There is no file"),
        (("thor_v1_tiny", "x.tif", "--option", "patch_size", "--out", "o"), "--option takes NAME=VALUE"),
        (("thor_v1_tiny", "x.tif", "--option", "patchsize=4", "--out", "o"), "Did you mean 'patch_size'"),
        (("thor_v1_tiny", "x.tif", "--option", "bands=a", "--bands", "b", "--out", "o"), "bands is given twice"),
        (("thor_v1_tiny", "--point", "9", "45", "160", "--source", ".", "--out", "o"), "add time="),
        (("thor_v1_tiny", "--point", "9", "45", "-1", "--time", "2022-06-01", "2022-07-01", "--out", "o"), "buffer_m"),
        (("thor_v1_tiny", "x.tif", "--device", "gpu0", "--out", "o"), "There is no"),
        (("thor_v1_tiny", "x.tif", "--precision", "64", "--out", "o"), "precision must be one of auto, 32"),
        (("thor_v1_tiny", "x.tif", "--output", "vector", "--out", "o"), "invalid choice: 'vector'"),
    ],
)
def test_what_makes_no_sense_ends_with_exit_code_2_and_the_remedy(
    run: Callable[..., tuple[int, str, str]], arguments: tuple[str, ...], said: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, _, message = run(*arguments)
    assert code == 2
    assert said in message
    assert "Traceback" not in message
    assert not (tmp_path / "o").exists()
