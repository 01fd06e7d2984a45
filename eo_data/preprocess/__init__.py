"""From physical values to the input of an encoder.

`DatasetNormalise` is imported when it is asked for: statistics and tables of this room need no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eo_core.lazy import lazy_attributes

if TYPE_CHECKING:
    from eo_data.preprocess.dataset_normalise import DatasetNormalise

__all__ = ["DatasetNormalise"]

__getattr__, __dir__ = lazy_attributes(__name__, {"DatasetNormalise": ".dataset_normalise"})
