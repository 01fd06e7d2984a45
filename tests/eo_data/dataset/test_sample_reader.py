"""A sample is read whole or refused: no modality, label or ground is left out without an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

from eo_data.catalog.records import Record
from eo_data.catalog.sources import ImageSource, LabelSource
from eo_data.dataset.sample_reader import SampleReader
from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image, SampleError
from eo_data.sensors.units import InputUnit


class Reader:
    """Stands for an `ImageReader`; its images begin at ``left``."""

    def __init__(self, left: float = 0.0, *, optional: bool = False) -> None:
        self.left = left
        self.source = ImageSource("{id}.tif", ["A"], optional=optional)

    def read(self, record: Record) -> Image:
        transform = Affine(10, 0, self.left, 0, -10, 0)
        raster = Raster(np.zeros((1, 4, 4), np.float32), np.ones((4, 4), bool), transform, None)
        return Image(raster, ("A",), InputUnit.REFLECTANCE, 10.0)


def reader(label: LabelSource | None = None, **images: Any) -> SampleReader:
    return SampleReader(images, label, "classification")


def record(*modalities: str, label: Any = None) -> Any:
    return Record("x", {name: (Path("x.tif"),) for name in modalities}, label=label)


def test_a_modality_without_files_is_left_out_only_where_it_is_optional() -> None:
    assert list(reader(S2=Reader(), S1=Reader(optional=True)).read(record("S2")).images) == ["S2"]
    with pytest.raises(SampleError, match="x has no files of S1"):
        reader(S2=Reader(), S1=Reader()).read(record("S2"))
    with pytest.raises(SampleError, match="x has no files of any modality"):
        reader(S1=Reader(optional=True)).read(record())


def test_images_have_the_order_of_the_readers_and_one_ground() -> None:
    assert list(reader(S2=Reader(), S1=Reader(10.0)).read(record("S1", "S2")).images) == ["S2", "S1"]
    with pytest.raises(SampleError, match="they must show the same ground"):
        reader(S2=Reader(), S1=Reader(20.0)).read(record("S1", "S2"))


def test_a_sample_without_label_is_refused_where_labels_are_read() -> None:
    source = LabelSource(classes=5)
    assert reader(source, S2=Reader()).read(record("S2", label=3)).label == 3
    assert reader(source, S2=Reader()).label_values(record("S2", label=3)) == 3
    assert reader(S2=Reader()).read(record("S2")).label is None
    for read in (reader(source, S2=Reader()).read, reader(source, S2=Reader()).label_values):
        with pytest.raises(SampleError, match="x has no label. Add it"):
            read(record("S2"))
