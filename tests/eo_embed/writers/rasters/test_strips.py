"""Cells that go straight into an array of Zarr: where they belong, and none of a damaged strip taken for whole."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import eo_embed.writers.rasters.strips as strips_module
from eo_embed.writers.formats import FORMATS
from eo_embed.writers.rasters.makers import RasterWriter, finish_raster
from eo_embed.writers.rasters.strips import Layout, StripCells, open_array
from eo_embed.writers.rasters.work import Part, Whole, WorkFile, share_work

WHOLE = Whole("a/b", "", (3, 50, 9), "float32", (80.0, 0.0, 5e5, 0.0, -80.0, 5e6), "EPSG:32631", ("x", "y", "z"))
VALUES = np.random.default_rng(0).standard_normal(WHOLE.shape).astype(np.float32)
#: Rows of tiles that do not end where strips of 8 rows end.
WINDOWS = [(r, c, min(7, 50 - r), w) for r in range(0, 50, 7) for c, w in ((0, 5), (5, 4))]


@pytest.fixture(autouse=True)
def _strips_of_eight_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips_module, "_STRIP", 8 * 9 * 3 * 4)


def _written(folder: Path, windows: list[tuple[int, int, int, int]]) -> tuple[RasterWriter, list[Part]]:
    writer = RasterWriter(folder, FORMATS["zarr"], alone=True)
    parts = [writer.write(WHOLE, VALUES[:, r : r + h, c : c + w], r, c)[1] for r, c, h, w in windows]
    return writer, parts


def _work(folder: Path) -> WorkFile:
    return WorkFile(folder, "a/b", "")


def _entries(parts: list[Part]) -> list[dict[str, object]]:
    return [
        {"id": str(n), "cells": [p.row, p.column, p.rows, p.columns], "crc32": p.crc32, "valid_fraction": 1.0}
        | {"dates": [], "sources": [], "files": []}
        for n, p in enumerate(parts)
    ]


def _finished(folder: Path, parts: list[Part]) -> xr.DataArray:
    finish_raster(folder, FORMATS["zarr"], "a/b", "", _entries(parts), lambda *_: None)
    with xr.open_zarr(folder / "grids.zarr" / "a" / "b", consolidated=False) as data:
        return data["embedding"].load()


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_tiles_in_any_order_lie_where_they_belong(tmp_path: Path, seed: int | None) -> None:
    order = list(WINDOWS)
    if seed is not None:
        np.random.default_rng(seed).shuffle(order)
    writer, parts = _written(tmp_path, order)
    writer.flush()
    assert all(_work(tmp_path).intact(parts))
    found = _finished(tmp_path, parts)
    np.testing.assert_array_equal(found.values, VALUES)
    assert (found.x.values[0], found.y.values[-1]) == (5e5 + 40, 5e6 - 50 * 80 + 40)
    assert not _work(tmp_path).exists


def test_each_strip_is_written_once_as_soon_as_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order in which tiles come, no byte of a raster is written twice."""
    put: list[int] = []
    kept = StripCells._put

    def counted(self: StripCells, number: int) -> None:
        put.append(number)
        kept(self, number)

    monkeypatch.setattr(StripCells, "_put", counted)
    writer, parts = _written(tmp_path, WINDOWS)
    assert put == list(range(7))
    writer.flush()
    _finished(tmp_path, parts)
    assert put == list(range(7))


def test_strips_of_many_tiles_at_once_take_bounded_memory(tmp_path: Path) -> None:
    columns = [(r, 0, min(7, 50 - r), 5) for r in range(0, 50, 7)]
    rest = [(r, 5, h, 4) for r, _, h, _ in columns]
    writer, parts = _written(tmp_path, columns)
    cells = next(iter(writer._begun.values())).cells
    assert isinstance(cells, StripCells)
    assert len(cells._open) <= strips_module._MOST_OPEN
    parts += [writer.write(WHOLE, VALUES[:, r : r + h, c : c + w], r, c)[1] for r, c, h, w in rest]
    writer.flush()
    np.testing.assert_array_equal(_finished(tmp_path, parts).values, VALUES)


def test_what_was_in_memory_when_a_run_was_killed_is_not_taken_for_written(tmp_path: Path) -> None:
    _, parts = _written(tmp_path, WINDOWS[:5])  # rows 0 to 14, and a tile of those below
    intact = _work(tmp_path).intact(parts)
    assert intact == [
        True,
        True,
        False,
        False,
        False,
    ]  # rows 7 to 13 end in the second strip
    writer, again = _written(tmp_path, WINDOWS[2:])
    writer.flush()
    np.testing.assert_array_equal(_finished(tmp_path, parts[:2] + again).values, VALUES)


