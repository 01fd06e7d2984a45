"""What `predict` writes is what `test` measured, at the place of the pixels that the model saw."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from lightning.pytorch import Callback
from rasterio.windows import Window

from eo_data.dataset.sample_grid import SampleGrid
from eo_data.raster.georeference import PixelGrid
from eo_finetune import BestCheckpoint, LabelMapWriter
from eo_finetune.label_maps import _Raster, on_input_grid, write_map

Make = Callable[..., Any]


class Outputs(Callback):
    """The classes that a model returned for every batch, by the id that their files will have."""

    def __init__(self) -> None:
        self.found: dict[str, np.ndarray] = {}

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        pl_module.model.register_forward_hook(lambda *call: setattr(self, "last", call[-1].output.argmax(1)))

    def _note(self, batch: Any) -> None:
        for i, name in enumerate(batch["filename"]):
            tile = batch["id"][i] if "id" in batch else Path(name).stem
            self.found[tile] = self.last[i].cpu().numpy()

    def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        self._note(batch)

    def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        self._note(batch)


def fitted(build: Make, config: dict[str, Any], tmp_path: Path) -> Path:
    run = build(config, BestCheckpoint(dirpath=str(tmp_path / "kept")), max_epochs=1)
    run.trainer.fit(run.task, datamodule=run.data)
    return tmp_path / "kept" / "best.ckpt"


def predict(build: Make, config: dict[str, Any], maps: Path, *callbacks: Callback, **arguments: Any) -> Any:
    run = build(config, LabelMapWriter(str(maps)), *callbacks)
    run.trainer.predict(run.task, datamodule=run.data, **arguments)
    return run


def read(path: Path) -> tuple[np.ndarray, Any]:
    with rasterio.open(path) as file:
        return file.read(), {"crs": file.crs, "transform": file.transform, "nodata": file.nodata, "tags": file.tags()}


def hide(path: Path, part: tuple[slice, slice], bands: Any = slice(None)) -> None:
    """Set pixels to the no-data value of the file, 0."""
    with rasterio.open(path, "r+") as file:
        pixels = file.read()
        pixels[bands, *part] = 0
        file.write(pixels)


UNET = {"model": "Unet", "backbone": "resnet18", "pretrained": False, "smp_encoder_depth": 3, "num_classes": 2}
UNET |= {"smp_decoder_channels": [16, 8, 8], "bands": ["BLUE", "GREEN", "RED", "NIR_BROAD"]}


@pytest.mark.parametrize("kind", ["thor", "unet"])
def test_maps_are_what_test_computed_in_their_place(
    kind: str, chips: Make, recipe: Make, build: Make, tmp_path: Path
) -> None:
    """Chips of 100 px, of which THOR's preprocessing keeps the 96 in the middle; a U-Net takes no further entries."""
    root = chips(side=100)
    chip = root / "S2" / "India_SYN06.tif"
    hide(chip, (slice(10, 20), slice(30, 50)))
    hide(chip, (slice(40, 60), slice(40, 60)), bands=10)  # cirrus, which nobody reads
    config = recipe(root, data={"train_transform": None})
    if kind == "unet":
        config["model"]["init_args"] |= {"model_factory": "SMPModelFactory", "model_args": UNET}
        config["model"]["init_args"]["freeze_backbone"] = False
    best = fitted(build, config, tmp_path)
    outputs = Outputs()
    run = build(config, outputs)
    run.trainer.test(run.task, datamodule=run.data, ckpt_path=str(best), verbose=False)
    predict(build, config, tmp_path / "maps", ckpt_path=str(best))
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [
        "India_SYN06_pred.tif",
        "Mekong_SYN07_pred.tif",
    ]
    assert {len(np.unique(classes)) for classes in outputs.found.values()} == {2}
    for name, classes in outputs.found.items():
        pixels, about = read(tmp_path / "maps" / f"{name}_pred.tif")
        with rasterio.open(root / "S2" / f"{name}.tif") as source:
            crs, expected = source.crs, source.window_transform(Window(2, 2, 96, 96))
        assert pixels.shape == (1, 96, 96)
        assert pixels.dtype == np.int16
        assert about["crs"] == crs
        assert about["transform"].almost_equals(expected, precision=1e-12)
        assert about["nodata"] == -1
        assert about["tags"]["class_1"] == "water"
        seen = np.ones((96, 96), dtype=bool)
        if name == "India_SYN06":
            seen[8:18, 28:48] = False
        np.testing.assert_array_equal(pixels[0], np.where(seen, classes, -1))


