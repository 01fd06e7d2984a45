"""A checkpoint that replaces the task of an export does not pass unnoticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar, TQDMProgressBar
from torch.utils.data import DataLoader, TensorDataset

from eo_embed import ExpectEmbeddings
from eo_embed.guard import GroundInBar


class EmbeddingTask(LightningModule):
    """By name, so that neither torchgeo nor TerraTorch is needed here."""


class Derived(EmbeddingTask):
    """A user's own."""


class EmbeddingGenerationTask(LightningModule):
    """TerraTorch's."""


class SemanticSegmentationTask(LightningModule):
    """What a fine-tuned checkpoint brings along."""


def test_another_task_is_refused_with_the_way_to_give_weights() -> None:
    with pytest.raises(ValueError, match="the task is SemanticSegmentationTask: .*backbone_args.ckpt"):
        ExpectEmbeddings().setup(None, SemanticSegmentationTask(), "predict")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [EmbeddingTask, Derived, EmbeddingGenerationTask])
def test_exports_pass(kind: type[LightningModule]) -> None:
    ExpectEmbeddings().setup(None, kind(), "predict")  # type: ignore[arg-type]


def test_every_config_of_an_export_has_the_guard(root: object) -> None:
    import yaml

    configs = sorted((Path(str(root)) / "config").glob("embed*.yaml"))
    assert len(configs) > 5
    for path in configs:
        callbacks = yaml.safe_load(path.read_text())["trainer"]["callbacks"]
        assert "eo_embed.ExpectEmbeddings" in [callback["class_path"] for callback in callbacks], path.name


class _Counting(LightningModule):
    ground = ""

    def predict_step(self, batch: list[torch.Tensor]) -> None:
        self.ground = f"{int(batch[0])} km2"


@pytest.mark.parametrize("bar", [RichProgressBar(), TQDMProgressBar()], ids=["rich", "tqdm"])
def test_the_bar_on_a_terminal_says_how_much_ground_is_done(bar: ProgressBar, tmp_path: Path) -> None:
    """A log has lines with km2; on a terminal these are silent, and the bar knew batches alone."""
    shown: list[Any] = []

    class Look(Callback):
        def on_predict_batch_end(self, *_: Any) -> None:
            if isinstance(bar, RichProgressBar):
                assert bar.progress is not None
                shown.append(bar.progress.tasks[-1].description)
            elif isinstance(bar, TQDMProgressBar):
                shown.append(bar.predict_progress_bar.postfix)

    logs = {"logger": False, "enable_checkpointing": False, "default_root_dir": tmp_path, "accelerator": "cpu"}
    trainer = Trainer(callbacks=[bar, GroundInBar(), Look()], enable_model_summary=False, **logs)  # type: ignore[arg-type]
    trainer.predict(_Counting(), DataLoader(TensorDataset(torch.arange(3.0)), batch_size=1))
    before = "Predicting " if isinstance(bar, RichProgressBar) else ""
    assert shown[1:] == [f"{before}1 km2", f"{before}2 km2"]
