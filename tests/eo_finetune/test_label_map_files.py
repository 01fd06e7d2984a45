"""Which files label maps become: below their folder, one for each sample, whole, and closed as soon as they are."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

from eo_core.files import PARTIAL
from eo_core.locks import LOCK
from eo_finetune import LabelMapWriter, label_maps

UTM = Affine(10, 0, 500_000, 0, -10, 5_000_000)
SIDE = 8
Tile = tuple[str, int, int, int, int]  # raster, its rows and columns, first row and column of the tile


class Run:
    """A writer as Lightning drives it."""

    def __init__(self, folder: Path, rank: int = 0, data: object = None, *, take_over: bool = False) -> None:
        self.met = 0
        trainer: Any = SimpleNamespace(
            predict_output_dir=str(folder),
            callbacks=[],
            datamodule=data,
            world_size=1 + rank,
            global_rank=rank,
            strategy=SimpleNamespace(checkpoint_io=None, barrier=self.meet),
        )
        task: Any = SimpleNamespace(predict_step=lambda batch: None)
        self.folder, self.trainer, self.task = folder, trainer, task
        self.writer = LabelMapWriter(take_over=take_over)
        self.writer.setup(trainer, task, "predict")

    def meet(self) -> None:
        self.met += 1

    def predict(self, values: torch.Tensor, batch: dict[str, Any]) -> None:
        self.writer.write_on_batch_end(self.trainer, self.task, (values, [""]), None, batch, 0, 0)

    def end(self) -> None:
        self.writer.on_predict_end(self.trainer, self.task)

    def files(self) -> list[str]:
        found = [path for path in self.folder.rglob("*") if path.is_file() and path.name != LOCK]
        return sorted(path.relative_to(self.folder).as_posix() for path in found)


def batch_of(ids: list[str], transforms: list[Affine] | None = None) -> dict[str, Any]:
    given = [list(transform.to_gdal()) for transform in transforms or [UTM] * len(ids)]
    return {
        "image": torch.zeros(len(ids), 1, SIDE, SIDE),
        "filename": ids,
        "id": ids,
        "crs": ["EPSG:32633"] * len(ids),
        "geotransform": torch.tensor(given, dtype=torch.float64),
    }


def tiles_of(tiles: list[Tile]) -> tuple[torch.Tensor, dict[str, Any]]:
    """Tiles without overlap, and the class of each pixel: the digits of its row and column."""
    transforms = [Affine(10, 0, UTM.c + 10 * column, 0, -10, UTM.f - 10 * row) for *_, row, column in tiles]
    batch = batch_of([f"{name}/r{row}_c{column}" for name, _, _, row, column in tiles], transforms)
    batch |= {
        "core": torch.tensor([[0.0, 0, 1, 1]] * len(tiles), dtype=torch.float64),
        "raster_id": [tile[0] for tile in tiles],
        "raster_hw": torch.tensor([tile[1:3] for tile in tiles]),
        "raster_geotransform": torch.tensor([UTM.to_gdal()] * len(tiles), dtype=torch.float64),
    }
    return torch.stack([torch.from_numpy(classes(SIDE, SIDE, row, column)) for *_, row, column in tiles]), batch


def classes(height: int, width: int, row: int = 0, column: int = 0) -> np.ndarray:
    return 100 * (np.arange(height)[:, None] + row) + np.arange(width) + column


def all_tiles(name: str, height: int, width: int) -> list[Tile]:
    return [(name, height, width, row, column) for row in range(0, height, SIDE) for column in range(0, width, SIDE)]


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1)


def open_files(folder: Path) -> int:
    links = list(Path("/proc/self/fd").iterdir())
    found = [link.readlink() for link in links if link.exists()]
    return sum(path.is_relative_to(folder) and path.name != LOCK for path in found)


ZEROS = torch.zeros(1, SIDE, SIDE, dtype=torch.long)


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("sample", ["../../esc", "/tmp/esc", "./a", "a//b", "a/", "a\\b", "a\nb", "x" * 250])  # noqa: S108
def test_no_id_leads_out_of_the_folder(sample: str, tiled: bool, tmp_path: Path) -> None:
    """``../../esc`` and an absolute id were written outside, and ``./a`` over ``a``."""
    run = Run(tmp_path / "in" / "maps")
    values, batch = tiles_of([(sample, 2 * SIDE, SIDE, 0, 0)]) if tiled else (ZEROS, batch_of([sample]))
    with pytest.raises(ValueError, match="cannot name a file. Expected a relative path such as a/tile, but "):
        run.predict(values, batch)
    run.writer.on_exception(run.trainer, run.task, ValueError())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not Path("/tmp/esc_pred.tif").exists()  # noqa: S108


def test_a_second_sample_of_one_id_is_refused_and_the_first_stays(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.predict(ZEROS, batch_of(["a"]))
    with pytest.raises(
        ValueError, match="The maps of two samples would be one file, .*a_pred.tif .*the id 'a' comes twice"
    ):
        run.predict(ZEROS + 1, batch_of(["a"]))
    values, batch = tiles_of([("a", SIDE, SIDE, 0, 0)])
    with pytest.raises(ValueError, match="The maps of two samples would be one file"):
        run.predict(values, batch)
    assert (read(tmp_path / "a_pred.tif") == 0).all()
    again = Run(tmp_path)  # another run replaces its maps
    again.predict(ZEROS + 1, batch_of(["a"]))
    assert (read(tmp_path / "a_pred.tif") == 1).all()


@pytest.mark.parametrize("second", ["A", "o\u0308"])
def test_ids_that_the_file_system_takes_for_one_are_refused_there_alone(second: str, tmp_path: Path) -> None:
    """Ids that differ in case, or in Unicode form, are two files on Linux, and one on other systems."""
    first = "a" if second == "A" else "\u00f6"
    run = Run(tmp_path / "apart")
    run.predict(ZEROS, batch_of([first]))
    run.predict(ZEROS + 1, batch_of([second]))
    assert len(run.files()) == 2
    run = Run(tmp_path / "one")
    run.predict(ZEROS, batch_of([first]))
    os.link(run.folder / f"{first}_pred.tif", run.folder / f"{second}_pred.tif")  # as such a file system would show it
    with pytest.raises(ValueError, match="another id differs from it in nothing that the file system tells apart"):
        run.predict(ZEROS + 1, batch_of([second]))
    assert (read(run.folder / f"{first}_pred.tif") == 0).all()


def test_a_raster_is_closed_with_its_last_tile(tmp_path: Path) -> None:
    """300 rasters needed 300 open files, and all were lost when the run failed at the last one."""
    run = Run(tmp_path)
    for i in range(40):
        for tile in all_tiles(f"r{i}", 12, 20):
            assert not (tmp_path / f"r{i}_pred.tif").exists()
            run.predict(*tiles_of([tile]))
        np.testing.assert_array_equal(read(tmp_path / f"r{i}_pred.tif"), classes(12, 20))
        assert open_files(tmp_path) == 0
    run.writer.on_exception(run.trainer, run.task, RuntimeError())
    assert len(run.files()) == 40


def test_what_a_killed_run_left_of_its_maps_is_removed_and_nothing_else(tmp_path: Path) -> None:
    """Half-written maps of tiles stayed for ever."""
    (tmp_path / "north").mkdir()
    for name in ("0-a_pred.tif", "north/.partial-1-b_pred.tif", "2-last.ckpt"):
        (tmp_path / (name if "/" in name else f"{PARTIAL}{name}")).write_bytes(b"half")
    run = Run(tmp_path)
    assert run.files() == [f"{PARTIAL}2-last.ckpt"]  # a training may be writing the latter


OTHER_RUN = """
import sys
from eo_core.locks import FolderLock
lock = FolderLock(sys.argv[1])
lock.acquire()
print("locked", flush=True)
sys.stdin.read()
"""


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path) -> None:
    (half := tmp_path / f"{PARTIAL}0-a_pred.tif").write_bytes(b"half")
    command = [sys.executable, "-c", OTHER_RUN, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:  # noqa: S603  (our own)
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(ValueError, match=f"is in use: process {other.pid} on .* writes there. Wait until it has"):
            Run(tmp_path)
        assert half.exists()
        other.communicate()
    Run(tmp_path).predict(ZEROS, batch_of(["a"]))
    assert not half.exists()


@pytest.mark.parametrize("fails", [False, True])
def test_the_folder_is_free_after_a_run(fails: bool, tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.predict(ZEROS, batch_of(["a"]))
    assert (tmp_path / LOCK).exists()
    if fails:
        run.writer.on_exception(run.trainer, run.task, KeyboardInterrupt())
    else:
        run.end()
    assert [path.name for path in tmp_path.iterdir()] == ["a_pred.tif"]


def test_a_lock_of_another_machine_is_taken_over_on_request(tmp_path: Path) -> None:
    holder = {"host": "elsewhere", "process": 1, "process_start": "", "since": "2026-01-01T00:00:00+00:00"}
    (tmp_path / LOCK).write_text(json.dumps(holder))
    with pytest.raises(ValueError, match="is locked by process 1 on elsewhere .*set take_over: true"):
        Run(tmp_path)
    run = Run(tmp_path, take_over=True)
    run.predict(ZEROS, batch_of(["a"]))
    Run(tmp_path, take_over=True)
    with pytest.raises(ValueError, match="was taken over by process .*: this run stops writing there"):
        run.predict(ZEROS, batch_of(["b"]))


def test_other_processes_of_a_run_neither_lock_nor_remove(tmp_path: Path) -> None:
    (tmp_path / f"{PARTIAL}0-a_pred.tif").write_bytes(b"being written")
    run = Run(tmp_path, rank=1)
    assert run.files() == [f"{PARTIAL}0-a_pred.tif"]
    run.end()
    assert run.met == 2  # once before the first file and once after the last


def test_rasters_that_lack_a_tile_are_not_all_held_open(tmp_path: Path) -> None:
    run = Run(tmp_path)
    names = [f"r{i}" for i in range(3 * label_maps._OPEN)]
    for row in (0, SIDE):  # all rasters at once, and none of them whole
        for name in names:
            run.predict(*tiles_of([(name, 2 * SIDE, 2 * SIDE, row, 0)]))
            assert open_files(tmp_path) <= label_maps._OPEN
    run.end()
    expected = classes(2 * SIDE, 2 * SIDE)
    expected[:, SIDE:] = -1
    for name in names:
        np.testing.assert_array_equal(read(tmp_path / f"{name}_pred.tif"), expected)
    assert not list(tmp_path.glob(f"{PARTIAL}*"))


def test_a_batch_may_hold_tiles_of_rasters_of_different_sizes(tmp_path: Path) -> None:
    """The size of the first one was taken for all."""
    run = Run(tmp_path)
    run.predict(*tiles_of([*all_tiles("small", 8, 8), *all_tiles("large", 16, 24)]))
    assert run.files() == ["large_pred.tif", "small_pred.tif"]
    np.testing.assert_array_equal(read(tmp_path / "small_pred.tif"), classes(8, 8))
    np.testing.assert_array_equal(read(tmp_path / "large_pred.tif"), classes(16, 24))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_no_number_is_an_error_that_names_the_sample(value: float, tmp_path: Path) -> None:
    """NaN is the no-data value of maps of numbers: a model that failed looked like clouds."""
    run = Run(tmp_path)
    values = torch.ones(1, SIDE, SIDE, dtype=torch.float64)
    values[0, 3, 4:6] = value
    batch = batch_of(["north/a"])
    with pytest.raises(
        ValueError, match="prediction for north/a is NaN or infinite in 2 places where the input was observ"
    ):
        run.predict(values, batch)
    tiles, tile_batch = tiles_of([("r", SIDE, SIDE, 0, 0)])
    with pytest.raises(ValueError, match="prediction for r/r0_c0 is NaN or infinite in 2 places"):
        run.predict(values + tiles, tile_batch)
    with pytest.raises(ValueError, match="prediction for north/a is NaN or infinite in 1 places"):
        run.predict(torch.tensor([[value]], dtype=torch.float64), batch)  # a number for the whole sample
    run.writer.on_exception(run.trainer, run.task, ValueError())
    assert run.files() == []
    batch["valid"] = torch.ones(1, SIDE, SIDE, dtype=torch.bool)
    batch["valid"][0, 3] = False
    run = Run(tmp_path)
    run.predict(values, batch)  # where nothing was observed, nothing is claimed
    assert np.isnan(read(tmp_path / "north" / "a_pred.tif")).sum() == SIDE


def test_a_disk_that_gets_full_ends_the_run_and_leaves_the_maps_before(
    chips: Callable[..., Path], recipe: Callable[..., Any], build: Callable[..., Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """10 of 18 runs ended with broken maps and exit code 0."""
    write, written = Path.write_bytes, []

    def full(path: Path, content: Any) -> int:
        written.append(path)
        if len(written) == 2:
            write(path, bytes(content)[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    run = build(recipe(chips(), data={"train_transform": None}), LabelMapWriter(str(tmp_path / "maps")))
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device: .*Mekong_SYN07_pred.tif"):
        run.trainer.predict(run.task, datamodule=run.data)
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["India_SYN06_pred.tif"]
    assert read(tmp_path / "maps" / "India_SYN06_pred.tif").shape == (64, 64)


def source_of(path: Path, name: str) -> str:
    """An image of two bands: no data in both in a row, and in one of them in a column."""
    path.mkdir(parents=True, exist_ok=True)
    pixels = np.ones((2, SIDE, SIDE), np.uint16)
    pixels[:, 2] = 0
    pixels[1, :, 5] = 0
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 2, "dtype": "uint16", "nodata": 0}
    with rasterio.open(path / name, "w", transform=UTM, crs="EPSG:32633", **profile) as file:
        file.write(pixels)
    return str(path / name)


@pytest.mark.parametrize("many", [False, True])
def test_maps_of_terratorchs_data_modules_have_the_place_and_the_no_data_of_their_images(
    many: bool, tmp_path: Path
) -> None:
    """Such a batch has images and names of files; maps lay in a copy of the whole path, and no-data had a class."""
    file = source_of(tmp_path / "in" / "S2", "x_S2.tif")
    root = tmp_path / "in" / "S2"
    data = SimpleNamespace(predict_root={"S2": root, "S1": tmp_path} if many else root)
    run = Run(tmp_path / "maps", data=data)
    image = torch.zeros(1, 1, SIDE, SIDE)
    batch = {"image": {"S2": image} if many else image, "filename": {"S2": [file]} if many else [file]}
    run.predict(ZEROS + 1, batch)
    run.end()
    assert run.files() == ["x_S2_pred.tif"]
    with rasterio.open(tmp_path / "maps" / "x_S2_pred.tif") as out:
        assert out.transform == UTM
        assert out.crs.to_epsg() == 32633
        expected = np.ones((SIDE, SIDE))
        expected[2] = -1
        np.testing.assert_array_equal(out.read(1), expected)


def test_no_data_of_a_file_of_another_size_is_not_taken(tmp_path: Path) -> None:
    file = source_of(tmp_path / "in", "x.tif")
    run = Run(tmp_path / "maps", data=SimpleNamespace(predict_root=tmp_path / "in"))
    half = SIDE // 2
    run.predict(ZEROS[:, :half, :half], {"image": torch.zeros(1, 1, half, half), "filename": [file]})
    assert (read(tmp_path / "maps" / "x_pred.tif") == 0).all()
