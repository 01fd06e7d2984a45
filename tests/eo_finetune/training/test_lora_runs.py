"""LoRA through TerraTorch's command line: fit, test, and an export of what was learned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eo_embed import open_embeddings

Make = Callable[..., Any]
CONFIG = {"method": "LORA", "peft_config_kwargs": {"target_modules": ["qkv", "fc1"], "r": 4, "lora_alpha": 32}}


@pytest.fixture
def trained(peft: Any, chips: Make, recipe: Make, command: Make, tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """A config with LoRA, and the checkpoint of its run."""
    config = recipe(
        chips(),
        data={"train_transform": None},
        task={"freeze_backbone": False, "lr": 1e-2},
        model={"peft_config": CONFIG},
    )
    config["trainer"] |= {"max_epochs": 2, "callbacks": [{"class_path": "eo_finetune.BestCheckpoint"}]}
    command("fit", config)
    return config, tmp_path / "out" / "last.ckpt"


def _export(config: dict[str, Any], command: Make, out: Path, **weights: Any) -> np.ndarray:
    model = config["model"]["init_args"]["model_args"]
    names = ("model_bands", "input_params", "input_gsd")
    arguments = {"pretrained": False} | {name: model[f"backbone_{name}"] for name in names} | weights
    own = {"backbone": "thor_v1_tiny", "backbone_args": arguments, "out": str(out)}
    task = {"class_path": "eo_embed.EmbeddingTask", "init_args": own}
    command("predict", config | {"model": task, "trainer": config["trainer"] | {"callbacks": []}})
    return np.stack([np.asarray(row) for row in open_embeddings(out).pooled["embedding"]])


@pytest.mark.filterwarnings("ignore:This export takes block")  # behind those that were trained, on purpose
def test_an_export_of_a_checkpoint_has_what_lora_learned(
    trained: tuple[dict[str, Any], Path], command: Make, build: Make, tmp_path: Path
) -> None:
    """An export that left the adapters out would be one of the weights before the training."""
    config, last = trained
    state = torch.load(last, weights_only=True)["state_dict"]
    assert any(value.abs().max() > 0 for name, value in state.items() if "lora_B" in name)
    run = build(config)
    metrics = run.trainer.test(run.task, datamodule=run.data, ckpt_path=str(last), verbose=False)
    assert np.isfinite(metrics[0]["test/loss"])

    tuned = _export(config, command, tmp_path / "tuned", ckpt=str(last))
    own = {name.removeprefix("model.encoder.base_model.model."): value for name, value in state.items()}
    before = {name.replace(".base_layer", ""): value for name, value in own.items() if "lora_" not in name}
    torch.save(before, tmp_path / "before.pt")
    untuned = _export(config, command, tmp_path / "untuned", ckpt=str(tmp_path / "before.pt"))

    encoder = run.task.model.encoder.merge_and_unload()
    torch.save(encoder.state_dict(), tmp_path / "merged.pt")
    merged = _export(config, command, tmp_path / "merged", ckpt=str(tmp_path / "merged.pt"))
    np.testing.assert_allclose(tuned, merged, atol=1e-5)
    assert np.abs(tuned - untuned).max() > 0.01
