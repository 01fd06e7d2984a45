"""Dated series: frames in the order of their dates, and none that was not observed counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from eo_data.catalog.sources import ImageSource
from eo_data.datamodules import ChipDataModule, TimeSeriesDataModule
from eo_data.inspect import load_data_module
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_data.raster.sample import SampleError
from eo_data.temporal.frame_policy import FramePolicy

Make = Callable[..., ChipDataModule]
Chips = Callable[..., Path]
WriteTif = Callable[..., Path]


DAYS = {"20210601": 3, "20210105": 1, "20210310": 2}


def _series(root: Path, write_tif: WriteTif, *, clouds: bool = False) -> None:
    """Write three acquisitions whose names sort otherwise than their dates; the value is the rank of the date."""
    for prefix, (day, rank) in zip("abc", DAYS.items(), strict=True):
        pixels = np.full((3 if clouds else 2, 16, 16), rank * 1000, dtype=np.uint16)
        if clouds:
            pixels[2] = 4
            pixels[2, 0, 0] = 9 if rank == 2 else 4
        write_tif(root / "x" / f"{prefix}_S2_{day}.tif", pixels, ("B2", "B3", "SCL")[: len(pixels)])


def _module(root: Path, frames: FramePolicy | None = None, **source: Any) -> TimeSeriesDataModule:
    defaults = {"bands": ["B2", "B3"], "sensor": "sentinel2_l2a", "unit": "digital_number"}
    modality = ImageSource("{id}/*_S2_*.tif", **(defaults | source))
    plain = DatasetNormalise({"S2": [0.0, 0.0]}, {"S2": [1.0, 1.0]})
    module = TimeSeriesDataModule(
        frames=frames, root=str(root), modalities={"S2": modality}, preprocess=plain, num_workers=0
    )
    module.setup("predict")
    return module


def _first(module: ChipDataModule) -> dict[str, Any]:
    return next(iter(module.predict_dataloader()))


def test_acquisitions_come_in_the_order_of_their_dates(write_tif: WriteTif, tmp_path: Path) -> None:
    _series(tmp_path, write_tif)
    image = _first(_module(tmp_path))["image"]
    assert image["S2"].shape == (1, 2, 3, 16, 16)
    assert (image["S2"][0, 0, :, 0, 0] * 10).tolist() == pytest.approx([1, 2, 3])
    assert image["S2_dates"].tolist() == [[4, 68, 151]]
    assert image["S2_mask"].tolist() == [[True, True, True]]


def test_padded_frames_are_masked(write_tif: WriteTif, tmp_path: Path) -> None:
    _series(tmp_path, write_tif)
    module = _module(tmp_path, FramePolicy(frames=5))
    batch = _first(module)
    assert batch["image"]["S2_mask"].tolist() == [[True, True, True, False, False]]
    assert batch["image"]["S2"][0, :, 3:].abs().max().item() == 0
    assert batch["valid"].all()
    module.dates_as = "plane"
    module.setup("predict")
    plane = _first(module)["image"]
    assert plane.shape == (1, 3, 5, 16, 16)
    assert plane[0, 2, :, 0, 0].tolist() == [4, 68, 151, -1, -1]
    assert plane[0, 2].amin(dim=(1, 2)).tolist() == plane[0, 2].amax(dim=(1, 2)).tolist()


def test_composites_have_the_date_of_the_middle_and_empty_ones_are_masked(write_tif: WriteTif, tmp_path: Path) -> None:
    _series(tmp_path, write_tif)
    # 365 days in four parts: bounds at day 0, 91, 182, 273, 365; January and March fall into the first one.
    policy = FramePolicy("composites", 4, "2021-01-01", "2022-01-01", method="mean")
    image = _first(_module(tmp_path, policy))["image"]
    assert (image["S2"][0, 0, :, 0, 0] * 10).tolist() == pytest.approx([1.5, 3, 0, 0])
    assert image["S2_mask"].tolist() == [[True, True, False, False]]
    assert image["S2_dates"].tolist() == [[45, 91 + 45, 182 + 45, 273 + 46]]


def test_nearest_acquisitions(write_tif: WriteTif, tmp_path: Path) -> None:
    _series(tmp_path, write_tif)
    policy = FramePolicy("nearest", dates=["2021-06-03", "2021-01-01", "2021-10-01"], max_days=10)
    image = _first(_module(tmp_path, policy))["image"]
    assert (image["S2"][0, 0, :, 0, 0] * 10).tolist() == pytest.approx([3, 1, 0])
    assert image["S2_dates"].tolist() == [[151, 4, 273]]
    assert image["S2_mask"].tolist() == [[True, True, False]]


def test_a_window_holds_for_all_acquisitions_and_an_empty_one_names_its_sample(
    write_tif: WriteTif, tmp_path: Path
) -> None:
    _series(tmp_path, write_tif)
    image = _first(_module(tmp_path, FramePolicy(start="2021-02-01", end="2021-06-01")))["image"]
    assert image["S2_dates"].tolist() == [[68]]
    assert (image["S2"][0, 0, :, 0, 0] * 10).tolist() == pytest.approx([2])
    with pytest.raises(
        SampleError, match=r"'S2' \(.*a_S2_20210601.tif\): No acquisition .*from 2022-01-01 on, any end"
    ):
        _first(_module(tmp_path, FramePolicy(start="2022-01-01")))


def test_inspect_reads_the_window_of_a_config_without_quotes(write_tif: WriteTif, tmp_path: Path) -> None:
    _series(tmp_path, write_tif)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"""
