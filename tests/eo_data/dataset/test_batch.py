"""What is written into a batch is what is read out of it, and samples that do not fit together make none."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from affine import Affine

from eo_data.catalog.records import Record, TileWindow
from eo_data.dataset.batch import (
    UNOBSERVED,
    collate,
    countable,
    filename,
    image_tensors,
    input_place,
    metadata,
    region_metadata,
    target,
    tile_metadata,
)
from eo_data.dataset.contract import METADATA_KEYS, SampleEntry
from eo_data.dataset.sample_grid import sample_grids
from eo_data.raster.georeference import PixelGrid
from eo_data.raster.raster import Raster, shifted
from eo_data.raster.sample import Image, Sample, SampleError
from eo_data.sensors.units import InputUnit

ROTATED = Affine(8.0, 3.0, 500_000.1, 3.0, -8.0, 4_000_000.7)
DAYS = (date(2019, 3, 1), date(2020, 12, 31))


def series(transform: Affine | None = ROTATED, side: int = 4) -> Image:
    """Two frames of two bands, of which the second frame was not observed; every value tells frame and band."""
    pixels = np.arange(4, dtype=np.float32).reshape(2, 2, 1, 1) * np.ones((side, side), dtype=np.float32)
    valid = np.zeros((2, side, side), dtype=bool)
    valid[0, :, 1:] = True
    raster = Raster(pixels, valid, transform, "a CRS")
    observed = np.array([True, False])
    return Image(raster, ("A", "B"), InputUnit.REFLECTANCE, 10, DAYS, ("name", "index"), observed, (Path("s/a.tif"),))


def sample(label: Any = None, **more: Any) -> Sample:
    return Sample("a", {"S": series(**more)}, label)


def test_what_is_written_is_what_is_read_back() -> None:
    record = Record("a", {}, window=TileWindow(5, 2, 4, (1, 0, 4, 2), (9, 7)), raster_id="big")
    given = sample()
    entry = {"image": image_tensors(given, "none")["S"], "filename": filename(given)}
    batch = collate([entry | metadata(given) | tile_metadata(record, given, given)] * 2)
    first, second = sample_grids(batch, (4, 4))
    assert first.transform == second.transform == ROTATED
    assert (first.id, first.crs, first.sources) == ("a", "a CRS", ("s/a.tif",))
    assert first.dates == DAYS
    np.testing.assert_array_equal(first.valid, [[False, True, True, True]] * 4)
    assert (first.core, first.raster_id) == ((0.25, 0.0, 1.0, 0.5), "big")
    assert first.raster is not None
    assert (first.raster.height, first.raster.width, first.raster.crs) == (9, 7, "a CRS")
    # The corner of the tile is column 2 and row 5 of the raster.
    assert first.raster.transform is not None
    corner = shifted(first.raster.transform, 2, 5)
    assert (corner.c, corner.f) == pytest.approx((ROTATED.c, ROTATED.f))
    assert first.raster_core == (6, 2, 9, 4)
    assert batch["bounds"].dtype == torch.float64


def test_the_contract_names_every_key_and_no_other() -> None:
    """A key that is not among METADATA_KEYS would be handed to a model that does not take it."""
    grids = {"S": PixelGrid(4, 4, None, None)}
    record = Record("a", {}, window=TileWindow(0, 0, 4, (0, 0, 4, 4), (4, 4), 1), raster_id="big", grids=grids)
    given = sample()
    written = metadata(given) | tile_metadata(record, given, given) | input_place(given, given)
    written |= region_metadata(record)
    assert set(written) | {"inputs"} == set(METADATA_KEYS)
    assert set(SampleEntry.__annotations__) == {*METADATA_KEYS, "image", "filename", "mask", "label"}
    nowhere = metadata(sample(transform=None))
    assert set(METADATA_KEYS) - set(nowhere) == {
        *("inputs", "crs", "bounds", "geotransform", "raster_shape"),
        *(
            "core",
            "raster_core",
            "raster_id",
            "raster_hw",
            "raster_geotransform",
            "blended",
            "plane",
            "to_input",
            "input_shape",
            "region",
            "notes",
        ),
    }


def test_the_place_of_the_pixels_in_the_input_follows_every_step() -> None:
    """A border of two columns and one row, then half the size: of a turned grid, and of one that lies nowhere."""
    for transform in (ROTATED, None):
        before = countable(sample(transform=transform))
        image = before.images["S"]
        raster = image.raster.pad(1, 2, 3, 4).resize(4, 5)
        place = input_place(before, replace(before, images={"S": replace(image, raster=raster)}))
        assert place["to_input"].tolist() == pytest.approx([-2, 2, 0, -1, 0, 2], abs=1e-6)
        assert place["input_shape"].tolist() == [4, 4]
        assert (before.images["S"].raster.transform is None) is False
    nowhere = sample(transform=None)
    several = replace(nowhere, images={"S": nowhere.images["S"], "T": nowhere.images["S"]})
    assert input_place(countable(several), several) == {}


def test_bands_frames_and_days_keep_their_axes() -> None:
    plain = image_tensors(sample(), "none")["S"]
    assert plain[:, :, 0, 0].tolist() == [[0, 2], [1, 3]], "(C, T): band, then frame"
    assert plain.is_contiguous()
    plane = image_tensors(sample(), "plane")["S"]
    # 1 March is day 59 of a year without a leap day, counted from 0; the second frame was not observed.
    assert plane[2, :, 0, 0].tolist() == [59, UNOBSERVED]
    assert torch.equal(plane[:2], plain)
    dated = image_tensors(sample(), "dict")
    assert dated["S_dates"].tolist() == [59, 364], "a leap year has no day 365 either"
    assert dated["S_mask"].tolist() == [True, False]


def test_classes_are_whole_numbers_and_values_are_not() -> None:
    raster = Raster(np.full((1, 4, 4), 2, dtype=np.float32), np.ones((4, 4), dtype=bool), None, None)
    found = [
        target(sample(label), task)
        for label, task in (
            *((raster, "segmentation"), (raster, "regression")),
            *((3, "classification"), (3, "regression")),
        )
    ]
    assert [list(entry) for entry in found] == [["mask"], ["mask"], ["label"], ["label"]]
    types = [value.dtype for entry in found for value in entry.values()]
    assert types == [torch.int64, torch.float32, torch.int64, torch.float32]
    with pytest.raises(SampleError, match="a has no label. Leave the label source out"):
        target(sample(), "segmentation")


def test_a_tile_that_preprocessing_crops_is_refused() -> None:
    record = Record("a", {}, window=TileWindow(0, 0, 4, (0, 0, 4, 4), (4, 4), 1), raster_id="big")
    given = sample()
    image = given.images["S"]
    cropped = replace(given, images={"S": replace(image, raster=image.raster.crop(0, 0, 3, 3))})
    with pytest.raises(SampleError, match="a: preprocessing crops or pads tiles of 4 px"):
        tile_metadata(record, given, cropped)
    resized = replace(given, images={"S": replace(image, raster=image.raster.resize(8, 8))})
    assert tile_metadata(record, given, resized)["core"].tolist() == [0, 0, 1, 1]
    assert tile_metadata(replace(record, window=None), given, cropped) == {}


def test_a_sample_without_files_is_named_by_its_id() -> None:
    image = replace(series(), paths=())
    assert filename(Sample("only an id", {"S": image})) == "only an id"
    assert filename(sample()) == "s/a.tif"


def _entry(**fields: Any) -> dict[str, Any]:
    return {"image": torch.zeros(2, 4, 4), "filename": "a.tif"} | fields


def test_samples_that_do_not_fit_together_are_refused() -> None:
    assert collate([_entry(), _entry()])["image"].shape == (2, 2, 4, 4)
    with pytest.raises(SampleError, match=r"a.tif has \(2, 4, 4\), b.tif has \(2, 4, 5\). Use batch_size: 1, a crop"):
        collate([_entry(), _entry(image=torch.zeros(2, 4, 5), filename="b.tif")])
    one, two = (
        {"image": {"S2": torch.zeros(1, 2, 2)} | more, "filename": "c"} for more in ({}, {"S1": torch.zeros(1)})
    )
    with pytest.raises(SampleError, match="Samples of different shapes cannot be one batch"):
        collate([one, two])
    # In neither order: torch would drop the entry, or fail with a bare KeyError.
    located = _entry(crs="EPSG:32632", filename="b.tif")
    for pair in ([_entry(), located], [located, _entry()]):
        with pytest.raises(SampleError, match="a.tif and b.tif|b.tif and a.tif"):
            collate(pair)
        with pytest.raises(SampleError, match="only one of them has crs. Do all files have a georeference"):
            collate(pair)
