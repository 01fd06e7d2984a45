"""From physical values to the input of an encoder.

`DatasetNormalise` is imported when it is asked for: statistics and tables of this room need no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eo_data.preprocess.dataset_normalise import DatasetNormalise

__all__ = ["DatasetNormalise"]


def __getattr__(name: str) -> type[DatasetNormalise]:
    """Import the class on first use."""
    if name == "DatasetNormalise":
        from eo_data.preprocess.dataset_normalise import DatasetNormalise  # noqa: PLC0415

        return DatasetNormalise
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
