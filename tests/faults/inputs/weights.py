"""Checkpoints, damaged or spoilt: they are loaded whole and finite, or refused."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from eo_models.weights.checkpoints import CheckpointError, load_strictly, read_tensors
from tests.faults.inputs.mutate import Damage, any_bytes, zip_members
from tests.faults.outcome import Outcome

_PREFIX = "model.encoder."
#: A file that code in a checkpoint would make.
CANARY = "executed"


def encoder() -> nn.Sequential:
    """Return a small encoder with weights of its own."""
    made = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4))
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        nn.init.normal_(parameter, generator=generator)
    return made


class _Code:
    """Runs when it is unpickled without care."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.file),)


def _spoilt(key: str, value: torch.Tensor, chance: Random) -> tuple[str, Any]:
    """Return a tensor that is no weight, by name."""
    one = value.clone()
    one.view(-1)[0] = chance.choice((float("nan"), float("inf"), -float("inf")))
    beyond = value.double()
    beyond.view(-1)[-1] = 1e45
    kinds: dict[str, Any] = {
        "not finite": one,
        "beyond float32": beyond,
        "integers": torch.ones_like(value, dtype=torch.int64),
        "bytes": torch.ones_like(value, dtype=torch.uint8),
        "bool": torch.ones_like(value, dtype=torch.bool),
        "complex": value.to(torch.complex64),
        "sparse": value.to_sparse(),
        "meta": torch.empty_like(value, device="meta"),
        "transposed": value.reshape(-1, 1),
        "scalar": torch.tensor(1.0),
        "empty": torch.empty(0),
        "quantised": torch.quantize_per_tensor(value, 0.1, 0, torch.quint8),
        "text": "x",
        "None": None,
    }
    name = chance.choice(sorted(kinds))
    return f"{name} {key}", kinds[name]


@dataclass(frozen=True)
class WeightSeed:
    """A checkpoint of one form."""

    name: str
    file: str
    save: Callable[[dict[str, torch.Tensor], Path], None]
    kind: str = "checkpoint"

    def write(self, folder: Path) -> None:
        self.save(encoder().state_dict(), folder / self.file)

    def read(self, folder: Path) -> dict[str, torch.Tensor]:
        """Load the checkpoint into an encoder of zeros, and return what it then holds."""
        module = encoder()
        for value in module.state_dict().values():
            value.zero_()
        tensors = read_tensors(folder / self.file)
        prefix = _PREFIX if any(key.startswith(_PREFIX) for key in tensors) else ""
        logging.disable(logging.WARNING)
        load_strictly(module, tensors, source=self.file, prefix=prefix)
        return module.state_dict()

    def case(self, folder: Path, valid: dict[str, torch.Tensor], chance: Random) -> Outcome:
        damage, spoilt = self._damaged(folder / self.file, chance)
        try:
            found = self.read(folder)
        except CheckpointError as error:
            # Who loads weights adds the file's name to what does not fit.
            return (
                Outcome("refused") if len(str(error)) < 5000 else Outcome("unexpected", f"{damage.name}: a long text")
            )
        except BaseException as error:  # noqa: BLE001  (that none comes is what is tested)
            return Outcome("unexpected", f"{damage.name}: {type(error).__name__}: {str(error)[:200]}")
        finally:
            executed = (folder / CANARY).exists()
        if executed:
            return Outcome("wrong", f"{damage.name}: code in the checkpoint was run")
        odd = [k for k, v in found.items() if not torch.isfinite(v).all() or v.shape != valid[k].shape]
        if odd or spoilt:
            return Outcome("wrong", f"{damage.name}: accepted; not finite: {odd}")
        equal = all(torch.equal(value, valid[key]) for key, value in found.items())
        if damage.lost and not equal:
            return Outcome("wrong", f"{damage.name}: other weights without an error")
        return Outcome("equal" if equal else "changed", damage.name)

    def _damaged(self, file: Path, chance: Random) -> tuple[Damage, bool]:
        """Damage the checkpoint; return what was done, and whether it must not be accepted."""
        kind = chance.random()
        if kind < 0.5:
            return any_bytes(file, chance), False
        if kind < 0.65 and self.name.startswith("zip"):
            return zip_members(file, chance), False
        state: dict[str, Any] = dict(encoder().state_dict())
        key = chance.choice([key for key, value in state.items() if value.is_floating_point()])
        if kind < 0.7:
            del state[key]
            name = f"without {key}"
        elif kind < 0.75:
            name, state["x"] = "code", _Code(file.parent / CANARY)
        else:
            name, state[key] = _spoilt(key, state[key], chance)
        try:
            self.save(state, file)
        except (RuntimeError, ValueError, TypeError, NotImplementedError, AttributeError, KeyError):
            return any_bytes(file, chance), False  # the format cannot hold it
        return Damage(name), name != "code"


class RunSeed(WeightSeed):
    """A checkpoint of a training run, as Lightning loads it."""

    def read(self, folder: Path) -> dict[str, torch.Tensor]:
        """Load the checkpoint as ``--ckpt_path`` does."""
        from eo_models.weights.checkpoint_io import CheckedCheckpointIO

        module = encoder()
        content = CheckedCheckpointIO(module).load_checkpoint(folder / self.file)
        try:
            module.load_state_dict(content["state_dict"])
        except (RuntimeError, TypeError, AttributeError) as error:  # torch's own, of missing and misshapen weights
            raise CheckpointError(str(error)) from error
        return module.state_dict()


def _run(state: dict[str, torch.Tensor], file: Path) -> None:
    own = {f"_orig_mod.{key}": value for key, value in state.items()}
    torch.save({"state_dict": own, "epoch": 3, "pytorch-lightning_version": "2.6.0", "loops": {}}, file)


def _zip(state: dict[str, torch.Tensor], file: Path) -> None:
    torch.save(state, file)


def _lightning(state: dict[str, torch.Tensor], file: Path) -> None:
    own = {f"{_PREFIX}{key}": value for key, value in state.items()}
    torch.save({"state_dict": own, "epoch": 3, "hyper_parameters": {"lr": 0.1}}, file)


def _legacy(state: dict[str, torch.Tensor], file: Path) -> None:
    torch.save(state, file, _use_new_zipfile_serialization=False)


def _safetensors(state: dict[str, torch.Tensor], file: Path) -> None:
    save_file({key: value.contiguous() for key, value in state.items()}, file)


def weight_seeds(*, whole: bool) -> list[WeightSeed]:
    """Return all valid checkpoints; one that needs Lightning, which takes seconds to import, for long runs only."""
    return [
        *([RunSeed("zip of a run", "last.ckpt", _run)] if whole else []),
        WeightSeed("zip", "x.pt", _zip),
        WeightSeed("zip of Lightning", "x.ckpt", _lightning),
        WeightSeed("legacy", "x.pth", _legacy),
        WeightSeed("safetensors", "x.safetensors", _safetensors),
    ]
