"""A checkpoint is enough to predict: its config needs no further argument."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import yaml

from eo_finetune.config import config_of, main, move
from eo_models.weights.checkpoints import CheckpointError

Make = Callable[..., Any]


def test_the_written_config_predicts_the_same_maps_without_further_arguments(
    chips: Make, recipe: Make, command: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = chips()
    config = recipe(root, ("S2", "S1"))
    writer = {"class_path": "eo_finetune.LabelMapWriter"}
    config["trainer"] |= {"max_epochs": 1, "callbacks": [{"class_path": "eo_finetune.BestCheckpoint"}, writer]}
    # Asked for, and thus in the config; what is loaded here are random weights.
    command("fit", config)
    best = tmp_path / "out" / "best.ckpt"
    command("predict", config, "--ckpt_path", str(best), "--predict_output_dir", str(tmp_path / "before"))

    moved = tmp_path / "moved"
    root.rename(moved)
    assert main([str(best), "--root", str(moved), "--out", str(tmp_path / "predict.yaml")]) == 0
    written = yaml.safe_load((tmp_path / "predict.yaml").read_text())
    assert written["model"]["init_args"]["model_args"]["backbone_pretrained"] is False
    assert written["data"]["init_args"]["root"] == str(moved)
    monkeypatch.chdir(tmp_path)
    command("predict", tmp_path / "predict.yaml", "--ckpt_path", str(best), "--predict_output_dir", "after")
    names = sorted(path.name for path in (tmp_path / "before").iterdir())
    assert len(names) == 2
    for name in names:
        with rasterio.open(tmp_path / "before" / name) as one, rasterio.open(tmp_path / "after" / name) as other:
            np.testing.assert_array_equal(one.read(), other.read())
            assert (one.crs, one.transform) == (other.crs, other.transform)


def save(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def test_it_is_printed_without_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "seed_everything: 1\noptimizer: null\nlr_scheduler: {a: 1}\nckpt_path: x\ndata: {init_args: {root: a}}\n"
    file = save(tmp_path / "best.ckpt", {"config": text, "state_dict": {}})
    assert main([str(file)]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == {"seed_everything": 1, "data": {"init_args": {"root": "a"}}}


def test_another_folder_needs_neither_splits_nor_dates_that_nobody_reads(
    chips: Make, recipe: Make, command: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = chips()
    (root / "dates.csv").write_text("\n".join(["id,date", *[f"{p.stem},2020-01-02" for p in (root / "S2").iterdir()]]))
    config = recipe(root)
    config["data"]["init_args"]["modalities"]["S2"] |= {"dated": True, "date_index": "dates.csv"}
    callbacks = [{"class_path": f"eo_finetune.{name}"} for name in ("BestCheckpoint", "LabelMapWriter")]
    config["trainer"] |= {"max_epochs": 1, "callbacks": callbacks}
    command("fit", config)
    best, new = tmp_path / "out" / "best.ckpt", tmp_path / "new"
    (new / "S2").mkdir(parents=True)
    shutil.copy(root / "S2" / "Ghana_SYN03.tif", new / "S2" / "elsewhere.tif")
    assert main([str(best), "--root", str(new), "--out", str(tmp_path / "predict.yaml")]) == 0
    told = capsys.readouterr().err
    assert "test_split: null (val.txt is not in" in told
    assert "modalities.S2: no dates (dates.csv is not in" in told
    out = tmp_path / "maps"
    command("predict", tmp_path / "predict.yaml", "--ckpt_path", str(best), "--predict_output_dir", str(out))
    assert [path.name for path in out.iterdir()] == ["elsewhere_pred.tif"]
    data = {"dates_as": "dict", "modalities": {"S2": {"date_index": "dates.csv"}}, "test_split": "val.txt"}
    (new / "val.txt").write_text("elsewhere")
    assert move(data, str(new)) == []  # an encoder that reads dates has to get them


def test_published_weights_are_left_out_of_it(tmp_path: Path) -> None:
    task = {"model_factory": "EncoderDecoderFactory", "model_args": {"backbone": "thor_v1_base"}}
    text = yaml.safe_dump({"model": {"class_path": "x", "init_args": task}})
    model = config_of(save(tmp_path / "best.ckpt", {"config": text}))["model"]["init_args"]["model_args"]
    assert model == {"backbone": "thor_v1_base", "backbone_pretrained": False}


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"config": 3}])
def test_a_checkpoint_without_config_is_refused(
    content: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = save(tmp_path / "last.ckpt", content)
    with pytest.raises(CheckpointError, match="last.ckpt carries no config. Checkpoints of eo_finetune.BestCheckpoint"):
        config_of(file)
    assert main([str(file)]) == 2
    assert "carries no config" in capsys.readouterr().err
    assert main([str(tmp_path / "none.ckpt")]) == 2
