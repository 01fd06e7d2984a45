"""Maps of rasters larger than a tile: one option of a training config, and no seams."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from terratorch.cli_tools import CustomWriter
from terratorch.models.model import ModelOutput

from eo_finetune import LabelMapWriter

Make = Callable[..., Any]


class Pointwise(torch.nn.Module):
    """A class for each pixel by its own value: water where green is larger than near infrared by some of it."""

    def forward(self, image: torch.Tensor, **_: Any) -> ModelOutput:
        water = image[:, 1] - 0.5 * image[:, 3]
        return ModelOutput(output=torch.stack([-water, water], dim=1))


def maps(build: Make, config: dict[str, Any], out: Path) -> dict[str, np.ndarray]:
    run = build(config, LabelMapWriter(str(out)))
    run.task.model = Pointwise()
    run.trainer.predict(run.task, datamodule=run.data)
    found = {}
    for path in sorted(out.glob("*.tif")):
        with rasterio.open(path) as file:
            found[path.name] = file.read(1)
    return found


@pytest.mark.parametrize("task", [{}, {"tiled_inference_parameters": {"crop": 48, "stride": 32}}])
def test_a_map_by_tiles_is_the_map_of_the_whole(
    task: dict[str, Any], chips: Make, recipe: Make, build: Make, tmp_path: Path
) -> None:
    root = chips(side=192)
    whole = maps(build, recipe(root, data={"train_transform": None, "batch_size": 1}), tmp_path / "whole")
    tiled = recipe(root, data={"train_transform": None, "tile": 80}, task=task)
    found = maps(build, tiled, tmp_path / "tiled")
    assert found.keys() == whole.keys()
    for name, classes in whole.items():
        assert 0.02 < (classes == 1).mean() < 0.98
        np.testing.assert_array_equal(found[name], classes)


def test_tiles_that_would_overwrite_each_other_are_refused_before_the_run(
    chips: Make, recipe: Make, build: Make, tmp_path: Path
) -> None:
    """TerraTorch's writer names files after the input: of all tiles of a raster only the last one would be left."""
    run = build(recipe(chips(side=96), data={"train_transform": None, "tile": 64}), CustomWriter(str(tmp_path / "out")))
    with pytest.raises(ValueError, match="to the same file. Add {class_path: eo_finetune.LabelMapWriter} to trainer"):
        run.trainer.predict(run.task, datamodule=run.data)
    assert not list(tmp_path.rglob("*_pred.tif"))
