"""The index of a folder follows the folder, and opens nothing that it knows."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import geopandas
import pytest
from shapely.geometry import box

from eo_data.catalog.hrefs import Href
from eo_data.catalog.scenes.scene import Scene
from eo_data.catalog.scenes.scene_folder import INDEX_NAME, FolderOfScenes

HERE = box(10, 45, 11, 46)


class Files:
    """Describes files by their names (``west_20220601.tif``), and notes which were opened."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def __call__(self, name: str, files: Sequence[Href], bands: Sequence[str]) -> Scene:
        self.opened.append(name)
        if "broken" in name:
            msg = f"{name} cannot be read: it is broken."
            raise ValueError(msg)
        west = -20 if "west" in name else 10
        digits = re.search(r"\d{8}", name)
        assert digits is not None
        day = datetime.strptime(digits[0], "%Y%m%d").replace(tzinfo=UTC)
        sensor = "sentinel1" if "radar" in name else "sentinel2_l2a"
        area = box(west, 45, west + 1, 46)
        return Scene(
            name, sensor, "file", tuple(files), ("B2",), area, day.date(), day, tuple(bands), "T32", "EPSG:4326"
        )


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def found(root: Path, files: Files, **options: object) -> list[str]:
    source = FolderOfScenes(root, files, **options)  # type: ignore[arg-type]
    return [scene.id for scene in source.search(HERE, None, [])]


def test_scenes_are_found_by_place_day_and_sensor(tmp_path: Path) -> None:
    write(tmp_path, "a_20220601.tif", "b_20220602.tif", "west_20220601.tif", "radar_20220601.tif")
    source = FolderOfScenes(tmp_path, Files())
    june = (date(2022, 6, 1), date(2022, 6, 2))
    assert [own.id for own in source.search(HERE, june, [])] == ["a_20220601.tif", "radar_20220601.tif"]
    assert [own.id for own in source.search(HERE, None, ["sentinel2_l2a"])] == ["a_20220601.tif", "b_20220602.tif"]
    assert [own.id for own in source.search(box(-21, 44, -19, 46), None, [])] == ["west_20220601.tif"]
    assert "1 sentinel1" in str(source)
    assert "2022-06-01 to 2022-06-02; longitude -20 to 11, latitude 45 to 46" in str(source)


def test_only_new_and_changed_files_are_opened_and_removed_ones_go(tmp_path: Path) -> None:
    write(tmp_path, "a_20220601.tif", "b_20220602.tif", "broken_20220602.tif")
    first = Files()
    assert found(tmp_path, first) == ["a_20220601.tif", "b_20220602.tif"]
    assert first.opened == ["a_20220601.tif", "b_20220602.tif", "broken_20220602.tif"]
    again = Files()
    assert found(tmp_path, again) == ["a_20220601.tif", "b_20220602.tif"]
    assert again.opened == []
    write(tmp_path, "c_20220603.tif")
    (tmp_path / "a_20220601.tif").unlink()
    os.utime(tmp_path / "b_20220602.tif", (1, 1))
    changed = Files()
    assert found(tmp_path, changed) == ["b_20220602.tif", "c_20220603.tif"]
    assert changed.opened == ["b_20220602.tif", "c_20220603.tif"]
    (tmp_path / "c_20220603.tif").unlink()
    gone = Files()
    assert found(tmp_path, gone) == ["b_20220602.tif"]
    assert gone.opened == []
    assert len(geopandas.read_parquet(tmp_path / INDEX_NAME)) == 2


def test_what_the_index_gives_is_what_the_files_say(tmp_path: Path) -> None:
    write(tmp_path, "a_20220601_B02.tif", "a_20220601_B03.tif")
    fresh, known = (FolderOfScenes(tmp_path, Files()).scenes for _ in range(2))
    (one,), (other,) = fresh, known
    assert vars(one) | {"footprint": None} == vars(other) | {"footprint": None}
    assert one.footprint.equals(other.footprint)
    assert other.band_files == ("B02", "B03")
    assert other.started == datetime(2022, 6, 1, tzinfo=UTC)


def test_what_cannot_be_opened_is_listed_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path, "broken_20220601.tif")
    for _ in range(2):  # by the file, and by the index
        source = FolderOfScenes(tmp_path, Files())
        assert source.search(HERE, None, []) == []
        assert [(own.name, own.reason) for own in source.unusable] == [
            ("broken_20220601.tif", "broken_20220601.tif cannot be read: it is broken.")
        ]
        assert "no scenes; 1 more cannot be used (first: broken_20220601.tif" in str(source)


def test_other_settings_and_a_damaged_index_make_it_anew(tmp_path: Path) -> None:
    write(tmp_path, "a_20220601.tif")
    found(tmp_path, Files())
    other = Files()
    found(tmp_path, other, settings="bands")
    assert other.opened == ["a_20220601.tif"]
    (tmp_path / INDEX_NAME).write_bytes(b"PAR1 no index PAR1")
    damaged = Files()
    with pytest.warns(UserWarning, match=r"The index of scenes .* cannot be read.*made anew"):
        assert found(tmp_path, damaged) == ["a_20220601.tif"]
    assert damaged.opened == ["a_20220601.tif"]
    assert found(tmp_path, Files()) == ["a_20220601.tif"]


def test_a_folder_that_cannot_be_written_is_searched_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "scenes", "a_20220601.tif")
    elsewhere = tmp_path / "elsewhere.parquet"
    assert found(tmp_path / "scenes", Files(), index=elsewhere) == ["a_20220601.tif"]
    assert elsewhere.is_file()
    assert os.listdir(tmp_path / "scenes") == ["a_20220601.tif"]  # noqa: PTH208
    blocked = tmp_path / "scenes" / "a_20220601.tif" / "index.parquet"  # below a file: also root cannot write there
    with pytest.warns(UserWarning, match=r"cannot be written.*all 1 files will be opened again"):
        assert found(tmp_path / "scenes", Files(), index=blocked) == ["a_20220601.tif"]
