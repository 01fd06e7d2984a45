"""What a batch holds: the right band, the right pixel, its place on the ground, its date, and what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from affine import Affine

from anysat_ext import AnySatPreprocess
from eo_data.catalog.sources import ImageSource, LabelSource
from eo_data.datamodules import ChipDataModule
from eo_data.dataset.dataset import EoDataset
from eo_data.dataset.sample_reader import SampleReader
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_data.raster.sample import SampleError
from thor_terratorch_ext import ThorPreprocess

LEFT, TOP = 500000.0, 5000000.0
#: THOR's published statistics of Sentinel-2 reflectance by band id: mean, standard deviation.
THOR = {
    "B2": (0.176620, 0.264520),
    "B4": (0.213948, 0.259180),
    "B8": (0.308133, 0.226434),
    "B8A": (0.320993, 0.223274),
    "B11": (0.221550, 0.171606),
    "B12": (0.175772, 0.156223),
}
WANTED = {"B2": "BLUE", "B4": "RED", "B8": "NIR_BROAD", "B8A": "NIR_NARROW", "B11": "SWIR_1", "B12": "SWIR_2"}
#: Digital numbers of the painted pixel, one per band.
PAINTED = {"B2": 311, "B4": 741, "B8": 2917, "B8A": 3023, "B11": 1811, "B12": 977}
AT = (37, 90)  # row and column


def _plane(band: str, side: int = 144) -> np.ndarray:
    plane = np.full((side, side), 1000, dtype=np.uint16)
    plane[AT] = PAINTED[band]
    return plane


def _module(root: Path, source: dict[str, Any], preprocess: Any = None, **arguments: Any) -> ChipDataModule:
    defaults = {"sensor": "sentinel2_l2a", "unit": "digital_number"}
    modalities = {"S2": ImageSource(**(defaults | source))}
    module = ChipDataModule(str(root), modalities, preprocess or ThorPreprocess(), num_workers=0, **arguments)
    module.setup("predict")
    return module


def _batch(module: ChipDataModule) -> dict[str, Any]:
    return next(iter(module.predict_dataloader()))


def _orders() -> list[list[str]]:
    bands = list(PAINTED)
    rng = np.random.default_rng(7)
    return [bands, bands[::-1], *([str(band) for band in rng.permutation(bands)] for _ in range(2))]


@pytest.mark.parametrize("kind", ["stack", "file per band", "netcdf", "netcdf with bands"])
@pytest.mark.parametrize("wanted", _orders()[1:], ids=str)
@pytest.mark.parametrize("stored", _orders()[:3], ids=str)
def test_a_painted_pixel_comes_out_under_its_band(
    write_tif: Callable[..., Path],
    write_cube: Callable[..., Path],
    pixel_centres: Callable[..., dict[str, np.ndarray]],
    tmp_path: Path,
    kind: str,
    stored: list[str],
    wanted: list[str],
) -> None:
    planes = {band: _plane(band) for band in stored}
    names = [WANTED[band] for band in wanted]
    if kind == "stack":
        write_tif(tmp_path / "x.tif", np.stack(list(planes.values())), stored)
        source: dict[str, Any] = {"files": "{id}.tif", "bands": names}
    elif kind == "file per band":
        for band, plane in planes.items():
            write_tif(tmp_path / f"x_1_{band}.tif", plane[None])
        source = {"files": "{id}_{band}.tif", "bands": names}
    elif kind == "netcdf":
        variables = {f"S2_{band}": (("y", "x"), plane) for band, plane in planes.items()}
        write_cube(tmp_path / "x.nc", variables, pixel_centres(144))
        source = {"files": "{id}.nc", "bands": names, "variables": "S2_{band}"}
    else:
        data = np.stack(list(planes.values()), axis=-1)
        write_cube(tmp_path / "x.nc", {"s2": (("y", "x", "band"), data)}, pixel_centres(144) | {"band": stored})
        source = {"files": "{id}.nc", "bands": names}
    image = _batch(_module(tmp_path, source))["image"]
    assert image.shape == (1, 6, 144, 144)
    for channel, band in enumerate(wanted):
        mean, std = THOR[band]
        expected, ground = (PAINTED[band] * 1e-4 - mean) / std, (1000 * 1e-4 - mean) / std
        assert image[0, channel, AT[0], AT[1]].item() == pytest.approx(expected, rel=1e-5, abs=1e-6), band
        assert image[0, channel, 0, 0].item() == pytest.approx(ground, rel=1e-5, abs=1e-6), band


@pytest.mark.parametrize("kind", ["file", "float", "config", "mask", "inf"])
def test_missing_pixels_are_zero_after_normalisation_and_not_valid(
    write_tif: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    """The mean of the band, not reflectance 0, which would be -mean / std."""
    options: dict[str, Any] = {}
    source: dict[str, Any] = {"files": "{id}.tif", "bands": ["B2", "B4"]}
    pixels = np.full((2, 144, 144), 1000, dtype=np.uint16)
    if kind in ("float", "inf"):
        pixels = np.full((2, 144, 144), 0.1, dtype=np.float32)
        source["unit"] = "reflectance"
        pixels[:, 3, 4] = np.nan if kind == "float" else np.inf
        pixels[0, 5, 6] = np.nan if kind == "float" else -np.inf
    elif kind == "mask":
        options["mask"] = np.full((144, 144), 255, dtype=np.uint8)
        options["mask"][3, 4] = 0
    else:
        pixels[:, 3, 4] = 65535
        pixels[0, 5, 6] = 65535
        if kind == "file":
            options["nodata"] = 65535
        else:
            source["nodata"] = 65535
    write_tif(tmp_path / "x.tif", pixels, ("B2", "B4"), **options)
    batch = _batch(_module(tmp_path, source))
    blue, red = ((0.1 - mean) / std for mean, std in (THOR["B2"], THOR["B4"]))
    assert batch["image"][0, :, 3, 4].tolist() == [0, 0]
    assert np.argwhere(~batch["valid"][0].numpy()).tolist() == [[3, 4]]
    assert batch["image"][0, :, 0, 0].tolist() == pytest.approx([blue, red], rel=1e-5)
    # One band alone: it is filled, the other band and the pixel's validity stay.
    first = blue if kind == "mask" else 0
    assert batch["image"][0, :, 5, 6].tolist() == pytest.approx([first, red], rel=1e-5)
    assert torch.isfinite(batch["image"]).all()


def test_bounds_are_those_of_the_pixels_in_the_batch(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    """300 pixels snap to 304 or 288; THOR's unit for 10 and 20 m is 16 pixels, so 304 (padded by 2) is nearest."""
    pixels = np.full((2, 300, 300), 1000, dtype=np.uint16)
    pixels[:, 10, 20] = 2000
    for name, left in (("a", LEFT), ("b", LEFT + 12345.678)):
        write_tif(tmp_path / f"{name}.tif", pixels, ("B2", "B11"), corner=(left, TOP))
    source = {"files": "{id}.tif", "bands": ["B2", "B11"]}
    batch = _batch(_module(tmp_path, source))
    assert batch["bounds"].dtype == torch.float64
    assert batch["image"].shape[-2:] == (304, 304)
    assert batch["bounds"].tolist() == [
        [left - 20, TOP - 3020, left + 3020, TOP + 20] for left in (LEFT, LEFT + 12345.678)
    ]
    assert batch["valid"].sum().item() == 2 * 300 * 300
    row, column = np.argwhere(batch["image"][0, 0].numpy() == batch["image"][0, 0].numpy().max())[0]
    assert (row, column) == (12, 22)
    assert (batch["bounds"][0, 0] + 10 * column, batch["bounds"][0, 3] - 10 * row) == (LEFT + 200, TOP - 100)
    assert batch["filename"] == [str(tmp_path / "a.tif"), str(tmp_path / "b.tif")]
    assert [type(entry) for entry in batch["crs"]] == [str, str]
    assert "UTM zone 32N" in batch["crs"][0]
    assert batch["id"] == ["a", "b"]


