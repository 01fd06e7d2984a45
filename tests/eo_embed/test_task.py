"""``terratorch predict`` with our export task: places, resume, failures, tiles, other backbones."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import yaml
from same_exports import assert_same_exports

import eo_embed
from eo_data.catalog.shards import Shard
from eo_embed.export.shards.whole import merge_shards

BANDS = ["BLUE", "GREEN", "RED"]
#: Compilers of older versions do not follow all of Python that the encoders use; `.ci/lowest` runs with the oldest.
OF_TRACES = pytest.mark.skipif(not hasattr(torch.compiler, "nested_compile_region"), reason="of torch before 2.8")


def write_raster(path: Path, height: int, width: int, crs: str, step: float, seed: int = 0) -> None:
    """A raster of smooth noise, so that cells differ."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(500, 4000, (3, height // 8 + 1, width // 8 + 1))
    pixels = np.kron(coarse, np.ones((8, 8)))[:, :height, :width] + rng.normal(0, 20, (3, height, width))
    origin = (500_000.0, 4_000_000.0) if crs.startswith("EPSG:32") else (7.25, 48.5)
    transform = rasterio.transform.from_origin(origin[0] + 100 * step * seed, origin[1], step, step)
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"count": 3, "height": height, "width": width, "dtype": "int16", "nodata": 0}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **profile) as file:
        file.write(pixels.astype(np.int16))
        file.descriptions = BANDS


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    """Write a config of an export with THOR tiny, whose weights come from the seed."""

    def write(
        root: Path, data: dict[str, Any] | None = None, preprocess: dict[str, Any] | None = None, **task: Any
    ) -> Path:
        source = {"files": "{id}.tif", "sensor": "sentinel2_l2a", "bands": BANDS, "unit": "digital_number"}
        source |= {"pixel_size": 10}
        arguments = {
            "root": str(root),
            "batch_size": 1,
            "num_workers": 0,
            "modalities": {"s2": source},
            "preprocess": {"class_path": "thor_terratorch_ext.ThorPreprocess", "init_args": preprocess or {}},
        } | (data or {})
        model = {
            "backbone": "thor_v1_tiny",
            "backbone_args": {"pretrained": False, "model_bands": BANDS, "input_gsd": 10},
            "out": str(tmp_path / "out"),
            "output": "both",
        } | task
        content = {
            "seed_everything": 0,
            "trainer": {
                "accelerator": "cpu",
                "logger": False,
                "enable_progress_bar": False,
                "default_root_dir": str(tmp_path),
            },
            "data": {"class_path": "eo_data.datamodules.ChipDataModule", "init_args": arguments},
            "model": {"class_path": "eo_embed.EmbeddingTask", "init_args": model},
        }
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write


def predict(config: Path, *arguments: str) -> Any:
    from terratorch.cli_tools import build_lightning_cli

    return build_lightning_cli(["predict", "--config", str(config), *arguments])


def test_vectors_and_grids_come_back_with_their_place_and_dates(config: Any, tmp_path: Path, capsys: Any) -> None:
    root = tmp_path / "data"
    for i, folder in enumerate(("a", "b")):
        write_raster(root / folder / "tile_20210304.tif", 64, 64, "EPSG:32631", 10, i)
    source = {"files": "{id}.tif", "sensor": "sentinel2_l2a", "bands": BANDS, "unit": "digital_number", "dated": True}
    predict(config(root, {"modalities": {"s2": source}, "dates_as": "none"}))
    assert "items exported" in capsys.readouterr().out
    export = eo_embed.open_embeddings(tmp_path / "out")
    assert export.ids == ("a/tile_20210304", "b/tile_20210304")
    table = export.pooled.set_index("id")
    grid = export.grid("b/tile_20210304")
    assert grid.shape == (192, 8, 8)
    assert (float(grid.x[0]), float(grid.y[0])) == (500_000 + 1000 + 40, 4_000_000 - 40)
    np.testing.assert_allclose(
        np.stack(table.loc["b/tile_20210304"].embedding), grid.values.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5
    )
    assert str(table.loc["a/tile_20210304"].datetime)[:10] == "2021-03-04"
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["state"] == "complete"
    assert len(manifest["inputs"]) == 2
    assert (manifest["inputs"][0]["image_hw"], manifest["inputs"][0]["area_m2"]) == ([64, 64], 640.0**2)
    data = manifest["facts"]["data"]
    assert data["preprocess"]["normalization"] == "thor_stats"
    assert data["statistics"]["s2"]["BLUE"] == {"mean": 0.17662, "std": 0.26452}
    assert (manifest["emb:dimensions"], manifest["gsd"]) == (192, 80.0)


