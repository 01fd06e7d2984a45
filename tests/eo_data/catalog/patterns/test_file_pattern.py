"""Patterns stay below the root and split names right."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from small_files import touch

from eo_data.catalog.patterns.file_pattern import FilePattern
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


def test_the_case_of_a_suffix_does_not_count_and_that_of_the_rest_does(tmp_path: Path) -> None:
    touch(tmp_path, "x_S2.TIF", "y_S2.Tif", "z_s2.tif", "w.tif", "v.TIFF", "cube.NC", "A/u.TIF", "a/t.tif")
    assert _ids(tmp_path, "{id}_S2.tif") == [("x", None), ("y", None)]
    assert _ids(tmp_path, "{id}_s2.TIF") == [("z", None)]
    assert _ids(tmp_path, "{id}.tif?") == [("v", None)]
    assert _ids(tmp_path, "{id}.nc") == [("cube", None)]
    assert _ids(tmp_path, "a/{id}.tif") == [("t", None)]
    assert _ids(tmp_path, "cube.nc") == [(None, None)]


@pytest.mark.parametrize(("pattern", "same"), [("{id}.tif", "x.TIF"), ("s2/*.tif", "s2/x.TIF"), ("s2/x.*", "s2/x.TIF")])
def test_files_that_differ_in_the_case_of_the_suffix_are_no_two_frames(tmp_path: Path, pattern: str, same: str) -> None:
    touch(tmp_path, same.replace(".TIF", ".tif"))
    if (tmp_path / same).exists():
        pytest.skip("this file system knows no case")
    touch(tmp_path, same)
    with pytest.raises(ValueError, match=r"The files 'x.TIF', 'x.tif' in .* differ only in the case of their suffix"):
        _ids(tmp_path, pattern)


def test_accents_are_composed_in_ids_and_kept_in_paths(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Köln") for form in ("NFC", "NFD"))
    touch(tmp_path, f"{decomposed}_S2.tif")
    ((match, path),) = FilePattern("{id}_S2.tif").find(tmp_path)
    assert match["id"] == composed
    assert path.exists()
    assert _ids(tmp_path, f"{decomposed[:3]}*_S2.tif") == _ids(tmp_path, "K?ln_S2.tif") == [(None, None)]
    if (tmp_path / f"{composed}_S2.tif").exists():
        pytest.skip("this file system knows no spellings")
    touch(tmp_path, f"{composed}_S2.tif")
    with pytest.raises(ValueError, match=r"how Unicode writes their accents"):
        _ids(tmp_path, "{id}_S2.tif")


def test_what_lies_in_a_product_that_is_found_is_no_sample_of_its_own(tmp_path: Path) -> None:
    touch(tmp_path, "a/P.SAFE/manifest.safe", "a/P.SAFE/GRANULE/G/x_B02.jp2", "a/Q.SAFE/manifest.safe", "loose.safe")
    assert _ids(tmp_path, "{id}.SAFE") == [("a/P", None), ("a/Q", None), ("loose", None)]
    assert _ids(tmp_path, "a/{id}.SAFE") == [("P", None), ("Q", None)]
    # The files are found where they are what is asked for.
    assert _ids(tmp_path, "a/{id}.SAFE/GRANULE/*/x_{band}.jp2") == [("P", "B02")]
