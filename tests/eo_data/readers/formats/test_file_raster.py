"""Substitutes and quality layers are found by their own names."""

from __future__ import annotations

import pytest
from small_files import level2a

from eo_data.readers.formats.file_raster import choose_bands


def test_substitutes_and_the_quality_layer() -> None:
    source = level2a("NIR_BROAD", "NIR_NARROW", "BLUE", substitutes={"NIR_NARROW": "NIR_BROAD"})
    assert choose_bands(["B2", "B8"], source) == [1, 1, 0]
    # The sensor has no band SCL, but its files do.
    with_clouds = level2a("B3", "SCL", cloud_band="SCL")
    assert choose_bands(["SCL", "B2", "B3"], with_clouds) == [2, 0]
    with pytest.raises(ValueError, match="Wanted bands that are not there: SCL"):
        choose_bands(["B2", "B3"], with_clouds)
