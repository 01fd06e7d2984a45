"""Pictures show the bands, labels and errors that they say they show, and change nothing about the training."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from eo_data.catalog.sources import ImageSource
from eo_finetune.panels.callback import PredictionPanels
from eo_finetune.panels.drawable import SceneSample
from eo_finetune.panels.samples import sample_of

SIDE = 16


class Net(nn.Module):
    """One convolution, and dropout that is on in evaluation too, so that a second prediction would draw numbers."""

    def __init__(self, outputs: int = 2, *, scene: bool = False) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, outputs, 3, padding=1)
        self.scene = scene
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, image: Any, **_: Any) -> Any:
        from terratorch.models.model import ModelOutput

        image = image["S2"] if isinstance(image, dict) else image
        self.shapes.append(tuple(image.shape))
        out = self.layer(F.dropout(image, 0.1, training=True))
        return ModelOutput(output=out.mean(dim=(2, 3)) if self.scene else out.squeeze(1))


def segmentation(**more: Any) -> LightningModule:
    from terratorch.tasks import SemanticSegmentationTask

    torch.manual_seed(0)
    arguments = {"model_args": {"num_classes": 2}, "class_names": ["land", "water"], "ignore_index": -1}
    return SemanticSegmentationTask(model=Net(), **(arguments | {"plot_on_val": False, "lr": 0.01} | more))


def chips(count: int, *, as_dict: bool = False) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    samples = []
    for i in range(count):
        image = torch.tensor(rng.normal(size=(3, SIDE, SIDE)), dtype=torch.float32)
        mask = (image[0] > 0).long()
        mask[:2] = -1
        entry = {"image": {"S2": image} if as_dict else image, "mask": mask, "filename": f"/data/{i % 2}/chip.tif"}
        samples.append(entry)
    return samples


def trainer(folder: Path, *callbacks: Any, **more: Any) -> Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    defaults = {"max_epochs": 2, "log_every_n_steps": 1} | quiet
    return Trainer(accelerator="cpu", default_root_dir=folder, callbacks=list(callbacks), **(defaults | more))


def pictures(folder: Path) -> dict[str, list[int]]:
    """Steps of the pictures in an event file, by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"images": 0})
    events.Reload()
    return {tag: [entry.step for entry in events.Images(tag)] for tag in events.Tags()["images"]}


def fit(folder: Path, callbacks: Sequence[Any], task: LightningModule, logger: Any = False, **more: Any) -> Trainer:
    """Two epochs of four steps; validation in five batches."""
    samples = chips(10, as_dict=more.pop("as_dict", False))
    torch.manual_seed(1)
    run = trainer(folder, *callbacks, logger=logger, **more)
    run.fit(task, DataLoader(samples[:8], batch_size=2, shuffle=True), DataLoader(samples, batch_size=2))
    return run


def test_the_same_samples_are_in_the_log_in_each_epoch(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path)
    fit(tmp_path, [PredictionPanels(samples=3)], segmentation(), logger)
    # Three of five batches, and of each the first one; none of the sanity check, which would be step 0.
    names = [f"panels/{i:02d} /data/0/chip.tif" for i in range(3)]
    assert pictures(Path(logger.log_dir)) == {name: [4, 8] for name in names}


def test_only_each_nth_epoch_is_drawn(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path)
    fit(tmp_path, [PredictionPanels(1, every_n_epochs=2)], segmentation(), logger, max_epochs=4)
    assert list(pictures(Path(logger.log_dir)).values()) == [[4, 12]]


