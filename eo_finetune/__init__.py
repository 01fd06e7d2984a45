"""Around TerraTorch's fit, test and predict: pictures, tables, label maps, reproducible runs, cached features.

``import eo_finetune`` loads neither PyTorch nor TerraTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eo_core.lazy import lazy_attributes

if TYPE_CHECKING:
    from eo_finetune.cache.callback import FrozenFeatureCache
    from eo_finetune.checkpoints import BestCheckpoint
    from eo_finetune.guard import RunGuard
    from eo_finetune.label_maps import LabelMapWriter
    from eo_finetune.learning_rates import LayerwiseLearningRates
    from eo_finetune.metrics_table import MetricsTable
    from eo_finetune.panels.callback import PredictionPanels
    from eo_finetune.seeds import SeedByEpoch
    from eo_models.precision.callback import MatmulPrecision

__all__ = [
    "BestCheckpoint",
    "FrozenFeatureCache",
    "LabelMapWriter",
    "LayerwiseLearningRates",
    "MatmulPrecision",
    "MetricsTable",
    "PredictionPanels",
    "RunGuard",
    "SeedByEpoch",
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "BestCheckpoint": ".checkpoints",
        "FrozenFeatureCache": ".cache.callback",
        "LabelMapWriter": ".label_maps",
        "LayerwiseLearningRates": ".learning_rates",
        "MatmulPrecision": "eo_models.precision.callback",
        "MetricsTable": ".metrics_table",
        "PredictionPanels": ".panels.callback",
        "RunGuard": ".guard",
        "SeedByEpoch": ".seeds",
    },
)