class_path: eo_data.datamodules.TimeSeriesDataModule
init_args:
  root: {tmp_path}
  frames: {{start: 2021-02-01, end: 2021-06-01}}
  preprocess:
    class_path: eo_data.preprocess.DatasetNormalise
    init_args: {{means: {{S2: [0, 0]}}, stds: {{S2: [1, 1]}}}}
  modalities:
    S2:
      files: "{{id}}/*_S2_*.tif"
      sensor: sentinel2_l2a
      bands: [B2, B3]
      unit: digital_number
      fallback_date: 2021-01-01
"""
    )
    module = load_data_module([config])
    assert module.frames == FramePolicy(start="2021-02-01", end="2021-06-01", dates=[])
    assert module.modalities["S2"].fallback_date == "2021-01-01"
    module.setup("predict")
    assert module.predict_dataset is not None
    assert [str(day) for day in module.predict_dataset.read(0).images["S2"].dates] == ["2021-03-10"]


def test_clouds_are_missing_values(write_tif: WriteTif, tmp_path: Path) -> None:
    _series(tmp_path, write_tif, clouds=True)
    dataset = _module(tmp_path, cloud_band="SCL").predict_dataset
    assert dataset is not None
    image = dataset.read(0).images["S2"]
    assert image.bands == ("B2", "B3")
    assert np.argwhere(np.isnan(image.raster.pixels)).tolist() == [[1, 0, 0, 0], [1, 1, 0, 0]]
    # The median of the other two acquisitions.
    policy = FramePolicy("composites", 1, "2021-01-01", "2022-01-01")
    composite = _first(_module(tmp_path, policy, cloud_band="SCL"))["image"]["S2"]
    assert (composite[0, 0, 0, 0, :2] * 10).tolist() == pytest.approx([2, 2])
    policy = FramePolicy("composites", 1, "2021-01-01", "2021-03-31")
    composite = _first(_module(tmp_path, policy, cloud_band="SCL"))["image"]["S2"]
    assert (composite[0, 0, 0, 0, :2] * 10).tolist() == pytest.approx([1, 1.5])


def test_a_static_image_beside_a_series(write_tif: WriteTif, tmp_path: Path) -> None:
    _series(tmp_path, write_tif)
    write_tif(tmp_path / "x_aerial.tif", np.full((4, 800, 800), 99, dtype=np.uint8), ("R", "G", "B", "NIR"), size=0.2)
    modalities = {
        "aerial": ImageSource("{id}_aerial.tif", ["R", "NIR"], sensor="aerial", unit="native", static=True),
        "S2": ImageSource(
            "{id}/*_S2_*.tif", ["B2", "B3"], sensor="sentinel2_l2a", unit="digital_number", optional=True
        ),
    }
    arguments: dict[str, Any] = {
        "preprocess": DatasetNormalise({"aerial": [0, 0], "S2": [0, 0]}, {"aerial": [1, 1], "S2": [1, 1]}),
        "num_workers": 0,
        "root": str(tmp_path),
        "modalities": modalities,
    }
    module = TimeSeriesDataModule(**arguments)
    module.setup("predict")
    image = _first(module)["image"]
    assert sorted(image) == ["S2", "S2_dates", "S2_mask", "aerial"]
    assert (image["aerial"].shape, image["S2"].shape) == ((1, 2, 800, 800), (1, 2, 3, 16, 16))
    # A place without its series: as many frames as the others have, all masked, although nothing there has a date.
    write_tif(tmp_path / "y_aerial.tif", np.full((4, 800, 800), 99, dtype=np.uint8), ("R", "G", "B", "NIR"), size=0.2)
    policy = FramePolicy("nearest", dates=["2021-01-01", "2021-06-01"])
    module = TimeSeriesDataModule(frames=policy, missing_modality="zeros", batch_size=2, **arguments)
    module.setup("predict")
    image = _first(module)["image"]
    assert image["S2"].shape == (2, 2, 2, 16, 16)
    assert image["S2_mask"].tolist() == [[True, True], [False, False]]


def test_a_cube_and_an_hdf5_are_series(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    data = np.stack([np.full((4, 4), 3000, dtype=np.int16), np.full((4, 4), 1000, dtype=np.int16)])
    times = np.array(["2021-06-01", "2021-01-05"], dtype="datetime64[ns]")
    variables = dict.fromkeys(("B2", "B3"), (("t", "y", "x"), data))
    write_cube(tmp_path / "x.nc", variables, pixel_centres(4) | {"t": times})
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["s2"], file["names"] = np.stack([data, data], axis=1), [b"S2A_20210601", b"S2A_20210105"]
    options = {"sensor": "sentinel2_l2a", "unit": "digital_number"}
    modalities = {
        "cube": ImageSource("{id}.nc", ["B2", "B3"], **options),  # type: ignore[arg-type]
        "hdf5": ImageSource(
            "{id}.h5", ["B2", "B3"], dataset="s2", products="names", file_bands=["B2", "B3"], **options
        ),  # type: ignore[arg-type]
    }
    plain = DatasetNormalise({"cube": [0, 0], "hdf5": [0, 0]}, {"cube": [1, 1], "hdf5": [1, 1]})
    module = TimeSeriesDataModule(root=str(tmp_path), modalities=modalities, preprocess=plain, num_workers=0)
    module.setup("predict")
    batch = _first(module)
    for name in modalities:
        assert (batch["image"][name][0, 0, :, 0, 0] * 10).tolist() == pytest.approx([1, 3])
        assert batch["image"][f"{name}_dates"].tolist() == [[4, 151]]


def test_series_on_different_grids_are_skipped(write_tif: WriteTif, tmp_path: Path) -> None:
    _series(tmp_path, write_tif)
    for day in ("20210101", "20210102"):
        shift = 10 if day == "20210102" else 0
        pixels = np.full((2, 16, 16), 1000, dtype=np.uint16)
        write_tif(tmp_path / "y" / f"a_S2_{day}.tif", pixels, ("B2", "B3"), corner=(500000.0 + shift, 5000000.0))
    with pytest.raises(SampleError, match="a_S2_20210102.tif .* lies on another grid"):
        list(_module(tmp_path).predict_dataloader())
    module = _module(tmp_path)
    module.on_error, module.skipped_file = "skip", tmp_path / "out.csv"
    with pytest.warns(UserWarning, match="1 of 2 samples"):
        module.setup("predict")
    assert [entry[1] for entry in module.skipped] == ["y"]
