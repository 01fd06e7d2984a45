"""Patterns stay below the root and split names right."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_files import touch

from eo_data.catalog.patterns import FilePattern
from eo_data.catalog.sources import ImageSource


def _ids(root: Path, pattern: str, bands: tuple[str, ...] = ()) -> list[tuple[str | None, str | None]]:
    found = [match.groupdict() for match, _ in FilePattern(pattern).find(root, bands)]
    return [(groups.get("id"), groups.get("band")) for groups in found]


@pytest.mark.parametrize("text", ["/etc/{id}.tif", "../{id}.tif", "a/../../{id}.tif", "", "{sample}.tif", "{ID}.tif"])
def test_patterns_that_leave_the_root_or_are_misspelt_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="A file pattern is a path below the root folder"):
        FilePattern(text)
    if text:
        with pytest.raises(ValueError, match="below the root folder"):
            ImageSource(text, ["B2"])


def test_one_name_in_two_folders_is_two_ids(tmp_path: Path) -> None:
    touch(tmp_path, "north/tile.tif", "south/tile.tif", "south/tile.tif.aux.xml", "south/other.png")
    assert _ids(tmp_path, "{id}.tif") == [("north/tile", None), ("south/tile", None)]
    assert _ids(tmp_path, "{id}/tile.tif") == [("north", None), ("south", None)]


def test_hidden_files_and_folders_are_no_samples(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif", "._a.tif", ".ipynb_checkpoints/a.tif")
    assert _ids(tmp_path, "{id}.tif") == [("a", None)]


def test_an_underscore_in_an_id_does_not_go_to_the_band(tmp_path: Path) -> None:
    touch(tmp_path, "tile_1_B02.tif", "tile_1_b03.tif", "tile_2_B02.tif", "tile_2_RED_EDGE_1.tif", "tile_2_QA.tif")
    bands = tuple(ImageSource("x.tif", ["B2"], sensor="sentinel2_l2a").spellings)
    found = _ids(tmp_path, "{id}_{band}.tif", bands)
    assert found == [("tile_1", "B02"), ("tile_1", "b03"), ("tile_2", "B02"), ("tile_2", "RED_EDGE_1")]
    # Dots are no less common (HLS).
    touch(tmp_path / "hls", "HLS.S30.T18TYN.2020123T154911.v2.0.B02.tif")
    assert _ids(tmp_path / "hls", "{id}.{band}.tif", bands) == [("HLS.S30.T18TYN.2020123T154911.v2.0", "B02")]


def test_wildcards(tmp_path: Path) -> None:
    touch(tmp_path, "x/a/S2_a_1.tif", "x/b/S2_b_2.tif", "x/b/S2_a_3.tif", "y/deep/er/a.tif")
    assert _ids(tmp_path, "x/{id}/S2_{id}_*.tif") == [("a", None), ("b", None)]
    assert _ids(tmp_path, "y/**/{id}.tif") == [("a", None)]
    assert _ids(tmp_path, "x/?/S2_{id}_?.tif") == [("a", None), ("a", None), ("b", None)]
    # A dot in the pattern is a dot.
    touch(tmp_path, "z/atif")
    assert _ids(tmp_path, "z/{id}.tif") == []


def test_a_zarr_folder_is_one_file(tmp_path: Path) -> None:
    touch(tmp_path, "a.zarr/zarr.json", "b.zarr/zarr.json")
    assert _ids(tmp_path, "{id}.zarr") == [("a", None), ("b", None)]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"There is no folder .*S2Hand for the pattern 'S2Hand/\{id\}.tif'"):
        list(FilePattern("S2Hand/{id}.tif").find(tmp_path))


def test_what_a_pattern_says_of_itself() -> None:
    assert FilePattern("{id}/{band}.tif").by_band
    assert FilePattern("{id}/{band}.tif").by_id
    assert not FilePattern("cube.nc").by_id
