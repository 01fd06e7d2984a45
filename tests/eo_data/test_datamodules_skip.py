"""Samples that cannot be used stop a run before it starts, or are left out and listed with the reason."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anysat_ext import AnySatPreprocess
from eo_data.datamodules import ChipDataModule
from eo_data.raster.sample import SampleError

Make = Callable[..., ChipDataModule]
Chips = Callable[..., Path]
WriteTif = Callable[..., Path]


def _damage(root: Path, write_tif: WriteTif, kind: str) -> None:
    """Break chip c."""
    image, label = root / "img" / "c_S2.tif", root / "lab" / "c_L.tif"
    pixels, plane = np.full((2, 16, 16), 1000, dtype=np.uint16), np.zeros((1, 16, 16), dtype=np.int16)
    noise = np.random.default_rng(0).integers(1, 4000, (2, 300, 300), dtype=np.uint16)
    bands = ("B2", "B3")
    files: dict[str, tuple[Any, ...]] = {
        "truncated": (image, noise, bands),
        "band count": (image, pixels[:1], bands[:1]),
        "no names": (image, pixels),
        "no data": (image, pixels, bands, {"nodata": 1000}),
        "nan": (image, np.full((2, 16, 16), np.nan, dtype=np.float32), bands),
        "unit": (image, np.full((2, 16, 16), 0.25, dtype=np.float32), bands),
        "pixel size": (image, pixels, bands, {"size": 20}),
        "not square": (image, pixels[:, :12], bands),
        "classes": (label, plane + 77),
        "no label at all": (label, plane - 1),
        "label grid": (label, plane, (), {"corner": (500080.0, 5000000.0)}),
    }
    if kind in files:
        path, array, *rest = files[kind]
        write_tif(path, array, *rest[:1], **dict(*rest[1:]))
    if kind == "truncated":
        image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    elif kind == "not square":
        write_tif(label, plane[:, :12])
    elif kind in ("zero size", "text"):
        image.write_text("no raster" if kind == "text" else "")
    elif kind == "label missing":
        label.unlink()
    elif kind == "label truncated":
        label.write_bytes(label.read_bytes()[:100])


def _run(module: ChipDataModule) -> None:
    module.setup("fit")
    list(module.val_dataloader())


FAULTS = {
    "truncated": "c_S2.tif cannot be read",
    "zero size": "c_S2.tif cannot be read",
    "text": "c_S2.tif cannot be read",
    "band count": "Wanted bands that are not there: GREEN",
    "no names": "The band order of .*c_S2.tif .2 bands. is unknown",
    "no data": "has no valid pixel",
    "nan": "has no valid pixel",
    "unit": "is declared as digital_number, but its values look like reflectance",
    "pixel size": "has pixels of 20 m, but its bands have a GSD of 10 m",
    "not square": "c: 'S2': The encoder needs a square, got 12 x 16 pixels",
    "classes": r"c: the label .*c_L.tif holds \[77.0\], expected classes 0..9",
    "no label at all": "holds no label",
    "label grid": "they show different ground",
    "label missing": "(no label|has no label)",
    "label truncated": "The label .*c_L.tif cannot be read",
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_bad_sample_stops_the_run_or_is_skipped_and_listed(
    chips: Chips, chip_module: Make, write_tif: WriteTif, tmp_path: Path, kind: str
) -> None:
    root = chips()
    _damage(root, write_tif, kind)
    arguments: dict[str, Any] = {}
    if kind == "not square":
        arguments["preprocess"] = AnySatPreprocess(image_size=None, normalization="none")
    strict = chip_module(root, **arguments)
    with pytest.raises(ValueError, match=FAULTS[kind]):  # SampleError is one
        _run(strict)
    module = chip_module(root, on_error="skip", **arguments)
    with pytest.warns(UserWarning, match=r"1 of 4 samples of 'train' are left out .list: .*skipped.csv.; first: c: "):
        module.setup("fit")
    entries = [module.train_dataset[i] for i in range(len(module.train_dataset))]
    blue = [(round(float(entry["image"][0, 0, 0]) * 1e4), int(entry["mask"][0, 0])) for entry in entries]
    assert blue == [(1000, 0), (1100, 1), (1300, 3)]
    assert [entry[:2] for entry in module.skipped] == [("train", "c"), ("val", "c")]
    with (tmp_path / "out" / "skipped.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["split", "id", "reason"]
    assert [tuple(row) for row in rows[1:]] == module.skipped
    pattern = "c has no label. Add it" if kind == "label missing" else FAULTS[kind]
    assert all(re.search(pattern, row[2]) for row in rows[1:])
    assert sum(len(batch["filename"]) for batch in module.val_dataloader()) == 3
    # Lightning calls setup once more to validate; the list must not grow.
    with pytest.warns(UserWarning, match="left out"):
        module.setup("validate")
    assert sorted(entry[:2] for entry in module.skipped) == [("train", "c"), ("val", "c")]


def test_nothing_is_written_when_all_is_well(chips: Chips, chip_module: Make, tmp_path: Path) -> None:
    module = chip_module(chips(), on_error="skip")
    module.setup("fit")
    assert module.skipped == []
    assert not (tmp_path / "out").exists()


def test_a_raster_whose_size_cannot_be_read_is_skipped_when_tiles_are_cut(
    chips: Chips, chip_module: Make, write_tif: WriteTif
) -> None:
    """Its size is asked for before any sample is read."""
    root = chips()
    _damage(root, write_tif, "text")
    with pytest.raises(ValueError, match=r"c_S2.tif cannot be read"):
        chip_module(root, tile=8, tile_align=8).setup("predict")
    module = chip_module(root, tile=8, tile_align=8, on_error="skip")
    with pytest.warns(UserWarning, match=r"1 of 13 samples of 'predict' are left out"):
        module.setup("predict")
    assert [entry[:2] for entry in module.skipped] == [("predict", "c")]
    assert len(module.predict_dataset) == 12


def test_what_may_be_read_is_stated_in_the_config(chips: Chips, chip_module: Make, tmp_path: Path) -> None:
    root = chips()
    (root / "i.json").write_text(json.dumps([{"id": "x", "S2": "../other/a_S2.tif"}]))
    (root / "img").rename(tmp_path / "other")
    arguments: dict[str, Any] = {"index": "i.json", "label": None, "train_split": None, "val_split": None}
    with pytest.raises(ValueError, match="lies outside of .*other_roots"):
        chip_module(root, **arguments).setup("predict")
    module = chip_module(root, **arguments, other_roots=[str(tmp_path / "other")], max_memory="2kB")
    module.setup("predict")
    with pytest.raises(SampleError, match="a_S2.tif: .* takes 3.07 kB of memory, and the limit is 2 kB"):
        module.predict_dataset[0]
    for faulty, message in (({"other_roots": "/x"}, "other_roots must be a list"), ({"max_memory": "x"}, "max_memory")):
        with pytest.raises(ValueError, match=message):
            chip_module(root, **arguments, **faulty)


def test_when_all_samples_are_bad_skipping_is_an_error(chips: Chips, chip_module: Make, tmp_path: Path) -> None:
    root = chips()
    for path in (root / "img").iterdir():
        path.write_bytes(b"")
    module = chip_module(root, on_error="skip")
    with (
        pytest.warns(UserWarning, match="4 of 4 samples of 'train' are left out"),
        pytest.raises(ValueError, match="No sample of the split 'train' can be used. First reason: .*a_S2.tif cannot"),
    ):
        module.setup("fit")
    assert [entry[1] for entry in module.skipped] == list("abcd")
    assert len((tmp_path / "out" / "skipped.csv").read_text().splitlines()) == 1 + 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("c_S2A_MSIL2A_20210230T101010_N0214_R022_T32TMT_20210301T120000", "impossible date"),
        ("c", "No acquisition date for 'img/c_S2.tif'"),
        ("c_20210101_20210102", "holds several dates"),
    ],
)
def test_samples_with_bad_dates_are_skipped(chips: Chips, chip_module: Make, name: str, message: str) -> None:
    root = chips(["a_20210101", "b_20210101", name])
    source = {"dated": True}
    strict = chip_module(root, source=source)
    strict.setup("predict")
    with pytest.raises(SampleError, match=message):
        list(strict.predict_dataloader())
    module = chip_module(root, source=source, on_error="skip")
    with pytest.warns(UserWarning, match="1 of 3 samples"):
        module.setup("predict")
    assert [entry[1] for entry in module.skipped] == [name]
    assert len(module.predict_dataset or ()) == 2


def test_rows_of_an_index_without_their_file_are_skipped(chips: Chips, chip_module: Make) -> None:
    root = chips()
    (root / "i.csv").write_text("id,S2\na,img/a_S2.tif\nz,img/z_S2.tif\ny,\n")
    with pytest.raises(ValueError, match="gives 'z' files that do not exist"):
        chip_module(root, index="i.csv").setup("predict")
    module = chip_module(root, index="i.csv", on_error="skip")
    with pytest.warns(UserWarning, match="2 of 3 samples"):
        module.setup("predict")
    reasons = {entry[1]: entry[2] for entry in module.skipped}
    assert "There is no file" in reasons["z"]
    assert reasons["y"] == "y has no files of S2."


def test_chips_of_no_known_event_are_skipped(chips: Chips, chip_module: Make, shared: Path) -> None:
    root = chips(["Ghana_1", "Mekong_2", "Atlantis_3"])
    geojson = (shared / "data/sen1floods11_v1.1/Sen1Floods11_Metadata.geojson").read_text()
    (root / "events.geojson").write_text(geojson)
    source = {"dated": True, "date_index": "events.geojson"}
    with pytest.raises(ValueError, match="The chip 'Atlantis_3' belongs to no known event"):
        chip_module(root, source=source).setup("predict")
    module = chip_module(root, source=source, on_error="skip")
    with pytest.warns(UserWarning, match="1 of 3 samples of 'predict' are left out.*Atlantis_3"):
        module.setup("predict")
    assert [record.id for record in module.predict_dataset.records] == ["Ghana_1", "Mekong_2"]  # type: ignore[union-attr]
