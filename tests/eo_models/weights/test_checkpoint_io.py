"""Lightning's checkpoints: whole or not at all, and only numbers, whatever names a wrapper gave them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import nn

from eo_models.weights.checkpoint_io import CheckedCheckpointIO
from eo_models.weights.checkpoints import CheckpointError

VERSION = {"pytorch-lightning_version": "2.5.0"}


class Task(nn.Module):
    """A layer, and a table that holds infinity on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Linear(2, 2)  # a name that a wrapper has, too
        self.model = nn.Linear(2, 2)
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))


def state(rename: Callable[[str], str] = str, **changed: torch.Tensor) -> dict[str, Any]:
    tensors = Task().state_dict() | {name.replace("_", ".", 1): value for name, value in changed.items()}
    return {"state_dict": {rename(name): value for name, value in tensors.items()}, "epoch": 1} | VERSION


@pytest.mark.parametrize(
    "rename",
    [
        str,
        lambda name: f"module.{name}",
        lambda name: f"_orig_mod.{name}",
        lambda name: f"module._orig_mod.{name}",
        lambda name: name.replace("model.", "model._orig_mod."),
    ],
)
def test_names_of_ddp_and_compiled_models_find_their_place(rename: Callable[[str], str], tmp_path: Path) -> None:
    content = state(rename)
    torch.save(content, tmp_path / "w.ckpt")
    loaded = CheckedCheckpointIO(Task()).load_checkpoint(tmp_path / "w.ckpt")
    task = Task()
    task.load_state_dict(loaded["state_dict"])
    assert torch.equal(task.model.weight, content["state_dict"][rename("model.weight")])


def test_weights_of_a_compiled_model_go_into_a_compiled_one_and_back(tmp_path: Path) -> None:
    compiled = nn.ModuleDict({"model": torch.compile(nn.Linear(2, 2))})
    torch.save(
        VERSION | {"state_dict": {"model.weight": torch.ones(2, 2), "model.bias": torch.ones(2)}}, tmp_path / "w"
    )
    loaded = CheckedCheckpointIO(compiled).load_checkpoint(tmp_path / "w")["state_dict"]
    compiled.load_state_dict(loaded)
    assert loaded.keys() == {"model._orig_mod.weight", "model._orig_mod.bias"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.tensor([1.0, torch.nan]), "hold NaN or infinity: model.bias"),
        (torch.tensor([1.0, 1e45], dtype=torch.float64), "hold NaN or infinity: model.bias"),
        (torch.ones(2, dtype=torch.int8), "model.bias is torch.int8"),
    ],
)
def test_weights_that_are_no_numbers_are_not_loaded(value: torch.Tensor, message: str, tmp_path: Path) -> None:
    """NaN weights predicted class 0 everywhere, with exit code 0."""
    torch.save(state(model_bias=value), tmp_path / "w.ckpt")
    with pytest.raises(CheckpointError, match=rf"w.ckpt is not loaded: .*{message}.*Take another checkpoint"):
        CheckedCheckpointIO(Task()).load_checkpoint(tmp_path / "w.ckpt")


def test_a_file_that_lightning_cannot_use_is_named_with_the_remedy(tmp_path: Path) -> None:
    torch.save(Task().state_dict(), tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"no state_dict and no pytorch-lightning_version.*go to backbone_ckpt"):
        CheckedCheckpointIO(Task()).load_checkpoint(tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="does not exist"):
        CheckedCheckpointIO(Task()).load_checkpoint(tmp_path / "absent.ckpt")


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 and no end"])
@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_damaged_file_is_named_also_as_an_address(prefix: str, content: bytes, tmp_path: Path) -> None:
    """``--ckpt_path file:///...`` skips Lightning's own look, whose errors name no file."""
    (tmp_path / "w.ckpt").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{tmp_path}/w.ckpt"):
        CheckedCheckpointIO(Task()).load_checkpoint(f"{prefix}{tmp_path}/w.ckpt")
    torch.save(state(), tmp_path / "w.ckpt")
    assert CheckedCheckpointIO(Task()).load_checkpoint(f"{prefix}{tmp_path}/w.ckpt")["epoch"] == 1


def test_what_is_written_is_what_lightning_reads(tmp_path: Path) -> None:
    content = state()
    CheckedCheckpointIO(Task()).save_checkpoint(content, tmp_path / "new" / "last.ckpt")
    read = TorchCheckpointIO().load_checkpoint(tmp_path / "new" / "last.ckpt")
    assert read["epoch"] == 1
    assert torch.equal(read["state_dict"]["model.weight"], content["state_dict"]["model.weight"])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["last.ckpt"]


def test_what_does_not_fit_on_the_disk_is_an_error_and_leaves_the_checkpoint_of_before(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk."""
    code = f"""
import resource, signal, torch
from eo_models.weights.checkpoint_io import CheckedCheckpointIO
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
io = CheckedCheckpointIO(torch.nn.Linear(1, 1))
io.save_checkpoint({{"state_dict": {{"a": torch.ones(10)}}}}, {str(tmp_path / "last.ckpt")!r})
for size in (0, 500, 4096, 500_000, 999_999):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        io.save_checkpoint({{"state_dict": {{"a": torch.ones(250_000)}}}}, {str(tmp_path / "last.ckpt")!r})
    except OSError as error:
        assert "last.ckpt could not be written" in str(error)
    else:
        raise SystemExit(f"no error at {{size}}")
"""
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603
    assert len(torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]["a"]) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


KILLS = """
import itertools, os, pathlib, random, signal, sys, time, torch
from eo_models.weights.checkpoint_io import CheckedCheckpointIO

file, draw = pathlib.Path(sys.argv[1]), random.Random(0)
torch.set_num_threads(1)
for kill in range(15):
    child = os.fork()
    if not child:
        for i in itertools.count():
            CheckedCheckpointIO(torch.nn.Linear(1, 1)).save_checkpoint({"a": torch.full((500_000,), float(i))}, file)
    while kill == 0 and not file.exists():
        time.sleep(0.01)
    time.sleep(draw.uniform(0, 0.2))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    values = torch.load(file, weights_only=True)["a"]
    assert len(values) == 500_000 and (values == values[0]).all()
"""


def test_a_kill_leaves_the_checkpoint_of_before_or_the_new_one(tmp_path: Path) -> None:
    """With TMPDIR on another file system, 8 of 8 kills left an empty last.ckpt and none of before."""
    subprocess.run([sys.executable, "-c", KILLS, str(tmp_path / "last.ckpt")], check=True, timeout=100)  # noqa: S603
