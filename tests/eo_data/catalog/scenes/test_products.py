"""Products below a folder: the right ones, once each, by tile and day, with the label of their own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_files import touch
from small_sentinel3 import OLCI_NAME, write_olci

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record, SampleRequest, check_ids
from eo_data.catalog.scenes.products import Products, products_below
from eo_data.catalog.sources import ImageSource, LabelSource
from eo_data.datamodules import ChipDataModule

S2 = "S2{platform}_MSIL2A_{day}T{clock}_N{baseline}_R065_{tile}_{day}T170000.SAFE"


def s2(day: str, tile: str = "T32UQV", clock: str = "102031", baseline: str = "0400", platform: str = "A") -> str:
    """Name of a product of Sentinel-2."""
    return S2.format(day=day, tile=tile, clock=clock, baseline=baseline, platform=platform)


def _folders(root: Path, *names: str) -> None:
    """Make products of one file each, some of them as archives."""
    for name in names:
        touch(root, name if name.endswith(".zip") else f"{name}/metadata.xml")


def _source(sensor: str | None = "sentinel2_l2a", **options: Any) -> ImageSource:
    return ImageSource(bands=["B2"], sensor=sensor, unit="digital_number", **options)


def _records(root: Path, *, series: bool = False, label: LabelSource | None = None, **modalities: Any) -> list[Record]:
    sources = modalities or {"S2": _source()}
    return Products(series=series).records(SampleRequest(root, sources, label))


def _shown(records: list[Record], root: Path) -> dict[str, dict[str, list[str]]]:
    return {
        record.id: {name: [href.below(root) for href in files] for name, files in record.files.items()}
        for record in records
    }


def test_a_sample_is_a_tile_on_a_day(tmp_path: Path) -> None:
    names = [s2("20220611"), s2("20220601"), s2("20220601", "T32UQU"), "HLS.L30.T32UQV.2022152T101500.v2.0"]
    _folders(tmp_path, *(f"in/any/{name}" for name in names))
    records = _records(tmp_path, S2=_source(), HLS=_source("landsat8", optional=True))
    assert _shown(records, tmp_path) == {
        "T32UQU/2022-06-01": {"S2": [f"in/any/{names[2]}"]},
        "T32UQV/2022-06-01": {"S2": [f"in/any/{names[1]}"], "HLS": [f"in/any/{names[3]}"]},
        "T32UQV/2022-06-11": {"S2": [f"in/any/{names[0]}"]},
    }
    check_ids(records, named_files=True)


def test_a_series_has_all_dates_of_a_tile_in_their_order(tmp_path: Path) -> None:
    # By name, S2B comes after S2A, whatever the date.
    names = [s2("20220601"), s2("20220606", platform="B"), s2("20220611")]
    _folders(tmp_path, *names, s2("20220601", "T32UQU"))
    shown = _shown(_records(tmp_path, series=True), tmp_path)
    assert shown == {"T32UQU": {"S2": [s2("20220601", "T32UQU")]}, "T32UQV": {"S2": names}}


def test_the_newest_processing_counts_once_and_a_folder_before_its_archive(tmp_path: Path) -> None:
    old, new = s2("20220601", baseline="0400"), s2("20220601", baseline="0510")
    _folders(tmp_path, new, old, f"zips/{new}.zip", f"zips/{s2('20220611').removesuffix('.SAFE')}.zip")
    records = _records(tmp_path)
    assert [href.below(tmp_path) for record in records for href in record.files["S2"]] == [
        new,
        f"zips/{s2('20220611').removesuffix('.SAFE')}.zip",
    ]
    _folders(tmp_path, "LC08_L2SP_195025_20220601_20220602_02_RT", "LC08_L2SP_195025_20220601_20220608_02_T1")
    (landsat,) = _records(tmp_path, L8=_source("landsat8"))
    assert landsat.files["L8"][0].name.endswith("_T1")
    assert landsat.id == "195025/2022-06-01"


def test_of_radar_products_with_one_acquisition_none_is_taken_at_random(tmp_path: Path) -> None:
    name = "S1A_IW_GRDH_1SDV_20220604T052442_20220604T052507_043509_0531E5_{}.SAFE"
    _folders(tmp_path, name.format("1234"), name.format("ABCD"))
    with pytest.raises(ValueError, match=r"2 products are of one acquisition.*1234\.SAFE.*ABCD\.SAFE\. Keep one"):
        _records(tmp_path, S1=_source("sentinel1"))


def test_several_passes_of_a_day_are_samples_of_their_own(tmp_path: Path) -> None:
    first, second = s2("20220601", clock="102031"), s2("20220601", clock="120031")
    hls = "HLS.L30.T32UQV.2022152T101500.v2.0"
    _folders(tmp_path, first, second, hls)
    records = _records(tmp_path, S2=_source(), HLS=_source("landsat8", optional=True))
    assert _shown(records, tmp_path) == {
        "T32UQV/2022-06-01T102031": {"S2": [first], "HLS": [hls]},
        "T32UQV/2022-06-01T120031": {"S2": [second], "HLS": [hls]},
    }
    check_ids(records, named_files=True)


def test_levels_of_one_sensor_are_not_mixed(tmp_path: Path) -> None:
    names = [f"LC08_{level}_195025_20220601_20220608_02_T1" for level in ("L1TP", "L2SP")]
    _folders(tmp_path, *(f"usgs/{name}" for name in names))
    with pytest.raises(ValueError, match=r"'L8' has products of 2 kinds.*1 of Landsat C2 L1, 1 of Landsat C2 L2"):
        _records(tmp_path, L8=_source("landsat8"))
    (record,) = _records(tmp_path, L8=_source("landsat8", files="**/*_L2SP_*"))
    assert record.files["L8"][0].name == names[1]


def test_what_lies_within_a_product_or_is_none_does_not_count(tmp_path: Path) -> None:
    outer, inner = s2("20220601"), s2("20220611")
    _folders(tmp_path, f"in/{outer}", f"in/{outer}/GRANULE/{inner}", f".trash/{s2('20220621')}")
    touch(tmp_path, f"in/{outer}/{inner}.zip", "notes.zip", s2("20220701"))
    (tmp_path / "link").symlink_to(tmp_path / "in", target_is_directory=True)
    assert [product.place for product in products_below(tmp_path)] == [f"in/{outer}"]


def test_labels_join_by_the_id_of_the_sample(tmp_path: Path) -> None:
    _folders(tmp_path, s2("20220601"), s2("20220611"))
    touch(tmp_path, "labels/T32UQV/2022-06-11.tif")
    records = _records(tmp_path, label=LabelSource("labels/{id}.tif", classes=2))
    assert [record.label for record in records] == [None, Href(str(tmp_path / "labels/T32UQV/2022-06-11.tif"))]


@pytest.mark.parametrize(
    ("names", "source", "message"),
    [
        (
            [],
            _source(),
            r"No product of the sensor sentinel2_l2a for 'S2' lies below .* There are none that are known.",
        ),
        ([s2("20220601")], _source("landsat8"), r"There are 1 of Sentinel-2 L2A. Products are folders .* such as S2A_"),
        ([s2("20220601")], _source(files="other/*"), r"whose path matches 'other/\*'"),
        ([s2("20220601")], _source(None), r"'S2' states no sensor.*1 of sentinel2_l2a"),
    ],
)
def test_what_cannot_be_found_is_named(tmp_path: Path, names: list[str], source: ImageSource, message: str) -> None:
    _folders(tmp_path, *names)
    with pytest.raises(ValueError, match=message):
        _records(tmp_path, S2=source)


def test_a_root_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(f"There is no folder {tmp_path / 'x'}")):
        _records(tmp_path / "x")


def test_a_static_modality_of_a_series_is_one_image(tmp_path: Path) -> None:
    _folders(tmp_path, s2("20220601"), s2("20220611"))
    with pytest.raises(ValueError, match=r"'S2' is static.*T32UQV has 2 products"):
        _records(tmp_path, series=True, S2=_source(static=True))


def test_a_data_module_reads_the_products_that_are_found(
    tmp_path: Path, chip_module: Callable[..., ChipDataModule]
) -> None:
    root = tmp_path / "products"
    write_olci(root / "june")
    write_olci(root / "july", OLCI_NAME.replace("____20220601", "____20220611"))
    source = {"files": "", "bands": ["Oa08"], "sensor": "sentinel3_olci", "unit": "reflectance", "dated": True}
    module = chip_module(root, source=source, samples=Products(), label=None, train_split=None, val_split=None)
    module.setup("predict")
    assert module.predict_dataset is not None
    samples = [module.predict_dataset[i] for i in range(2)]
    assert [(sample["id"], sample["acquired"]) for sample in samples] == [
        ("R022_2160/2022-06-01", "S2 2022-06-01 (name)"),
        ("R022_2160/2022-06-11", "S2 2022-06-11 (name)"),
    ]
