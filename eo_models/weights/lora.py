"""Low-rank adapters (LoRA) in a checkpoint: merged into the weights that they adapt, so that a plain encoder loads it.

The update is ``W + s B A`` with ``s = alpha / r``, or ``alpha / sqrt(r)`` when it is rank-stabilised (Hu et al. 2021,
arXiv:2106.09685; Kalajdzievski 2023, arXiv:2312.03732). Names are those of the library `peft`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch

#: What peft uses where nothing is said.
_ALPHA = 8
_DOWN = re.compile(r"(.+)\.lora_A\.([^.]+)\.weight$")
#: Kinds of adapters that are more than a product of two matrices, by their argument.
_OTHERS = ("use_dora", "rank_pattern", "alpha_pattern", "megatron_config", "use_qalora")
#: A layer that was trained whole, beside the one that it replaces.
_WHOLE = re.compile(r"(.+)\.modules_to_save\.[^.]+\.(.+)$")
_PARTS = ("q_linear", "k_linear", "v_linear")


class AdapterError(ValueError):
    """Adapters that cannot be merged."""


@dataclass(frozen=True)
class Scaling:
    """By how much the product of both matrices counts.

    Parameters
    ----------
    alpha : float
        Peft's ``lora_alpha``.
    stabilised : bool
        Peft's ``use_rslora``: divide by the root of the rank.
    """

    alpha: float = _ALPHA
    stabilised: bool = False

    def __call__(self, rank: int) -> float:
        """Return the factor for a rank."""
        return self.alpha / (sqrt(rank) if self.stabilised else rank)


def has_adapters(names: Mapping[str, Any]) -> bool:
    """Return whether there are weights of adapters."""
    return any("lora_" in name or ".base_layer." in name for name in names)


def merge_adapters(tensors: Mapping[str, torch.Tensor], arguments: Mapping[str, Any] | None) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint with the names and values of a model without adapters.

    Queries, keys and values that TerraTorch has separated (``replace_qkv``) are one matrix again.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Content of the file. Linear layers only, ``(out, in)``.
    arguments : mapping, optional
        Hyper-parameters of TerraTorch's task, with ``model_args.peft_config``: alpha is stored nowhere else.

    Raises
    ------
    AdapterError
        If there are no arguments, or the adapters are no plain LoRA on linear layers.
    """
    if not has_adapters(tensors):
        return dict(tensors)
    scaling = _scaling(arguments)
    found = dict(tensors)
    for name in tensors:
        if (match := _DOWN.match(name)) is None:
            continue
        layer, adapter = match.groups()
        down, up = found.pop(name), found.pop(f"{layer}.lora_B.{adapter}.weight", None)
        base = found.get(f"{layer}.base_layer.weight")
        if up is None or base is None or base.ndim != 2 or not (up.is_floating_point() and down.is_floating_point()):
            msg = f"{layer} is no linear layer with both matrices of LoRA in floating point"
            raise AdapterError(msg)
        update = scaling(len(down)) * (up.double() @ down.double())
        found[f"{layer}.base_layer.weight"] = (base.double() + update).to(base.dtype)
    plain = _with_whole({name.replace(".base_layer.", "."): value for name, value in found.items()})
    if left := [name for name in plain if "lora_" in name]:
        msg = f"{len(left)} weights are of other adapters than LoRA on linear layers ({left[0]})"
        raise AdapterError(msg)
    return _with_joined_qkv(plain)


def _scaling(arguments: Mapping[str, Any] | None) -> Scaling:
    model = (arguments or {}).get("model_args")
    config = model.get("peft_config") if isinstance(model, Mapping) else None
    if not isinstance(config, Mapping):
        msg = (
            "it holds adapters but not their alpha: expected a checkpoint of TerraTorch's task, with "
            "hyper_parameters.model_args.peft_config"
        )
        raise AdapterError(msg)
    given: Mapping[str, Any] = config.get("peft_config_kwargs") or {}
    more = [name for name in _OTHERS if given.get(name)]
    if config.get("method") != "LORA" or more:
        msg = f"only plain LORA can be merged, got {', '.join([str(config.get('method')), *more])}"
        raise AdapterError(msg)
    return Scaling(float(given.get("lora_alpha", _ALPHA)), bool(given.get("use_rslora", False)))


def _with_whole(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = dict(tensors)
    for name in tensors:
        if match := _WHOLE.match(name):
            layer, rest = match.groups()
            found.pop(f"{layer}.original_module.{rest}", None)
            found[f"{layer}.{rest}"] = found.pop(name)
    return found


def _with_joined_qkv(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    joined = dict(tensors)
    for name in tensors:
        layer, _, rest = name.rpartition(f".{_PARTS[0]}.")
        names = [f"{layer}.{part}.{rest}" for part in _PARTS]
        if layer and all(part in joined for part in names):
            joined[f"{layer}.{rest}"] = torch.cat([joined.pop(part) for part in names])
    return joined