@pytest.mark.filterwarnings("ignore:THOR's rule resamples")  # of the size that it takes for another
@pytest.mark.parametrize(("crs", "step"), [("EPSG:32631", 10.0), ("EPSG:4326", 9e-5)])
@pytest.mark.parametrize(
    ("size", "preprocess"),
    [
        ((64, 64), {}),
        ((70, 67), {}),
        ((67, 70), {"shape_adjust": "pad"}),
        ((90, 60), {}),
        ((90, 60), {"image_size": 64, "non_square": "stretch"}),
    ],
)
def test_every_cell_lies_where_its_content_comes_from(
    size: tuple[int, int], preprocess: dict[str, Any], crs: str, step: float, config: Any, tmp_path: Path
) -> None:
    """A bright spot must show in the grid at its own map position, to half a cell."""
    root = tmp_path / "data"
    path = root / "tile.tif"
    write_raster(path, *size, crs, step)
    out = tmp_path / "out"
    predict(config(root, preprocess=preprocess))
    with rasterio.open(path, "r+") as file:
        pixels = file.read()
        row, column = 33, 29
        pixels[:, row : row + 4, column : column + 4] = 9000
        file.write(pixels)
        x, y = file.xy(row + 2, column + 2, offset="ul")
    before = eo_embed.open_embeddings(out).grid("tile")
    predict(config(root, preprocess=preprocess, overwrite=True))
    after = eo_embed.open_embeddings(out).grid("tile")
    change = np.abs(after.values - before.values).sum(axis=0)
    # A cell of nothing but border is missing.
    r, c = np.unravel_index(np.nanargmax(change), change.shape)
    width, height = (abs(float(axis[1] - axis[0])) for axis in (after.x, after.y))
    # The spot is half a patch wide, so the cell that changes most holds its centre or touches it.
    assert abs(float(after.x[c]) - x) <= 0.76 * width
    assert abs(float(after.y[r]) - y) <= 0.76 * height


