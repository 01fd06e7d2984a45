"""A file that a power cut leaves empty under its final name looks like a result: bytes first, then the name."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from eo_core.files import (
    PARTIAL,
    atomic_path,
    partial_path,
    put_in_place,
    remove_partials,
    write_bytes,
    write_file,
    write_folder,
    write_text,
)

Write = Callable[[Path], None]


def _skipped(path: Path) -> None:
    from eo_data.dataset.dataset import write_skipped

    write_skipped(path, [("train", "a/b", "no data")])


def _statistics(path: Path) -> None:
    from eo_data.preprocess.statistics import BandStatistics

    statistics = BandStatistics(["RED"], "reflectance")
    statistics.update(np.array([[[0.1, 0.3]]]))
    statistics.write_yaml(path)


def _index(path: Path) -> None:
    from eo_data.index import main

    for scene in (path.parent / "forest" / "one.tif", path.parent / "lake" / "two.tif"):
        scene.parent.mkdir(parents=True, exist_ok=True)
        scene.touch()
    main(["classes", str(path.parent), "--out", path.name])


def _quick_look(path: Path) -> None:
    """The name is made of the sample's id and modality."""
    from eo_data.inspect import write_quick_look

    raster = SimpleNamespace(pixels=np.ones((3, 4, 4), np.float32), valid=np.ones((4, 4), dtype=bool))
    image = SimpleNamespace(raster=raster, bands=("RED", "GREEN", "BLUE"), is_series=False)
    sample: Any = SimpleNamespace(id=path.stem.removesuffix("_s2"), images={"s2": image})
    write_quick_look(sample, sample, (), path.parent)


def _label_map_of_tiles(path: Path) -> None:
    """One tile that is all of its raster, as Lightning would hand it over; the map is ``<raster>_pred.tif``.

    The raster itself is not opened: a batch may name it relative to a root.
    """
    from eo_finetune.label_maps import LabelMapWriter

    transform = rasterio.Affine(10, 0, 500_000, 0, -10, 4_000_000)
    batch = {
        "image": torch.zeros(1, 1, 4, 4), "filename": ["source.tif"], "id": ["t/r0_c0"], "sources": ["source.tif"],
        "crs": ["EPSG:32631"], "geotransform": torch.tensor([transform.to_gdal()], dtype=torch.float64),
        "core": torch.tensor([[0.0, 0, 1, 1]]), "raster_id": [path.stem.removesuffix("_pred")],
        "raster_hw": torch.tensor([[4, 4]]),
        "raster_geotransform": torch.tensor([transform.to_gdal()], dtype=torch.float64),
    }  # fmt: skip
    trainer: Any = SimpleNamespace(
        predict_output_dir=str(path.parent),
        callbacks=[],
        datamodule=None,
        world_size=1,
        global_rank=0,
        strategy=SimpleNamespace(checkpoint_io=None),
    )
    task: Any = SimpleNamespace(predict_step=lambda batch: None)
    writer = LabelMapWriter()
    writer.setup(trainer, task, "predict")
    writer.write_on_batch_end(trainer, task, (torch.zeros(1, 4, 4, dtype=torch.long), [""]), None, batch, 0, 0)
    writer.on_predict_end(trainer, task)


WRITERS: dict[str, tuple[str, Write]] = {
    "write_text": ("a.txt", lambda path: write_text(path, "new")),
    "skipped samples": ("skipped.csv", _skipped),
    "statistics": ("statistics.yaml", _statistics),
    "index": ("index.json", _index),
    "quick look": ("a_s2.png", _quick_look),
    "label map of tiles": ("big_pred.tif", _label_map_of_tiles),
}


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """What was asked of the disk, in order: ``file`` and ``folder`` synced, ``rename`` to a name."""
    found: list[tuple[str, Path]] = []
    sync, replace = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"
        found.append((kind, Path(f"/proc/self/fd/{handle}").readlink()))
        sync(handle)

    def renamed(path: Path, target: Path) -> Path:
        found.append(("rename", Path(target)))
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", renamed)
    return found


@pytest.mark.parametrize("kind", WRITERS)
def test_bytes_reach_the_disk_before_the_name_and_the_name_before_the_end(
    kind: str, tmp_path: Path, events: list[tuple[str, Path]]
) -> None:
    name, write = WRITERS[kind]
    path = tmp_path / "new" / name
    write(path)
    assert path.is_file()
    at = events.index(("rename", path))
    before, after = events[:at], events[at + 1 :]
    assert [found.name for what, found in before if what == "file"][-1].endswith(f"-{name}")
    assert ("folder", path.parent) in after
    assert ("folder", tmp_path) in before or kind == "index"  # where the test makes it


