"""Pictures of image, label, prediction and error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eo_core.lazy import lazy_attributes

if TYPE_CHECKING:
    from eo_finetune.panels.callback import PredictionPanels

__all__ = ["PredictionPanels"]

# Configs of version 0.1 may name the class by this path.
__getattr__, __dir__ = lazy_attributes(__name__, {"PredictionPanels": ".callback"})
