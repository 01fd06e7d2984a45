"""Pixels come over the network, credentials stay out of all that is written."""

from __future__ import annotations

import json
import logging
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from file_server import PASSWORD, SIGNATURES, served
from range_server import range_server
from torch import nn

from eo_data.catalog.sources import ImageSource
from eo_data.datamodules import ChipDataModule
from eo_data.dataset.dataset import usable_records, write_skipped
from eo_data.raster.remote.memory import known_files
from eo_data.raster.sample import SampleError
from eo_embed import Exporter, ExportSettings
from eo_embed.export.record.failures import Failures
from eo_finetune.cache.dataset import _name
from eo_models.features import Features
from thor_terratorch_ext import ThorPreprocess


class _Means(nn.Module):
    """Means of cells of 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.AvgPool2d(8)

    def forward(self, image: torch.Tensor, **_: Any) -> list[Features]:
        grid = self.backbone(image)
        return [Features(grid.flatten(2).transpose(1, 2), None, grid)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set whose only image is on a server."""
    pixels = np.random.default_rng(0).integers(300, 5000, (3, 48, 48), dtype="uint16")
    (tmp_path / "server").mkdir()
    profile = {"driver": "GTiff", "count": 3, "height": 48, "width": 48, "dtype": "uint16"}
    place = {"crs": "EPSG:32631", "transform": Affine(10, 0, 500_000, 0, -10, 4_000_000)}
    with rasterio.open(tmp_path / "server/x.tif", "w", **profile, **place) as file:
        file.write(pixels)
        file.descriptions = ("BLUE", "GREEN", "RED")
    (tmp_path / "data").mkdir()
    return tmp_path


def _data(root: Path, cache: Path | None = None, **addresses: str) -> ChipDataModule:
    rows = "".join(f"{name},{address}\n" for name, address in addresses.items())
    (root / "data/index.csv").write_text(f"id,S2\n{rows}")
    source = ImageSource(bands=["BLUE", "GREEN", "RED"], sensor="sentinel2_l2a", unit="digital_number", offset=0)
    folder = str(root / "data")
    preprocess = ThorPreprocess(patch_size=8)
    kept = None if cache is None else str(cache)
    data = ChipDataModule(folder, {"S2": source}, preprocess, index="index.csv", num_workers=0, remote_cache=kept)
    data.setup("predict")
    return data


def _secrets(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and b"SECRET" in path.read_bytes()]


def test_a_signed_address_is_read_and_its_signature_is_in_nothing_that_is_written(root: Path) -> None:
    with served(root / "server") as host:
        signed = f"http://{host}/x.tif?sv=1&sig={SIGNATURES[0]}&se=2030"
        data = _data(root, basic=f"http://user:{PASSWORD}@{host}/x.tif", signed=signed, virtual=f"/vsicurl/{signed}")
        read = [data.predict_dataset.read(i).reference.raster.pixels for i in range(3)]
        exporter = Exporter(root / "out", _Means(), ExportSettings(output="both"), {"encoder": "means"})
        exporter.open(3)
        for batch in data.predict_dataloader():
            exporter.add(batch)
        exporter.complete(exporter.close())
    with rasterio.open(root / "server/x.tif") as file:
        stored = file.read() * 1e-4
    for pixels in read:
        np.testing.assert_allclose(pixels, stored, rtol=1e-6)
    content = json.loads((root / "out/manifest.json").read_text())
    shown = {entry["id"]: [source["path"] for source in entry["sources"]] for entry in content["inputs"]}
    plain = f"http://{host}/x.tif"
    assert shown == {"basic": [plain], "signed": [plain], "virtual": [f"/vsicurl/{plain}"]}
    assert len(list((root / "out/grids").rglob("*.tif"))) == 3
    assert _secrets(root / "out") == []


def test_a_second_run_of_a_data_module_with_a_cache_fetches_no_pixels(root: Path) -> None:
    with range_server(root / "server") as server:
        read = []
        for _ in range(2):
            server.forget()
            known_files().forget(f"http://{server.host}/x.tif")  # as in another process
            dataset = _data(root, root / "cache", x=f"http://{server.host}/x.tif").predict_dataset
            read.append(dataset.read(0).reference.raster.pixels)
        assert {stop - start for _, start, stop in server.given} == {1}
    with rasterio.open(root / "server/x.tif") as file:
        np.testing.assert_allclose(read[0], file.read() * 1e-4, rtol=1e-6)
    np.testing.assert_array_equal(*read)


def test_a_new_signature_makes_no_new_sample(root: Path) -> None:
    """Else frozen features would be encoded again with every token."""
    with served(root / "server") as host:
        entries, names = [], []
        for signature in SIGNATURES:
            dataset = _data(root, x=f"http://{host}/x.tif?sig={signature}").predict_dataset
            entry = dataset[0]
            entries.append((entry["id"], entry["filename"], entry["sources"]))
            names.append(_name(dataset, 0))
        other = _data(root, x=f"http://{host}/y.tif?sig={SIGNATURES[0]}").predict_dataset
    assert entries[0] == entries[1]
    assert names[0] == names[1] != _name(other, 0)


def test_what_cannot_be_reached_is_named_with_the_remedy_and_without_the_signature(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with served(root / "server") as host:
        refused = f"http://{host}/x.tif?sig=SECRET-expired"
        dataset = _data(root, x=refused, y=f"/vsicurl/{refused}").predict_dataset
        for i in range(2):
            with (
                caplog.at_level(logging.INFO),
                pytest.raises(SampleError, match="x.tif cannot be read: ") as raised,
            ):
                _ = dataset[i]
            assert "download" in str(raised.value)
            assert "SECRET" not in "".join(traceback.format_exception(raised.value))
        _, lost = usable_records(dataset, "predict")
    assert "SECRET" not in caplog.text
    write_skipped(root / "out/skipped.csv", lost)
    failures = Failures(root / "out")
    failures.add("x", f"{refused} is not there", refused)
    failures.merge()
    assert "cannot be read" in (root / "out/skipped.csv").read_text()
    assert f"{host}/x.tif is not there" in (root / "out/failures.csv").read_text()
    assert _secrets(root / "out") == []
