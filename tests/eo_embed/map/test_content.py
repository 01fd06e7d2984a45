"""What the page is told is what the export holds."""

from __future__ import annotations

import base64
import io
import math
from datetime import date
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from affine import Affine
from placed_exports import placed, write_export, write_vectors
from pyproj import Transformer
from shapely.geometry import MultiPolygon, box

from eo_embed.map.content import page_content
from eo_embed.map.shown import Shown, shown_items
from eo_embed.map.thumbnails import Thumbnails, thumbnails
from eo_embed.pictures.quicklook import QuickLooks

UTM = Affine(100, 0, 500_000, 0, -100, 5_000_000)


def shown(vectors: np.ndarray, outlines: list[object] | None = None) -> list[Shown]:
    squares = outlines or [box(i, 0, i + 0.5, 0.5) for i in range(len(vectors))]
    return [
        Shown(f"s{i}", vector.astype(np.float32), outline, None, (), ())  # type: ignore[arg-type]
        for i, (vector, outline) in enumerate(zip(vectors, squares, strict=True))
    ]


def test_footprints_at_the_date_line_are_one_piece_beside_the_others() -> None:
    across = MultiPolygon([box(179.5, 0, 180, 1), box(-180, 0, -179.5, 1)])
    content = page_content(shown(np.eye(3), [across, box(177, 0, 178, 1), box(-178, 0, -177, 1)]), Thumbnails(), 2)
    longitudes = [np.array(rings[0][::2]) for rings in content["rings"]]
    assert [len(rings) for rings in content["rings"]] == [1, 1, 1]
    ends = [(float(own.min()) % 360, float(own.max()) % 360) for own in longitudes]
    assert ends == [(179.5, 180.5), (177, 178), (182, 183)]
    assert max(own.max() for own in longitudes) - min(own.min() for own in longitudes) == 6


def test_the_map_of_one_region_does_not_turn_the_world() -> None:
    content = page_content(shown(np.eye(2), [box(10, 50, 11, 51), box(12, 50, 13, 51)]), Thumbnails(), 1)
    assert content["rings"][1][0][::2].count(13.0) == 2


def test_neighbours_are_among_those_that_can_be_compared() -> None:
    vectors = np.array([[1, 0, 0], [0, 0, 0], [1, 0.1, 0], [np.nan, 0, 0], [1, 1, 0]])
    content = page_content(shown(vectors), Thumbnails(), 8)
    assert content["similar"] == [[2, 4], [], [0, 4], [], [2, 0]]
    assert content["scores"][0] == pytest.approx([1 / np.sqrt(1.01), 1 / np.sqrt(2)], abs=1e-6)
    assert content["colours"][3] is None
    assert content["colours"][1] is not None


def test_colours_are_the_components_of_the_vectors() -> None:
    """Along one line of vectors the first component runs from 0 to 255 between the 2nd and 98th percentile."""
    vectors = np.outer(np.arange(101), [1.0, 0, 0, 0])
    content = page_content(shown(vectors), Thumbnails(), 1)
    red = [int(colour[1:3], 16) for colour in content["colours"]]
    expected = np.clip((np.arange(101) - 2) / 96, 0, 1) * 255
    assert np.abs(np.array(red) - expected).max() <= 1
    assert content["explained"] == pytest.approx(1)


def test_two_numbers_are_grey() -> None:
    content = page_content(shown(np.array([[0.0, 1], [1, 5], [2, 9]])), Thumbnails(), 1)
    assert all(colour[1:3] == colour[3:5] == colour[5:7] for colour in content["colours"])
    assert len(set(content["colours"])) == 3


def test_pictures_of_cells_have_a_pixel_for_each_cell_and_holes_where_no_data_is(tmp_path: Path) -> None:
    grid = np.random.default_rng(0).normal(size=(4, 5, 7)).astype(np.float32)
    grid[:, 1, 2] = np.nan
    export = write_export(tmp_path, [placed("a", grid, UTM), placed("b", grid + 1, UTM)])
    items, _ = shown_items(export, "", 10)
    made = thumbnails(items, export.grids_of(), QuickLooks(tmp_path), 10)
    head, data = made.cells[0].split(",")
    assert head == "data:image/png;base64"
    picture = matplotlib.image.imread(io.BytesIO(base64.b64decode(data)))
    assert picture.shape == (5, 7, 4)
    assert (picture[..., 3] == 0).tolist() == np.isnan(grid[0]).tolist()
    # The colour of an item is the mean of what is seen of it.
    mean = picture[picture[..., 3] > 0][:, :3].mean(axis=0) * 255
    own = [int(made.colours[0][k : k + 2], 16) for k in (1, 3, 5)]
    np.testing.assert_allclose(own, mean, atol=0.51)
    assert page_content(items, made, 1)["colours"] == [made.colours[0], made.colours[1]]