RECTANGLE = (112, 80)


@pytest.mark.parametrize(
    ("settings", "located"),
    [
        ({}, True),
        ({}, False),
        ({"non_square": "stretch", "image_size": 64}, True),
        ({"non_square": "stretch", "image_size": 64}, False),
        ({"max_native_side": 96, "image_size": 64}, True),
    ],
)
@pytest.mark.filterwarnings("ignore:THOR's rule resamples", "ignore:Dataset has no geotransform")
def test_a_map_has_the_pixels_of_its_input_whatever_the_encoder_saw(
    settings: dict[str, Any], located: bool, chips: Make, recipe: Make, build: Make, tmp_path: Path
) -> None:
    """A chip of 112 x 80 px had a map of 288 x 288, of pixels of 2.78 x 3.89 m."""
    root = chips(side=RECTANGLE[0])
    for path in (root / "S2").iterdir():
        with rasterio.open(path) as file:
            pixels, profile = file.read(window=Window(0, 0, RECTANGLE[1], RECTANGLE[0])), file.profile
        profile |= {"width": RECTANGLE[1]} | ({} if located else {"crs": None, "transform": Affine.identity()})
        with rasterio.open(path, "w", **profile) as file:
            file.write(pixels)
    preprocess = {"class_path": "thor_terratorch_ext.ThorPreprocess", "init_args": {"patch_size": 8, **settings}}
    outputs = Outputs()
    config = recipe(root, data={"train_transform": None, "preprocess": preprocess, "label": None})
    predict(build, config, tmp_path / "maps", outputs)
    for name, classes in outputs.found.items():
        pixels, about = read(tmp_path / "maps" / f"{name}_pred.tif")
        with rasterio.open(root / "S2" / f"{name}.tif") as source:
            assert about["transform"].almost_equals(source.transform, precision=1e-6)
            assert about["crs"] == source.crs
        assert pixels.shape == (1, *RECTANGLE)
        # Where the centre of each pixel of the input lies among the classes that the model gave.
        border = [0, 0] if "non_square" in settings else [0, (RECTANGLE[0] - RECTANGLE[1]) // 2]
        sides = RECTANGLE if "non_square" in settings else (RECTANGLE[0], RECTANGLE[0])
        rows, columns = (
            np.floor((np.arange(side) + 0.5 + before) * count / whole).astype(int)
            for side, before, count, whole in zip(RECTANGLE, border, classes.shape, sides, strict=True)
        )
        np.testing.assert_array_equal(pixels[0], classes[np.ix_(rows, columns)])


def test_a_border_is_no_part_of_a_map_and_a_crop_stays_one() -> None:
    """Numbers by hand: 6 x 4 px in 6 x 6, and 3 px of 2 px each out of 7."""
    values = np.arange(36).reshape(1, 6, 6)
    transform = Affine(10, 0, 480, 0, -10, 900)
    seen = np.ones((6, 6), dtype=bool)
    bands, where = on_input_grid(values, place(seen, transform, to_input=Affine(1, 0, -1, 0, 1, 0), input_shape=(6, 4)))
    np.testing.assert_array_equal(bands, values[:, :, 1:5])
    assert where == Affine(10, 0, 490, 0, -10, 900)
    coarse = place(seen[:3, :3], Affine(20, 0, 480, 0, -20, 900), to_input=Affine(2, 0, 1, 0, 2, 0), input_shape=(6, 7))
    bands, where = on_input_grid(np.arange(9).reshape(1, 3, 3), coarse)
    np.testing.assert_array_equal(bands[0, 0], [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(bands[0, :, 0], [0, 0, 3, 3, 6, 6])
    assert where == Affine(10, 0, 480, 0, -10, 900)
    assert on_input_grid(values, place(seen, transform)) == (values, transform)


@pytest.mark.parametrize(("halo", "count"), [(0, 4), (16, 16)])
def test_tiles_become_one_raster_on_the_grid_of_the_source(
    halo: int, count: int, chips: Make, recipe: Make, build: Make, tmp_path: Path
) -> None:
    """120 px in tiles of 64 px: those at the end reach over it, and every pixel has one answer."""
    folder = chips(side=120)
    hide(folder / "S2" / "Mekong_SYN07.tif", (slice(70, 80), slice(0, 9)))
    config = recipe(folder, data={"train_transform": None, "tile": 64, "halo": halo})
    outputs = Outputs()
    run = predict(build, config, tmp_path / "maps", outputs)
    records = {record.id: record for record in run.data.predict_dataset.records}
    assert len(records) == 2 * count
    for name in ("India_SYN06", "Mekong_SYN07"):
        pixels, about = read(tmp_path / "maps" / f"{name}_pred.tif")
        with rasterio.open(folder / "S2" / f"{name}.tif") as source:
            assert about["crs"] == source.crs
            assert about["transform"] == source.transform
            assert about["tags"]["class_1"] == "water"
            assert pixels.shape[1:] == source.shape
        expected = np.full((120, 120), -9)
        for key, record in records.items():
            if record.raster_id == name:
                window = record.window
                top, left, bottom, right = window.core
                own = outputs.found[key][top:bottom, left:right]
                place = expected[window.top + top : window.top + bottom, window.left + left : window.left + right]
                assert (place == -9).all()
                place[:] = own[: place.shape[0], : place.shape[1]]
        if name == "Mekong_SYN07":
            expected[70:80, 0:9] = -1
        assert (expected > -9).all()
        np.testing.assert_array_equal(pixels[0], expected)
    assert not list((tmp_path / "maps").rglob(".partial*"))


def test_what_no_tile_covers_is_no_data(recipe: Make, chips: Make, build: Make, tmp_path: Path) -> None:
    folder = chips(side=120)
    config = recipe(folder, data={"train_transform": None, "tile": 64, "halo": 0})
    run = build(config, LabelMapWriter(str(tmp_path / "maps")), limit_predict_batches=1)
    run.trainer.predict(run.task, datamodule=run.data)
    (path,) = (tmp_path / "maps").iterdir()
    pixels, _ = read(path)
    assert set(np.unique(pixels[0, 64:])) == {-1}
    assert -1 not in pixels[0, :48, :48]


def test_the_same_name_in_two_folders_is_two_maps(chips: Make, recipe: Make, build: Make, tmp_path: Path) -> None:
    root = chips()
    for folder, chip in (("a", "India_SYN06"), ("b", "Mekong_SYN07")):
        (root / "all" / folder).mkdir(parents=True)
        (root / "S2" / f"{chip}.tif").rename(root / "all" / folder / "tile.tif")
    config = recipe(root, data={"train_transform": None, "test_split": None, "label": None})
    config["data"]["init_args"]["modalities"]["S2"]["files"] = "all/{id}.tif"
    predict(build, config, tmp_path / "maps")
    written = sorted(path.relative_to(tmp_path / "maps").as_posix() for path in (tmp_path / "maps").rglob("*.tif"))
    assert written == ["a/tile_pred.tif", "b/tile_pred.tif"]


@pytest.mark.parametrize("tile", [None, 64])
def test_a_crash_leaves_no_half_written_file(
    tile: int | None, chips: Make, recipe: Make, build: Make, tmp_path: Path
) -> None:
    class Crash(Callback):
        def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, index: int) -> None:
            if index == 1:
                msg = "no more memory"
                raise RuntimeError(msg)

    config = recipe(chips(side=96), data={"train_transform": None, "tile": tile, "batch_size": 1})
    with pytest.raises(RuntimeError, match="no more memory"):
        predict(build, config, tmp_path / "maps", Crash())
    left = sorted(path.name for path in (tmp_path / "maps").rglob("*") if path.is_file())
    assert all(not name.startswith(".partial") for name in left)
    assert len(left) == (0 if tile else 2)


def test_terratorch_s_own_writer_writes_nothing_beside(
    chips: Make, recipe: Make, command: Make, tmp_path: Path
) -> None:
    config = recipe(chips(), data={"train_transform": None})
    guard = {"class_path": "eo_finetune.RunGuard", "init_args": {"untrained": True}}
    config["trainer"]["callbacks"] = [{"class_path": "eo_finetune.LabelMapWriter"}, guard]
    out = tmp_path / "maps"
    command("predict", config, "--predict_output_dir", str(out))
    assert sorted(path.name for path in out.rglob("*")) == ["India_SYN06_pred.tif", "Mekong_SYN07_pred.tif"]
    for path in out.iterdir():
        path.unlink()
    command("predict", config)  # nothing said: below the folder of the run
    assert len(list((tmp_path / "out" / "maps").glob("*.tif"))) == 2
    assert not list(out.iterdir())


def test_without_this_writer_a_model_without_further_entries_predicts_too(
    chips: Make, recipe: Make, build: Make
) -> None:
    config = recipe(chips(), data={"train_transform": None})
    config["model"]["init_args"] |= {"model_factory": "SMPModelFactory", "model_args": UNET, "freeze_backbone": False}
    run = build(config)
    (((classes, _), names),) = run.trainer.predict(run.task, datamodule=run.data)
    assert classes.shape == (2, 64, 64)
    assert [Path(name).stem for name in names] == ["India_SYN06", "Mekong_SYN07"]


def test_a_real_flood_chip_by_tiles(shared: Path, recipe: Make, build: Make, tmp_path: Path) -> None:
    """512 px in degrees, with S2 pixels that are not observed only where all files say so."""
    root = shared / "data" / "sen1floods11_v1.1"
    config = recipe(root, data={"tile": 128, "batch_size": 8, "train_transform": None, "predict_split": "one.txt"})
    data = config["data"]["init_args"]
    data["predict_split"] = str(tmp_path / "one.txt")
    (tmp_path / "one.txt").write_text("Spain_7370579")
    data["modalities"]["S2"]["files"] = "data/S2L1CHand/{id}_S2Hand.tif"
    data["label"] = None
    predict(build, config, tmp_path / "maps")
    pixels, about = read(tmp_path / "maps" / "Spain_7370579_pred.tif")
    with rasterio.open(root / "data" / "S2L1CHand" / "Spain_7370579_S2Hand.tif") as source:
        used = source.read([2, 3, 4, 8])
        assert about["crs"] == source.crs
        assert about["transform"] == source.transform
    np.testing.assert_array_equal(pixels[0] == -1, (used == 0).any(0))


def test_several_outputs_are_several_maps(chips: Make, recipe: Make, build: Make, tmp_path: Path) -> None:
    outputs = {"output_on_inference": ["prediction", "probabilities"]}
    predict(build, recipe(chips(), data={"train_transform": None}, task=outputs), tmp_path / "maps")
    classes, about = read(tmp_path / "maps" / "India_SYN06_pred.tif")
    shares, other = read(tmp_path / "maps" / "India_SYN06_probabilities.tif")
    assert shares.dtype == np.float32
    assert np.isnan(other["nodata"])
    assert about["transform"] == other["transform"]
    np.testing.assert_allclose(shares.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(shares.argmax(0), classes[0])


def test_whole_numbers_of_a_regression_stay_numbers(chips: Make, recipe: Make, build: Make, tmp_path: Path) -> None:
    """A map that is 0 everywhere is no map of classes, and -1 is no missing value in it."""
    config = recipe(chips(), data={"task": "regression", "label": {"files": "label/{id}.tif"}})
    hide(tmp_path / "chips" / "S2" / "India_SYN06.tif", (slice(0, 3), slice(0, 5)))
    config["model"]["class_path"] = "terratorch.tasks.PixelwiseRegressionTask"
    task = config["model"]["init_args"]
    task |= {"loss": "rmse"}
    del task["class_names"], task["model_args"]["num_classes"]
    run = build(config, LabelMapWriter(str(tmp_path / "maps")))
    head = run.task.model.head
    head.register_forward_hook(lambda *call: torch.full_like(call[-1], -1.0))
    run.trainer.predict(run.task, datamodule=run.data)
    pixels, about = read(tmp_path / "maps" / "India_SYN06_pred.tif")
    assert pixels.dtype == np.float32
    assert np.isnan(about["nodata"])
    assert np.isnan(pixels[0, :3, :5]).all()
    assert (pixels[0, 3:] == -1).all()


def test_classes_of_whole_samples_go_to_a_table(chips: Make, recipe: Make, build: Make, tmp_path: Path) -> None:
    root = chips()
    config = recipe(root, data={"task": "classification", "label": None, "test_split": "val.txt"})
    config["model"]["class_path"] = "terratorch.tasks.ClassificationTask"
    task = config["model"]["init_args"]
    task["class_names"] = ["field", "lake", "town"]
    del task["ignore_index"], task["plot_on_val"]
    model = {k: v for k, v in task["model_args"].items() if not k.startswith(("decoder", "head"))}
    task["model_args"] = model | {"decoder": "IdentityDecoder", "head_linear_after_pool": True, "num_classes": 3}
    outputs = Outputs()
    predict(build, config, tmp_path / "maps", outputs)
    with (tmp_path / "maps" / "predictions.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert rows.keys() == outputs.found.keys() == {"India_SYN06", "Mekong_SYN07"}
    for key, value in outputs.found.items():
        assert int(rows[key]["prediction"]) == int(value)
        assert rows[key]["name"] == ["field", "lake", "town"][int(value)]


def place(valid: np.ndarray, transform: Affine | None = None, **more: Any) -> SampleGrid:
    return SampleGrid("t", (str(more.pop("source", "none.tif")),), transform, None, valid, (), **more)


def test_a_map_of_another_size_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"prediction for t has \(4, 4\) pixels, its image \(8, 8\).*rescale: true"):
        write_map(tmp_path / "m.tif", np.zeros((4, 4), dtype=np.int16), place(np.ones((8, 8), dtype=bool)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda batch: batch["raster_hw"][:, 1].fill_(40),
            "lies outside of its raster of 96 x 40 pixels: at row 0 and",
        ),
        (lambda batch: batch["raster_hw"][-1].fill_(7), "is of a raster of 7 x 7 pixels, other tiles of .* of 96 x 96"),
        (lambda batch: batch["raster_geotransform"][-1].mul_(2), "or they lie elsewhere. Give each raster an id"),
        (lambda batch: batch["geotransform"].mul_(2), "was resampled: its pixels are .* wide, those of the raster"),
    ],
)
def test_tiles_that_do_not_fit_their_raster_are_refused(
    spoil: Callable[[Any], Any], message: str, chips: Make, recipe: Make, build: Make, tmp_path: Path
) -> None:
    class Spoil(Callback):
        def on_predict_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *_: Any) -> None:
            spoil(batch)

    config = recipe(chips(side=96), data={"train_transform": None, "tile": 64})
    with pytest.raises(ValueError, match=message):
        predict(build, config, tmp_path / "maps", Spoil())
    assert not [path for path in (tmp_path / "maps").rglob("*") if path.is_file()]


def test_tiles_are_not_piled_up_in_a_corner_when_their_place_is_not_known(
    chips: Make, recipe: Make, build: Make, tmp_path: Path
) -> None:
    """Every tile of a raster without a transform would be written at its upper left corner."""
    root = chips(side=96)
    for path in (root / "S2").iterdir():
        with rasterio.open(path) as file:
            pixels, profile = file.read(), file.profile
        profile |= {"crs": None, "transform": Affine.identity()}
        with rasterio.open(path, "w", **profile) as file:
            file.write(pixels)
    config = recipe(root, data={"train_transform": None, "tile": 64})
    with pytest.raises(ValueError, match="has no georeference, so its place in .*tif is not known. .*tile: null"):
        predict(build, config, tmp_path / "maps")


def test_a_tile_that_lies_between_the_pixels_of_its_raster_is_refused(
    chips: Make, recipe: Make, build: Make, tmp_path: Path
) -> None:
    """Rounding would move the map by up to half a pixel."""

    class Move(Callback):
        def on_predict_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *_: Any) -> None:
            batch["geotransform"][:, 0] += 0.4 * batch["geotransform"][:, 1]

    config = recipe(chips(side=96), data={"train_transform": None, "tile": 64})
    with pytest.raises(ValueError, match="it begins at .*, the raster at"):
        predict(build, config, tmp_path / "maps", Move())


