"""Around TerraTorch's fit, test and predict: pictures, tables, label maps, reproducible runs, cached features.

``import eo_finetune`` loads neither PyTorch nor TerraTorch.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eo_finetune.cache.callback import FrozenFeatureCache
    from eo_finetune.checkpoints import BestCheckpoint
    from eo_finetune.label_maps import LabelMapWriter
    from eo_finetune.learning_rates import LayerwiseLearningRates
    from eo_finetune.metrics_table import MetricsTable
    from eo_finetune.panels.callback import PredictionPanels
    from eo_finetune.seeds import SeedByEpoch

__all__ = [
    "BestCheckpoint",
    "FrozenFeatureCache",
    "LabelMapWriter",
    "LayerwiseLearningRates",
    "MetricsTable",
    "PredictionPanels",
    "SeedByEpoch",
]

_HOME = MappingProxyType(
    {
        "BestCheckpoint": "checkpoints",
        "FrozenFeatureCache": "cache.callback",
        "LabelMapWriter": "label_maps",
        "LayerwiseLearningRates": "learning_rates",
        "MetricsTable": "metrics_table",
        "PredictionPanels": "panels.callback",
        "SeedByEpoch": "seeds",
    }
)


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562)
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
