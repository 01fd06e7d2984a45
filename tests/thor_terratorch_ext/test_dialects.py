"""The names of normalisations mean for THOR what they mean in its published adapter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eo_data.preprocess.normalisation import Identity, Log1pPercentile, UnitScale, ZScore, fill_missing, normaliser
from thor_terratorch_ext.preprocess import DIALECTS, ThorPreprocess
from thor_terratorch_ext.statistics import statistics_for

S2 = ("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2")


@pytest.mark.parametrize(
    ("sensor", "names", "kind"),
    [
        ("S1", ("default", "auto", "log1p_p99", "log1p", "s1_log_normalize", "log_normalize"), Log1pPercentile),
        ("S1", ("none", "raw", "off"), Identity),
        ("S2", ("unit_scale", "unit", "reflectance"), UnitScale),
        ("S2", ("none", "raw", "off"), Identity),
        ("S3", ("log1p_p99",), Log1pPercentile),
        ("S3", ("unit_scale",), UnitScale),
    ],
)
def test_a_name_means_what_it_means_for_the_sensor(sensor: str, names: tuple[str, ...], kind: type) -> None:
    assert all(isinstance(normaliser(name, DIALECTS[sensor]), kind) for name in names)


@pytest.mark.parametrize(("sensor", "clip"), [("S1", None), ("S2", (0.0, 1.0)), ("S3", None)])
@pytest.mark.parametrize("name", ["thor_stats", "thor_zscore", "zscore"])
def test_only_reflectance_of_sentinel2_is_limited_before_the_z_score(
    name: str, sensor: str, clip: tuple[float, float] | None
) -> None:
    assert normaliser(name, DIALECTS[sensor], mean=[1], std=[2]) == ZScore((1.0,), (2.0,), clip)
    with pytest.raises(ValueError, match=r"needs the arguments mean and std.*Without statistics: .*none"):
        normaliser(name, DIALECTS[sensor])


def test_the_z_score_of_the_dialect_gives_the_golden_numbers(shared: Path) -> None:
    with np.load(shared / "golden/thor/adapter.npz") as file:
        numbers, golden = file["norm/s2_in"], file["norm/s2_thor_stats"]
    known = statistics_for(S2)
    transform = normaliser("thor_stats", DIALECTS["S2"], mean=[s.mean for s in known], std=[s.std for s in known])
    reflectance = fill_missing(numbers.astype(np.float32) / np.float32(1e4))
    np.testing.assert_allclose(transform(reflectance), golden, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [("unit_scaled", "Unknown normalisation 'unit_scaled' .thor_s2.. Did you mean 'unit_scale'"), ("log2", "thor_s1")],
)
def test_other_names_are_refused_when_the_preprocessing_is_made(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ThorPreprocess(name)
