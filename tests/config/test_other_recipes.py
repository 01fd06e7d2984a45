"""The recipes for data sets other than Sen1Floods11, on tiny data in their real layout.

Each runs as it is but for folders, sizes and the smallest encoder. The values of the files are known, so that each
physical band can be followed into its channel of the encoder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import yaml
from torchgeo.datasets import EuroSAT

from eo_data.index import main as write_index

LEFT, TOP = 500_000.0, 4_000_000.0
#: AnySat's order of the Sentinel-2 bands, and THOR's name of each.
S2 = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
#: Mean and standard deviation of THOR's pre-training (published table), by THOR's name of the channel.
THOR = {
    "S2:Blue": (0.176620, 0.264520),
    "S2:Green": (0.195923, 0.252949),
    "S2:Red": (0.213948, 0.259180),
    "S2:RE1": (0.263378, 0.272771),
    "S2:RE2": (0.300818, 0.248175),
    "S2:RE3": (0.313144, 0.235432),
    "S2:NIR": (0.308133, 0.226434),
    "S2:RE4": (0.320993, 0.223274),
    "S2:SWIR1": (0.221550, 0.171606),
    "S2:SWIR2": (0.175772, 0.156223),
    "S3:Oa01_reflectance": (0.418360, 0.271155),
    "S3:Oa08_reflectance": (0.326632, 0.286289),
    "S3:Oa13_reflectance": (0.101062, 0.066239),
    "S3:Oa17_reflectance": (0.402817, 0.251323),
    "S3:Oa21_reflectance": (0.380989, 0.209298),
}


def write(path: Path, values: Sequence[float], side: int, size: float, dtype: str, **options: Any) -> None:
    """Write a GeoTIFF whose bands are flat, one value each."""
    pixels = np.asarray(values)[:, None, None] * np.ones((side, side))
    path.parent.mkdir(parents=True, exist_ok=True)
    names = options.pop("names", ())
    profile = {"count": len(values), "height": side, "width": side, "dtype": dtype, "crs": "EPSG:32631"}
    transform = rasterio.transform.from_origin(LEFT, TOP, size, size)
    with rasterio.open(path, "w", driver="GTiff", transform=transform, **(profile | options)) as file:
        file.write(pixels.astype(dtype))
        if names:
            file.descriptions = tuple(names)


def write_classes(path: Path, classes: int, side: int, dtype: str = "int16", other: int | None = None) -> None:
    """Write a label with all classes, and a pixel of another value."""
    pixels = (np.arange(side * side) % classes).reshape(side, side).astype(dtype)
    if other is not None:
        pixels[0, 0] = other
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, np.stack([pixels, pixels + 100, pixels + 50]))
        return
    write(path, [0], side, 10, dtype)
    with rasterio.open(path, "r+") as file:
        file.write(pixels[None])


@pytest.fixture
def recipe(root: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copy the configs with what they include, and change paths, sizes and the encoder."""

    def adapt(
        name: str,
        folder: str,
        data_root: Path,
        data: Mapping[str, Any],
        model_args: Mapping[str, Any] | None = None,
        **model: Any,
    ) -> Path:
        shutil.copytree(root / "config", tmp_path / "config")
        config = yaml.safe_load((tmp_path / f"config/{name}.yaml").read_text())
        config["trainer"] |= {"accelerator": "cpu", "max_epochs": 1, "default_root_dir": str(tmp_path / "output")}
        config["trainer"]["logger"] = {"class_path": "CSVLogger", "init_args": {"save_dir": str(tmp_path / "output")}}
        smallest = {f"{kind}_base": f"{kind}_tiny" for kind in ("anysat", "thor_v1", "universat")}
        args = config["model"]["init_args"]["model_args"]
        args |= {"backbone": smallest[args["backbone"]], "backbone_pretrained": False} | dict(model_args or {})
        config["model"]["init_args"] |= model
        _write_yaml(tmp_path / f"config/{name}.yaml", config)
        callbacks = tmp_path / "config" / config["trainer"]["callbacks"]
        kept = [entry for entry in yaml.safe_load(callbacks.read_text()) if "ProgressBar" not in entry["class_path"]]
        _write_yaml(callbacks, kept)
        section = tmp_path / "config" / config["data"]
        content = yaml.safe_load(section.read_text().replace(folder, str(data_root)))
        assert content["init_args"]["root"] == str(data_root)
        content["init_args"] |= {"num_workers": 0, "batch_size": 2} | data
        _write_yaml(section, content)
        return tmp_path / f"config/{name}.yaml"

    return adapt


