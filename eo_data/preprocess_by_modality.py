"""Where configs of version 0.1 find `eo_data.preprocess.by_modality.PreprocessByModality`."""

from eo_data.preprocess.by_modality import PreprocessByModality

__all__ = ["PreprocessByModality"]
