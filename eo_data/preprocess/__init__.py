"""From physical values to the input of an encoder.

Both are imported when they are asked for: statistics and tables of this room need no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eo_core.lazy import lazy_attributes

if TYPE_CHECKING:
    from eo_data.preprocess.dataset_normalise import DatasetNormalise
    from eo_data.preprocess.one_frame import OneFrame

__all__ = ["DatasetNormalise", "OneFrame"]

__getattr__, __dir__ = lazy_attributes(__name__, {"DatasetNormalise": ".dataset_normalise", "OneFrame": ".one_frame"})