def test_pictures_leave_the_training_and_its_metrics_bit_for_bit_as_they_are(tmp_path: Path) -> None:
    ends = []
    for name, callbacks in (("without", []), ("with", [PredictionPanels(4)])):
        task, logger = segmentation(), TensorBoardLogger(tmp_path, name)
        run = fit(tmp_path, callbacks, task, logger)
        assert bool(pictures(Path(logger.log_dir))) is (name == "with")
        ends.append((task.state_dict(), {k: float(v) for k, v in run.callback_metrics.items()}))
    (weights, metrics), (drawn_weights, drawn_metrics) = ends
    assert all(torch.equal(weights[key], drawn_weights[key]) for key in weights)
    assert metrics == drawn_metrics
    assert metrics["val/mIoU"] > 0


class Module(LightningDataModule):
    """Like ours, as far as names of bands go; `plot` as TerraTorch wants it."""

    def __init__(self, samples: list[dict[str, Any]], modalities: dict[str, ImageSource] | None = None) -> None:
        super().__init__()
        self.modalities = modalities or {"S2": source("B2", "B3", "B4")}
        self.samples = samples
        self.root = Path("/data")
        self.val_dataset = self

    def plot(self, sample: Any) -> Figure:
        return Figure()

    def train_dataloader(self) -> Any:
        return DataLoader(self.samples, batch_size=2)

    val_dataloader = test_dataloader = train_dataloader


def source(*bands: str, sensor: str = "sentinel2_l2a") -> ImageSource:
    return ImageSource("x/{id}.tif", bands, sensor=sensor)


def test_a_step_that_takes_the_batch_apart_does_not_lose_the_pictures(tmp_path: Path) -> None:
    """TerraTorch's plot pops the images of several modalities from the batch before the hooks at its end."""
    logger = TensorBoardLogger(tmp_path)
    run = trainer(tmp_path, PredictionPanels(2), logger=logger, max_epochs=1)
    run.fit(segmentation(plot_on_val=1), datamodule=Module(chips(4, as_dict=True)))
    tags = pictures(Path(logger.log_dir))
    assert [tag for tag in tags if tag.startswith("panels/")] == ["panels/00 0/chip.tif", "panels/01 0/chip.tif"]
    assert any(tag.startswith("image/") for tag in tags), "TerraTorch's own"


def test_files_of_one_name_in_two_folders_stay_two_files(tmp_path: Path) -> None:
    run = trainer(tmp_path, PredictionPanels(4))
    run.test(segmentation(), DataLoader(chips(4), batch_size=2), verbose=False)
    files = sorted(path.name for path in (tmp_path / "panels").iterdir())
    assert files == [f"{i:02d}_data_{i % 2}_chip.tif.png" for i in range(4)]


def test_each_data_loader_has_its_files(tmp_path: Path) -> None:
    task = segmentation(test_dataloaders_names=["a", "b"])
    loaders = [DataLoader(chips(2), batch_size=2), DataLoader(chips(3), batch_size=2)]
    trainer(tmp_path, PredictionPanels(2, folder=str(tmp_path / "out"))).test(task, loaders, verbose=False)
    names = {path.name[:4] for path in (tmp_path / "out").iterdir()}
    assert names == {"0-00", "0-01", "1-00", "1-01"}
    assert not (tmp_path / "panels").exists()