def _write_yaml(path: Path, content: object) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False))


@dataclass(frozen=True)
class Run:
    """What is left of a run."""

    cli: Any
    metrics: dict[str, float]
    maps: Path

    @property
    def encoder(self) -> Any:
        return self.cli.model.model.encoder

    def batch(self) -> dict[str, Any]:
        """The first batch of the validation split, which nothing augments."""
        return next(iter(self.cli.datamodule.val_dataloader()))

    def output(self) -> torch.Tensor:
        """What the model makes of that batch."""
        batch = self.batch()
        rest = {key: value for key, value in batch.items() if key not in ("image", "mask", "label", "filename")}
        with torch.no_grad():
            return self.cli.model.eval()(batch["image"], **rest).output

    def series(self) -> dict[str, torch.Tensor]:
        """An encoder's input ``(B, T, C, H, W)`` with dates, in the order of its table."""
        return self.encoder.input_spec.match(self.batch()["image"], {})

    def thor(self) -> dict[str, float]:
        """The value of each THOR channel in the first sample, which is flat."""
        image = self.batch()["image"][0]
        assert (image == image[:, :1, :1]).all()
        return {channel: float(image[k, 0, 0]) for k, channel in enumerate(self.encoder.bands)}


def run_all(file: Path) -> Run:
    """Fit, test, and predict from the checkpoint."""
    from terratorch.cli_tools import build_lightning_cli

    cli = build_lightning_cli(["fit", "--config", str(file)])
    fitted = {key: float(value) for key, value in cli.trainer.callback_metrics.items()}
    cli.trainer.test(cli.model, cli.datamodule)
    metrics = fitted | {key: float(value) for key, value in cli.trainer.callback_metrics.items()}
    losses = {key: value for key, value in metrics.items() if key.endswith("/loss")}
    assert {"train/loss", "val/loss", "test/loss"} <= set(losses)
    assert all(np.isfinite(list(losses.values())))
    checkpoint = file.parent.parent / "output" / "best.ckpt"
    maps = file.parent.parent / "maps"
    paths = ["--config", str(file), "--ckpt_path", str(checkpoint), "--predict_output_dir", str(maps)]
    build_lightning_cli(["predict", *paths])
    return Run(cli, metrics, maps)


def check_map(path: Path, image: Path, dtype: str) -> np.ndarray:
    """Check that a map lies on the image, and return it."""
    with rasterio.open(path) as written, rasterio.open(image) as source:
        assert (written.crs, written.transform, written.shape) == (source.crs, source.transform, source.shape)
        assert written.dtypes[0] == dtype
        return written.read(1)


def normalised(reflectances: Mapping[str, float]) -> dict[str, float]:
    """THOR's input by hand."""
    return {name: (value - THOR[name][0]) / THOR[name][1] for name, value in reflectances.items()}


