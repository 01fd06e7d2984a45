"""Offsets of products and names of bands that a config or a statistics file must not lose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from small_files import hrefs

from eo_data.catalog.records import Record
from eo_data.catalog.sources import ImageSource
from eo_data.datamodules import ChipDataModule
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_data.preprocess.statistics import read_statistics
from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image, Sample, SampleError
from eo_data.readers.images import ImageReader
from eo_data.sensors.sentinel2 import sentinel2_offset
from eo_data.sensors.units import InputUnit
from eo_data.statistics import main as statistics_command


def test_the_offset_of_a_product_is_not_forgotten(tmp_path: Path) -> None:
    name = "S2B_MSIL2A_20230612T102559_N0509_R108_T32ULC_20230612T134559"
    pixels = np.full((2, 16, 16), 2500, np.int16)
    profile = {"count": 2, "height": 16, "width": 16, "dtype": "int16", "crs": "EPSG:32632"}
    transform = rasterio.transform.from_origin(500_000, 5_000_000, 10, 10)
    with rasterio.open(tmp_path / f"{name}.tif", "w", driver="GTiff", transform=transform, **profile) as file:
        file.write(pixels)
        file.descriptions = ("B02", "B03")
    read = {}
    for offset in (None, "auto", 0, -1000):
        source = ImageSource("{id}.tif", ["B02", "B03"], sensor="sentinel2_l2a", unit="digital_number", offset=offset)
        record = Record(name, {"s2": hrefs(tmp_path / f"{name}.tif")})
        if offset is None:
            with pytest.raises(SampleError, match=r"have an offset of -1000. State offset: auto, or offset: 0"):
                ImageReader("s2", source).read(record)
            continue
        read[offset] = float(ImageReader("s2", source).read(record).raster.pixels[0, 0, 0])
    assert read == pytest.approx({"auto": 0.15, 0: 0.25, -1000: 0.15})
    out = tmp_path / "s2.yaml"
    command = [str(tmp_path / "*.tif"), "--sensor", "sentinel2_l2a", "--unit", "digital_number", "--out", str(out)]
    with pytest.raises(SystemExit):
        statistics_command(command)
    statistics_command([*command, "--offset", "auto"])
    assert read_statistics(out).means == pytest.approx((0.15, 0.15))


def test_statistics_know_their_bands_by_other_names(tmp_path: Path) -> None:
    path = tmp_path / "s2.yaml"
    path.write_text("bands: [BLUE, GREEN]\nunit: reflectance\nmeans: [0.1, 0.2]\nstds: [1.0, 2.0]\n")
    raster = Raster(np.full((2, 4, 4), 0.6, np.float32), np.ones((4, 4), dtype=bool), None, None)
    image = Image(raster, ("B03", "B02"), InputUnit.REFLECTANCE, 10.0, sensor="sentinel2_l2a")
    for scaling in (
        DatasetNormalise(statistics=str(path)),
        DatasetNormalise({"s2": {"B2": 0.1, "GREEN": 0.2}}, {"s2": {"blue": 1.0, "B03": 2.0}}),
    ):
        result = scaling(Sample("here", {"s2": image})).images["s2"].raster.pixels[:, 0, 0]
        np.testing.assert_allclose(result, [0.2, 0.5], rtol=1e-6)
    other = replace(image, bands=("B03", "B12"))
    with pytest.raises(SampleError, match="The statistics of 's2' do not fit"):
        DatasetNormalise(statistics=str(path))(Sample("here", {"s2": other}))


def test_a_modality_that_a_sample_lacks_is_normalised_by_any_band_name(tmp_path: Path) -> None:
    transform = rasterio.transform.from_origin(500_000, 5_000_000, 10, 10)
    profile = {"count": 1, "height": 16, "width": 16, "dtype": "float32", "crs": "EPSG:32632", "transform": transform}
    for name in ("a/one", "a/two", "b/one"):
        path = tmp_path / f"{name}.tif"
        path.parent.mkdir(exist_ok=True)
        with rasterio.open(path, "w", driver="GTiff", **profile) as file:
            file.write(np.full((1, 16, 16), 0.3, np.float32))
    optical = {"bands": ["B02"], "file_bands": ["B02"], "sensor": "sentinel2_l2a"}
    modalities = {
        "a": ImageSource("a/{id}.tif", **optical),
        "b": ImageSource("b/{id}.tif", optional=True, **optical),
    }
    scaling = DatasetNormalise({name: {"BLUE": 0.1} for name in "ab"}, {name: {"BLUE": 2.0} for name in "ab"})
    data = ChipDataModule(str(tmp_path), modalities, scaling, num_workers=0, missing_modality="zeros")
    data.setup("predict")
    image = next(iter(data.predict_dataloader()))["image"]
    assert image["b"][:, 0, 0, 0].tolist() == pytest.approx([0.1, 0.0])


@pytest.mark.parametrize(
    ("name", "offset"),
    [
        # Names of the Planetary Computer and of single files have no baseline, but a day of sensing.
        ("S2B_MSIL2A_20220125T002611_R102_T33TWN_20230410T040056.tif", -1000),
        ("S2B_MSIL2A_20220124T002611_R102_T33TWN_20230410T040056.tif", None),
        ("T33TWN_20230409T002611_B02_10m.jp2", -1000),
        ("T33TWN_20230409T002611_B8A.jp2", -1000),
        ("T33TWN_20210409T002611_B02_10m.jp2", None),
        # Their own word comes first.
        ("S2B_MSIL2A_20230409T002611_N9999_R102_T33TWN_20230410T040056.tif", None),
        ("COPERNICUS_S2_SR_HARMONIZED/S2B_MSIL2A_20230409T002611_R102_T33TWN_20230410T040056.tif", 0),
        # These were made by others.
        ("T33TWN_20230409T002611_chip.tif", None),
        ("chip_20230409T002611_B02.tif", None),
    ],
)
def test_a_day_of_sensing_after_january_2022_tells_the_offset(name: str, offset: float | None) -> None:
    assert sentinel2_offset(name) == offset
