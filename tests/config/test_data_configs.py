"""Every data set of the configs in config/data, from its real files into its encoder.

Of each data set one pixel is computed by hand from the file's own numbers and found again in the batch: a wrong band,
unit, statistic, crop or frame would show.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
import torch
import yaml
from rasterio.warp import Resampling, reproject

from eo_core.config import read_config
from eo_data.datamodules import ChipDataModule
from eo_data.inspect import load_data_module

S2 = ["BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"]
OLCI = [f"OA{i:02d}_REFLECTANCE" for i in range(1, 22)]
FOLDERS = {
    "sen1floods11_S1S2": "sen1floods11_v1.1",
    "sen1floods11_anysat_S1S2": "sen1floods11_v1.1",
    "terramesh_thor_S1S2": "terramesh",
    "eolearn_anysat_S2": "s2_l1c_timeseries_eolearn",
    "worldcereal_anysat_S1S2": "worldcereal_s1s2_monthly",
    "treesatai_anysat_aerial_S1S2": "treesatai_anysat",
    "olci_thor_S3": "s3_olci",
    "landsat8_anysat": "landsat",
}
#: Registered name and arguments of the backbone that a config is for.
BACKBONES: dict[str, tuple[str, dict[str, Any]]] = {
    "sen1floods11_S1S2": (
        "thor_v1_tiny",
        {"model_bands": {"S2L1C": S2, "S1GRD": ["VV", "VH"]}, "input_gsd": 10, "merge_method": "mean"},
    ),
    "sen1floods11_anysat_S1S2": (
        "anysat_tiny",
        {
            "modalities": {"S2L1C": "s2", "S1GRD": "s1-asc"},
            "bands": {"S2L1C": [*S2, "DATE"], "S1GRD": ["VV", "VH", "DATE"]},
            "patch_size": 320,
        },
    ),
    "terramesh_thor_S1S2": (
        "thor_v1_tiny",
        {"model_bands": {"S2L2A": S2, "S1RTC": ["VV", "VH"]}, "input_gsd": 10, "merge_method": "mean"},
    ),
    "eolearn_anysat_S2": ("anysat_tiny", {"modalities": ["s2"], "bands": {"s2": S2}, "patch_size": 100}),
    "worldcereal_anysat_S1S2": (
        "anysat_tiny",
        {"modalities": ["s2", "s1-asc"], "bands": {"s2": S2, "s1-asc": ["VV", "VH"]}, "patch_size": 100},
    ),
    "treesatai_anysat_aerial_S1S2": ("anysat_tiny", {"modalities": ["aerial", "s2", "s1"], "patch_size": 10}),
    "olci_thor_S3": ("thor_v1_tiny", {"model_bands": OLCI, "input_gsd": 300, "merge_method": "mean"}),
    "landsat8_anysat": ("anysat_tiny", {"modalities": ["l8"], "patch_size": 100}),
}


@pytest.fixture(scope="module")
def load(root: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ChipDataModule]:
    """Read a config with its root set to the shared data, ready to predict."""

    def read(name: str) -> ChipDataModule:
        content = {"data": read_config(root / "config" / "data" / f"{name}.yaml")}
        arguments = content["data"]["init_args"]
        folder = tmp_path_factory.mktemp(name)
        arguments |= {"root": str(shared / "data" / FOLDERS[name]), "num_workers": 0, "batch_size": 1}
        if "sen1floods11" in name:
            (folder / "one.txt").write_text("Spain_7370579\n")
            arguments |= {key: str(folder / "one.txt") for key in arguments if key.endswith("_split")}
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        module = load_data_module([path])
        module.setup("predict")
        return module

    return read


def entry(module: ChipDataModule, index: int = 0) -> dict[str, Any]:
    assert module.predict_dataset is not None
    return module.predict_dataset[index]


def numbers(path: Path, band: int) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(band).astype(np.float64)


def test_sen1floods11_for_thor(load: Any, shared: Path) -> None:
    data = shared / "data" / "sen1floods11_v1.1" / "data"
    image = entry(load("sen1floods11_S1S2"))["image"]
    assert image["S2L1C"].shape == (10, 512, 512)
    red = numbers(data / "S2L1CHand" / "Spain_7370579_S2Hand.tif", 4)[100, 200]
    swir2 = numbers(data / "S2L1CHand" / "Spain_7370579_S2Hand.tif", 13)[100, 200]
    assert float(image["S2L1C"][2, 100, 200]) == pytest.approx((red / 1e4 - 0.213948) / 0.259180, abs=1e-5)
    assert float(image["S2L1C"][9, 100, 200]) == pytest.approx((swir2 / 1e4 - 0.175772) / 0.156223, abs=1e-5)
    vv = numbers(data / "S1GRDHand" / "Spain_7370579_S1Hand.tif", 1)[100, 200]
    assert float(image["S1GRD"][0, 100, 200]) == pytest.approx((vv + 12.9850) / 5.0062, abs=1e-5)


def test_sen1floods11_for_anysat_has_the_real_dates_of_the_event(load: Any, shared: Path) -> None:
    data = shared / "data" / "sen1floods11_v1.1" / "data"
    batch = entry(load("sen1floods11_anysat_S1S2"))
    image = batch["image"]
    assert (image["S2L1C"][10] == 260).all()  # 18 September 2019
    assert (image["S1GRD"][2] == 259).all()
    assert batch["acquired"] == "S2L1C 2019-09-18 (index); S1GRD 2019-09-17 (index)"
    red = numbers(data / "S2L1CHand" / "Spain_7370579_S2Hand.tif", 4)[300, 17]
    assert float(image["S2L1C"][2, 300, 17]) == pytest.approx((red / 1e4 - 0.123538) / 0.086923, abs=1e-5)


def test_terramesh_whose_files_do_not_name_their_bands(load: Any, shared: Path) -> None:
    data = shared / "data" / "terramesh"
    module = load("terramesh_thor_S1S2")
    assert [record.id for record in module.predict_dataset.records] == ["282D_485L_3_3", "38D_378R_2_3"]
    image = entry(module, 1)["image"]
    nir = numbers(data / "S2L2A" / "38D_378R_2_3.tif", 8)[5, 219]
    assert float(image["S2L2A"][6, 5, 219]) == pytest.approx((nir / 1e4 - 0.308133) / 0.226434, abs=1e-5)
    vh = numbers(data / "S1RTC" / "38D_378R_2_3.tif", 2)[5, 219]
    assert float(image["S1RTC"][1, 5, 219]) == pytest.approx((vh + 20.6958) / 5.8688, abs=1e-5)


def test_the_eo_learn_series_in_the_order_of_its_dates(load: Any, shared: Path) -> None:
    image = entry(load("eolearn_anysat_S2"))["image"]
    assert image["s2"].shape == (10, 5, 100, 100)
    assert image["s2_dates"].tolist() == [191, 211, 231, 241, 251]
    files = sorted((shared / "data" / "s2_l1c_timeseries_eolearn").glob("S2L1C_*.tif"))
    red = np.stack([numbers(path, 4)[:100] for path in files]) / 1e4
    clipped = np.clip(red, 0, 1)
    expected = (red[2, 50, 60] - clipped.mean()) / clipped.std()  # of the cloudy frame
    assert float(image["s2"][2, 2, 50, 60]) == pytest.approx(expected, abs=1e-4)


def test_worldcereal_months_that_are_missing_are_masked_not_invented(load: Any, shared: Path) -> None:
    image = entry(load("worldcereal_anysat_S1S2"))["image"]
    assert image["s2_mask"].tolist() == [True, False, False, *[True] * 9]
    assert image["s1-asc_mask"].all()
    assert image["s2_dates"].tolist() == [305, 335, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273]
    assert (image["s2"][:, 1:3] == 0).all()
    with h5py.File(shared / "data" / "worldcereal_s1s2_monthly" / "worldcereal_preprocessed_inputs.nc") as file:
        swir = file["S2-L2A-B11"][:].astype(np.uint16).astype(np.float64)
        vh = file["S1-SIGMA0-VH"][:].astype(np.uint16).astype(np.float64)
    seen = np.clip(swir[swir != 65535] / 1e4, 0, 1)
    expected = (swir[7, 33, 44] / 1e4 - seen.mean()) / seen.std()
    assert float(image["s2"][8, 7, 33, 44]) == pytest.approx(expected, abs=1e-4)
    decibel = 20 * np.log10(vh) - 83
    expected = (decibel[7, 33, 44] - decibel.mean()) / decibel.std()
    assert float(image["s1-asc"][1, 7, 33, 44]) == pytest.approx(expected, abs=1e-4)


def test_treesat_plot_with_a_finer_aerial_image(load: Any, shared: Path) -> None:
    stem = shared / "data" / "treesatai_anysat" / "Abies_alba_1_1005_WEFL_NLF"
    image = entry(load("treesatai_anysat_aerial_S1S2"))["image"]
    assert image["aerial"].shape == (4, 300, 300)
    green = numbers(stem.with_suffix(".tif"), 2)[2 + 10, 2 + 20]
    assert float(image["aerial"][1, 10, 20]) == pytest.approx((green - 92.71389) / 27.624987, abs=1e-5)
    with h5py.File(stem.with_suffix(".h5")) as file:
        b8 = float(file["sen-2-data"][100, 6, 3, 4])
        vv, vh = (float(value) for value in file["sen-1-asc-data"][30, :, 3, 4])
    assert float(image["s2"][6, 100, 3, 4]) == pytest.approx((b8 - 4837.247) / 2821.5215, abs=1e-5)
    assert float(image["s1"][2, 30, 3, 4]) == pytest.approx((vv / vh - 0.61162734) / 1.0343183, abs=1e-4)
    assert image["s2_dates"][:3].tolist() == [1, 4, 6]


def test_olci_is_cropped_to_whole_patches_around_its_centre(load: Any, shared: Path) -> None:
    (path,) = (shared / "data" / "s3_olci").glob("*.tif")
    batch = entry(load("olci_thor_S3"))
    assert batch["image"].shape == (21, 96, 96)
    value = numbers(path, 17)[2 + 11, 2 + 90]
    assert float(batch["image"][16, 11, 90]) == pytest.approx((value - 0.402817) / 0.251323, abs=1e-5)
    with rasterio.open(path) as file:
        corners = np.array([file.xy(row, column, offset="ul") for row in (2, 98) for column in (2, 98)])
        x, y = file.xy(2, 2, offset="ul")
    # The grid is rotated: bounds are the extremes of its corners, the transform starts at the first one.
    assert batch["bounds"].tolist() == pytest.approx([*corners.min(axis=0), *corners.max(axis=0)], abs=1e-9)
    assert batch["geotransform"][[0, 3]].tolist() == pytest.approx([x, y], abs=1e-9)


def test_landsat_bands_of_15_and_30_m_come_to_one_grid(load: Any, shared: Path) -> None:
    folder = shared / "data" / "landsat" / "LC08_L1TP_195025_20130707"
    batch = entry(load("landsat8_anysat"))
    image = batch["image"]["l8"]
    assert image.shape == (11, 1, 120, 120)
    assert batch["image"]["l8_dates"].tolist() == [187]
    left, bottom, right, top = batch["bounds"].tolist()
    assert (right - left, top - bottom) == (1200, 1200)
    (path,) = folder.glob("*_B5.TIF")
    with rasterio.open(path) as file:
        grid = np.zeros((123, 123), dtype=np.float32)
        origin = rasterio.Affine(10, 0, left - 10, 0, -10, top + 10)
        reproject(
            file.read(1).astype(np.float32), grid, src_transform=file.transform, src_crs=file.crs, dst_crs=file.crs,
            dst_transform=origin, resampling=Resampling.bilinear, src_nodata=file.nodata, dst_nodata=np.nan,
        )  # fmt: skip
    near_infrared = grid[1:121, 1:121].astype(np.float64)
    expected = (near_infrared[70, 80] - np.nanmean(near_infrared)) / np.nanstd(near_infrared)
    assert float(image[5, 0, 70, 80]) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", BACKBONES)
def test_the_batch_goes_into_its_encoder(name: str, load: Any) -> None:
    from terratorch.registry import BACKBONE_REGISTRY

    import anysat_ext  # noqa: F401
    import thor_terratorch_ext  # noqa: F401

    module = load(name)
    batch = next(iter(module.predict_dataloader()))
    image = batch.pop("image")
    if "sen1floods11" in name:
        image = {key: value[..., :96, :96] for key, value in image.items()}  # 512 px are many tokens
    kind, arguments = BACKBONES[name]
    torch.manual_seed(0)
    backbone = BACKBONE_REGISTRY.build(kind, pretrained=False, **arguments).eval()
    assert isinstance(batch["filename"], list)
    with torch.no_grad():
        features = backbone(image, **{key: value for key, value in batch.items() if key != "filename"})
    assert torch.isfinite(features[-1]).all()
    assert float(features[-1].std()) > 0
