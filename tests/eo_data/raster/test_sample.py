"""A sample knows which of its images says where it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rasters import plain_raster

from eo_data.raster.sample import Image, Sample
from eo_data.sensors.units import InputUnit


def image(*shape: int, read: bool = True, size: float = 10.0) -> Image:
    files = (Path("a.tif"),) if read else ()
    return Image(plain_raster(np.zeros(shape[-3:])), ("A",), InputUnit.REFLECTANCE, size, paths=files)


def test_a_stand_in_for_a_missing_modality_never_gives_the_place() -> None:
    """It comes first in the order of the modalities, but it was made up from the image that was read."""
    made_up, read = image(1, 2, 2, read=False), image(1, 4, 4)
    assert Sample("x", {"S1": made_up, "S2": read}).reference is read
    assert Sample("x", {"S2": read, "S1": made_up}).reference is read
    assert Sample("x", {"S1": made_up}).reference is made_up


def test_ground_is_height_and_width_in_metres() -> None:
    assert image(1, 3, 5, size=20.0).ground_cover == (60.0, 100.0)
