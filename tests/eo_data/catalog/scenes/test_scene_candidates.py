"""Files of one band make one scene, and what lies within a product is no scene of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_files import touch

from eo_data.catalog.scenes.scene_candidates import Candidate, candidates_below


def test_products_images_and_files_of_bands_are_told_apart(tmp_path: Path) -> None:
    safe = "S2A_MSIL2A_20220601T102031_N0400_R065_T32UQV_20220601T170000.SAFE"
    touch(
        tmp_path,
        f"{safe}/MTD_MSIL2A.xml",
        f"{safe}/GRANULE/L2A/IMG_DATA/R10m/T32UQV_20220601T102031_B02_10m.jp2",
        "tiles/scene_20220601_B02.tif",
        "tiles/scene_20220601_B03.TIF",
        "tiles/scene_20220601_SCL.tif",
        "tiles/scene_20220602_B02.tif",
        "tiles/T32UQV_20220603_B05_20m.jp2",
        "tiles/T32UQV_20220603_B05_60m.jp2",
        "tiles/T32UQV_20220603_B02_10m.jp2",
        "whole_20220601.tif",
        "LC08_L2SP_195025_20220601_20220608_02_T1.tar",
        "notes.txt",
        ".hidden.tif",
        "x.tif.aux.xml",
    )
    assert candidates_below(tmp_path) == [
        Candidate(("LC08_L2SP_195025_20220601_20220608_02_T1.tar",)),
        Candidate((safe,)),
        Candidate(("tiles/T32UQV_20220603_B02_10m.jp2", "tiles/T32UQV_20220603_B05_20m.jp2"), ("B02", "B05")),
        Candidate(
            ("tiles/scene_20220601_B02.tif", "tiles/scene_20220601_B03.TIF", "tiles/scene_20220601_SCL.tif"),
            ("B02", "B03", "SCL"),
        ),
        Candidate(("tiles/scene_20220602_B02.tif",), ("B02",)),
        Candidate(("whole_20220601.tif",)),
    ]
    assert [own.name for own in candidates_below(tmp_path)][2:4] == ["tiles/T32UQV_20220603", "tiles/scene_20220601"]


def test_a_folder_of_files_that_are_named_after_bands_is_a_scene(tmp_path: Path) -> None:
    """As Earth Search has its COGs; without a folder, nothing tells the scene."""
    touch(tmp_path, "S2A_32UQV_20220601_0_L2A/B02.tif", "S2A_32UQV_20220601_0_L2A/SCL.tif", "B02.tif")
    found = candidates_below(tmp_path)
    scene = "S2A_32UQV_20220601_0_L2A"
    assert found == [Candidate(("B02.tif",)), Candidate((f"{scene}/B02.tif", f"{scene}/SCL.tif"), ("B02", "SCL"))]
    assert found[1].name == scene


def test_bands_of_several_words_are_of_the_scene_of_their_quality_layer(tmp_path: Path) -> None:
    """Else clouds of Landsat's level 2 would be left in, as the layer would be of another scene."""
    files = [f"LC08_L2SP_195025_20220601_20220608_02_T1_{band}.TIF" for band in ("QA_PIXEL", "SR_B2", "ST_B10")]
    touch(tmp_path, *files)
    assert candidates_below(tmp_path) == [Candidate(tuple(files), ("QA_PIXEL", "SR_B2", "ST_B10"))]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"There is no folder .*nowhere"):
        candidates_below(tmp_path / "nowhere")
