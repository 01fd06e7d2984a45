"""Class paths that configs and checkpoints of version 0.1 hold still lead to their classes."""

from __future__ import annotations

import importlib

import pytest

CLASS_PATHS = (
    "anysat_ext.AnySatPreprocess",
    "anysat_ext.preprocess.AnySatPreprocess",
    "anysat_ext.registration.RegisterBackbones",
    "eo_data.datamodules.ChipDataModule",
    "eo_data.datamodules.FramePolicy",
    "eo_data.datamodules.ImageSource",
    "eo_data.datamodules.LabelSource",
    "eo_data.datamodules.TimeSeriesDataModule",
    "eo_data.preprocess.DatasetNormalise",
    "eo_data.preprocess_by_modality.PreprocessByModality",
    "eo_embed.EmbeddingTask",
    "eo_embed.ExpectEmbeddings",
    "eo_embed.guard.ExpectEmbeddings",
    "eo_embed.task.EmbeddingTask",
    "eo_finetune.BestCheckpoint",
    "eo_finetune.FrozenFeatureCache",
    "eo_finetune.LabelMapWriter",
    "eo_finetune.LayerwiseLearningRates",
    "eo_finetune.MetricsTable",
    "eo_finetune.PredictionPanels",
    "eo_finetune.SeedByEpoch",
    "eo_finetune.checkpoints.BestCheckpoint",
    "eo_finetune.feature_cache.FrozenFeatureCache",
    "eo_finetune.label_maps.LabelMapWriter",
    "eo_finetune.learning_rates.LayerwiseLearningRates",
    "eo_finetune.metrics_table.MetricsTable",
    "eo_finetune.panels.PredictionPanels",
    "eo_finetune.seeds.SeedByEpoch",
    "thor_terratorch_ext.MultiBackboneWrapper",
    "thor_terratorch_ext.ThorPreprocess",
    "thor_terratorch_ext.preprocess.ThorPreprocess",
    "thor_terratorch_ext.registration.RegisterBackbones",
)


@pytest.mark.parametrize("path", CLASS_PATHS)
def test_the_class_is_where_version_0_1_had_it(path: str) -> None:
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, type)
    assert found.__name__ == name
