"""Tiles without data cost no encoding and are no failure; a raster of nothing else is one."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from eo_data.dataset.contract import SampleMetadata
from eo_embed import Exporter, ExportSettings, open_embeddings
from eo_embed.export.flow.summary import Counts
from eo_models.features import Features

SIDE = 16


class StandIn:
    """Means of 8 x 8 pixels; it keeps how many images it was given, and which further entries."""

    def __init__(self) -> None:
        self.images = 0
        self.days: list[int] = []

    def __call__(self, image: torch.Tensor, days: torch.Tensor) -> list[Features]:
        self.images += len(image)
        self.days += days.tolist()
        grid = F.avg_pool2d(image, 8)
        return [Features(grid.flatten(2).transpose(1, 2), None, grid)]


def tile(raster: str, column: int, *, observed: bool) -> dict[str, Any]:
    """A tile whose core is its right half; where nothing of it was observed, its halo was."""
    valid = torch.ones(SIDE, SIDE, dtype=torch.bool)
    valid[:, 8:] = observed
    metadata = SampleMetadata(
        id=f"{raster}/r0_c{column}",
        crs="EPSG:32631",
        geotransform=torch.tensor([5e5 + 10 * column, 10, 0, 4e6, 0, -10], dtype=torch.float64),
        valid=valid,
        core=torch.tensor([0, 0.5, 1, 1], dtype=torch.float64),
        raster_core=torch.tensor([0, column + 8, 16, column + 16]),
        raster_id=raster,
        raster_hw=torch.tensor([16, 64]),
    )
    image = torch.full((2, SIDE, SIDE), float(column))
    return {"image": image, "filename": f"{raster}.tif", "days": torch.tensor(column), **metadata}


def batch(*tiles: dict[str, Any]) -> dict[str, Any]:
    return torch.utils.data.default_collate(list(tiles))


def exporter(folder: Path, encoder: StandIn, rank: int = 0, **settings: Any) -> Exporter:
    chosen = ExportSettings(**({"output": "both", "on_error": "raise", "grid_format": "npz"} | settings))
    return Exporter(folder, encoder, chosen, {"encoder": "stand-in", **chosen.facts()}, rank=rank)


def failed(folder: Path) -> list[tuple[str, str]]:
    with (folder / "failures.csv").open() as file:
        return [(row["id"], row["reason"]) for row in csv.DictReader(file)]


def test_tiles_without_data_are_not_encoded_and_the_others_keep_their_entries(tmp_path: Path) -> None:
    encoder = StandIn()
    tiles = [tile("a", column, observed=column in (8, 24)) for column in (0, 8, 16, 24, 32)]
    text = exporter(tmp_path, encoder).run([batch(*tiles[:3]), batch(tiles[3]), batch(tiles[4])])
    assert (encoder.images, encoder.days) == (2, [8, 24])
    found = open_embeddings(tmp_path)
    assert found.ids == ("a/r0_c24", "a/r0_c8")
    np.testing.assert_array_equal(found.grid("a/r0_c24").values, np.full((2, 2, 1), 24.0))
    assert found.manifest["counts"]["blank"] == 3
    assert found.manifest["failures"] == []
    assert "tiles without data 3" in " ".join(text.split())


def test_a_raster_without_any_data_is_a_failure(tmp_path: Path) -> None:
    tiles = [tile("a", 0, observed=True), tile("a", 8, observed=False), tile("b", 0, observed=False)]
    with pytest.raises(ValueError, match="1 items could not be exported: b: nothing of it was observed"):
        exporter(tmp_path, StandIn()).run([batch(*tiles)])
    assert [name for name, _ in failed(tmp_path)] == ["b"]
    # Resumed: the tile that is there still tells that its raster has data.
    with pytest.raises(ValueError, match="1 items could not be exported: b:"):
        exporter(tmp_path, StandIn()).run([batch(*tiles)])


def test_tiles_of_one_raster_in_several_processes_know_of_each_other(tmp_path: Path) -> None:
    """One process sees only the part of a raster without data."""
    ranks = [exporter(tmp_path, StandIn(), rank) for rank in (0, 1)]
    for rank in ranks:
        rank.open()
    ranks[0].add(batch(tile("a", 0, observed=False)))
    ranks[1].add(batch(tile("a", 8, observed=True)))
    ranks[0].complete(sum((rank.close() for rank in ranks), Counts()))
    for rank in ranks:
        rank.raise_if_failed()
    assert not (tmp_path / "failures.csv").exists()