def test_pictures_show_what_the_metrics_measure_by_tiles_only_where_the_task_does(tmp_path: Path) -> None:
    tiles = {"h_crop": 8, "h_stride": 6, "w_crop": 8, "w_stride": 6, "average_patches": True}
    for tiled, expected in ((False, (3, SIDE, SIDE)), (True, (3, 8, 8))):
        task = segmentation(tiled_inference_parameters=tiles, tiled_inference_on_testing=tiled)
        run = trainer(tmp_path, PredictionPanels(1))
        run.test(task, DataLoader(chips(1)), verbose=False)
        shapes = task.model.shapes
        assert {shape[1:] for shape in shapes} == {expected}
        assert shapes[: len(shapes) // 2] == shapes[len(shapes) // 2 :], "once for the picture, once for the metrics"


def test_a_csv_logger_and_a_trial_run_draw_nothing_and_predict_nothing(tmp_path: Path) -> None:
    counts = []
    for callbacks in ([], [PredictionPanels(1)]):
        task = segmentation()
        fit(tmp_path / "csv", callbacks, task, CSVLogger(tmp_path))
        fit(tmp_path / "trial", callbacks, task, fast_dev_run=True)
        counts.append(len(task.model.shapes))
    assert counts[0] == counts[1]
    assert not list(tmp_path.rglob("*.png"))


class Recorder:
    """Stands for loggers of other makes."""

    run_id = "run"

    def __init__(self, *, mlflow: bool) -> None:
        self.said: list[Any] = []
        self.experiment = self if mlflow else object()
        if mlflow:
            self.log_figure = lambda run, figure, file: self.said.append((run, type(figure), file))
        else:
            self.log_image = lambda key, images, caption: self.said.append((key, type(images[0]), caption))


def test_mlflow_and_wandb_get_figures_too(tmp_path: Path) -> None:
    from eo_finetune.panels.callback import _log

    mlflow, wandb = Recorder(mlflow=True), Recorder(mlflow=False)
    run = trainer(tmp_path)
    run.loggers = [mlflow, wandb]  # type: ignore[assignment]
    _log(run, "00 a/b.tif", Figure())
    assert mlflow.said == [("run", Figure, "panels/00_a_b.tif/epoch_0000.png")]
    assert wandb.said == [("panels/00 a/b.tif", Figure, ["epoch 0"])]


def test_a_sample_that_cannot_be_drawn_warns_once_and_the_run_goes_on(tmp_path: Path) -> None:
    class Odd(LightningModule):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            pass

        def predict_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return batch["image"][:, :2, ::2]

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(tmp_path, PredictionPanels(3)).test(Odd(), DataLoader(chips(3)), verbose=False)
    said = [str(entry.message) for entry in caught if "No picture" in str(entry.message)]
    assert len(said) == 1
    assert r"label (16, 16) and prediction (8, 16) are not one map" in said[0]
    assert not (tmp_path / "panels").exists()


@pytest.mark.parametrize("output", [torch.full((1, SIDE, SIDE), float("nan")), {"out": 1}, torch.tensor(1.0)])
def test_a_model_that_has_diverged_or_says_something_else_is_no_reason_to_end_the_run(
    tmp_path: Path, output: Any
) -> None:
    class Diverged(LightningModule):
        task = "regression"

        def test_step(self, batch: Any, batch_idx: int) -> None:
            pass

        def predict_step(self, batch: Any, batch_idx: int) -> Any:
            return output

    with pytest.warns(
        UserWarning, match="No picture of /data/0/chip.tif: the (prediction is not finite|model's output)"
    ):
        trainer(tmp_path, PredictionPanels(3)).test(Diverged(), DataLoader(chips(1)), verbose=False)


def test_a_batch_without_labels_is_not_drawn() -> None:
    with pytest.raises(ValueError, match="the batch has neither mask nor label, but image."):
        sample_of(segmentation(), {"image": torch.rand(1, 3, 4, 4)}, torch.rand(1, 2, 4, 4), 0, "x", ())


def test_a_wrong_band_stops_the_run_before_it_begins(tmp_path: Path) -> None:
    run = trainer(tmp_path, PredictionPanels(rgb=["B12", "B3", "B2"]))
    with pytest.raises(ValueError, match=r"rgb names \['B12', 'B3', 'B2'\], but no modality .* S2: BLUE, GREEN, RED"):
        run.test(segmentation(), datamodule=Module(chips(2)), verbose=False)


@pytest.mark.parametrize("argument", ["samples", "every_n_epochs"])
def test_numbers_below_one_are_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument} must be at least 1, got 0"):
        PredictionPanels(**{argument: 0})


