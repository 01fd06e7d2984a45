"""A checkpoint that replaces the task of an export does not pass unnoticed."""

from __future__ import annotations

import pytest
from lightning.pytorch import LightningModule

from eo_embed import ExpectEmbeddings


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
    from pathlib import Path

    import yaml

    configs = sorted((Path(str(root)) / "config").glob("embed*.yaml"))
    assert len(configs) > 5
    for path in configs:
        callbacks = yaml.safe_load(path.read_text())["trainer"]["callbacks"]
        assert "eo_embed.ExpectEmbeddings" in [callback["class_path"] for callback in callbacks], path.name