def test_a_crop_moves_bounds_and_mask_with_the_image(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    """310 x 306: cropped to the square 306, then to 304 pixels; an odd pixel goes to the bottom or right."""
    pixels = np.full((2, 310, 306), 1000, dtype=np.uint16)
    pixels[:, 10, 20] = 2000
    label = np.zeros((1, 310, 306), dtype=np.int16)
    label[0, 10, 20], label[0, 50, 60] = 1, -1
    write_tif(tmp_path / "img" / "a.tif", pixels, ("B2", "B11"))
    write_tif(tmp_path / "lab" / "a.tif", label)
    (tmp_path / "s.txt").write_text("a")
    source = ImageSource("img/{id}.tif", ["B2", "B11"], sensor="sentinel2_l2a", unit="digital_number")
    module = ChipDataModule(
        str(tmp_path),
        {"S2": source},
        ThorPreprocess(),
        LabelSource("lab/{id}.tif", classes=2),
        test_split="s.txt",
        georeference="always",
        num_workers=0,
    )
    module.setup("test")
    batch = next(iter(module.test_dataloader()))
    assert batch["image"].shape == (1, 2, 304, 304)
    assert batch["mask"].shape == (1, 304, 304)
    assert batch["mask"].dtype == torch.int64
    # From the top 2 + 1 rows and from the left 0 + 1 columns are gone.
    assert batch["bounds"].tolist() == [[LEFT + 10, TOP - 30 - 3040, LEFT + 10 + 3040, TOP - 30]]
    assert np.argwhere(batch["mask"][0].numpy() == 1).tolist() == [[7, 19]]
    assert np.argwhere(batch["mask"][0].numpy() == -1).tolist() == [[47, 59]]
    brightest = batch["image"][0, 0].numpy() == batch["image"][0, 0].max().item()
    assert np.argwhere(brightest).tolist() == [[7, 19]]


def test_the_border_of_a_padded_label_is_ignored(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    write_tif(tmp_path / "img" / "a.tif", np.full((2, 300, 300), 1000, dtype=np.uint16), ("B2", "B11"))
    write_tif(tmp_path / "lab" / "a.tif", np.zeros((1, 300, 300), dtype=np.int16))
    (tmp_path / "s.txt").write_text("a")
    source = ImageSource("img/{id}.tif", ["B2", "B11"], sensor="sentinel2_l2a", unit="digital_number")
    module = ChipDataModule(
        str(tmp_path),
        {"S2": source},
        ThorPreprocess(),
        LabelSource("lab/{id}.tif", classes=2),
        test_split="s.txt",
        num_workers=0,
    )
    module.setup("test")
    batch = next(iter(module.test_dataloader()))
    assert sorted(batch) == ["filename", "image", "mask"]
    assert (batch["mask"] == -1).sum().item() == 304 * 304 - 300 * 300
    assert (batch["mask"][0, 2:302, 2:302] == 0).all()


# Dates


def _dated(tmp_path: Path, write_tif: Callable[..., Path], dates_as: str) -> dict[str, Any]:
    for name in ("a_20201231", "b_20210101"):
        write_tif(tmp_path / f"{name}.tif", np.full((2, 16, 16), 1000, dtype=np.uint16), ("B2", "B3"))
    plain = DatasetNormalise({"S2": [0.0, 0.0]}, {"S2": [1.0, 1.0]})
    source = {"files": "{id}.tif", "bands": ["B2", "B3"], "dated": True}
    return _batch(_module(tmp_path, source, plain, dates_as=dates_as))


def test_dates_as_an_entry(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    batch = _dated(tmp_path, write_tif, "auto")
    assert sorted(batch["image"]) == ["S2", "S2_dates", "S2_mask"]
    assert batch["image"]["S2_dates"].tolist() == [[364], [0]]  # 2020 is a leap year
    assert batch["image"]["S2_mask"].tolist() == [[True], [True]]
    assert batch["acquired"] == ["S2 2020-12-31 (name)", "S2 2021-01-01 (name)"]


def test_dates_as_a_plane_behind_the_bands(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    image = _dated(tmp_path, write_tif, "plane")["image"]
    assert image.shape == (2, 3, 16, 16)
    assert image[:, 2].amin(dim=(1, 2)).tolist() == image[:, 2].amax(dim=(1, 2)).tolist() == [364, 0]
    assert image[:, :2].unique().tolist() == pytest.approx([0.1])
    assert _dated(tmp_path, write_tif, "none")["image"].shape == (2, 2, 16, 16)


def test_a_wrong_form_of_dates_is_refused() -> None:
    with pytest.raises(ValueError, match="dates_as must be one of dict, plane, none, got 'auto'"):
        EoDataset([], SampleReader({}, None, "segmentation"), DatasetNormalise({}, {}), dates_as="auto")


def test_a_preprocessing_that_leaves_nan_is_caught(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    class Careless(DatasetNormalise):
        def __call__(self, sample: Any) -> Any:
            return sample

    pixels = np.full((2, 16, 16), 1000, dtype=np.uint16)
    pixels[0, 0, 0] = 0
    write_tif(tmp_path / "a.tif", pixels, ("B2", "B3"), nodata=0)
    module = _module(tmp_path, {"files": "{id}.tif", "bands": ["B2", "B3"]}, Careless({}, {}))
    with pytest.raises(SampleError, match="a.tif: values are missing after preprocessing; it has to fill them"):
        _batch(module)


# Geometry that does not fit


@pytest.mark.parametrize(
    ("side", "preprocess", "message"),
    [
        ((30, 40), AnySatPreprocess(image_size=None), "x: 'S2': The encoder needs a square, got 30 x 40 pixels"),
        ((7, 7), AnySatPreprocess(image_size=None, patch_size=80), "x: 'S2': A side of 7 pixels does not split"),
        ((7, 7), AnySatPreprocess(image_size=None, patch_size=80, indivisible="crop"), "less than a patch of 80 m"),
        (
            (30, 80),
            ThorPreprocess(image_size=100, max_native_side=64),
            "x: image_size must be .* 16 .*native_side_limit",
        ),
    ],
)
def test_sizes_that_the_encoder_cannot_take_are_refused(
    write_tif: Callable[..., Path],
    tmp_path: Path,
    side: tuple[int, int],
    preprocess: Any,
    message: str,
) -> None:
    write_tif(tmp_path / "x.tif", np.full((2, *side), 1000, dtype=np.uint16), ("B2", "B11"))
    module = _module(tmp_path, {"files": "{id}.tif", "bands": ["B2", "B11"]}, preprocess)
    with pytest.raises(SampleError, match=message):
        _batch(module)


def test_an_image_smaller_than_a_patch_is_padded_by_thor_and_its_border_is_not_valid(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    write_tif(tmp_path / "x.tif", np.full((2, 5, 5), 1000, dtype=np.uint16), ("B2", "B11"))
    batch = _batch(_module(tmp_path, {"files": "{id}.tif", "bands": ["B2", "B11"]}))
    assert batch["image"].shape == (1, 2, 16, 16)
    assert batch["valid"].sum().item() == 25


@pytest.mark.parametrize(
    ("options", "preprocess", "message"),
    [
        ({"crs": "EPSG:32633"}, "any", "x: 'S2' and 'S1' have different CRS. Warp them to one"),
        ({"corner": (LEFT + 500, TOP)}, "any", r"x: 'S2' covers \(500000.0, .* must show the same ground"),
        ({"transform": Affine(10, 0, LEFT, 0, 10, TOP - 320)}, "any", "run in opposite directions"),
        ({"size": 20, "side": 16}, "thor", "x: 'S1' has 16 x 16 pixels of 20 m, the first modality 32 x 32 of 10 m"),
    ],
)
def test_modalities_that_do_not_lie_on_each_other_are_refused(
    write_tif: Callable[..., Path], tmp_path: Path, options: dict[str, Any], preprocess: str, message: str
) -> None:
    side = options.pop("side", 32)
    write_tif(tmp_path / "s2" / "x.tif", np.full((2, 32, 32), 1000, dtype=np.uint16), ("B2", "B11"))
    write_tif(tmp_path / "s1" / "x.tif", np.full((2, side, side), -12, dtype=np.float32), ("VV", "VH"), **options)
    modalities = {
        "S2": ImageSource("s2/{id}.tif", ["B2", "B11"], sensor="sentinel2_l2a", unit="digital_number"),
        "S1": ImageSource(
            "s1/{id}.tif", ["VV", "VH"], sensor="sentinel1", unit="decibel", pixel_size=options.get("size")
        ),
    }
    plain = DatasetNormalise({"S2": [0, 0], "S1": [0, 0]}, {"S2": [1, 1], "S1": [1, 1]})
    module = ChipDataModule(
        str(tmp_path), modalities, ThorPreprocess() if preprocess == "thor" else plain, num_workers=0
    )
    module.setup("predict")
    with pytest.raises(SampleError, match=message):
        _batch(module)


def test_a_batch_of_samples_that_an_export_has_is_not_read(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    """Whole batches only: others keep their samples, as numbers may depend on what is computed together."""
    for name in "abc":
        write_tif(tmp_path / f"{name}.tif", np.stack([_plane(band) for band in PAINTED]), list(PAINTED))
    module = _module(tmp_path, {"files": "{id}.tif", "bands": ["BLUE"]}, batch_size=2)
    dataset = module.predict_dataset
    assert dataset is not None
    dataset.finished = {"a", "b"}
    (tmp_path / "a.tif").write_bytes(b"no raster")
    first, second = module.predict_dataloader()
    assert first == {"id": ["a", "b"]}
    assert second["id"] == ["c"]
    assert "image" in second
    dataset.finished = {"a"}
    with pytest.raises(SampleError, match="a.tif cannot be read"):
        next(iter(module.predict_dataloader()))


def test_the_state_of_the_inputs_is_of_before_the_reading(
    write_tif: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tif(tmp_path / "a.tif", np.stack([_plane(band) for band in PAINTED]), list(PAINTED))
    module = _module(tmp_path, {"files": "{id}.tif", "bands": ["BLUE"]})
    dataset = module.predict_dataset
    assert dataset is not None
    before, read = dataset.state(0), dataset.reader.read

    def read_while_another_is_copied(record: Any) -> Any:
        sample = read(record)
        path.write_bytes(path.read_bytes() + b" ")
        return sample

    monkeypatch.setattr(type(dataset.reader), "read", lambda _, record: read_while_another_is_copied(record))
    assert dataset[0]["inputs"] == before != dataset.state(0)
