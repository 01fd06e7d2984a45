"""Slips in a config are told in a second with the name that is meant; nothing that would run is refused."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from eo_cli.run import checks
from eo_cli.run.checks import arguments_of_path, check_settings, find_path
from eo_cli.run.header import header
from eo_cli.run.settings import ConfigError, read_settings
from eo_core.config import read_config

Write = Callable[..., Path]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a config that is right but for what a test changes of it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chips").mkdir()

    def write(**parts: Any) -> Path:
        content: dict[str, Any] = {
            "trainer": {"max_epochs": 1},
            "data": {
                "class_path": "eo_data.datamodules.ChipDataModule",
                "init_args": {"root": "chips", "modalities": {}},
            },
            "model": {
                "class_path": "terratorch.tasks.SemanticSegmentationTask",
                "init_args": {"model_args": {"backbone": "x"}, "loss": "ce"},
            },
        }
        file = tmp_path / "run.yaml"
        file.write_text(yaml.safe_dump(content | parts))
        return file

    return write


def message(file: Path, *more: str, action: str = "fit") -> str:
    with pytest.raises(ConfigError) as error:
        check_settings(read_settings(action, ["--config", str(file), *more]))
    return str(error.value)


def check(file: Path, *more: str, action: str = "fit") -> None:
    check_settings(read_settings(action, ["--config", str(file), *more]), untrained=True)


def paths(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("class_path"), str):
            yield node["class_path"]
        for value in node.values():
            yield from paths(value)
    elif isinstance(node, list):
        for value in node:
            yield from paths(value)


def test_every_recipe_passes_but_for_its_data(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that refuses what runs is worse than none."""
    monkeypatch.chdir(root)
    monkeypatch.setattr(checks, "_missing_data", lambda settings: ())
    for file in sorted((root / "config").glob("*.yaml")):
        for action in ("fit", "predict"):
            check(file, action=action)
    monkeypatch.undo()
    monkeypatch.chdir(root)
    for name in ("quickstart_fit", "quickstart_anysat", "quickstart_universat"):
        check(root / "config" / f"{name}.yaml", "--data.init_args.batch_size", "1", "--trainer.max_epochs=2")
    check(root / "config" / "embed_quickstart.yaml", action="predict")


def test_the_sources_tell_all_arguments_that_a_class_of_ours_takes(root: Path) -> None:
    """An argument that they miss would be refused, though it works."""
    named = {path for file in (root / "config").rglob("*.yaml") for path in paths(read_config(file))}
    ours = sorted(path for path in named if path.startswith(("eo_", "thor_", "anysat_", "universat_")))
    assert len(ours) > 12
    told = 0
    for path in ours:
        assert find_path(path) is not None, path
        found = arguments_of_path(path)
        module, _, name = path.rpartition(".")
        real = inspect.signature(getattr(importlib.import_module(module), name)).parameters.values()
        plain = {one.name for one in real if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}
        told += found is not None
        assert found is None or plain <= found, (path, plain - found)
    assert told > 10


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"trainr": {"max_epochs": 1}}, "unknown key 'trainr'. Did you mean 'trainer'?"),
        ({"trainer": {"max_epoch": 1}}, "trainer has no argument 'max_epoch'. Did you mean 'max_epochs'?"),
        (
            {"data": {"class_path": "eo_data.datamodules.ChipDataModul"}},
            "data.class_path: eo_data.datamodules has no class 'ChipDataModul'. Did you mean 'ChipDataModule'?",
        ),
        (
            {"data": {"class_path": "eo_data.datamodule.ChipDataModule"}},
            "data.class_path: eo_data has no module 'datamodule'. Did you mean 'datamodules'?",
        ),
        (
            {"data": {"class_path": "eo_data.datamodules.ChipDataModule", "init_args": {"rot": "chips"}}},
            "data.init_args: ChipDataModule has no argument 'rot'. Did you mean 'root'?",
        ),
        (
            {"model": {"class_path": "SemanticSegmentationTask", "init_args": {"ignor_index": 0}}},
            "model.init_args: SemanticSegmentationTask has no argument 'ignor_index'. Did you mean 'ignore_index'?",
        ),
        (
            {"trainer": {"callbacks": [{"class_path": "eo_finetune.BestChekpoint"}]}},
            "trainer.callbacks[0].class_path: eo_finetune has no class 'BestChekpoint'. Did you mean 'BestCheckpoint'?",
        ),
        (
            {"data": {"class_path": "eo_data.datamodules.ChipDataModule", "init_args": {"root": "chps"}}},
            "data.init_args.root: there is no chps from",
        ),
        ({"ckpt_path": "best_of_all.ckpt"}, "ckpt_path: there is no checkpoint best_of_all.ckpt."),
    ],
)
def test_a_slip_is_told_with_what_is_meant(config: Write, parts: dict[str, Any], expected: str) -> None:
    assert expected in message(config(**parts))


def test_what_may_be_right_is_left_to_terratorch(config: Write) -> None:
    data = {"class_path": "eo_data.datamodules.ChipDataModule", "init_args": {"root": "https://example.org/chips"}}
    check(config(data=data))
    check(config(something_of_a_later_version=1))
    check(config(trainer={"argument_of_a_later_version": 1, "callbacks+": []}))
    check(config(model={"class_path": "my_own.module.Task", "init_args": {"anything": 1}}))
    check(config(ckpt_path="best"))
    check(config(ckpt_path="file:///somewhere/best.ckpt"))
    elsewhere = {
        "class_path": "GenericNonGeoSegmentationDataModule",
        "init_args": {"train_data_root": "not_here", "predict_data_root": "chips"},
    }
    check(config(data=elsewhere), action="predict")  # predicting reads no training data
    assert "train_data_root: there is no not_here" in message(config(data=elsewhere))


