"""Statistics go to the band that they belong to, and to no other modality or unit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasters import plain_raster

from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_data.preprocess.statistics import BandStatistics
from eo_data.raster.sample import Image, Sample, SampleError
from eo_data.sensors.units import InputUnit

VALUES = np.array([0.3, 0.7]).reshape(2, 1, 1)


def sample(unit: InputUnit = InputUnit.REFLECTANCE, sensor: str | None = None, name: str = "S2") -> Sample:
    return Sample("x", {name: Image(plain_raster(VALUES), ("B4", "B3"), unit, 10.0, sensor=sensor)})


def normalised(step: DatasetNormalise, given: Sample) -> list[float]:
    (image,) = step(given).images.values()
    return [float(value) for value in image.raster.pixels.ravel()]


@pytest.mark.parametrize(
    ("means", "stds", "sensor"),
    [
        ([0.1, 0.2], [2.0, 0.5], None),
        ({"B3": 0.2, "B4": 0.1}, {"B3": 0.5, "B4": 2.0}, None),
        # By another name of the same band.
        ({"GREEN": 0.2, "RED": 0.1}, {"B3": 0.5, "B4": 2.0}, "sentinel2_l2a"),
    ],
)
def test_every_band_gets_its_own_statistics(means: Any, stds: Any, sensor: str | None) -> None:
    expected = [(0.3 - 0.1) / 2.0, (0.7 - 0.2) / 0.5]
    assert normalised(DatasetNormalise({"S2": means}, {"S2": stds}), sample(sensor=sensor)) == pytest.approx(expected)


def test_a_file_of_statistics_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    collected = BandStatistics(["B3", "B4"], "reflectance")
    collected.update(np.array([[[0.1, 0.3]], [[0.2, 0.6]]]))  # means 0.2 and 0.4, deviations 0.1 and 0.2
    collected.write_yaml(path)
    expected = [(0.3 - 0.4) / 0.2, (0.7 - 0.2) / 0.1]
    for statistics in (str(path), {"S2": str(path)}):
        assert normalised(DatasetNormalise(statistics=statistics), sample()) == pytest.approx(expected)
    with pytest.raises(SampleError, match="statistics of 'S2' do not fit: .* in reflectance, but the pixels"):
        DatasetNormalise(statistics=str(path))(sample(InputUnit.DECIBEL))


@pytest.mark.parametrize(
    ("means", "message"),
    [
        ({"S1": [0, 0]}, r"'S2' do not fit: means has no entry for this modality; it has \['S1'\]"),
        ({"S2": [0]}, "means has 1 values for the 2 bands B4, B3"),
        ({"S2": {"B4": 0}}, r"means has no value for the bands \['B3'\]; it has \['B4'\]"),
    ],
)
def test_statistics_of_something_else_are_refused(means: Any, message: str) -> None:
    with pytest.raises(SampleError, match=message):
        DatasetNormalise(means, {"S2": [1, 1]})(sample())


@pytest.mark.parametrize("arguments", [{}, {"means": {}}, {"means": {}, "stds": {}, "statistics": "s.yaml"}])
def test_half_or_twice_given_statistics_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Give means and stds, or statistics"):
        DatasetNormalise(**arguments)