def test_burn_scars(tmp_path: Path, recipe: Any) -> None:
    data = tmp_path / "data"
    for folder, days in (("training", ("2020248", "2018190")), ("validation", ("2019300",))):
        for day in days:
            stem = data / folder / f"subsetted_512x512_HLS.S30.T10SDH.{day}.v1.4"
            write(Path(f"{stem}_merged.tif"), [0.05, 0.10, 0.15, 0.30, 0.25, 0.20], 64, 30, "float32")
            write_classes(Path(f"{stem}.mask.tif"), 2, 64, other=-1)
            with rasterio.open(f"{stem}.mask.tif", "r+") as file:
                file.transform = rasterio.transform.from_origin(LEFT, TOP, 30, 30)
        names = sorted(path.name for path in (data / folder).glob("*merged.tif"))
        (data / ("train.txt" if folder == "training" else "val.txt")).write_text("\n".join(names))
    crop = {"class_path": "albumentations.RandomCrop", "init_args": {"height": 32, "width": 32}}
    file = recipe(
        "hls_burnscars_thor",
        "datasets/hls_burn_scars",
        data,
        {"train_transform": [crop]},
        tiled_inference_parameters={"crop": 32, "stride": 16},
    )
    run = run_all(file)
    assert run.thor() == pytest.approx(
        normalised(
            {
                "S2:Blue": 0.05,
                "S2:Green": 0.10,
                "S2:Red": 0.15,
                "S2:RE4": 0.30,  # B8A, a 20 m band, not B8
                "S2:SWIR1": 0.25,
                "S2:SWIR2": 0.20,
            }
        ),
        abs=1e-5,
    )
    mask = run.batch()["mask"][0]
    assert mask[0, :4].tolist() == [-1, 1, 0, 1]
    # As the config says of 256 px: 48 x 48 and 24 x 24 tokens.
    layout = run.encoder.layout(256 * 30)
    assert {group.gsd: group.grid_size for group in layout.groups} == {10: 48, 20: 24}
    assert run.output().shape == (1, 2, 64, 64)
    stem = "validation/subsetted_512x512_HLS.S30.T10SDH.2019300.v1.4"
    assert set(np.unique(check_map(run.maps / f"{stem}_pred.tif", data / f"{stem}_merged.tif", "int16"))) <= {0, 1}
    dataset = run.cli.datamodule.train_dataset
    assert [str(dataset.read(i).reference.dates[0]) for i in range(2)] == ["2018-07-09", "2020-09-04"]


@pytest.mark.parametrize("kind", ["anysat", "universat"])
def test_pastis(kind: str, tmp_path: Path, recipe: Any) -> None:
    data, side = tmp_path / "PASTIS-R", 16
    features = []
    for fold in range(1, 6):
        number = 10000 + fold
        frames, bands = np.arange(2)[:, None], np.arange(10)
        s2 = (1000 + 100 * bands + 10 * frames)[..., None, None] * np.ones((side, side))
        s1 = (np.array([-10.0, -17.0, 7.0]) - frames)[..., None, None] * np.ones((side, side))
        for name, series in (("S2", s2.astype(np.int16)), ("S1A", s1.astype(np.float32))):
            (data / f"DATA_{name}").mkdir(parents=True, exist_ok=True)
            np.save(data / f"DATA_{name}" / f"{name}_{number}.npy", series)
        write_classes(data / f"ANNOTATIONS/TARGET_{number}.npy", 19, side, "uint8", other=19)
        dates = {"dates-S2": {"0": 20180924, "1": 20190501}, "dates-S1A": {"0": 20190501, "1": 20191130}}
        features.append({"properties": {"ID_PATCH": number, "Fold": fold, **dates}})
    (data / "metadata.geojson").write_text(json.dumps({"features": features}))
    for name, means, std in (("S2", [1000.0] * 10, 500.0), ("S1A", [-11.0, -18.0, 7.0], 4.0)):
        folds = {f"Fold_{k}": {"mean": means, "std": [std] * len(means)} for k in range(1, 6)}
        (data / f"NORM_{name}_patch.json").write_text(json.dumps(folds))
    write_index(["pastis", str(data)])
    run = run_all(recipe(f"pastis_{kind}_S1S2", "datasets/PASTIS-R", data, {}))
    read = run.series()
    assert read["s2"].shape == (1, 20, 10, side, side)
    # 456 days in 20 parts of 22.8: 24 September 2018 is day 23 and in the part of days 22 to 44, 1 May 2019 is day 242
    # and in that of days 228 to 249, 30 November 2019 is day 455 and in the last one, of days 433 to 455.
    assert read["s2_mask"][0].nonzero().flatten().tolist() == [1, 10]
    assert read["s1_mask"][0].nonzero().flatten().tolist() == [10, 19]
    # Their middles, counted from 1 January: 4 October, 28 April, 19 November.
    assert read["s2_dates"][0, [1, 10]].tolist() == [276, 117]
    assert read["s1_dates"][0, [10, 19]].tolist() == [117, 322]
    for frame, part in ((0, 1), (1, 10)):
        expected = [(1000 + 100 * k + 10 * frame - 1000) / 500 for k, _ in enumerate(S2)]
        assert read["s2"][0, part, :, 3, 5].tolist() == pytest.approx(expected, abs=1e-5)
    assert read["s1"][0, 10, :, 3, 5].tolist() == pytest.approx([0.25, 0.25, 0.0])
    assert read["s1"][0, 19, :, 3, 5].tolist() == pytest.approx([0.0, 0.0, -0.25])
    assert run.batch()["mask"][0, 0, :4].tolist() == [-1, 1, 2, 3]
    assert run.output().shape == (1, 19, side, side)
    assert [len(run.cli.datamodule.dataset(split)) for split in ("train", "val", "test")] == [3, 1, 1]
    with rasterio.open(run.maps / "10005_pred.tif") as written:
        assert (written.crs, written.shape) == (None, (side, side))


