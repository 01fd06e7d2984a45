"""Layer-wise learning-rate decay: early layers of an encoder learn more slowly than late ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer

_ENCODER = "model.encoder."
#: A numbered layer: ``blocks.3.``, ``predictor_blocks.0.``, ``layers.2.``, ``stages.1.``, ``layer4.``.
_LAYER = re.compile(r"(?:^|\.)\w*?(?:blocks|layers|stages|layer)[._]?\d+\.")
#: One of several encoders side by side (MultiBackboneWrapper), with or without PEFT around them.
_SEVERAL = re.compile(r"(?:base_model\.model\.)?encoders\.\d+\.")


def depths(names: Sequence[str]) -> dict[str, int]:
    """Return how deep each parameter of an encoder lies: 0 before the first numbered layer, then 1, 2 ...

    A parameter without a numbered layer, such as the final norm, belongs to the layer before it.

    Parameters
    ----------
    names : sequence of str
        Parameters in the order of the encoder.
    """
    layers: list[str] = []
    found: dict[str, int] = {}
    for name in names:
        match = _LAYER.search(name)
        layer = name[: match.end()] if match else None
        if layer and layer not in layers:
            layers.append(layer)
        found[name] = layers.index(layer) + 1 if layer else len(layers)
    return found


def layerwise_rates(names: Sequence[str], rate: float, decay: float) -> dict[str, float]:
    """Return a learning rate for each part of a name that stands for parameters of one depth.

    The rate of depth d of n layers is ``rate * decay ** (n + 1 - d)``, so that the decoder has ``rate`` (Clark et al.
    2020, ELECTRA; Bao et al. 2021, BEiT). Of several encoders side by side, each has its own layers; necks behind them
    have the rate of a last layer.

    Parameters
    ----------
    names : sequence of str
        Parameters of the whole task.
    rate : float
        Learning rate of the decoder.
    decay : float
        Factor from one layer to the one before.

    Raises
    ------
    ValueError
        If there is no encoder, or it has no numbered layers.
    """
    steps = _steps_to_the_decoder([name for name in names if name.startswith(_ENCODER)])
    keys: dict[str, float] = {}
    for name, count in steps.items():
        if not any(key in name for key in keys):
            keys[_shortest_key(name, steps, names)] = rate * decay**count
    return keys


def _steps_to_the_decoder(names: Sequence[str]) -> dict[str, int]:
    """1 in the last layer of an encoder, n + 1 before its first."""
    encoders: dict[str, list[str]] = {}
    for name in names:
        match = _SEVERAL.match(name, len(_ENCODER))
        encoders.setdefault(match[0] if match else "", []).append(name)
    behind = encoders.pop("", []) if len(encoders) > 1 else []
    steps: dict[str, int] = {}
    for which, own in (encoders or {"": []}).items():
        depth = depths(own)
        last = max(depth.values(), default=0)
        if last == 0:
            msg = (
                f"Layer-wise learning rates need an encoder under {_ENCODER}{which} with numbered layers (blocks.0, "
                f"layers.1, stages.2, layer3 ...), got {len(own)} parameters there, none in such a layer. Use "
                "lr_overrides instead."
            )
            raise ValueError(msg)
        steps |= {name: last + 1 - depth[name] for name in own}
    return steps | dict.fromkeys(behind, 1)


def _shortest_key(name: str, steps: Mapping[str, int], names: Sequence[str]) -> str:
    """The shortest beginning of a name that is part of no parameter of another depth."""
    parts = name.split(".")
    for i in range(3, len(parts)):
        key = ".".join(parts[:i]) + "."
        if all(steps.get(other) == steps[name] for other in names if key in other):
            return key
    return name


def _behind_the_last_used(task: LightningModule) -> tuple[str, ...]:
    """Beginnings of the names of blocks that never run, in backbones of this project: they are no layers to count."""
    found = []
    for name, module in task.named_modules():
        indices = getattr(module, "out_indices", None) if hasattr(module, "input_bands") else None
        if not isinstance(indices, list) or not indices:
            continue
        for inner, _ in module.named_modules():
            path, _, number = inner.rpartition(".")
            if path.endswith("blocks") and number.isdigit() and int(number) > max(indices):
                found.append(f"{name}.{inner}.")
    return tuple(found)


class LayerwiseLearningRates(Callback):
    """Set TerraTorch's ``lr_overrides`` from the task's ``lr`` and a decay per layer.

    In backbones of this project, only blocks up to the last of ``out_indices`` count; those behind it never run.

    Parameters
    ----------
    decay : float
        Factor from a layer to the one before, above 0 and at most 1; 0.65 to 0.85 is usual for fine-tuning.

    Raises
    ------
    ValueError
        If decay is out of range.
    """

    def __init__(self, decay: float = 0.75) -> None:
        if not 0 < decay <= 1:
            msg = f"decay must be above 0 and at most 1, got {decay}. 0.75 is usual."
            raise ValueError(msg)
        self.decay = decay

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Set the rates before the optimizer is made.

        Raises
        ------
        ValueError
            If the task has other ``lr_overrides`` or an encoder without numbered layers.
        """
        if stage != "fit":
            return
        hparams: Any = pl_module.hparams
        behind = _behind_the_last_used(pl_module)
        names = [name for name, _ in pl_module.named_parameters() if not name.startswith(behind)]
        rates = layerwise_rates(names, float(hparams["lr"]), self.decay)
        stated = hparams.get("lr_overrides")
        if stated and dict(stated) != rates:
            msg = (
                f"LayerwiseLearningRates(decay={self.decay}) and other lr_overrides are set: {dict(stated)}. Leave one "
                "of them out. A run that goes on from a checkpoint has the rates of the checkpoint: keep its lr and "
                "decay, or start a new run from its weights."
            )
            raise ValueError(msg)
        hparams["lr_overrides"] = rates

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that the optimizer has the rates.

        Raises
        ------
        ValueError
            If it was made in another way, such as by a section ``optimizer`` of the config.
        """
        expected = len(cast("Any", pl_module.hparams)["lr_overrides"]) + 1
        groups = sum(len(optimizer.param_groups) for optimizer in trainer.optimizers)
        if groups != expected:
            msg = (
                f"The optimizer has {groups} groups of parameters, expected {expected} by layer: it does not come from "
                "the task. Set optimizer, optimizer_hparams and lr in model.init_args, not in a section `optimizer`."
            )
            raise ValueError(msg)
