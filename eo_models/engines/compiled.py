"""An encoder by PyTorch's compiler: one graph for batches of any size, checked against the encoder itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from eo_models.contract import ChecksValues, Features
from eo_models.features import FeatureExtractor

#: Forms of batches whose graphs are kept; more than a few are no use of an export.
KEPT = 4
#: Largest distance of a graph's features from the encoder's, as a ratio of norms: in float32 and in fewer bits.
TOLERANCE, REDUCED_TOLERANCE = 1e-4, 0.1
#: What makes machine code of the graph.
BACKEND: Any = "inductor"

type Image = torch.Tensor | Mapping[str, torch.Tensor]
#: Maps the tensors of a batch to those of its features.
type Run = Callable[[Sequence[torch.Tensor]], Sequence[torch.Tensor]]


class OtherNumbersError(RuntimeError):
    """A graph computes other numbers than the encoder that it was made of."""


class CompiledEncoder:
    """Takes batches and gives features as `FeatureExtractor` does, by ``torch.compile(fullgraph=True)``.

    The number of samples is free in the graph, so the last, smaller batch needs none of its own. A batch of one sample
    runs without it: the compiler makes that size a constant, and would start again.

    A trace does not look at values, so they are checked before (`eo_models.contract.ChecksValues`). The first batch of
    several samples of each form is also encoded without the compiler, and has to give the same features.

    Parameters
    ----------
    extractor : FeatureExtractor
        The encoder, frozen and in eval mode.
    reduced : bool
        Whether it computes in fewer bits than float32, which allows a larger difference: the compiler rounds elsewhere.
    """

    #: What a user has asked for to have it, and the largest difference in fewer bits than float32.
    asked, reduced_tolerance = "compile: true", REDUCED_TOLERANCE
    #: Whether a batch of one sample runs by the graph, too.
    takes_one = False

    def __init__(self, extractor: FeatureExtractor, *, reduced: bool) -> None:
        self.extractor, self.reduced = extractor, reduced
        self.tolerance = self.reduced_tolerance if reduced else TOLERANCE
        self._graphs: dict[_InputForm, _Graph] = {}

    def __call__(self, image: Image, **extras: Any) -> list[Features]:  # noqa: ANN401
        """Encode a batch; one entry per layer.

        Parameters
        ----------
        image : Tensor or mapping of str to Tensor
            As the encoder takes it.
        **extras
            Tensors (samples first), numbers and texts beside the image. Others are not handed on: where they matter,
            the features of the first batch differ, which is an error.

        Raises
        ------
        ValueError
            For input that the encoder refuses.
        OtherNumbersError
            If the graph gives other features than the encoder.
        """
        backbone = self.extractor.backbone
        if isinstance(backbone, ChecksValues):
            backbone.check_values(image, **extras)
        form = _InputForm.of(image, extras)
        tensors = form.tensors(image, extras)
        if tensors[0].shape[0] == 1 and not self.takes_one:
            return self.extractor(image, **extras)
        if form not in self._graphs:
            self._start(form, tensors, self.extractor(image, **extras))
        graph = self._graphs[form]
        return graph.features.features(graph.run(tensors))

    def graph(self, flat: FlatEncoder, _example: Sequence[torch.Tensor]) -> Run:
        """Return what runs the compiled encoder on batches like ``_example``; it is compiled by the first one."""
        compiled = torch.compile(flat, fullgraph=True, backend=BACKEND)

        def run(own: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
            for tensor in own:
                torch._dynamo.mark_dynamic(tensor, 0)
            return compiled(*own)

        return run

    def _start(self, form: _InputForm, tensors: Sequence[torch.Tensor], expected: Sequence[Features]) -> None:
        features, run = _FeatureForm.of(expected), self.graph(FlatEncoder(self.extractor, form).eval(), tensors)
        for name, mine, wanted in zip(features.names, run(tensors), _tensors_of(expected), strict=True):
            self._compare(name, mine, wanted)
        while len(self._graphs) >= KEPT:
            del self._graphs[next(iter(self._graphs))]
        self._graphs[form] = _Graph(run, features)

    def _compare(self, name: str, found: torch.Tensor, expected: torch.Tensor) -> None:
        wanted = expected.double()
        off = float("inf")
        if found.shape == wanted.shape:
            finite = wanted.isfinite()  # the exporter lists samples with others
            off = float((found.double() - wanted)[finite].norm() / wanted[finite].norm().clamp(min=1e-30))
        if off <= self.tolerance:
            return
        msg = (
            f"{self.asked} gives {name} {tuple(found.shape)} that is {off:.2g} (relative to its norm) away from what "
            f"the encoder gives by itself, {tuple(wanted.shape)}; {self.tolerance:g} is allowed. Nothing of it is "
            f"written. Leave {self.asked} out, or try another version of what it needs."
        )
        raise OtherNumbersError(msg)


class FlatEncoder(nn.Module):
    """An encoder as a function of tensors alone.

    Parameters
    ----------
    extractor : FeatureExtractor
        The encoder.
    form : _InputForm
        Of the batches.
    """

    def __init__(self, extractor: FeatureExtractor, form: _InputForm) -> None:
        super().__init__()
        self.extractor, self.form = extractor, form

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map the tensors of a batch to those of its features."""
        image, extras = self.form.batch(tensors)
        return _tensors_of(self.extractor(image, **extras))


