"""From physical values to the input of an encoder."""

from eo_data.preprocess.dataset_normalise import DatasetNormalise

__all__ = ["DatasetNormalise"]