@pytest.mark.parametrize("how", ["cut off", "bits", "empty", "zeros"])
def test_a_damaged_strip_is_noticed_and_only_its_tiles_are_lost(tmp_path: Path, how: str) -> None:
    writer, parts = _written(tmp_path, WINDOWS)
    writer.flush()
    file = _work(tmp_path).path / "embedding" / "c" / "0" / "2" / "0"  # rows 16 to 23
    content = bytearray(file.read_bytes())
    for place in range(0, len(content), 7) if how == "bits" else ():
        content[place] ^= 0xFF
    damaged = {"cut off": content[: len(content) // 2], "bits": content, "empty": b"", "zeros": bytes(len(content))}
    file.write_bytes(damaged[how])
    expected = [not (r < 24 and r + h > 16) for r, _, h, _ in WINDOWS]
    assert _work(tmp_path).intact(parts) == expected
    lost = [window for window, whole in zip(WINDOWS, expected, strict=True) if not whole]
    writer, again = _written(tmp_path, lost)
    writer.flush()
    kept = [part for part, whole in zip(parts, expected, strict=True) if whole]
    np.testing.assert_array_equal(_finished(tmp_path, kept + again).values, VALUES)


def test_every_damage_of_a_shard_is_one_that_is_noticed(tmp_path: Path) -> None:
    """Whatever Zarr and its codecs raise: a random byte at a random place, or the end cut off."""
    writer, parts = _written(tmp_path, WINDOWS)
    writer.flush()
    file = _work(tmp_path).path / "embedding" / "c" / "0" / "1" / "0"
    content, chance = file.read_bytes(), np.random.default_rng(0)
    for number in range(60):
        place = int(chance.integers(len(content)))
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(chance.integers(8))
        file.write_bytes(damaged if number % 3 else content[:place])
        intact = _work(tmp_path).intact(parts)
        unharmed = np.array_equal(open_array(_work(tmp_path).path)[:, 24:], VALUES[:, 24:])
        assert unharmed
        assert intact[6:] == [True] * (len(parts) - 6), place


@pytest.mark.parametrize("name", ["zarr.json", "embedding/zarr.json"])
@pytest.mark.parametrize("content", [b"", b"{", None])
def test_a_damaged_description_neither_ends_the_run_nor_goes_into_the_file(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    writer, parts = _written(tmp_path, WINDOWS)
    writer.flush()
    file = _work(tmp_path).path / name
    before = file.read_bytes()
    changed = before.replace(b"spatial_ref", b"spatiel_ref").replace(b"NaN", b"0.0")
    file.write_bytes(changed if content is None else content)
    assert all(_work(tmp_path).intact(parts))
    assert file.read_bytes() == before
    np.testing.assert_array_equal(_finished(tmp_path, parts).values, VALUES)


def test_cells_of_no_tile_are_no_data_even_if_an_earlier_run_wrote_some(tmp_path: Path) -> None:
    writer, parts = _written(tmp_path, WINDOWS)
    writer.flush()
    found = _finished(tmp_path, parts[:3] + parts[4:])
    assert np.isnan(found.values[:, 7:14, 5:]).all()
    expected = VALUES.copy()
    expected[:, 7:14, 5:] = np.nan
    np.testing.assert_array_equal(found.values, expected)


def test_a_second_run_by_several_processes_goes_on_from_what_one_has_written(tmp_path: Path) -> None:
    """Two processes that put strips together would each write over the other's cells."""
    writer, parts = _written(tmp_path, WINDOWS[:6])
    writer.flush()
    share_work(tmp_path)
    assert _work(tmp_path).path.is_file()
    assert not _work(tmp_path).whole.straight
    assert all(_work(tmp_path).intact(parts))
    for part in range(2):
        other = RasterWriter(tmp_path, FORMATS["zarr"])
        for r, c, h, w in WINDOWS[6 + part :: 2]:
            parts.append(other.write(WHOLE, VALUES[:, r : r + h, c : c + w], r, c)[1])
    np.testing.assert_array_equal(_finished(tmp_path, parts).values, VALUES)
    assert [path.name for path in tmp_path.rglob(".partial-*")] == []


def test_one_process_and_several_write_the_same_files(tmp_path: Path) -> None:
    writer, parts = _written(tmp_path / "one", WINDOWS)
    writer.flush()
    other = RasterWriter(tmp_path / "two", FORMATS["zarr"])
    others = [other.write(WHOLE, VALUES[:, r : r + h, c : c + w], r, c)[1] for r, c, h, w in WINDOWS[::-1]]
    _finished(tmp_path / "one", parts)
    _finished(tmp_path / "two", others)
    files = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "one", tmp_path / "two")
    ]
    assert files[0] == files[1]


def test_a_finish_that_was_killed_before_the_rename_is_done_again(tmp_path: Path) -> None:
    writer, parts = _written(tmp_path, WINDOWS)
    writer.flush()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    (_work(tmp_path).path / "embedding" / "c" / "0" / "1" / "0.x.partial").write_bytes(b"left by Zarr")
    with pytest.raises(KeyboardInterrupt):
        finish_raster(tmp_path, FORMATS["zarr"], "a/b", "", _entries(parts), killed)
    assert not (tmp_path / "grids.zarr" / "a" / "b").exists()
    np.testing.assert_array_equal(_finished(tmp_path, parts).values, VALUES)
    assert list(tmp_path.rglob("*.partial")) == []


@pytest.mark.parametrize(
    "shape", [(192, 1372, 1372), (768, 1372, 1372), (1024, 1, 1), (2, 3000, 20), (768, 5, 100_000), (3, 63, 65)]
)
def test_a_strip_has_whole_chunks_and_bounded_bytes(shape: tuple[int, int, int]) -> None:
    layout = Layout.of(shape)
    assert all(shard % chunk == 0 for chunk, shard in zip(layout.chunk, layout.shard, strict=True))
    assert layout.shard[0] == shape[0]
    assert layout.shard[2] >= shape[2]
    one_row = shape[0] * shape[2] * 4
    assert layout.shard[1] * one_row <= max(2 * 48_000_000, one_row)


def test_the_array_says_where_it_lies_and_has_no_cells_at_first(tmp_path: Path) -> None:
    cells = StripCells(tmp_path / "g", (3, 50, 9))
    cells.create()
    cells.create()
    array = zarr.open_group(tmp_path / "g", mode="r")["embedding"]
    assert dict(array.attrs)["grid_mapping"] == "spatial_ref"
    assert [first for _, first, _ in cells.blocks()] == list(itertools.islice(itertools.count(0, 8), 7))
    assert all(np.isnan(values).all() for _, _, values in cells.blocks())
