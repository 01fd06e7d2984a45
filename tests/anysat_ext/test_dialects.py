"""The names of normalisations mean for AnySat what they mean in its published adapter."""

from __future__ import annotations

import pytest

from anysat_ext.preprocess import DIALECT, AnySatPreprocess
from eo_data.preprocess.normalisation import Identity, PerTileZScore, UnitScale, normaliser


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("per_tile_zscore", "zscore", "tile_zscore"), PerTileZScore),
        (("unit_scale", "unit", "reflectance"), UnitScale),
        (("none", "raw", "off"), Identity),
    ],
)
def test_zscore_is_that_of_the_tile_and_needs_no_statistics(names: tuple[str, ...], kind: type) -> None:
    assert all(isinstance(normaliser(name, DIALECT), kind) for name in names)


def test_names_of_other_encoders_are_refused_when_the_preprocessing_is_made() -> None:
    with pytest.raises(ValueError, match=r"Unknown normalisation 'log1p' .anysat.. .*Valid: per_tile_zscore"):
        AnySatPreprocess("log1p")
