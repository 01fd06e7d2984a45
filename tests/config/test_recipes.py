"""Every recipe is read as it is, and those that no other test runs learn one step on real tiles."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

MAKE_MAPS = ("SemanticSegmentationTask", "PixelwiseRegressionTask", "ClassificationTask")
RECIPES = (
    "sen1floods11_unet_S1",
    "sen1floods11_unet_S2",
    "sen1floods11_thor_timm_S2",
    "sen1floods11_thor_anysat_S2",
    "sen1floods11_anysat_S1S2_probe",
    "pangaea_sen1floods11_thor_fcn",
    "pangaea_sen1floods11_thor_upernet",
    "terramesh_thor_S1S2",
)


@pytest.fixture(scope="module")
def overfit(root: Path) -> Any:
    spec = importlib.util.spec_from_file_location("overfit", root / "benchmarks" / "overfit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_config_is_read_as_it_is_with_the_parts_that_it_includes(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from terratorch.cli_tools import build_lightning_cli

    monkeypatch.chdir(root)
    for file in sorted((root / "config").glob("*.yaml")):
        command = "predict" if file.stem.startswith("embed") else "fit"
        with pytest.raises(SystemExit) as ended:
            build_lightning_cli([command, "--config", f"config/{file.name}", "--print_config=skip_unset"])
        printed = capsys.readouterr()
        assert ended.value.code in (None, 0), f"{file.name}: {printed.err[-2000:]}"
        assert "class_path" in printed.out


def test_every_config_that_predicts_maps_writes_them_whole_or_not_at_all(root: Path) -> None:
    """TerraTorch's own writer leaves broken maps on a full disk, with exit code 0; the quick start had it."""
    found = []
    for file in sorted((root / "config").glob("*.yaml")):
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        if config["model"]["class_path"].rpartition(".")[2] not in MAKE_MAPS:
            continue
        found.append(file.stem)
        callbacks = config["trainer"]["callbacks"]
        if isinstance(callbacks, str):
            callbacks = yaml.safe_load((file.parent / callbacks).read_text(encoding="utf-8"))
        assert "eo_finetune.LabelMapWriter" in [callback["class_path"] for callback in callbacks], file.name
    assert {"quickstart_fit", "quickstart_anysat", "biomassters_anysat_S1S2", "eurosat_thor_S2"} <= set(found)


def test_a_second_config_asks_for_a_tenth_of_the_labels(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from terratorch.cli_tools import build_lightning_cli

    monkeypatch.chdir(root)
    both = ["--config", "config/pangaea_sen1floods11_thor_fcn.yaml", "--config", "config/shared/labels_10_percent.yaml"]
    with pytest.raises(SystemExit):
        build_lightning_cli(["fit", *both, "--print_config"])
    printed = capsys.readouterr().out
    assert "train_fraction: 0.1" in printed
    assert "LabelHand" in printed


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipe_learns_a_step_on_real_tiles(name: str, overfit: Any, shared: Path, tmp_path: Path) -> None:
    from terratorch.cli_tools import build_lightning_cli

    tiles = overfit.prepare(shared / "data", tmp_path / "tiles", name)
    build_lightning_cli(["fit", "--config", str(overfit.adapt(name, tiles, tmp_path, epochs=1, rate=1e-3))])
    (loss,) = overfit.history(tmp_path, "train/loss")
    assert math.isfinite(loss)