def test_eurosat(tmp_path: Path, recipe: Any) -> None:
    data, folder = tmp_path / "eurosat", "ds/images/remote_sensing/otherDatasets/sentinel_2/tif"
    classes = [
        *("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial"),
        *("Pasture", "PermanentCrop", "Residential", "River", "SeaLake"),
    ]
    for name in classes:
        for number in (1, 2):
            numbers = [1000 + 100 * k for k in range(13)]  # B01 to B12 without B8A, then B8A
            write(data / folder / name / f"{name}_{number}.tif", numbers, 16, 10, "uint16")
    for split, number in (("train", 1), ("val", 2), ("test", 2)):
        chosen = [n for i, n in enumerate(classes) if split == "train" or (i % 2 == 0) == (split == "val")]
        (data / f"eurosat-{split}.txt").write_text("\n".join(f"{name}_{number}.jpg" for name in chosen))
    splits = [text for split in ("train", "val", "test") for text in ("--split", f"{split}=eurosat-{split}.txt")]
    write_index(["classes", str(data), "--folder", folder, "--modality", "S2L1C", *splits])
    run = run_all(recipe("eurosat_thor_S2", "datasets/eurosat", data, {"batch_size": 5}))
    # torchgeo's own data set, which downloads what the recipe reads, names the same classes, bands and samples.
    theirs = {Path(file).stem: label for file, label in EuroSAT(str(data), split="train").samples}
    assert {record.id: record.label for record in run.cli.datamodule.dataset("train").records} == theirs
    assert list(EuroSAT.all_band_names) == run.cli.datamodule.modalities["S2L1C"].file_bands
    assert run.cli.model.hparams["class_names"] == classes
    by_hand = {
        "S2:Blue": 0.11,
        "S2:Green": 0.12,
        "S2:Red": 0.13,
        "S2:RE1": 0.14,
        "S2:RE2": 0.15,
        "S2:RE3": 0.16,
        "S2:NIR": 0.17,
        "S2:RE4": 0.22,  # the last band of the file
        "S2:SWIR1": 0.20,
        "S2:SWIR2": 0.21,
    }
    assert run.thor() == pytest.approx(normalised(by_hand), abs=1e-5)
    assert run.batch()["label"].tolist() == [0, 2, 4, 6, 8]
    layout = run.encoder.layout(640)
    assert {group.gsd: group.grid_size for group in layout.groups} == {10: 16, 20: 8}
    assert run.output().shape == (5, 10)
    lines = (run.maps / "predictions.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == [f"{name}_2" for name in classes[1::2]]


def test_biomassters(tmp_path: Path, recipe: Any) -> None:
    data, side = tmp_path / "biomassters", 16
    chips = {"train": ("c0", "c1", "c2"), "test": ("t0",)}
    for part, names in chips.items():
        for chip in names:
            for month in range(12):
                radar = [-9999 if month == 5 else -10 - month, -17, -11, -18]
                write(data / f"{part}_features/{chip}_S1_{month:02d}.tif", radar, side, 10, "float32")
                if month != 3:
                    optical = [1000 + 100 * k + month for k in range(10)] + [50]
                    write(data / f"{part}_features/{chip}_S2_{month:02d}.tif", optical, side, 10, "uint16")
            write(data / f"{part}_agbm/{chip}_agbm.tif", [120.5], side, 10, "float32")
    write_index(["biomassters", str(data)])
    index = json.loads((data / "index.json").read_text())
    for row, split in zip(index, ("train", "train", "val", "test"), strict=True):
        row["split"] = split  # so few chips leave none to validate with
    (data / "index.json").write_text(json.dumps(index))
    crop = {"class_path": "albumentations.RandomCrop", "init_args": {"height": 8, "width": 8}}
    run = run_all(recipe("biomassters_anysat_S1S2", "datasets/biomassters", data, {"train_transform": [crop]}))
    read = run.series()
    # The 15th of September, October, ... August; the month without an image is a masked frame at the end.
    days = [257, 287, 318, 348, 14, 45, 73, 104, 134, 165, 195, 226]
    assert read["s1-asc_dates"][0].tolist() == days
    assert read["s2_dates"][0].tolist()[:11] == [day for k, day in enumerate(days) if k != 3]
    assert read["s2_mask"][0].tolist() == [True] * 11 + [False]
    assert read["s1-asc_mask"][0].tolist() == [True] * 12
    means = (0.163308, 0.161, 0.159956, 0.191671, 0.247883, 0.259133, 0.273858, 0.268583, 0.10239, 0.069649)
    stds = (0.249971, 0.230853, 0.238823, 0.238964, 0.220965, 0.210457, 0.219421, 0.203178, 0.093406, 0.075984)
    april = [((1000 + 100 * k + 7) / 1e4 - mean) / std for k, (mean, std) in enumerate(zip(means, stds, strict=True))]
    assert read["s2"][0, 6, :, 3, 5].tolist() == pytest.approx(april, abs=1e-5)
    radar = [(-17 + 12.9850) / 5.0062, (-17 + 20.6958) / 5.8688]  # ascending, of April
    assert read["s1-asc"][0, 7, :, 3, 5].tolist() == pytest.approx(radar, abs=1e-5)
    assert read["s1-asc"][0, 5, 0, 3, 5] == 0  # missing: the mean
    assert (run.batch()["mask"] == 120.5).all()
    assert run.output().shape[-2:] == (side, side)
    check_map(run.maps / "t0_pred.tif", data / "test_features/t0_S2_00.tif", "float32")


def test_olci(tmp_path: Path, recipe: Any) -> None:
    data, side = tmp_path / "olci", 32
    names = [f"Oa{i:02d}_reflectance" for i in range(1, 22)]
    for chip in ("a", "b"):
        # In the file the bands run backwards; they are found by name.
        write(
            data / f"images/{chip}.tif", [0.01 * i for i in range(21, 0, -1)], side, 300, "float32", names=names[::-1]
        )
        write_classes(data / f"labels/{chip}.tif", 4, side, "uint8", other=255)
        with rasterio.open(data / f"labels/{chip}.tif", "r+") as file:
            file.transform = rasterio.transform.from_origin(LEFT, TOP, 300, 300)
    for split, chip in (("train", "a"), ("val", "b"), ("test", "b")):
        (data / f"{split}.txt").write_text(chip)
    smaller = {"ground_covers": [300 * side], "flexivit_patch_size_seqs": [4]}
    run = run_all(recipe("olci_thor_S3", "datasets/olci", data, {}, {"backbone_input_params": smaller}))
    values = run.thor()
    assert len(values) == 21
    expected = {"Oa01": 0.01, "Oa08": 0.08, "Oa13": 0.13, "Oa17": 0.17, "Oa21": 0.21}
    by_hand = normalised({f"S3:{name}_reflectance": value for name, value in expected.items()})
    assert {name: values[name] for name in by_hand} == pytest.approx(by_hand, abs=1e-5)
    # As the config says of 96 px.
    assert [group.grid_size for group in run.encoder.layout(28800).groups] == [30, 30, 30]
    assert run.batch()["mask"][0, 0, :4].tolist() == [-1, 1, 2, 3]
    assert run.output().shape == (1, 4, side, side)
    check_map(run.maps / "b_pred.tif", data / "images/b.tif", "int16")