@dataclass(frozen=True)
class _InputForm:
    """Which tensors a batch has, without their number of samples.

    Parameters
    ----------
    images : tuple of str, or None
        Names of the images; ``None`` for a single one without a name.
    extras : tuple of str
        Names of the tensors beside the images, such as dates.
    constants : tuple of (str, number)
        Numbers and texts beside the images; they are a part of a graph.
    shapes : tuple of tuple of int
        Of the tensors, images first, without the axis of the samples.
    dtypes : tuple of dtype
        Of the tensors.
    """

    images: tuple[str, ...] | None
    extras: tuple[str, ...]
    constants: tuple[tuple[str, bool | int | float | str | None], ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[torch.dtype, ...]

    @classmethod
    def of(cls, image: Image, extras: Mapping[str, Any]) -> _InputForm:
        """Return the form of a batch; what is neither tensor, number nor text beside the images is left out of it."""
        images = tuple(image) if isinstance(image, Mapping) else None
        named = tuple(name for name, value in extras.items() if isinstance(value, torch.Tensor))
        plain = (bool, int, float, str, type(None))
        constants = tuple((name, value) for name, value in extras.items() if isinstance(value, plain))
        tensors = _tensors(image, extras, named)
        shapes = tuple(tuple(tensor.shape[1:]) for tensor in tensors)
        return cls(images, named, constants, shapes, tuple(tensor.dtype for tensor in tensors))

    def tensors(self, image: Image, extras: Mapping[str, Any]) -> list[torch.Tensor]:
        """Return the tensors of a batch of this form."""
        return _tensors(image, extras, self.extras)

    def batch(self, tensors: Sequence[torch.Tensor]) -> tuple[Image, dict[str, Any]]:
        """Return images, and what is beside them, of these tensors."""
        count = 1 if self.images is None else len(self.images)
        image: Image = tensors[0] if self.images is None else dict(zip(self.images, tensors[:count], strict=True))
        return image, {**dict(self.constants), **dict(zip(self.extras, tensors[count:], strict=True))}


def _tensors(image: Image, extras: Mapping[str, Any], names: Sequence[str]) -> list[torch.Tensor]:
    return [*(image.values() if isinstance(image, Mapping) else (image,)), *(extras[name] for name in names)]


@dataclass(frozen=True)
class _FeatureForm:
    """What the layers give beside tokens.

    Parameters
    ----------
    layers : tuple of (bool, bool)
        For each, whether it has a class token, and a grid.
    """

    layers: tuple[tuple[bool, bool], ...]

    @classmethod
    def of(cls, features: Sequence[Features]) -> _FeatureForm:
        """Return the form of features."""
        return cls(tuple((own.cls_token is not None, own.grid is not None) for own in features))

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each tensor."""
        parts = ("tokens", "cls_token", "grid")
        return tuple(
            f"{part}_{index}"
            for index, (has_class, has_grid) in enumerate(self.layers)
            for part, there in zip(parts, (True, has_class, has_grid), strict=True)
            if there
        )

    def features(self, tensors: Sequence[torch.Tensor]) -> list[Features]:
        """Return features of these tensors."""
        left = iter(tensors)
        return [
            Features(next(left), next(left) if has_class else None, next(left) if has_grid else None)
            for has_class, has_grid in self.layers
        ]


def _tensors_of(features: Sequence[Features]) -> tuple[torch.Tensor, ...]:
    """Return the tensors of features, in the order of `_FeatureForm.names`."""
    return tuple(part for own in features for part in (own.tokens, own.cls_token, own.grid) if part is not None)


@dataclass(frozen=True)
class _Graph:
    run: Run
    features: _FeatureForm