def test_a_finished_export_is_not_made_again_and_another_one_is_refused(config: Any, tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_raster(root / "one.tif", 64, 64, "EPSG:32631", 10)
    predict(config(root))
    grid = tmp_path / "out" / "grids" / "one.tif"
    stamp = grid.stat().st_mtime_ns
    write_raster(root / "two.tif", 64, 64, "EPSG:32631", 10, 1)
    predict(config(root))
    assert grid.stat().st_mtime_ns == stamp
    assert eo_embed.open_embeddings(tmp_path / "out").ids == ("one", "two")
    with pytest.raises(ValueError, match=r"(?s)task\.pooling.*mean.*max.*overwrite"):
        predict(config(root, pooling="max"))
    predict(config(root, pooling="max", overwrite=True))
    assert len(eo_embed.open_embeddings(tmp_path / "out").pooled) == 2


def test_a_batch_by_its_memory_holds_the_same_numbers_in_the_same_export(
    config: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not a fact of an export: a run on another machine goes on with it."""
    root = tmp_path / "data"
    for i, name in enumerate("abcde"):
        write_raster(root / f"{name}.tif", 64, 64, "EPSG:32631", 10, i)
    predict(config(root))
    with caplog.at_level("INFO"):
        predict(config(root, {"batch_memory": "200 MB"}))  # the same facts: nothing is refused
        predict(config(root, {"batch_memory": "200 MB"}, out=str(tmp_path / "other")))
    assert "batch_memory 200 MB: batches of 5 samples, as the encoder takes " in caplog.text
    one, other = (eo_embed.open_embeddings(tmp_path / name) for name in ("out", "other"))
    np.testing.assert_allclose(one.grid("c").values, other.grid("c").values, atol=2e-5)


def test_bad_files_are_listed_and_the_rest_is_exported(config: Any, tmp_path: Path) -> None:
    root = tmp_path / "data"
    for i in range(3):
        write_raster(root / f"good{i}.tif", 64, 64, "EPSG:32631", 10, i)
    whole = (root / "good0.tif").read_bytes()
    (root / "truncated.tif").write_bytes(whole[: len(whole) // 2])
    with rasterio.open(root / "good1.tif") as file:
        profile, pixels = file.profile, file.read()
    with rasterio.open(root / "empty.tif", "w", **profile) as file:
        file.write(np.zeros_like(pixels))
        file.descriptions = BANDS
    with rasterio.open(root / "onehand.tif", "w", **{**profile, "count": 1}) as file:
        file.write(pixels[:1])
    with rasterio.open(root / "holes.tif", "w", **{**profile, "dtype": "float32", "nodata": None}) as file:
        spoilt = pixels.astype(np.float32)
        spoilt[:, :32, :32] = np.nan
        file.write(spoilt)
        file.descriptions = BANDS
    skip = {"on_error": "skip", "skipped_file": str(tmp_path / "skipped.csv")}
    with pytest.warns(UserWarning, match="3 of 7 samples"), pytest.raises(ValueError, match="3 items could not be exp"):
        predict(config(root, skip))
    with pytest.warns(UserWarning, match="3 of 7 samples"):
        predict(config(root, skip, on_error="skip"))
    export = eo_embed.open_embeddings(tmp_path / "out")
    assert export.ids == ("good0", "good1", "good2", "holes")
    rows = (tmp_path / "out" / "failures.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["empty", "onehand", "truncated"]
    holes = export.grid("holes")
    assert np.isnan(holes.values[:, :4, :4]).all()
    assert np.isfinite(holes.values[:, 4:, 4:]).all()
    assert export.pooled.set_index("id").loc["holes"].valid_fraction == pytest.approx(0.75)


def test_tiles_of_a_large_raster_make_one_grid(config: Any, tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_raster(root / "big.tif", 200, 150, "EPSG:32631", 10)
    predict(config(root, {"tile": 64, "tile_align": 8}, {"input_prep": "resize"}))
    export = eo_embed.open_embeddings(tmp_path / "out")
    with rasterio.open(tmp_path / "out" / "grids" / "big.tif") as file:
        assert file.shape == (25, 19)
        assert file.transform == rasterio.Affine(80, 0, 500_000, 0, -80, 4_000_000)
        mosaic = file.read()
    assert np.isfinite(mosaic).all()
    np.testing.assert_array_equal(export.grid("big").values, mosaic)
    first = export.grid("big/r0_c0")
    np.testing.assert_array_equal(mosaic[:, : first.shape[1], : first.shape[2]], first.values)
    last = export.grid("big/r136_c88")
    np.testing.assert_array_equal(mosaic[:, -last.shape[1] :, -last.shape[2] :], last.values)


def test_a_change_in_any_file_of_a_sample_makes_it_again(config: Any, tmp_path: Path) -> None:
    root = tmp_path / "data"
    for name in ("one", "two"):
        write_raster(root / name / "tile.tif", 64, 64, "EPSG:32631", 10)
    optical = {"sensor": "sentinel2_l2a", "unit": "digital_number", "pixel_size": 10}
    modalities = {
        "one": optical | {"files": "one/{id}.tif", "bands": ["BLUE", "GREEN"]},
        "two": optical | {"files": "two/{id}.tif", "bands": ["RED"]},
    }
    arguments = {"pretrained": False, "model_bands": {"one": ["BLUE", "GREEN"], "two": ["RED"]}, "input_gsd": 10}
    file = config(root, {"modalities": modalities}, backbone_args=arguments)
    predict(file)
    before = np.stack(eo_embed.open_embeddings(tmp_path / "out").pooled.embedding)
    with rasterio.open(root / "two" / "tile.tif", "r+") as raster:
        raster.write(raster.read() * 2)
    predict(file)
    export = eo_embed.open_embeddings(tmp_path / "out")
    assert np.abs(np.stack(export.pooled.embedding) - before).max() > 1e-3
    (entry,) = export.manifest["inputs"]
    assert len(entry["sources"]) == 2


@pytest.mark.parametrize("grid_format", ["npz", "netcdf", "zarr"])
def test_other_formats_hold_the_same_grid(grid_format: str, config: Any, tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_raster(root / "tile.tif", 64, 64, "EPSG:32631", 10)
    predict(config(root))
    expected = eo_embed.open_embeddings(tmp_path / "out").grid("tile")
    predict(config(root, grid_format=grid_format, overwrite=True))
    found = eo_embed.open_embeddings(tmp_path / "out").grid("tile")
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.x, expected.x)


def test_a_timm_backbone_exports_through_the_same_config(config: Any, tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_raster(root / "tile.tif", 64, 64, "EPSG:32631", 10)
    arguments = {"pretrained": False, "in_chans": 3, "img_size": 64}
    predict(config(root, backbone="timm_vit_tiny_patch16_224", backbone_args=arguments, layers=[-1, -2]))
    export = eo_embed.open_embeddings(tmp_path / "out")
    assert set(export.layers) == {"layer_-1", "layer_-2"}
    assert export.grid("tile", "layer_-2").shape == (192, 4, 4)


def test_vectors_of_unit_length_and_bfloat16(config: Any, tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_raster(root / "tile.tif", 64, 64, "EPSG:32631", 10)
    file = config(root, l2_normalise=True, dtype="int8_alphaearth")
    predict(file, "--trainer.precision", "bf16-mixed")
    export = eo_embed.open_embeddings(tmp_path / "out")
    assert np.linalg.norm(np.stack(export.pooled.embedding[0])) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(np.linalg.norm(export.grid("tile").values, axis=0), 1, atol=0.05)


@OF_TRACES
def test_compiled_batches_are_the_same_export(config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eo_models.engines.compiled.BACKEND", "eager")  # what is around the compiler is under test
    root = tmp_path / "data"
    for i in range(3):
        write_raster(root / f"tile{i}.tif", 64, 64, "EPSG:32631", 10, i)
    predict(config(root, {"batch_size": 2}, out=str(tmp_path / "eager")))
    predict(config(root, {"batch_size": 2}, out=str(tmp_path / "compiled"), compile=True))
    expected, found = (eo_embed.open_embeddings(tmp_path / kind) for kind in ("eager", "compiled"))
    for name in ("tile0", "tile1", "tile2"):
        wanted = expected.grid(name).values
        np.testing.assert_allclose(found.grid(name).values, wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)


@OF_TRACES
def test_another_engine_makes_the_same_export_and_stands_in_its_manifest(config: Any, tmp_path: Path) -> None:
    root = tmp_path / "data"
    for i in range(3):
        write_raster(root / f"tile{i}.tif", 64, 64, "EPSG:32631", 10, i)
    predict(config(root, {"batch_size": 2}, out=str(tmp_path / "pytorch")))
    predict(config(root, {"batch_size": 2}, out=str(tmp_path / "openvino"), engine="openvino"))
    expected, found = (eo_embed.open_embeddings(tmp_path / kind) for kind in ("pytorch", "openvino"))
    for name in ("tile0", "tile1", "tile2"):
        wanted = expected.grid(name).values
        np.testing.assert_allclose(found.grid(name).values, wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)
    told = json.loads((tmp_path / "openvino" / "manifest.json").read_text())
    assert "float32 (openvino 2" in json.dumps(told["provenance"])
    with pytest.raises(ValueError, match="engine"):  # two exports, not one
        predict(config(root, {"batch_size": 2}, out=str(tmp_path / "openvino")))


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """Five images, of which one shard of three has none."""
    root = tmp_path / "data"
    names = [name for name in (f"tile{i}" for i in range(40)) if not Shard(1, 3).holds(name)][:5]
    for i, name in enumerate(names):
        write_raster(root / f"{name}.tif", 64, 64, "EPSG:32631", 10, i)
    return root


@pytest.mark.filterwarnings("ignore:Total length of")  # Lightning's word on a shard without samples
def test_shards_ranks_and_one_process_are_the_same(config: Any, samples: Path, tmp_path: Path) -> None:
    """Of three shards, one without samples. The values too, as every sample is a batch of its own."""
    predict(config(samples))
    content = yaml.safe_load(config(samples, out=str(tmp_path / "whole")).read_text())
    (tmp_path / "shards.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    for index in range(3):
        shard = (f"--data.init_args.shard.index={index}", "--data.init_args.shard.of=3")  # as in examples/
        predict(tmp_path / "shards.yaml", "--model.init_args.take_over=true", *shard)
    merge_shards(tmp_path / "whole", remove=True)
    assert_same_exports(tmp_path / "out", tmp_path / "whole")

    content["model"]["init_args"]["out"] = str(tmp_path / "ranks")
    content["trainer"] |= {"devices": 2, "strategy": "ddp"}
    (tmp_path / "ranks.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    command = [str(Path(sys.executable).parent / "terratorch"), "predict", "--config", str(tmp_path / "ranks.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)  # noqa: S603
    assert done.returncode == 0, done.stderr[-3000:]
    # Lightning's sampler gives a sixth of five samples: the first once more, so that counts differ.
    assert_same_exports(tmp_path / "out", tmp_path / "ranks", resumed=True, rtol=1e-5, atol=1e-6)


def test_tiles_of_a_raster_come_together_from_shards(config: Any, tmp_path: Path) -> None:
    """Each shard has some of the tiles, and none of them the raster."""
    root = tmp_path / "data"
    write_raster(root / "scene.tif", 160, 200, "EPSG:32631", 10)
    tiles = {"tile": 64, "tile_align": 8}
    prepared = {"input_prep": "resize"}
    predict(config(root, tiles, prepared))
    for index in range(2):
        shard = {"shard": {"index": index, "of": 2}}
        predict(config(root, tiles | shard, prepared, out=str(tmp_path / "whole")))
    merge_shards(tmp_path / "whole", remove=True)
    assert_same_exports(tmp_path / "out", tmp_path / "whole")
    assert "scene" in eo_embed.open_embeddings(tmp_path / "whole").ids


def test_a_shard_of_the_task_is_that_of_its_data_module(config: Any, samples: Path, tmp_path: Path) -> None:
    for index in range(2):
        predict(config(samples, shard={"index": index, "of": 2}, output="pooled"))
    merge_shards(tmp_path / "out", remove=True)
    predict(config(samples, out=str(tmp_path / "one"), output="pooled"))
    assert_same_exports(tmp_path / "one", tmp_path / "out")


def test_a_shard_that_the_data_module_does_not_know_is_refused(
    config: Any,
    samples: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All samples would be exported by every shard."""
    monkeypatch.setattr("eo_data.datamodules.agreed", lambda of_data, _: of_data)
    with pytest.raises(ValueError, match=r"shard is 0/2, but ChipDataModule gives all samples: only data modules of"):
        predict(config(samples, shard={"index": 0, "of": 2}))


@pytest.mark.filterwarnings("ignore:.*samples of 'predict' are left out")
def test_a_shard_of_which_nothing_can_be_read_is_finished(config: Any, tmp_path: Path) -> None:
    """Its failures are the whole's to tell of: it must not keep the others from their merge."""
    root = tmp_path / "data"
    write_raster(root / "good.tif", 64, 64, "EPSG:32631", 10)
    bad = next(name for name in "abcdefgh" if Shard(0, 2).holds(name) != Shard(0, 2).holds("good"))
    (root / f"{bad}.tif").write_bytes(b"no image")
    for index in range(2):
        data = {"shard": {"index": index, "of": 2}, "on_error": "skip", "skipped_file": str(tmp_path / "skipped.csv")}
        predict(config(root, data, on_error="skip"))
    merged = merge_shards(tmp_path / "out")
    assert (merged.items, [row["id"] for row in merged.failures]) == (1, [bad])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output": "vector"}, "output must be one of pooled, grid, both"),
        ({"pooling": "median"}, "pooling must be one of mean, max, cls"),
        ({"grid_format": "png"}, "grid_format must be one of"),
        ({"layers": []}, "layers is empty"),
        ({"on_error": "ignore"}, "on_error must be one of"),
        ({"dtype": "float64"}, "float64"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        eo_embed.EmbeddingTask("thor_v1_tiny", {"pretrained": False}, **arguments)


@pytest.mark.parametrize("home", ["torchgeo.tasks", "torchgeo.trainers"])
def test_the_base_class_has_its_name_of_torchgeo_0_9_and_0_10(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class BaseTask(torch.nn.Module):
        """Whatever torchgeo offers there."""

    modules = {"torchgeo.tasks": None, "torchgeo.trainers": None, home: SimpleNamespace(BaseTask=BaseTask)}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location("eo_embed.task_again", Path(eo_embed.__file__).parent / "task.py")
    assert spec is not None
    assert spec.loader is not None
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    assert again.EmbeddingTask.__base__ is BaseTask


def test_it_does_not_train() -> None:
    task = eo_embed.EmbeddingTask("thor_v1_tiny", {"pretrained": False})
    assert not any(parameter.requires_grad for parameter in task.parameters())
    with pytest.raises(ValueError, match="terratorch predict"):
        task.training_step({}, 0)
    assert isinstance(task.model, torch.nn.Module)
