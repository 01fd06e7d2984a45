"""Pictures show the bands, labels and errors that they say they show, and change nothing about the training."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from eo_data.sources import ImageSource
from eo_finetune.panel_figure import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    TRUE_NEGATIVE,
    TRUE_POSITIVE,
    WRONG,
    MapSample,
    SceneSample,
    class_colours,
    class_scores,
    error_map,
    regression_figure,
    scene_figure,
    segmentation_figure,
    shortened,
    value_scores,
)
from eo_finetune.panel_samples import batch_size, first_of_batch, sample_of, share_of_batch
from eo_finetune.panels import PredictionPanels
from eo_finetune.views import View, bands_of, middle_frame, views_of, views_of_batch

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
    for tiled, expected in ((False, (1, 3, SIDE, SIDE)), (True, None)):
        task = segmentation(tiled_inference_parameters=tiles, tiled_inference_on_testing=tiled)
        run = trainer(tmp_path, PredictionPanels(1))
        run.test(task, DataLoader(chips(1)), verbose=False)
        shapes = task.model.shapes
        assert shapes[0] == (expected or shapes[0])
        assert (shapes[0][-1] == 8) is tiled
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
    from eo_finetune.panels import _log

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


def test_ignored_pixels_are_no_errors() -> None:
    label = np.array([[0, 0, 1, 1, -1, -1]])
    said = np.array([[0, 1, 0, 1, 0, 1]])
    shown = error_map(label, said, label == -1, 2)[0]
    expected = [TRUE_NEGATIVE, FALSE_POSITIVE, FALSE_NEGATIVE, TRUE_POSITIVE]
    assert [tuple(colour) for colour in shown[:4]] == [to_rgb(colour) for colour in expected]
    assert all(len(set(colour)) == 1 for colour in shown[4:]), "grey"
    assert class_scores(label, said, label == -1, ["land", "water"]).startswith(
        "IoU of water 0.333, accuracy 0.500, 33.3%"
    )
    many = error_map(label, said, label == -1, 5)[0]
    assert [tuple(c) == to_rgb(WRONG) for c in many] == [False, True, True, False, False, False]


@pytest.mark.parametrize("task", ["segmentation", "regression"])
@pytest.mark.parametrize("ignore", [None, 255, 0])
def test_what_the_task_ignores_is_ignored_in_the_picture(task: str, ignore: int | None) -> None:
    class Task(LightningModule):
        def __init__(self, ignore_index: int | None) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.task = task

    mask = torch.tensor([[[0.0, 1, 255], [float("nan") if task == "regression" else -1, 1, 1]]])
    mask = mask if task == "regression" else mask.long()
    sample = sample_of(Task(ignore), {"mask": mask}, torch.zeros(1, 2, 3)[:, None], 0, "x", ())
    assert isinstance(sample, MapSample)
    expected = np.array([[False] * 3, [True, False, False]])  # what is no label in any case
    if ignore is not None:
        expected[0, {0: 0, 255: 2}[ignore]] = True
    np.testing.assert_array_equal(sample.ignored, expected)


def test_scores_of_a_sample_without_the_class_or_without_labels() -> None:
    zeros, nowhere = np.zeros((2, 2), int), np.zeros((2, 2), bool)
    assert class_scores(zeros, zeros, nowhere, ["land", "water"]) == "no water, and none predicted, accuracy 1.000"
    assert class_scores(zeros, zeros, ~nowhere, ["land", "water"]) == "no pixel has a label"
    assert class_scores(zeros, zeros + 2, nowhere, ["a", "b", "c"]) == "mIoU 0.000 over 2 classes, accuracy 0.000"
    assert value_scores(zeros, zeros + 2.0, nowhere) == "RMSE 2, MAE 2, bias +2"
    assert value_scores(zeros, zeros + 2.0, ~nowhere) == "no pixel has a label"


def panels(figure: Figure) -> dict[str, np.ndarray]:
    return {axes.get_title(): np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images}


def test_label_and_prediction_have_the_same_colours_as_the_legend() -> None:
    label = np.array([[0, 1, 2], [2, 1, -1]])
    sample = MapSample("x", (), label, np.roll(label.clip(0), 1), label == -1)
    figure = segmentation_figure(sample, ["a", "b", "c"])
    shown, colours = panels(figure), class_colours(3)
    np.testing.assert_allclose(shown["label"][0], colours)
    np.testing.assert_allclose(shown["prediction"], colours[sample.prediction])
    legend = figure.axes[0].get_legend()
    assert legend is not None
    entries = {
        text.get_text(): patch.get_facecolor()[:3]
        for text, patch in zip(legend.get_texts(), legend.get_patches(), strict=True)
    }
    assert [entries[name] for name in "abc"] == [pytest.approx(colour) for colour in colours]
    assert "no label" in entries


@pytest.mark.parametrize("count", [2, 9, 18, 40])
def test_no_class_is_grey_and_no_two_are_alike(count: int) -> None:
    colours = class_colours(count)
    assert len(np.unique(colours.round(3), axis=0)) == count
    assert np.ptp(colours, axis=1).min() > 0.05


def test_no_error_is_white_whatever_the_range_of_errors() -> None:
    label = np.zeros((4, 4), np.float32)
    said = np.array([[0, 9, 9, 9]] * 4, np.float32)  # all errors are positive
    ignored = np.zeros((4, 4), bool)
    ignored[3] = True
    figure = regression_figure(MapSample("x", (), label, said, ignored))
    difference = panels(figure)["prediction - label"]
    assert difference[0, 0].min() > 0.95
    assert difference[0, 1, 0] > 2 * difference[0, 1, 2], "red: too high"
    assert len(set(difference[3, 0])) == 1, "grey: no label"
    assert [axes.get_xlim() for axes in figure.axes][-1] == pytest.approx((-9, 9))


def test_wrong_scenes_are_marked(tmp_path: Path) -> None:
    picture = np.zeros((4, 4, 3), np.float32)
    samples = [SceneSample("a", picture, "sea", "sea", 0.9, True), SceneSample("b", None, "sea", "land", 0.6, False)]
    figure = scene_figure(samples, "test samples")
    assert [tuple(axes.spines["left"].get_edgecolor()[:3]) == to_rgb(WRONG) for axes in figure.axes] == [False, True]
    assert figure.texts[0].get_text() == "test samples: 1 of 2 right"
    assert "predicted: land (0.60)" in [text.get_text() for text in figure.axes[1].texts]
    figure.savefig(tmp_path / "x.png")


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


def test_scenes_of_several_classes_and_of_values() -> None:
    from eo_finetune.panel_samples import _scene_sample

    class Task(LightningModule):
        pass

    several = _scene_sample(Task(), torch.tensor([1, 0, 1]), torch.tensor([4.0, -4.0, -4.0]), "x", ())
    assert (several.label, several.prediction, several.correct) == ("class 0, class 2", "class 0", False)
    value = _scene_sample(Task(), torch.tensor(2.5), torch.tensor([2.0]), "x", ())
    assert (value.label, value.prediction, value.correct) == ("2.5", "2", None)
    with pytest.raises(ValueError, match=r"label \(2, 2\) and output \(3,\) are no class"):
        _scene_sample(Task(), torch.ones(2, 2, dtype=torch.long), torch.ones(3), "x", ())


def test_true_colour_is_found_by_name_and_not_by_position() -> None:
    modalities = {
        "S1": source("VH", "VV", sensor="sentinel1"),
        "S2": source("B11", "B4", "B8", "B2", "B3"),
    }
    views = views_of(Module([], modalities))
    assert [(view.title, view.modality, view.channels) for view in views] == [
        ("S2 true colour", "S2", (1, 4, 3)),
        ("S1 VV", "S1", (1,)),
    ]
    image = {"S1": torch.zeros(2, 8, 8), "S2": torch.zeros(5, 8, 8)}
    image["S2"][1, :4] = 1  # B4, red
    image["S1"][1, :, :4] = 1
    colour, radar = (view.of(image) for view in views)
    assert colour is not None
    assert radar is not None
    assert colour[1][0, 0].tolist() == [1, 0, 0]
    assert radar[1][0].mean(axis=-1).tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


class Stock:
    """What TerraTorch's data modules hold."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


