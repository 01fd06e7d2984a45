"""A file is there whole and right, or not at all."""

from __future__ import annotations

import errno
import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from deployed_files import BOTH

import eo_models.export.call as under_test
from eo_models.export import formats
from eo_models.export.call import ParityError, Weights, export_encoder
from eo_models.export.metadata import plain

#: One block is enough for what is not about numbers.
ASKED = replace(BOTH, bands=("BLUE",), layers=(0,), output="pooled")
RANDOM = Weights(pretrained=False)


def export(path: Path, **changes: Any) -> None:
    export_encoder("thor_v1_tiny", path, ASKED, **({"form": "torch_export", "weights": RANDOM} | changes))


def with_format(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Change what one format does; changes add up."""
    known = formats.FORMATS
    changed = {"torch_export": replace(known["torch_export"], **changes)}
    monkeypatch.setattr(formats, "FORMATS", {**known, **changed})


def test_a_file_that_is_there_stays_unless_it_may_go(tmp_path: Path) -> None:
    path = tmp_path / "a.pt2"
    path.write_text("theirs")
    with pytest.raises(FileExistsError, match="is there already. Choose another name, remove it, or state overwrite"):
        export(path)
    assert path.read_text() == "theirs"
    export(path, overwrite=True)
    assert path.stat().st_size > 10_000
    (tmp_path / "b.bin").write_text("theirs")
    pytest.importorskip("openvino")
    pytest.importorskip("onnx")
    with pytest.raises(FileExistsError, match=r"b\.bin is there already"):
        export(tmp_path / "b.xml", form="openvino")


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with_format(monkeypatch, write=lambda *_: {".more": b"1", "": b"2"}, runner=lambda _: _true)
    monkeypatch.setattr(under_test, "_difference", lambda *_: 0.0)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device"):
        export(tmp_path / "a.pt2")
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())


def test_the_second_of_two_files_that_cannot_be_written_takes_the_first_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.pt2").mkdir()  # nothing can take its name
    with pytest.raises(OSError, match="a.pt2"):
        under_test._write(tmp_path / "a.pt2", {".bin": b"1", "": b"2"})
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt2"]


def _true(arrays: Any) -> list[np.ndarray]:
    return [np.zeros((len(arrays[0]), 192), np.float32)]


def test_a_file_that_computes_other_numbers_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eo_models.export.graph.DeployedEncoder.traced", lambda _: None)  # it takes seconds
    with_format(monkeypatch, write=lambda *_: {"": b""})
    with_format(monkeypatch, runner=lambda _: _true)
    with pytest.raises(ParityError, match="difference of 1 .*0.0001 is allowed. It is not written"):
        export(tmp_path / "a.pt2")
    with_format(monkeypatch, runner=lambda _: lambda arrays: [_true(arrays)[0] * np.nan])
    with pytest.raises(ParityError, match="difference of nan"):
        export(tmp_path / "a.pt2")
    with_format(monkeypatch, runner=lambda _: lambda arrays: [_true(arrays)[0][:1]])  # a batch of one, whatever comes
    with pytest.raises(ParityError):
        export(tmp_path / "a.pt2")
    assert not list(tmp_path.iterdir())


@pytest.mark.process_precision
def test_what_a_library_allows_the_process_changes_no_reference(tmp_path: Path) -> None:
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")  # as `import terratorch` does: bfloat16 on some processors
        file = export_encoder("thor_v1_tiny", tmp_path / "a.pt2", ASKED, form="torch_export", weights=RANDOM)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert file.difference < 1e-6


def test_a_format_that_is_not_installed_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.util.find_spec
    gone = ("openvino", "onnxruntime")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in gone else known(name, *a))
    for form, extra, suffix in (("openvino", "openvino", ".xml"), ("onnx", "onnx", ".onnx")):
        with pytest.raises(ImportError, match=rf"pip install 'thor-anysat-terratorch\[{extra}\]'.*: torch_export"):
            export(tmp_path / f"a{suffix}", form=form)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"form": "tflite"}, "Unknown format 'tflite'. Valid: onnx, openvino, torch_export"),
        ({"form": "torch_export", "name": "a.onnx"}, r"has the suffix .pt2, got 'a.onnx'"),
        ({"weights": Weights(ckpt="nowhere.pt")}, "'nowhere.pt' does not exist"),
    ],
)
def test_what_cannot_be_made_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    name = changes.pop("name", "a.pt2")
    with pytest.raises(ValueError, match=message):
        export(tmp_path / name, **changes)
    with pytest.raises(ValueError, match="There is no encoder 'thor'"):
        export_encoder("thor", tmp_path / "a.pt2", ASKED, form="torch_export")


def test_weights_that_no_onnx_file_holds_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    monkeypatch.setattr("eo_models.export.graph.DeployedEncoder.traced", lambda _: None)
    monkeypatch.setattr(formats, "_LARGEST_ONNX", 2**20)
    with pytest.raises(ValueError, match="and one ONNX file holds 2 GB. Take torch_export"):
        export(tmp_path / "a.onnx", form="onnx")


def test_of_files_among_the_options_only_the_name_is_told(tmp_path: Path) -> None:
    file = tmp_path / "statistics.json"
    file.write_text("{}")
    told = plain({"statistics": str(file), "means": {"m": (1, None)}, "normalization": "none", "other": file})
    assert told == {
        "statistics": "statistics.json",
        "means": {"m": [1, None]},
        "normalization": "none",
        "other": "statistics.json",
    }


def command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    run = [sys.executable, "-m", "eo_models.export", *arguments]
    return subprocess.run(run, capture_output=True, text=True, check=False, **options)  # noqa: S603


def test_the_command_tells_faults_in_one_line(root: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "a.pt2")
    found = command("thor_v1_tiny", "--bands", "BLUE", "--side", "50", "--out", out, cwd=root)
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    assert "Nearest sides: 48 or 56" in found.stderr


def test_the_command_writes_what_its_suffix_says(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from eo_models.export.command import main

    out = tmp_path / "a.pt2"
    unit = [
        "--unit",
        "sentinel2_l2a=digital_number",
        "--scale",
        "sentinel2_l2a=1e-4",
        "--offset",
        "sentinel2_l2a=-1000",
    ]
    small = ["--layers", "0", "--output", "grid", "--random-weights", "--option", "missing=zero"]
    main(["thor_v1_tiny", "--bands", "BLUE", "--side", "48", "--patch", "16", "--out", str(out), *unit, *small])
    told = capsys.readouterr().out
    assert "S2 float32 (batch, 1, 48, 48): digital_number; BLUE" in told
    assert "grid float32 (batch, 192, 3, 3)" in told
    for wrong, message in ((["--scale", "1e-4"], "takes NAME=VALUE"), (["--scale", "a=b"], "'b' is no number")):
        with pytest.raises(SystemExit):
            main(["thor_v1_tiny", "--bands", "BLUE", "--side", "48", "--out", str(out), *wrong])
        assert message in capsys.readouterr().err