def test_classification_gives_one_sheet(tmp_path: Path) -> None:
    from terratorch.tasks import ClassificationTask

    samples = [
        {k: v for k, v in chip.items() if k != "mask"} | {"label": torch.tensor(i % 3)}
        for i, chip in enumerate(chips(5))
    ]
    task = ClassificationTask(model=Net(3, scene=True), model_args={"num_classes": 3}, plot_on_val=False)
    panel = PredictionPanels(4)
    sheets: list[list[SceneSample]] = []
    take = panel._figures
    panel._figures = lambda *given: (sheets.extend(panel._taken.values()), take(*given))[1]  # type: ignore[method-assign]
    trainer(tmp_path, panel).test(task, DataLoader(samples, batch_size=2), verbose=False)
    assert [path.name for path in (tmp_path / "panels").iterdir()] == ["test.png"]
    (sheet,) = sheets
    assert [sample.label for sample in sheet] == ["class 0", "class 1", "class 2", "class 1"]
    assert all(sample.correct is (sample.label == sample.prediction) for sample in sheet)
    assert all(1 / 3 <= (sample.probability or 0) <= 1 for sample in sheet)


def test_regression_gives_values(tmp_path: Path) -> None:
    from terratorch.tasks import PixelwiseRegressionTask

    samples = [chip | {"mask": chip["image"][1]} for chip in chips(2)]
    task = PixelwiseRegressionTask(model=Net(1), model_args={}, plot_on_val=False)
    trainer(tmp_path, PredictionPanels(2)).test(task, DataLoader(samples, batch_size=2), verbose=False)
    assert len(list((tmp_path / "panels").glob("*.png"))) == 2


def test_our_data_modules_name_their_bands(tmp_path: Path, chip_set: Callable[[], Any]) -> None:
    module = chip_set()
    run = trainer(tmp_path, PredictionPanels(2))
    task = segmentation(model_args={"num_classes": 3}, class_names=None)
    task.model = Net(3)
    run.test(task, datamodule=module, verbose=False)
    files = sorted(path.name for path in (tmp_path / "panels").iterdir())
    assert files == ["00_img_a.tif.png", "01_img_c.tif.png"]


@pytest.fixture
def chip_set(tmp_path: Path) -> Callable[[], Any]:
    """Our data module on four chips."""
    import rasterio

    from eo_data.catalog.sources import LabelSource
    from eo_data.datamodules import ChipDataModule
    from eo_data.preprocess.dataset_normalise import DatasetNormalise

    def write(path: Path, pixels: np.ndarray, bands: Sequence[str] = ()) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        profile = {"count": len(pixels), "height": SIDE, "width": SIDE, "dtype": pixels.dtype.name, "crs": "EPSG:32632"}
        transform = rasterio.Affine(10, 0, 500000, 0, -10, 5000000)
        with rasterio.open(path, "w", driver="GTiff", transform=transform, **profile) as file:
            file.write(pixels)
            file.descriptions = tuple(bands) or (None,) * len(pixels)

    def make() -> ChipDataModule:
        rng = np.random.default_rng(0)
        for name in "abcd":
            pixels = rng.integers(500, 3000, (3, SIDE, SIDE)).astype(np.uint16)
            write(tmp_path / "set" / "img" / f"{name}.tif", pixels, ("B2", "B3", "B4"))
            write(tmp_path / "set" / "lab" / f"{name}.tif", rng.integers(-1, 3, (1, SIDE, SIDE)).astype(np.int16))
        (tmp_path / "set" / "all.txt").write_text("a\nb\nc\nd")
        modality = ImageSource(
            "img/{id}.tif", ["B2", "B3", "B4"], sensor="sentinel2_l2a", unit="digital_number", offset=0
        )
        plain = DatasetNormalise({"S2": [0.0] * 3}, {"S2": [1.0] * 3})
        label = LabelSource("lab/{id}.tif", classes=3)
        return ChipDataModule(
            str(tmp_path / "set"), {"S2": modality}, plain, label, test_split="all.txt", batch_size=2, num_workers=0
        )

    return make
