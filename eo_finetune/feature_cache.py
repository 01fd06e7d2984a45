"""Where configs of version 0.1 may find `eo_finetune.FrozenFeatureCache`; goes with version 1.0."""

from eo_finetune.cache.callback import FrozenFeatureCache

__all__ = ["FrozenFeatureCache"]
