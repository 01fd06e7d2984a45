"""The configs run: fit, test and predict, with finite losses, weights that arrive, and maps in their place.

The quick start runs as it is for two epochs. The others run one batch of each kind: what differs between them is what
goes in and out, which one batch shows.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import guarded_checks
import numpy as np
import pytest
import rasterio
import torch
import yaml
from rasterio.windows import Window

from thor_terratorch_ext import build_thor

S2_10 = [
    *("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2"),
    *("RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"),
]


def terratorch(*arguments: str) -> Any:
    from terratorch.cli_tools import build_lightning_cli

    return build_lightning_cli(list(arguments))


def losses(folder: Path) -> list[float]:
    values = []
    for file in folder.glob("**/metrics.csv"):
        with file.open(newline="") as handle:
            rows = list(csv.DictReader(handle))
        values += [float(v) for row in rows for k, v in row.items() if k and k.endswith("/loss") and v]
    return values


def one_chip(sample: Path, folder: Path) -> Path:
    """Copy a chip of the sample, with splits that name it alone."""
    for file in sample.rglob("Mekong_SYN08*.tif"):
        copy = folder / file.relative_to(sample)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    for file in sample.rglob("flood_*_data.txt"):
        copy = folder / file.relative_to(sample)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text("Mekong_SYN08\n")
    return folder


def check_maps(maps: Path, images: Path, expected: int) -> None:
    files = sorted(maps.glob("*.tif"))
    assert len(files) == expected
    for file in files:
        image = next(images.glob(f"{file.name.removesuffix('_pred.tif')}*.tif"))
        with rasterio.open(file) as out, rasterio.open(image) as source:
            assert out.crs == source.crs
            assert out.transform == source.transform
            assert out.shape == source.shape
            assert set(np.unique(out.read(1))) <= {-1, 0, 1}


@pytest.fixture
def sample(root: Path) -> Path:
    return root / "datasets" / "sample" / "v1.1"


def test_quickstart_fits_tests_and_predicts_georeferenced_maps(
    sample: Path, adapted: Callable[..., Path], tmp_path: Path
) -> None:
    config = str(adapted("quickstart_fit", sample))
    out = tmp_path / "output" / "quickstart"
    fitted = terratorch("fit", "--config", config, "--trainer.max_epochs", "2")
    values = losses(out)
    assert len(values) >= 6
    assert np.isfinite(values).all()

    checkpoint = out / "last.ckpt"
    torch.load(checkpoint, weights_only=True)  # plain hyper-parameters only
    tuned = build_thor("tiny", ckpt=checkpoint, pretrained=False, model_bands=S2_10)
    for key, value in fitted.model.model.encoder.model.state_dict().items():
        assert torch.equal(value, tuned.model.state_dict()[key]), key

    terratorch("test", "--config", config, "--ckpt_path", str(checkpoint))
    maps = out / "maps"
    terratorch("predict", "--config", config, "--ckpt_path", str(checkpoint), "--predict_output_dir", str(maps))
    check_maps(maps, sample / "data/flood_events/HandLabeled/S2Hand", 16)


@pytest.mark.parametrize("name", ["quickstart_anysat", "quickstart_universat"])
def test_the_other_quickstarts_fit_test_and_predict(
    name: str, sample: Path, adapted: Callable[..., Path], tmp_path: Path
) -> None:
    config = str(adapted(name, one_chip(sample, tmp_path / "one"), batch_size=1))
    out = tmp_path / "output" / name
    terratorch("fit", "--config", config, "--trainer.max_epochs", "1")
    checkpoint = str(out / "last.ckpt")
    terratorch("test", "--config", config, "--ckpt_path", checkpoint)
    terratorch("predict", "--config", config, "--ckpt_path", checkpoint, "--predict_output_dir", str(out / "maps"))
    assert len(values := losses(out)) >= 3
    assert np.isfinite(values).all()
    check_maps(out / "maps", sample / "data/flood_events/HandLabeled/S2Hand", 1)


def test_a_frozen_backbone_neither_trains_nor_leaves_eval_mode(sample: Path, adapted: Callable[..., Path]) -> None:
    from terratorch.cli_tools import build_lightning_cli

    config = yaml.safe_load((file := adapted("quickstart_fit", sample)).read_text())
    config["model"]["init_args"]["freeze_backbone"] = True
    config["trainer"] |= {"max_epochs": 1, "logger": False, "enable_checkpointing": False}
    config["trainer"]["callbacks"] = config["trainer"]["callbacks"][:1]
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    cli = build_lightning_cli(["--config", str(file)], run=False)
    encoder = cli.model.model.encoder
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    modes: set[bool] = set()
    encoder.register_forward_hook(lambda module, *_: modes.add(module.training))
    cli.trainer.fit(cli.model, cli.datamodule)
    assert modes == {False}
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert all(p.requires_grad for p in cli.model.model.decoder.parameters())


def cut(source: Path, target: Path, names: dict[str, str], chips: list[str], side: int) -> list[str]:
    """Cut a tile out of each real chip, or two out of one."""
    ids = []
    for chip, row in [(chip, row) for chip in chips for row in ((0,) if len(chips) > 1 else (0, side))]:
        ids.append(f"{chip}r{row}c{side}")
        for folder, suffix in names.items():
            with rasterio.open(source / "data" / folder / f"{chip}_{suffix}.tif") as data:
                window = Window(side, row, side, side)
                profile = {
                    "driver": "GTiff",
                    "width": side,
                    "height": side,
                    "count": data.count,
                    "dtype": data.dtypes[0],
                    "crs": data.crs,
                    "nodata": data.nodata,
                    "transform": data.window_transform(window),
                }
                file = target / "data" / folder / f"{ids[-1]}_{suffix}.tif"
                file.parent.mkdir(parents=True, exist_ok=True)
                with rasterio.open(file, "w", **profile) as out:
                    out.write(data.read(window=window))
    events = "Sen1Floods11_Metadata.geojson"
    (target / events).write_bytes((source / events).read_bytes())
    (target / "splits").mkdir()
    for split in ("train", "valid", "test"):
        (target / "splits" / f"flood_{split}_data.txt").write_text("\n".join(ids) + "\n")
    return ids


REAL = {
    "sen1floods11_thor_S1": (
        {"S1GRDHand": "S1Hand", "LabelHand": "LabelHand"},
        ["India_900498", "Pakistan_849790", "Spain_7370579", "USA_905409"],
    ),
    "sen1floods11_thor_S2": ({"S2L1CHand": "S2Hand", "LabelHand": "LabelHand"}, ["Spain_7370579"]),
    "sen1floods11_thor_multimodal": (
        {"S2L1CHand": "S2Hand", "S1GRDHand": "S1Hand", "LabelHand": "LabelHand"},
        ["Spain_7370579"],
    ),
}
REAL |= {
    "sen1floods11_anysat_S2": REAL["sen1floods11_thor_S2"],
    "sen1floods11_anysat_S1S2": REAL["sen1floods11_thor_multimodal"],
    "sen1floods11_universat_S2": REAL["sen1floods11_thor_S2"],
    "sen1floods11_universat_S1S2": REAL["sen1floods11_thor_multimodal"],
}


#: One recipe an encoder is tested and predicts, too; the others do with CI_FULL=1.
WHOLE_RUNS = ("sen1floods11_thor_S1", "sen1floods11_anysat_S1S2", "sen1floods11_universat_S1S2")


@pytest.mark.parametrize("name", REAL)
def test_real_floods_fit_test_and_predict_with_finite_losses(
    name: str, shared: Path, adapted: Callable[..., Path], tmp_path: Path
) -> None:
    names, chips = REAL[name]
    side, crop = (96, 64) if "_thor_" in name else (24, 16)  # a token of the others is 10 m wide
    ids = cut(shared / "data" / "sen1floods11_v1.1", tmp_path / "real", names, chips, side)
    file = adapted(name, tmp_path / "real")
    config = yaml.safe_load(file.read_text())
    for transform in config["data"]["init_args"]["train_transform"]:
        if "RandomCrop" in transform["class_path"]:
            transform["init_args"] = {"height": crop, "width": crop}
    # Tiles are larger than the windows: tiled inference is exercised too.
    config["model"]["init_args"]["tiled_inference_parameters"] = {"crop": crop, "stride": crop // 2}
    config["trainer"]["num_sanity_val_steps"] = 0
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    out = tmp_path / "output" / name
    terratorch("fit", "--config", str(file), "--trainer.max_epochs", "1", "--trainer.log_every_n_steps", "1")
    checkpoint = str(out / "last.ckpt")
    if name not in WHOLE_RUNS and not guarded_checks.everything():
        assert np.isfinite(losses(out)).all()
        return
    terratorch("test", "--config", str(file), "--ckpt_path", checkpoint)
    terratorch("predict", "--config", str(file), "--ckpt_path", checkpoint, "--predict_output_dir", str(out / "maps"))
    values = losses(out)
    assert len(values) >= 3
    assert np.isfinite(values).all()
    check_maps(out / "maps", tmp_path / "real" / "data" / next(iter(names)), len(ids))


def test_custom_modules_path_registers_the_backbones_from_the_project_root(
    sample: Path, root: Path, adapted: Callable[..., Path], tmp_path: Path
) -> None:
    """Without our callback in the config; a subprocess, because here the backbones are registered already."""
    file = adapted("quickstart_fit", sample)
    config = yaml.safe_load(file.read_text())
    config["trainer"] |= {"callbacks": [], "logger": False, "fast_dev_run": True}
    config["custom_modules_path"] = "./thor_terratorch_ext"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    command = [sys.executable, "-m", "terratorch", "fit", "--config", str(file)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow  # .ci/run does the same with the installed wheel
def test_a_class_path_of_ours_registers_the_backbones_from_any_directory(
    sample: Path, adapted: Callable[..., Path], tmp_path: Path
) -> None:
    file = adapted("quickstart_fit", sample)
    config = yaml.safe_load(file.read_text())
    config["trainer"] |= {"logger": False, "fast_dev_run": True}
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [str(Path(sys.executable).parent / "terratorch"), "fit", "--config", str(file)]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_quick_start_export_holds_every_chip(sample: Path, exported: Callable[..., Path], tmp_path: Path) -> None:
    import eo_embed

    terratorch("predict", "--config", str(exported("embed_quickstart", sample)))
    export = eo_embed.open_embeddings(tmp_path / "output" / "embed_quickstart")
    assert len(export.ids) == len(export.pooled) == 16
    with rasterio.open(sample / "data/flood_events/HandLabeled/S2Hand" / f"{export.ids[0]}_S2Hand.tif") as source:
        left, top = source.transform.c, source.transform.f
        step = source.transform.a
    grid = export.grid(export.ids[0])
    assert grid.shape == (192, 16, 16)
    assert float(grid.x[0]) == pytest.approx(left + 4 * step, abs=1e-9)
    assert float(grid.y[0]) == pytest.approx(top - 4 * step, abs=1e-9)


def test_the_export_of_the_sample_by_universat_holds_the_vectors_of_the_encoder(
    sample: Path, exported: Callable[..., Path], tmp_path: Path
) -> None:
    import eo_embed
    from eo_data.sensors.tables import SENTINEL2
    from universat_ext import build_universat

    torch.manual_seed(0)
    weights = tmp_path / "weights.pth"
    torch.save(build_universat("tiny", pretrained=False).model.state_dict(), weights)
    file = exported("embed_universat_quickstart", sample)
    config = yaml.safe_load(file.read_text())
    config["model"]["init_args"]["backbone_args"]["ckpt"] = str(weights)
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    terratorch("predict", "--config", str(file))
    export = eo_embed.open_embeddings(tmp_path / "output" / "embed_universat_quickstart")
    assert len(export.ids) == 16
    name = export.ids[0]
    assert export.grid(name).shape == (192, 16, 16)

    # By hand: the ten bands of the file, as reflectance, standardised.
    settings = config["data"]["init_args"]["preprocess"]["init_args"]
    bands = config["model"]["init_args"]["backbone_args"]["bands"]["S2L1C"]
    with rasterio.open(sample / "data/flood_events/HandLabeled/S2Hand" / f"{name}_S2Hand.tif") as source:
        numbers = {band: source.read(k) / 1e4 for k, band in enumerate(SENTINEL2.band_names, start=1)}
    means, stds = settings["means"]["S2L1C"], settings["stds"]["S2L1C"]
    image = np.stack([(numbers[band] - means[band]) / stds[band] for band in bands]).astype(np.float32)
    encoder = build_universat("tiny", ckpt=weights).eval()
    with torch.no_grad():
        expected = encoder.model({"s2": torch.from_numpy(image)[None]}, 80)[0]
    found = export.grid(name).values.reshape(192, -1).T
    np.testing.assert_allclose(found, expected.numpy(), rtol=2e-3, atol=2e-3 * float(expected.abs().max()))


def test_the_dated_series_is_exported_with_its_dates(
    shared: Path, exported: Callable[..., Path], tmp_path: Path
) -> None:
    import eo_embed

    file = exported("embed_anysat_s2", shared)
    config = yaml.safe_load(file.read_text())
    config["data"]["init_args"]["root"] = str(shared / "data" / "s2_l1c_timeseries_eolearn")
    for settings in (
        config["model"]["init_args"]["backbone_args"],
        config["data"]["init_args"]["preprocess"]["init_args"],
    ):
        settings["patch_size"] = 100
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    terratorch("predict", "--config", str(file))
    export = eo_embed.open_embeddings(tmp_path / "output" / "embed_anysat_s2")
    (name,) = export.ids
    assert export.grid(name).shape == (256, 10, 10)
    (row,) = export.pooled.to_dict("records")
    assert (str(row["start_datetime"])[:10], str(row["end_datetime"])[:10]) == ("2015-07-11", "2015-09-09")
