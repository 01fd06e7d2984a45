"""What is fingerprinted follows every setting that changes numbers, and no path or year."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eo_core.fingerprint import fingerprint
from eo_data.catalog.sources import ImageSource
from eo_data.dataset.facts import describe_data, describe_inputs
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_data.preprocess.statistics import BandStatistics
from eo_data.temporal.frame_policy import FramePolicy


class Module:
    """A data module as far as it is described."""

    def __init__(self, **settings: Any) -> None:
        source = {"files": "img/{id}.tif", "bands": ["B2", "B3"], "sensor": "sentinel2_l2a", "unit": "digital_number"}
        self.modalities = {"S2": ImageSource(**(source | settings.pop("source", {})))}
        self.preprocess = settings.pop("preprocess", DatasetNormalise({"S2": [0, 0]}, {"S2": [1, 1]}))
        for name, value in settings.items():
            setattr(self, name, value)


def number(module: Any) -> tuple[str, str]:
    return fingerprint(describe_data(module)), fingerprint(describe_inputs(module))


@pytest.mark.parametrize(
    "change",
    [
        {"source": {"bands": ["B3", "B2"]}},
        {"preprocess": DatasetNormalise({"S2": [0, 0.1]}, {"S2": [1, 1]})},
        {"frames": FramePolicy(empty="whole_window")},
    ],
)
def test_what_changes_numbers_changes_both_descriptions(change: dict[str, Any]) -> None:
    for before, after in zip(number(Module()), number(Module(**change)), strict=True):
        assert before != after


@pytest.mark.parametrize("change", [{"source": {"files": "elsewhere/{id}.tif"}}, {"tile": 64}, {"blend": "feather"}])
def test_files_and_tiles_are_no_inputs_of_an_encoder(change: dict[str, Any]) -> None:
    """A checkpoint predicts elsewhere; an export of other files or tiles is another export."""
    (data, inputs), (other_data, other_inputs) = number(Module()), number(Module(**change))
    assert data != other_data
    assert inputs == other_inputs


def test_exports_from_before_tiles_could_be_blended_go_on() -> None:
    assert number(Module(blend="core", batch_memory="2 GB")) == number(Module())


def test_the_content_of_a_statistics_file_counts_and_its_name_does_not(tmp_path: Path) -> None:
    def module(name: str, value: float) -> Module:
        collected = BandStatistics(["B2", "B3"], "reflectance")
        collected.update(np.array([[[0.1, 0.3]], [[0.2, value]]]))
        collected.write_yaml(tmp_path / name)
        return Module(preprocess=DatasetNormalise(statistics=str(tmp_path / name)))

    first, moved, changed = (describe_inputs(module(*given)) for given in (("a", 0.6), ("b", 0.6), ("c", 0.7)))
    assert fingerprint(first) == fingerprint(moved)
    assert fingerprint(first) != fingerprint(changed)


def test_of_another_data_module_only_the_class_is_known() -> None:
    class Other:
        pass

    assert describe_data(Other()) == {"class": f"{__name__}.{Other.__qualname__}"}
