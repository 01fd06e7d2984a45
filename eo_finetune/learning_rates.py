"""Layer-wise learning-rate decay: early layers of an encoder learn more slowly than late ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

_ENCODER = "model.encoder."
#: A numbered layer: ``blocks.3.``, ``predictor_blocks.0.``, ``layers.2.``, ``stages.1.``, ``layer4.``.
_LAYER = re.compile(r"(?:^|\.)(\w*?(?:blocks|layers|stages|layer))[._]?(\d+)\.")


def depths(names: Sequence[str]) -> dict[str, int]:
    """Return how deep each parameter of an encoder lies: 0 before the first numbered layer, then 1, 2 ...

    What follows a layer and has no number of its own, such as the final norm, belongs to it.

    Parameters
    ----------
    names : sequence of str
        Parameters in the order of the encoder.
    """
    layers: list[tuple[str, str]] = []
    found: dict[str, int] = {}
    for name in names:
        match = _LAYER.search(name)
        if match and match.groups() not in layers:
            layers.append((match[1], match[2]))
        found[name] = layers.index((match[1], match[2])) + 1 if match else len(layers)
    return found


def layerwise_rates(names: Sequence[str], rate: float, decay: float) -> dict[str, float]:
    """Return a learning rate for each part of a name that stands for parameters of one depth.

    The rate of depth d of n layers is ``rate * decay ** (n + 1 - d)``, so that the decoder has ``rate`` (Clark et al.
    2020, ELECTRA; Bao et al. 2021, BEiT).

    Parameters
    ----------
    names : sequence of str
        Parameters of the whole task.
    rate, decay : float
        Of the decoder; factor from one layer to the one before.

    Raises
    ------
    ValueError
        If there is no encoder, or it has no numbered layers.
    """
    own = [name for name in names if name.startswith(_ENCODER)]
    of_name = depths([name.removeprefix(_ENCODER) for name in own])
    count = max(of_name.values(), default=0)
    if count == 0:
        msg = (
            "Layer-wise learning rates need an encoder under model.encoder with numbered layers (blocks.0, layers.1, "
            f"stages.2, layer3 ...), got {len(own)} parameters there, none in such a layer. Use lr_overrides instead."
        )
        raise ValueError(msg)
    depth = {name: of_name[name.removeprefix(_ENCODER)] for name in own}
    keys: dict[str, float] = {}
    for name in own:
        if not any(key in name for key in keys):
            keys[_shortest_key(name, depth, names)] = rate * decay ** (count + 1 - depth[name])
    return keys


def _shortest_key(name: str, depth: Mapping[str, int], names: Sequence[str]) -> str:
    """The shortest beginning of a name that is part of no parameter of another depth."""
    parts = name.split(".")
    for i in range(3, len(parts)):
        key = ".".join(parts[:i]) + "."
        if all(depth.get(other) == depth[name] for other in names if key in other):
            return key
    return name


class LayerwiseLearningRates(Callback):
    """Set TerraTorch's ``lr_overrides`` from the task's ``lr`` and a decay per layer.

    Parameters
    ----------
    decay : float
        Factor from a layer to the one before, above 0 and at most 1; 0.65 to 0.85 are usual for fine-tuning.

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
        names = [name for name, _ in pl_module.named_parameters()]
        rates = layerwise_rates(names, float(hparams["lr"]), self.decay)
        stated = hparams.get("lr_overrides")
        if stated and stated != rates:
            msg = f"Both LayerwiseLearningRates and lr_overrides {stated} are set. Leave one of them out."
            raise ValueError(msg)
        hparams["lr_overrides"] = rates