@pytest.mark.parametrize("kind", WRITERS)
def test_a_disk_that_fails_leaves_the_old_file_and_nothing_else(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, write = WRITERS[kind]
    path = tmp_path / name
    path.write_text("old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises((OSError, SystemExit)):  # a command ends with a message
        write(path)
    assert path.read_text() == "old"
    left = [entry.name for entry in tmp_path.iterdir() if PARTIAL in entry.name or f".{name}" in entry.name]
    assert left == []


def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def write_half() -> None:
        with atomic_path(path, Path.read_bytes) as partial:
            partial.write_text("half")
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_line_ends_are_written_as_they_are(tmp_path: Path) -> None:
    write_text(tmp_path / "a.csv", "id\r\nx\n")
    assert (tmp_path / "a.csv").read_bytes() == b"id\r\nx\n"


@pytest.mark.parametrize(
    "spoiled", [b"1234567", b"123456789", b"12345X78", b""], ids=["short", "long", "other", "empty"]
)
def test_what_does_not_read_back_is_an_error_and_gets_no_name(
    spoiled: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that was full for a moment, and lost what it had taken."""
    write, path = Path.write_bytes, tmp_path / "a" / "b"
    writers: dict[str, Write] = {
        "bytes": lambda path: write_bytes(path, b"12345678"),
        "text": lambda path: write_text(path, "12345678"),
        "file": lambda path: write_file(path, lambda file: file.write(b"12345678")),
        "folder": lambda path: write_folder(path, {"one": b"1", "in/two": b"12345678"}),
    }
    for kind, make in writers.items():
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", lambda file, data: write(file, spoiled if len(data) == 8 else data))
            with pytest.raises(OSError, match=f"{path}.*(was not written whole: .* of 8 bytes|from byte 0 on)"):
                make(path)
        assert list(path.parent.iterdir()) == [], kind
        make(path)
        found = path / "in" / "two" if path.is_dir() else path
        assert found.read_bytes() == b"12345678"
        path.rename(tmp_path / kind)


def test_a_long_file_is_compared_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = np.arange(3 << 20, dtype=np.uint8)
    write_bytes(tmp_path / "a", content)
    assert (tmp_path / "a").read_bytes() == content.tobytes()
    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda file, data: write(file, bytes(data)[:-1] + b"\0"))
    with pytest.raises(OSError, match="does not hold what was written, from byte 2097152 on"):
        write_bytes(tmp_path / "b", content)


def test_what_a_caller_finds_wrong_gets_no_name(tmp_path: Path) -> None:
    def check(partial: Path) -> None:
        raise OSError(partial.read_text())

    def write() -> None:
        with atomic_path(tmp_path / "a", check) as partial:
            partial.write_text("too short")

    with pytest.raises(OSError, match="too short"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_not_hidden_by_one_of_cleaning_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def gone(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(Path, "unlink", gone)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path / 'new'}'"):
        write_text(tmp_path / "new", "x")


def test_a_file_that_was_written_over_a_long_time_is_put_in_place(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.tif"
    partial = partial_path(path)
    assert partial.parent == path.parent
    assert partial.suffix == ".tif"
    partial.write_bytes(b"one")
    put_in_place(partial, path, Path.read_bytes)
    assert path.read_bytes() == b"one"
    assert not partial.exists()


def test_all_of_a_folder_reaches_the_disk_before_its_name(tmp_path: Path, events: list[tuple[str, Path]]) -> None:
    path = tmp_path / "store"
    write_folder(path, {"in/chunk": b"1", "node.json": b"{}"})
    at = events.index(("rename", path))
    assert {(what, found.name) for what, found in events[:at]} >= {("file", "chunk"), ("file", "node.json")}
    assert ("folder", "in") in {(what, found.name) for what, found in events[:at]}
    assert events[at + 1] == ("folder", tmp_path)
    assert (path / "in" / "chunk").read_bytes() == b"1"


def test_a_folder_that_cannot_be_replaced_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the two renames there is no folder under the name; a failure there lost the old one."""
    path = tmp_path / "store"
    write_folder(path, {"old": b""})
    replace = Path.replace

    def refuse(source: Path, target: Path) -> Path:
        if (source / "new").exists():
            raise OSError(errno.EIO, "Input/output error")
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        write_folder(path, {"new": b""})
    assert [entry.name for entry in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_come_back_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the temporary names the only copy went, too."""
    path = tmp_path / "store"
    write_folder(path, {"old": b"kept"})
    replace = Path.replace

    def once(source: Path, target: Path) -> Path:
        if source != path:
            raise OSError(errno.EIO, "Input/output error")
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", once)
    with pytest.raises(OSError, match="Input/output error"):
        write_folder(path, {"new": b""})
    (left,) = tmp_path.iterdir()
    assert (left / "old").read_bytes() == b"kept"


@pytest.mark.parametrize(("number", "refused"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_only_a_file_system_without_fsync_of_folders_is_excused(
    number: int, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    if refused:
        with pytest.raises(OSError, match="Input/output"):
            write_text(tmp_path / "a", "x")
    else:
        write_text(tmp_path / "a", "x")
        assert (tmp_path / "a").read_text() == "x"


def test_what_a_crash_left_is_removed_and_counted(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "kept.txt", "x")
    (tmp_path / "a" / f"{PARTIAL}0-b.txt").touch()
    (tmp_path / f"{PARTIAL}0-store" / "in").mkdir(parents=True)
    assert remove_partials(tmp_path) == 2
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "kept.txt"]


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    """As of the samples ``a`` and ``a.tif/b``."""
    write_text(tmp_path / "a.tif", "one")
    with pytest.raises(OSError, match=r"The folder .*a.tif/x cannot be made, as .*a.tif is a file. Give one of them"):
        write_text(tmp_path / "a.tif" / "x" / "b.tif", "other")