@pytest.mark.parametrize("action", ["validate", "test", "predict"])
def test_random_weights_are_not_scored_without_a_word(action: str, config: Write, tmp_path: Path) -> None:
    """`test` without a checkpoint: a table of metrics that look right, 15 s later."""
    file = config(trainer={"default_root_dir": "out"})
    assert "train first: `eo run fit` writes it), or --untrained" in message(file, action=action)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "last.ckpt").touch()
    assert "Add --ckpt_path FILE (out/last.ckpt), or" in message(file, action=action)
    for right in (
        ["--ckpt_path", "out/last.ckpt"],
        ["--trainer.callbacks+=eo_finetune.RunGuard", "--trainer.callbacks.untrained=true"],
    ):
        check_settings(read_settings(action, ["--config", str(file), *right]))
    export = {"class_path": "eo_embed.EmbeddingTask", "init_args": {"backbone": "x"}}
    check_settings(read_settings("predict", ["--config", str(config(model=export))]))
    check_settings(read_settings("fit", ["--config", str(file)]))


def test_the_command_line_counts_over_the_config(config: Write) -> None:
    data = {"class_path": "eo_data.datamodules.ChipDataModule", "init_args": {"root": "chps"}}
    check(config(data=data), "--data.init_args.root", "chips")
    check(config(data=data), "--data.root=chips")
    assert "there is no chps" in message(config(), "--data.init_args.root", "chps")
    assert "'max_epoch'" in message(config(), "--trainer.max_epoch", "3")
    assert "there is no checkpoint gone.ckpt" in message(config(), "--ckpt_path", "gone.ckpt")


def test_a_later_config_counts_over_an_earlier_one_key_by_key(config: Write, tmp_path: Path) -> None:
    second = tmp_path / "second.yaml"
    second.write_text("data: {init_args: {root: chps}}\n")
    settings = read_settings("fit", ["--config", str(config()), "-c", str(second)])
    assert settings.files == (tmp_path / "run.yaml", second)
    assert settings.init_args("data") == {"root": "chps", "modalities": {}}
    assert settings.class_path("data") == "eo_data.datamodules.ChipDataModule"


def test_another_class_leaves_the_arguments_of_the_first_behind(config: Write, tmp_path: Path) -> None:
    """They are dropped by TerraTorch's command line, too: refusing them would refuse what runs."""
    second = tmp_path / "second.yaml"
    second.write_text("model: {class_path: eo_embed.EmbeddingTask, init_args: {backbone: x}}\n")
    check(config(), "--config", str(second), action="predict")
    check(config(), "--model.class_path", "eo_embed.EmbeddingTask", "--model.backbone", "x", action="predict")


def test_a_constructor_that_others_have_changed_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decorators take old names of arguments, and `overload`s are no constructors."""
    (tmp_path / "some_library.py").write_text(
        "from typing import overload\nclass Renamed:\n    @takes_old_names\n    def __init__(self, new): ...\n"
        "class Several:\n    @overload\n    def __init__(self, a): ...\n    def __init__(self, a, b=1): ...\n"
        "class Made:\n    def __new__(cls, anything): ...\n    def __init__(self): ...\n"
        "class Plain(Several):\n    def __init__(self, c, **others): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    expected = {"Renamed": None, "Several": {"a", "b"}, "Made": None, "Plain": {"a", "b", "c"}}
    assert {name: arguments_of_path(f"some_library.{name}") for name in expected} == expected


def test_the_header_tells_what_is_read_and_where_results_go(config: Write) -> None:
    model = {
        "class_path": "eo_embed.EmbeddingTask",
        "init_args": {"backbone": "x", "backbone_args": {"pretrained": True}, "out": "embeddings"},
    }
    modality = {"sensor": "sentinel2_l2a", "bands": ["RED", "GREEN"], "unit": "reflectance", "date_index": "d.csv"}
    data = {
        "class_path": "eo_data.datamodules.ChipDataModule",
        "init_args": {"root": "chips", "modalities": {"S2": modality}},
    }
    lines = header(read_settings("predict", ["--config", str(config(data=data, model=model))]))
    assert lines[1:] == [
        "data     ChipDataModule",
        "         root: chips",
        "         S2: sentinel2_l2a, reflectance, dated, 2 bands RED GREEN",
        "model    EmbeddingTask, x",
        "         weights: published",
        "results  embeddings",
    ]


def test_files_that_are_no_configs_are_told_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text, expected in (
        ("a.yaml", "trainer:\n  max_epochs: 1\n bad: [\n", "a.yaml, line 3, column 2: no YAML:"),
        ("b.yaml", "[1, 2]\n", "b.yaml must be a mapping with trainer, data and model, got list."),
        ("c.yaml", "data: data/flods.yaml\n", "includes data/flods.yaml as data, and there is no file"),
    ):
        (tmp_path / name).write_text(text)
        assert expected in message(Path(name))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "floods.yaml").write_text("{}")
    assert "Did you mean 'data/floods.yaml'?" in message(Path("c.yaml"))
    assert "`eo config copy quickstart_fit` brings config/quickstart_fit.yaml" in message(Path("quickstart_fit.yaml"))
    assert "Did you mean 'a.yaml'?" in message(Path("aa.yaml"))


def test_a_config_is_checked_without_importing_what_takes_seconds(root: Path) -> None:
    code = (
        "import sys; from eo_cli.run.command import main\n"
        "assert main(['fit', '--config', 'config/quickstart_fit.yaml', '--check']) == 0; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)  # noqa: S603
    assert not {"torch", "lightning", "terratorch", "torchgeo"} & set(done.stdout.splitlines()[-1].split())
    assert "SemanticSegmentationTask, thor_v1_tiny, FCNDecoder" in done.stdout
