"""The inspect command shows the truth about a sample, without TerraTorch and without weights."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from jsonargparse import ArgumentError
from lightning.pytorch import LightningDataModule

from eo_data import inspect
from eo_data.dataset.facts import describe_data


@pytest.fixture
def config(shared: Path, root: Path, tmp_path: Path) -> Path:
    content = {"data": yaml.safe_load((root / "config" / "data" / "terramesh_thor_S1S2.yaml").read_text())}
    content["data"]["init_args"]["root"] = str(shared / "data" / "terramesh")
    content["trainer"] = {"max_epochs": 1}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_every_step_is_printed_and_a_quick_look_is_written(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inspect.main(["--config", str(config), "--sample", "38D_378R_2_3", "--out", str(tmp_path / "look")])
    printed = capsys.readouterr().out
    for text in (
        "sample      38D_378R_2_3  (2 of 2)",
        "unit      digital_number -> reflectance",
        "224 x 224 px of 10 m (nominal)",
        "EPSG:32736",
        "'10 m': 784, '20 m': 196",
        "final_hw                     (224, 224)",
        "label       none",
    ):
        assert text in printed, text
    picture = tmp_path / "look" / "38D_378R_2_3_S2L2A.png"
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert str(picture) in printed


def test_the_values_of_the_table_are_those_of_the_file(
    config: Path, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import rasterio

    inspect.main(["--config", str(config), "--out", str(tmp_path)])
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("SWIR_2")]
    numbers = row.split()[1:]
    with rasterio.open(shared / "data" / "terramesh" / "S2L2A" / "282D_485L_3_3.tif") as file:
        swir = file.read(12) / 1e4
    assert numbers[0] == f"{swir.min():.4g}"
    assert numbers[2] == f"{swir.max():.4g}"
    assert float(numbers[4]) == pytest.approx((swir.mean() - 0.175772) / 0.156223, abs=1e-3)


def test_the_memory_is_what_the_preprocessing_of_the_encoder_tells(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the encoder, the memory was that of a ViT-base per token."""
    inspect.main(["--config", str(config), "--out", str(tmp_path)])
    assert "estimated_memory             34 MiB for 980 tokens (base, float32, batch of 1)" in capsys.readouterr().out
    content = yaml.safe_load(config.read_text())
    arguments = content["data"]["init_args"]
    arguments["preprocess"] = {
        "class_path": "anysat_ext.AnySatPreprocess",
        "init_args": {"image_size": None, "patch_size": 80, "normalization": "none"},
    }
    config.write_text(yaml.safe_dump(content, sort_keys=False))
    inspect.main(["--config", str(config), "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "'patches': 784, 'sub-patches': 50176" in printed
    assert "estimated_memory             332 MiB (base, float32, batch of 1)" in printed
    arguments["preprocess"] = {
        "class_path": "eo_data.preprocess.DatasetNormalise",
        "init_args": {
            kind: {name: [value] * len(source["bands"]) for name, source in arguments["modalities"].items()}
            for kind, value in (("means", 0.0), ("stds", 1.0))
        },
    }
    config.write_text(yaml.safe_dump(content, sort_keys=False))
    inspect.main(["--config", str(config), "--out", str(tmp_path)])
    assert "estimated_memory" not in capsys.readouterr().out


def test_later_configs_win_key_by_key(config: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({"data": {"init_args": {"batch_size": 1}}}))
    module = inspect.load_data_module([config, other])
    assert module.batch_size == 1
    assert list(module.modalities) == ["S2L2A", "S1RTC"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": None}, "no data section"),
        ({"data": {"class_path": "lightning.pytorch.LightningDataModule"}}, "this config has"),
        ({"sample": "7"}, "There is no sample '7'. There are 2, such as 282D_485L_3_3"),
        ({"root": "/nowhere"}, "There is no folder /nowhere"),
        ({"bands": ["BLUE", "VIOLET"]}, "VIOLET"),
        ({"colour": "red"}, "colour"),
        ({"file": None}, "There is no config"),
    ],
)
def test_faults_end_with_a_message_and_exit_code_2(
    change: dict[str, Any], message: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = yaml.safe_load(config.read_text())
    arguments = content["data"]["init_args"]
    sample = change.get("sample", "0")
    if "data" in change:
        content["data"] = change["data"]
    elif "root" in change:
        arguments["root"] = change["root"]
    elif "bands" in change:
        arguments["modalities"]["S2L2A"]["bands"] = change["bands"]
    elif "colour" in change:
        arguments["colour"] = "red"
    config.write_text(yaml.safe_dump(content, sort_keys=False))
    if "file" in change:
        config.unlink()
    with pytest.raises(SystemExit) as stopped:
        inspect.main(["--config", str(config), "--sample", sample, "--out", str(tmp_path)])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def refusal(load: Callable[[list[Path]], object], config: Path) -> str:
    with pytest.raises((ValueError, ArgumentError)) as refused:
        load([config])
    return str(refused.value)


@pytest.mark.parametrize("wrong", [{"colour": "red"}, {"batch_size": "many"}, {"batch_size": 0}, {"task": "guess"}])
def test_without_lightning_faults_are_told_in_the_same_words(wrong: dict[str, Any], config: Path) -> None:
    """They name the class that the config names, not the one behind it."""
    content = yaml.safe_load(config.read_text())
    content["data"]["init_args"] |= wrong
    config.write_text(yaml.safe_dump(content, sort_keys=False))
    assert refusal(inspect.load_splits, config) == refusal(inspect.load_data_module, config)


@pytest.mark.parametrize("name", ["ChipDataModule", "TimeSeriesDataModule"])
def test_without_lightning_samples_are_those_of_the_data_module(name: str, config: Path) -> None:
    content = yaml.safe_load(config.read_text())
    content["data"]["class_path"] = f"eo_data.datamodules.{name}"
    if name == "TimeSeriesDataModule":
        content["data"]["init_args"]["frames"] = {"mode": "all"}
        for source in content["data"]["init_args"]["modalities"].values():
            source["static"] = True
    config.write_text(yaml.safe_dump(content, sort_keys=False))
    module, splits = inspect.load_data_module([config]), inspect.load_splits([config])
    assert not isinstance(splits, LightningDataModule)
    assert describe_data(splits) == describe_data(module) | {"class": describe_data(splits)["class"]}
    entries = (splits.dataset("predict")[0], module.dataset("predict")[0])
    assert list(entries[0]) == list(entries[1])
    for modality, image in entries[0]["image"].items():
        assert torch.equal(image, entries[1]["image"][modality])


def test_a_data_module_of_somebody_else_that_extends_ours_is_shown(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_module.py").write_text(
        "from eo_data.datamodules import ChipDataModule\n\n\nclass Theirs(ChipDataModule):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    content = yaml.safe_load(config.read_text())
    content["data"]["class_path"] = "their_module.Theirs"
    config.write_text(yaml.safe_dump(content, sort_keys=False))
    assert type(inspect.load_splits([config])).__name__ == "Theirs"


def test_it_loads_no_terratorch(config: Path, tmp_path: Path) -> None:
    code = f"""
import sys
from eo_data import inspect
inspect.main(["--config", {str(config)!r}, "--out", {str(tmp_path)!r}])
if "terratorch" in sys.modules:
    raise SystemExit("inspect imported TerraTorch")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