def test_radar_and_optical_bands_in_one_tensor_give_two_pictures() -> None:
    views = views_of(Stock(output_bands=["BLUE", "GREEN", "RED", "VV", "VH"]))
    assert [(view.title, view.channels) for view in views] == [("true colour", (2, 1, 0)), ("VV", (3,))]


def test_what_the_user_names_is_shown() -> None:
    module = Module([], {"S2": source("B2", "B3", "B4", "B8"), "S1": source("VV", "VH", sensor="sentinel1")})
    assert [v.channels for v in views_of(module, ["B8", "red", "GREEN"])] == [(3, 2, 1), (0,)]
    only = views_of(module, {"S1": ["VH"]})
    assert [(v.title, v.modality, v.channels) for v in only] == [("S1 IW_VH", "S1", (1,))]
    assert views_of(None, [2, 1, 0])[0].channels == (2, 1, 0)
    wrong: list[tuple[Any, Any, str]] = [
        (module, {"S3": ["B2"]}, "rgb names the modality 'S3'. Valid: S2, S1"),
        (module, {"S2": ["B2", "B3"]}, "three bands .* or one .*, got .'B2', 'B3'."),
        (module, {"S2": ["B12"]}, "rgb names the band 'B12' of S2. Valid: BLUE, GREEN, RED, NIR_BROAD"),
        (module, {"S2": [7]}, "rgb names the channel 7 of S2. Valid: 0..3"),
        (None, ["RED", "GREEN", "BLUE"], "not known, as the data module does not tell them; give channel numbers"),
    ]
    for given, rgb, message in wrong:
        with pytest.raises(ValueError, match=message):
            views_of(given, rgb)


