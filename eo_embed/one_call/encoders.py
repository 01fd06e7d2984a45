"""An encoder, built once for all calls that ask for the same."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from eo_core.file_state import file_state
from eo_embed.one_call.options import Request
from eo_models.contract import Features, GroupMerge
from eo_models.features import FeatureExtractor
from eo_models.precision.matmul import Matmul, matmul_precision
from eo_models.preset import ImageFacts, Recipe, find_preset
from eo_models.weights.checkpoints import sha256_of_weights

#: Types of numbers by the precision that Lightning names.
_AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True, eq=False)
class BuiltEncoder:
    """An encoder in eval mode on its device, callable as `eo_embed.export.exporter.Encoder`.

    Parameters
    ----------
    extractor : FeatureExtractor
        With the backbone.
    device : torch.device
        Where it is.
    precision : str
        As Lightning names it.
    matmul : {'highest', 'high', 'medium'}
        See `eo_models.precision.matmul`.
    weights_sha256 : str
        Of its names and values.
    """

    extractor: FeatureExtractor
    device: torch.device
    precision: str
    matmul: Matmul
    weights_sha256: str

    def __call__(self, image: torch.Tensor | Mapping[str, torch.Tensor], **extras: Any) -> Sequence[Features]:  # noqa: ANN401
        """Return the features of each layer for a batch, which may be on another device."""
        moved, others = _to(image, self.device), {name: _to(value, self.device) for name, value in extras.items()}
        kind = _AUTOCAST.get(self.precision)
        half = torch.autocast(self.device.type, kind, enabled=kind is not None)
        with torch.no_grad(), half, matmul_precision(self.matmul):
            found: Sequence[Features] = self.extractor(moved, **others)
            return found


def recipe_of(request: Request, images: Mapping[str, ImageFacts]) -> Recipe:
    """Return how images become the input of the encoder that is asked for.

    Raises
    ------
    ValueError, TypeError
        For an unknown encoder, or an option that it does not have.
    """
    encoder = request.encoder
    return find_preset(encoder.name).recipe(encoder.name, images, encoder.own)


def encoder_for(request: Request, recipe: Recipe) -> BuiltEncoder:
    """Return the encoder, which is built anew only if weights, arguments, layers or device differ.

    Raises
    ------
    ValueError
        If arguments are wrong, or weights cannot be had or do not fit.
    """
    options, settings = request.encoder, request.settings
    arguments = json.dumps({**recipe.arguments, **options.weights}, sort_keys=True)
    state = None if options.ckpt is None else repr(file_state(options.ckpt))
    asked = (options.name, arguments, tuple(settings.layers), settings.group_merge)
    extractor, device, sha256 = _built(*asked, _device(options.device), state)
    return BuiltEncoder(extractor, device, options.precision, options.matmul, sha256)


@functools.lru_cache(maxsize=2)
def _built(
    name: str, arguments: str, layers: tuple[int, ...], group_merge: GroupMerge, device: str, _state: str | None
) -> tuple[FeatureExtractor, torch.device, str]:
    # Random weights, where none are asked for, are the same whenever they are made.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = find_preset(name).build(name, json.loads(arguments), layers)
    extractor = FeatureExtractor(backbone, {}, layers, group_merge)
    extractor.requires_grad_(requires_grad=False).eval()
    sha256 = sha256_of_weights(backbone)
    return extractor.to(device), torch.device(device), sha256


def _device(asked: str) -> str:
    """Return the device that is meant.

    Raises
    ------
    ValueError
        If PyTorch knows none of the name, or it is not here.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if asked == "auto":
        return next((name for name, here in there.items() if here), "cpu")
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        msg = f"There is no device {asked!r}. Valid: auto, cpu, cuda, cuda:1 (the second one), mps."
        raise ValueError(msg) from error
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if not there.get(device.type, True) or (device.index or 0) >= count:
        found = ", ".join(["cpu", *(name for name, here in there.items() if here)])
        msg = (
            f'device={asked!r} is not here: PyTorch finds {found}. Use device="auto" for the best of them, or '
            "install a build of PyTorch and a driver for the one that you mean."
        )
        raise ValueError(msg)
    return asked


def _to(value: Any, device: torch.device) -> Any:  # noqa: ANN401  (entries of a batch are of any kind)
    if isinstance(value, torch.Tensor):
        return value.to(device)
    return {name: _to(own, device) for name, own in value.items()} if isinstance(value, Mapping) else value