def test_cells_at_the_date_line_lie_within_their_outline(tmp_path: Path) -> None:
    x, y = Transformer.from_crs(4326, 32660, always_xy=True).transform(180, 10)
    place = Affine(1000, 0, x - 2500, 0, -1000, y)
    grid = np.random.default_rng(0).normal(size=(4, 5, 5)).astype(np.float32)
    export = write_export(tmp_path, [placed("a", grid, place, crs="EPSG:32660")])
    items, _ = shown_items(export, "", 10)
    content = page_content(items, thumbnails(items, export.grids_of(), QuickLooks(tmp_path), 10), 1)
    (ring,) = content["rings"][0]
    ends = [(min(one[::2]), max(one[::2])) for one in (ring, content["corners"][0])]
    assert ends[0] == pytest.approx(ends[1], abs=1e-3)
    assert ends[0][1] - ends[0][0] == pytest.approx(5 / 111.32 / math.cos(math.radians(10)), rel=0.02)


def test_grids_without_pooled_vectors_stand_for_themselves_by_their_mean(tmp_path: Path) -> None:
    grid = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    grid[:, 0, 0] = np.nan
    export = write_export(tmp_path, [placed("a", grid, UTM, dates=(date(2022, 6, 1),)), placed("b", -grid, UTM)])
    (a, _), count = shown_items(export, "", 10)
    assert count == 2
    assert a.vector.tolist() == [np.arange(1, 12).mean(), np.arange(13, 24).mean()]
    assert a.dates == ("2022-06-01",)
    assert a.outline is not None
    assert a.outline.bounds == pytest.approx((15.0, 45.149, 15.005, 45.152), abs=2e-3)


def test_all_dates_of_a_series_are_shown_not_its_ends_alone(tmp_path: Path) -> None:
    days = (date(2022, 6, 1), date(2022, 6, 11), date(2022, 7, 1))
    item = placed("a", None, UTM, pooled=np.ones(3, np.float32), dates=days)
    export = write_export(tmp_path, [item])
    assert shown_items(export, "", 10)[0][0].dates == ("2022-06-01", "2022-06-11", "2022-07-01")
    table = type(export)(export.path / "embeddings.parquet", {})
    assert shown_items(table, "", 10)[0][0].dates == ("2022-06-01", "2022-07-01")


def test_more_items_than_asked_for_are_drawn_the_same_twice(tmp_path: Path) -> None:
    export = write_vectors(tmp_path, np.random.default_rng(0).normal(size=(30, 4)))
    first, count = shown_items(export, "", 7)
    again, _ = shown_items(export, "", 7)
    assert count == 30
    assert len(first) == 7
    assert [item.id for item in first] == [item.id for item in again] == sorted(item.id for item in first)


def test_an_item_without_a_place_stands_in_the_list(tmp_path: Path) -> None:
    nowhere = placed("b", None, None, crs=None, pooled=np.ones(3, np.float32))
    export = write_export(tmp_path, [placed("a", None, UTM, pooled=np.eye(3, dtype=np.float32)[0]), nowhere])
    items, _ = shown_items(export, "", 10)
    assert [len(rings) for rings in page_content(items, Thumbnails(), 1)["rings"]] == [1, 0]


def test_items_without_a_picture_have_colours_too(tmp_path: Path) -> None:
    """Then all colours come from the vectors, and no cells are drawn among them, whose colours mean something else."""
    generator = np.random.default_rng(0)
    items = [
        placed(
            f"s{i}", generator.normal(size=(4, 3, 3)).astype(np.float32), Affine(100, 0, 500_000 + 300 * i, 0, -100, 0)
        )
        for i in range(6)
    ]
    export = write_export(tmp_path, items)
    shown_ones, _ = shown_items(export, "", 10)
    some = page_content(shown_ones, thumbnails(shown_ones, export.grids_of(), QuickLooks(tmp_path), 3), 1)
    assert len(some["cells"]) == 3
    assert some["corners"] == {}
    assert None not in some["colours"]
    assert some["explained"] is not None
    every = page_content(shown_ones, thumbnails(shown_ones, export.grids_of(), QuickLooks(tmp_path), 6), 1)
    assert len(every["corners"]) == 6
    assert every["explained"] is None