def test_without_names_the_indices_of_the_data_module_count() -> None:
    assert bands_of(Stock(output_bands=None, dataset_bands=[0, 1])) == {}
    assert views_of(None) == ()
    image = torch.zeros(2, 6, 8, 8)
    assert views_of_batch(image, Stock(rgb_indices=[5, 3, 1]))[0].channels == (5, 3, 1)
    assert views_of_batch(image, Stock(rgb_indices=[5, 3, 9]))[0].channels == (0, 1, 2)
    assert views_of_batch({"DEM": image[:, :1]}, Stock(rgb_indices={"S2": [3, 2, 1]}))[0] == View(
        "DEM channel 1", "DEM", (0,)
    )
    assert views_of_batch(None, None) == ()


def test_of_a_series_the_middle_frame_that_shows_something_is_drawn() -> None:
    series = np.random.default_rng(0).normal(size=(1, 7, 4, 4)).astype(np.float32)
    series[:, [2, 3, 4]] = 0  # padding
    assert middle_frame(series) == 5
    assert middle_frame(series, np.array([1, 1, 1, 0, 0, 0, 0])) == 1
    assert middle_frame(np.zeros((1, 5, 4, 4), np.float32)) == 2
    image = {"S2": torch.from_numpy(series), "S2_mask": torch.tensor([1, 1, 1, 0, 0, 0, 0]).bool()}
    drawn = View("S2", "S2", (0,)).of(image)
    assert drawn is not None
    assert drawn[0] == "S2, frame 2 of 7"


def test_a_stand_in_for_an_image_is_not_drawn() -> None:
    """Batches of cached features hold a plane of zeros, and so do modalities that lack."""
    view = View("S1 VV", "S1", (0,))
    assert view.of(torch.zeros(1, 4, 4)) is None
    assert view.of({"S2": torch.ones(3, 4, 4)}) is None
    assert View("RGB", None, (0, 1, 2)).of(torch.rand(1, 4, 4)) is None


def test_samples_spread_over_all_batches() -> None:
    taken = [share_of_batch(4, index, 8) for index in range(8)]
    assert np.diff([0, *taken]).tolist() == [1, 0, 1, 0, 1, 0, 1, 0]
    assert np.diff([0, *(share_of_batch(8, index, 3) for index in range(3))]).tolist() == [3, 3, 2]
    assert share_of_batch(8, 0, float("inf")) == 8


def test_a_part_of_a_batch_keeps_features_by_level_and_leaves_the_batch_alone() -> None:
    batch = {
        "image": {"S2": torch.rand(4, 3, 2, 2), "S2_dates": torch.arange(8).view(4, 2)},
        "features": [torch.rand(4, 5, 1, 1) for _ in range(4)],
        "filename": ["a", "b", "c", "d"],
        "scale": torch.tensor(2.0),
        "wavelengths": torch.arange(3),
    }
    before = copy.deepcopy(batch)
    part = first_of_batch(batch, 2, 4)
    assert [tuple(level.shape) for level in part["features"]] == [(2, 5, 1, 1)] * 4
    assert part["image"]["S2_dates"].tolist() == [[0, 1], [2, 3]]
    assert (part["filename"], len(part["wavelengths"])) == (["a", "b"], 3)
    part["image"]["S2"] = None
    assert all(torch.equal(batch["image"][key], before["image"][key]) for key in before["image"])
    assert (batch_size(batch), batch_size({"filename": ["a"]}), batch_size({"n": 1})) == (4, 1, 0)


def test_long_names_keep_their_end() -> None:
    assert shortened("a" * 50 + "/chip_7.tif", 2, 10) == "...aaaaaa/chip_7.tif"
    assert shortened("chip", 2, 10) == "chip"


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

    from eo_data.datamodules import ChipDataModule
    from eo_data.preprocess import DatasetNormalise
    from eo_data.sources import LabelSource

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
