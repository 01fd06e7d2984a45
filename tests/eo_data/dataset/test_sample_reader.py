"""A sample is read whole or refused: no modality, label or ground is left out without an error."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS
from small_files import image_reader, record_of, touch

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record, SceneFiles
from eo_data.catalog.sources import ImageSource, LabelSource
from eo_data.dataset.sample_reader import Inputs, SampleReader
from eo_data.raster.georeference import PixelGrid
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


def inputs(root: Path, given: Record, index: Any = None, **source: Any) -> Inputs:
    return SampleReader({"S2": image_reader(index=index, **source)}, None, "segmentation", root=root).inputs(given)


def test_the_inputs_of_a_sample_are_all_files_that_are_read_named_from_the_root_on(tmp_path: Path) -> None:
    touch(tmp_path, "d/a.tif", "d/a.tif.msk", "d/a.tfw", "d/b.tif", "elsewhere/2020/c.tif", "else/2020/c.tif")
    paths = [tmp_path / name for name in ("d/a.tif", "elsewhere/2020/c.tif", "else/2020/c.tif")]
    found = inputs(tmp_path / "d", record_of(*paths))
    assert list(found.files) == ["a.tif", "a.tfw", "a.tif.msk", "2020/c.tif", "2020/c.tif#2"]
    assert list(found.files.values())[-2:] == paths[1:]
    remote = Record("x", {"S2": (Href("https://me:secret@example.org/a.tif"),)})
    assert list(inputs(tmp_path, remote).files.values()) == [None]
    assert "secret" not in str(inputs(tmp_path, remote).state())


def test_inputs_are_others_once_a_file_or_mask_is_rewritten_added_or_named_anew(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif", "a.tif.aux.xml", "b.tif")
    given = record_of(tmp_path / "a.tif")
    before = inputs(tmp_path, given).state()
    assert inputs(tmp_path, given).unchanged_since(before)
    times = (tmp_path / "a.tif.aux.xml").stat().st_mtime_ns
    (tmp_path / "a.tif.aux.xml").write_text("moved")
    os.utime(tmp_path / "a.tif.aux.xml", ns=(times, times))
    assert not inputs(tmp_path, given).unchanged_since(before)
    (tmp_path / "a.tif.aux.xml").write_text("")
    assert inputs(tmp_path, given).unchanged_since(before)
    touch(tmp_path, "a.tif.msk")
    assert not inputs(tmp_path, given).unchanged_since(before)
    assert not inputs(tmp_path, record_of(tmp_path / "b.tif")).unchanged_since(before)


@pytest.mark.parametrize("by", ["record", "sample", "file", "lone series"])
def test_inputs_are_others_once_a_stated_date_is_another(tmp_path: Path, by: str) -> None:
    touch(tmp_path, "s/a.tif")
    states = []
    for day in (date(2020, 1, 1), date(2020, 1, 2)):
        given = record_of(tmp_path / "s/a.tif", dates={"S2": (day,)} if by == "record" else {})
        index: dict[str, Any] = {"sample": {"x": day}, "file": {"a.tif": day}, "lone series": {"dates": [day]}}
        found = inputs(tmp_path, given, index.get(by), dated=True)
        states.append((found, found.state()))
    (first, before), (second, after) = states
    assert first.unchanged_since(before)
    assert second.unchanged_since(after)
    assert not second.unchanged_since(before)
    assert not inputs(tmp_path, given, index.get(by), dated=False).dates


def test_another_grid_region_or_priority_is_another_input(tmp_path: Path) -> None:
    """Files and dates are the same, but not the pixels that come of them."""
    touch(tmp_path, "a.tif", "b.tif")
    files = tuple(Href(str(tmp_path / name)) for name in ("a.tif", "b.tif"))
    on = PixelGrid(16, 16, Affine(10, 0, 500000, 0, -10, 5000000), CRS.from_epsg(32632).to_wkt())
    scenes = tuple(SceneFiles((href,)) for href in files)
    own = Record("x", {"S2": files}, grids={"S2": on}, frames={"S2": (scenes,)}, region="POLYGON EMPTY")
    state = inputs(tmp_path, own).state()
    assert inputs(tmp_path, own).unchanged_since(state)
    wkt1 = replace(on, crs=CRS.from_epsg(32632).to_wkt("WKT1_GDAL"))
    assert inputs(tmp_path, replace(own, grids={"S2": wkt1})).unchanged_since(state)
    others = (
        replace(own, grids={"S2": on.window(0, 1, 16, 16)}),
        replace(own, frames={"S2": (scenes[::-1],)}),
        replace(own, region="POLYGON ((0 0, 1 0, 1 1, 0 0))"),
        replace(own, grids={}),
    )
    assert not any(inputs(tmp_path, other).unchanged_since(state) for other in others)
