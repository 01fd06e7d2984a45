"""The work file of a raster: cells where they belong, and none that are taken for what they are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eo_embed.writers.rasters.work import Part, Whole, WorkFile

WHOLE = Whole("a/b", "", (3, 7, 9), "float32", (80.0, 0.0, 5e5, 0.0, -80.0, 5e6), "EPSG:32631", ("x", "y", "z"))
VALUES = np.random.default_rng(0).standard_normal(WHOLE.shape).astype(np.float32)
WINDOWS = [(0, 0, 4, 5), (0, 5, 4, 4), (4, 0, 3, 5), (4, 5, 3, 4)]


def _written(folder: Path, windows: list[tuple[int, int, int, int]]) -> tuple[WorkFile, list[Part]]:
    work = WorkFile(folder, "a/b", "")
    work.begin(WHOLE)
    return work, [work.write(VALUES[:, r : r + h, c : c + w], r, c) for r, c, h, w in windows]


def _all(work: WorkFile) -> np.ndarray:
    return np.moveaxis(np.fromfile(work.path, np.float32).reshape(7, 9, 3), -1, 0)


def test_tiles_in_any_order_lie_cell_by_cell(tmp_path: Path) -> None:
    work, parts = _written(tmp_path, WINDOWS[::-1])
    np.testing.assert_array_equal(_all(work), VALUES)
    assert all(work.intact(parts))


def test_spoilt_cells_are_noticed_and_only_theirs(tmp_path: Path) -> None:
    work, parts = _written(tmp_path, WINDOWS)
    with work.path.open("rb+") as file:
        file.seek(((1 * 9 + 6) * 3 + 2) * 4)  # band 2, row 1, column 6: of the second tile
        file.write(b"abcd")
    assert work.intact(parts) == [True, False, True, True]
    work.path.write_bytes(work.path.read_bytes()[:-8])
    assert not any(work.intact(parts))


def test_cells_without_a_tile_are_no_data_not_zero(tmp_path: Path) -> None:
    work, parts = _written(tmp_path, [WINDOWS[0], WINDOWS[3]])
    assert work.fill_rest(parts) == pytest.approx((20 + 12) / 63)
    found = _all(work)
    assert np.isnan(found[:, :4, 5:]).all()
    assert np.isnan(found[:, 4:, :5]).all()
    assert all(work.intact(parts))


def test_work_files_of_two_shards_become_one(tmp_path: Path) -> None:
    one, first = _written(tmp_path / "0", WINDOWS[:2])
    two, second = _written(tmp_path / "1", WINDOWS[2:])
    whole = WorkFile(tmp_path, "a/b", "")
    whole.add(one, first)
    whole.add(two, second)
    np.testing.assert_array_equal(_all(whole), VALUES)
    assert all(whole.intact([*first, *second]))


def test_two_rasters_of_one_name_are_refused(tmp_path: Path) -> None:
    _written(tmp_path, WINDOWS[:1])
    other = Whole("a/b", "", (3, 7, 10), "float32", WHOLE.transform, WHOLE.crs, WHOLE.names)
    with pytest.raises(ValueError, match="The tiles of a/b are of two rasters"):
        WorkFile(tmp_path, "a/b", "").begin(other)
