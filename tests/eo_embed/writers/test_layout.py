"""An id names one file below the folder, and a file says of itself what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from eo_embed.writers.embedding import Embedding
from eo_embed.writers.layout import attributes_of, band_names, cell_centres, grid_of, item_path, parsed_attributes

Make = Callable[..., Embedding]


@pytest.mark.parametrize(
    "id", ["../x", "a/../../x", "/etc/x", "", "a/", "a//b", "a\\b", ".", "a/.partial-x", "x" * 250, "a\nb", "a\0b"]
)
def test_no_id_leaves_the_folder(tmp_path: Path, id: str) -> None:  # noqa: A002
    with pytest.raises(ValueError, match="cannot name a file. Expected a relative path"):
        item_path(tmp_path, id, "", ".tif")


@pytest.mark.parametrize("layer", ["../x", "a/b", "..", ".partial-1"])
def test_a_layer_is_one_folder(tmp_path: Path, layer: str) -> None:
    with pytest.raises(ValueError, match="cannot name a folder. Expected a name such as layer_11"):
        item_path(tmp_path, "a", layer, ".tif")


def test_dots_and_other_alphabets_stay_in_the_name(tmp_path: Path) -> None:
    assert item_path(tmp_path, "høyde/野/tile.v1", "layer_3", ".tif") == tmp_path / "layer_3/høyde/野/tile.v1.tif"
    assert item_path(tmp_path, "a/tile", "", "") == tmp_path / "a" / "tile"


def test_what_a_file_says_of_itself_comes_back(make_embedding: Make, tmp_path: Path) -> None:
    embedding = make_embedding("a/tile", layer="layer_3")
    said = attributes_of(embedding, tmp_path / "grids" / "a" / "tile.tif", tmp_path / "manifest.json", "int8")
    assert said["manifest"] == "../../manifest.json"
    assert parsed_attributes(said) == {
        "id": "a/tile",
        "layer": "layer_3",
        "dates": ("2024-05-01", "2024-06-15", "2024-07-01"),
        "sources": ("in/a;b.tif", "in/ä.tif"),
        "valid_fraction": 0.97,
        "quantisation": "int8",
    }


def test_a_file_that_says_nothing_is_not_ours() -> None:
    with pytest.raises(ValueError, match="no id, quantisation among its attributes: eo_embed has not written it"):
        parsed_attributes({"AREA_OR_POINT": "Area"})


def test_centres_are_in_the_middle_of_cells_also_if_rotated() -> None:
    north_up = cell_centres(Affine(10, 0, 100, 0, -10, 200), (2, 3))
    assert (north_up["x"].tolist(), north_up["y"].tolist()) == ([105, 115, 125], [195, 185])
    rotated = Affine(10, 2, 100, 3, -10, 200)
    found = cell_centres(rotated, (2, 3))
    for row, column in np.ndindex(2, 3):
        assert (found["xc"][row, column], found["yc"][row, column]) == rotated * (column + 0.5, row + 0.5)


def test_bands_are_numbered_unless_they_have_names(make_embedding: Make) -> None:
    assert band_names(make_embedding(), 4) == ("e000", "e001", "e002", "e003")
    with pytest.raises(ValueError, match="expected 4 names, one for each band, or none; got 1"):
        band_names(make_embedding(names=("one",)), 4)


def test_an_embedding_without_a_grid_is_sent_to_the_table(make_embedding: Make) -> None:
    with pytest.raises(ValueError, match="a/tile: there is no grid to write; pooled vectors go to GeoParquet"):
        grid_of(make_embedding(grid=None))