def test_no_operator_of_affine_that_is_given_up(tmp_path: Path) -> None:
    """affine 3 warns of a product with a tuple, and a later one refuses it."""
    whole = PixelGrid(8, 8, Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32632")
    tile = place(np.ones((4, 4), dtype=bool), Affine(10, 0, 500_040, 0, -10, 4_999_980), raster_id="source")
    values = np.ones((4, 4), dtype=np.int16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        raster = _Raster(tmp_path / "map.tif", whole, values)
        raster.write(values, tile, whole)
        raster.finish()
    expected = np.full((8, 8), -1)
    expected[2:6, 4:8] = 1
    np.testing.assert_array_equal(read(tmp_path / "map.tif")[0][0], expected)


def test_tiles_by_several_processes_are_refused(chips: Make, recipe: Make, build: Make, tmp_path: Path) -> None:
    config = recipe(chips(side=96), data={"train_transform": None, "tile": 64})
    run = build(config, LabelMapWriter(str(tmp_path / "maps")))
    writer = run.trainer.callbacks[1]

    class Several:
        world_size, datamodule = 2, run.data

    run.data.setup("predict")
    batch = next(iter(run.data.predict_dataloader()))
    writer._out, writer._rasters, writer._rows, writer._kept, writer._written = tmp_path, {}, [], {}, {}
    prediction = (torch.zeros(2, 64, 64, dtype=torch.long), batch["filename"])
    with pytest.raises(ValueError, match="by one process only. Set trainer.devices: 1"):
        writer.write_on_batch_end(Several(), run.task, prediction, None, batch, 0, 0)
    writer.write_on_batch_end(Several(), run.task, None, None, batch, 0, 0)  # nothing predicted, nothing written
