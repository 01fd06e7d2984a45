"""Grids are read by windows in every format, and of a raster the whole is taken."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from placed_exports import placed
from published_tiles import CELL, LEFT, TOP, values

from eo_embed import open_embeddings
from eo_embed.export.record.manifest import Manifest
from eo_embed.reading.publishing.grids import grids_of
from eo_embed.writers.embedding import Cells, Embedding
from eo_embed.writers.formats import FORMATS, GRID_FORMATS, GridFormat
from eo_embed.writers.quantise import Encoding


def item(name: str, top: int, left: int, height: int = 20, width: int = 20) -> Embedding:
    place = Affine(CELL, 0, LEFT + CELL * left, 0, -CELL, TOP - CELL * top)
    return placed(name, values(top, left, height, width), place, dates=(date(2024, 5, 1),), sources=("in/a.tif",))


@pytest.mark.parametrize("name", GRID_FORMATS)
def test_a_window_of_a_grid_is_that_of_the_whole_in_every_format(tmp_path: Path, name: GridFormat) -> None:
    manifest = Manifest.create(tmp_path, {"task": "test"}, {})
    FORMATS[name].writer(tmp_path, Encoding("float32")).write(item("a", 3, 5))
    manifest.complete({"done": 1}, [], [])
    (grid,) = grids_of(open_embeddings(tmp_path), placed=name != "npz")
    np.testing.assert_array_equal(grid.read(Cells(2, 7, 4, 5)), values(5, 12, 4, 5))
    np.testing.assert_array_equal(grid.read(), values(3, 5))
    blocks = list(grid.blocks(8))
    assert sum(cells.height * cells.width for cells in blocks) == 400
    assert (grid.depth, grid.dates, grid.sources) == (6, ("2024-05-01",), ("in/a.tif",))
    if name != "npz":
        assert grid.place.transform == Affine(CELL, 0, LEFT + 5 * CELL, 0, -CELL, TOP - 3 * CELL)


def test_of_a_raster_that_was_put_together_its_tiles_are_left_out(tmp_path: Path) -> None:
    manifest = Manifest.create(tmp_path, {"task": "test"}, {})
    writer = FORMATS["geotiff"].writer(tmp_path, Encoding("float32"))
    for one in (item("r", 0, 0, 20, 40), item("r/0", 0, 0), item("r/1", 0, 20), item("s/0", 40, 0)):
        writer.write(one)
    entries = [
        {"id": name, "layer": "", "raster_id": raster} for name, raster in (("r/0", "r"), ("r/1", "r"), ("s/0", "s"))
    ]
    manifest.complete({"done": 3}, entries, [])
    assert [grid.id for grid in grids_of(open_embeddings(tmp_path))] == ["r", "s/0"]


def test_a_grid_without_a_place_is_refused_by_its_file(make_tiles: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match=r"0\.tif has no transform or no CRS"):
        grids_of(open_embeddings(make_tiles([(0, 0)], crs=None)))
