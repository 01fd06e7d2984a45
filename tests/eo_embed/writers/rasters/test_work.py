"""The work file of a raster: cells where they belong, and none that are taken for what they are not."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import eo_core.files
import eo_embed.writers.rasters.work as work_module
from eo_embed.writers.rasters.work import WORK, Part, RawCells, Whole, WorkFile, remove_other_work

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


def test_processes_that_begin_at_the_same_moment_lose_no_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one writes its tile while this one is between any two steps of making the file."""
    begun: list[int] = []
    parts: list[Part] = []

    def other() -> None:
        if step not in begun:
            begun.append(step)
            parts.append(_begun(WorkFile(tmp_path / str(step), "a/b", "")).write(VALUES[:, 4:, 5:], 4, 5))

    for step in range(3):
        parts.clear()
        with monkeypatch.context() as patched:
            if step == 0:
                _before(patched, work_module, "write_text", other)
            elif step == 1:
                _before(patched, RawCells, "create", other)
            else:
                _before(patched, os, "fdopen", other)  # the file is there, and empty
            _begun(WorkFile(tmp_path / str(step), "a/b", ""))
        assert parts
        work, own = _written(tmp_path / str(step), WINDOWS[:3])
        np.testing.assert_array_equal(_all(work), VALUES)
        assert all(work.intact([*own, *parts]))


def _begun(work: WorkFile) -> WorkFile:
    work.begin(WHOLE)
    return work


def _before(patched: pytest.MonkeyPatch, owner: Any, name: str, do: Callable[[], None]) -> None:
    real = getattr(owner, name)

    def first(*arguments: Any) -> Any:
        do()
        return real(*arguments)

    patched.setattr(owner, name, first)


@pytest.mark.parametrize("links", [True, False])
def test_a_finished_raster_that_two_processes_take_over_keeps_what_the_first_has_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Also where the file system has no hard links."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    if not links:
        monkeypatch.setattr(eo_core.files.os, "link", refuse)
    old = np.zeros_like(VALUES)
    blocks = [(band, 0, old[band : band + 1]) for band in range(len(old))]
    first, second = (WorkFile(tmp_path, "a/b", "") for _ in range(2))
    parts: list[Part] = []

    def faster() -> Iterator[tuple[int, int, np.ndarray]]:
        """The first one has taken over and writes a tile, while the second one still copies."""
        yield from blocks
        first.take_over(WHOLE, iter(blocks))
        parts.append(first.write(VALUES[:, 4:, 5:], 4, 5))

    second.take_over(WHOLE, faster())
    assert all(second.intact(parts))
    np.testing.assert_array_equal(_all(second)[:, 4:, 5:], VALUES[:, 4:, 5:])
    np.testing.assert_array_equal(_all(second)[:, :4], 0)
    assert not list(tmp_path.rglob(".partial-*"))


def test_work_files_of_other_rasters_go_with_their_facts(tmp_path: Path) -> None:
    work, parts = _written(tmp_path, WINDOWS)
    other = WorkFile(tmp_path, "c", "layer")
    other.begin(replace(WHOLE, id="c", layer="layer"))
    assert remove_other_work(tmp_path, [("a/b", "")])
    assert all(work.intact(parts))
    assert not other.exists
    assert sorted(path.name for path in (tmp_path / WORK).rglob("*") if path.is_file()) == ["b.raw", "b.raw.json"]
    assert not remove_other_work(tmp_path, [("a/b", "")])
