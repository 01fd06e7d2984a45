"""An encoder, built once for all calls that ask for the same."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from eo_core.file_state import file_state
from eo_embed.one_call.options import Request
from eo_models.contract import Features, GroupMerge
from eo_models.features import FeatureExtractor
from eo_models.precision.numbers import Arithmetic
from eo_models.preset import ImageFacts, Recipe, find_preset
from eo_models.weights.checkpoints import sha256_of_weights


@dataclass(frozen=True, eq=False)
class BuiltEncoder:
    """An encoder in eval mode on its device, callable as `eo_embed.export.exporter.Encoder`.

    Parameters
    ----------
    extractor : FeatureExtractor
        With the backbone.
    arithmetic : Arithmetic
        In which numbers it computes, and where it is.
    weights_sha256 : str
        Of its names and values.
    """

    extractor: FeatureExtractor
    arithmetic: Arithmetic
    weights_sha256: str

    def __call__(self, image: torch.Tensor | Mapping[str, torch.Tensor], **extras: Any) -> Sequence[Features]:  # noqa: ANN401
        """Return the features of each layer for a batch, which may be on another device."""
        device = self.arithmetic.device
        moved, others = _to(image, device), {name: _to(value, device) for name, value in extras.items()}
        with self.arithmetic.computing():
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
    """Return the encoder, which is built anew only if weights, arguments, layers, numbers or device differ.

    Raises
    ------
    ValueError
        If arguments are wrong, or weights cannot be had or do not fit.
    """
    options, settings = request.encoder, request.settings
    arguments = json.dumps({**recipe.arguments, **options.weights}, sort_keys=True)
    state = None if options.ckpt is None else repr(file_state(options.ckpt))
    asked = (options.name, arguments, tuple(settings.layers), settings.group_merge)
    arithmetic = options.arithmetic(torch.device(_device(options.device)))
    extractor, sha256 = _built(*asked, replace(arithmetic, matmul="highest"), state)
    return BuiltEncoder(extractor, arithmetic, sha256)


@functools.lru_cache(maxsize=2)
def _built(
    name: str,
    arguments: str,
    layers: tuple[int, ...],
    group_merge: GroupMerge,
    arithmetic: Arithmetic,
    _state: str | None,
) -> tuple[FeatureExtractor, str]:
    # Random weights, where none are asked for, are the same whenever they are made.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = find_preset(name).build(name, json.loads(arguments), layers)
    extractor = FeatureExtractor(backbone, {}, layers, group_merge)
    extractor.requires_grad_(requires_grad=False).eval()
    sha256 = sha256_of_weights(backbone)
    extractor.to(arithmetic.device)
    arithmetic.prepare(extractor)
    return extractor, sha256


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
