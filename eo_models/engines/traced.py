"""An encoder that runs as a graph: traced once for each form of batches, and compared with PyTorch then."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from eo_models.contract import ChecksValues, Features
from eo_models.engines.form import FeatureForm, FlatEncoder, Image, InputForm, tensors_of
from eo_models.features import FeatureExtractor

#: Forms of batches whose graphs are kept; more than a few are no use of an export.
KEPT = 4
#: Largest distance of a graph's features from PyTorch's, as a ratio of norms: in float32 and in fewer bits.
TOLERANCE, REDUCED_TOLERANCE = 1e-4, 0.1

#: Maps the tensors of a batch to those of its features.
type Run = Callable[[Sequence[torch.Tensor]], Sequence[torch.Tensor]]


class OtherNumbersError(RuntimeError):
    """A graph computes other numbers than the encoder that it was made of."""


@dataclass(frozen=True)
class _Graph:
    run: Run
    features: FeatureForm


class TracedEncoder(ABC):
    """Takes batches and gives features as `FeatureExtractor` does, by a graph.

    A trace does not look at values, so they are checked before (`eo_models.contract.ChecksValues`). The first batch of
    each form is also encoded by PyTorch, and has to give the same features.

    Parameters
    ----------
    extractor : FeatureExtractor
        The encoder, frozen and in eval mode.
    reduced : bool
        Whether the graph computes in fewer bits than float32, which allows a larger difference from PyTorch.
    """

    name: str

    def __init__(self, extractor: FeatureExtractor, *, reduced: bool) -> None:
        self.extractor = extractor
        self.tolerance = REDUCED_TOLERANCE if reduced else TOLERANCE
        self._graphs: dict[InputForm, _Graph] = {}

    def __call__(self, image: Image, **extras: Any) -> list[Features]:  # noqa: ANN401
        """Encode a batch; one entry per layer.

        Parameters
        ----------
        image : Tensor or mapping of str to Tensor
            As the encoder takes it.
        **extras
            Tensors (samples first), numbers and texts beside the image; others are not handed on.

        Raises
        ------
        ValueError
            For input that the encoder refuses, or cannot be traced with.
        OtherNumbersError
            If the graph gives other features than PyTorch.
        """
        backbone = self.extractor.backbone
        if isinstance(backbone, ChecksValues):
            backbone.check_values(image, **extras)
        form = InputForm.of(image, extras)
        tensors = form.tensors(image, extras)
        if form not in self._graphs:
            self._start(form, tensors)
        graph = self._graphs[form]
        return graph.features.features(graph.run(tensors))

    @abstractmethod
    def graph(self, flat: FlatEncoder, tensors: Sequence[torch.Tensor], names: Sequence[str]) -> Run:
        """Return what runs a traced encoder.

        Parameters
        ----------
        flat : FlatEncoder
            The encoder.
        tensors : sequence of Tensor
            Of a batch.
        names : sequence of str
            Of the tensors that come out.
        """

    def _start(self, form: InputForm, tensors: Sequence[torch.Tensor]) -> None:
        flat = FlatEncoder(self.extractor, form).eval()
        image, extras = form.batch(tensors)
        expected = self.extractor(image, **extras)
        features = FeatureForm.of(expected)
        run = self.graph(flat, tensors, features.names)
        found = run(tensors)
        for name, mine, wanted in zip(features.names, found, tensors_of(expected), strict=True):
            self._compare(name, mine, wanted)
        while len(self._graphs) >= KEPT:
            del self._graphs[next(iter(self._graphs))]
        self._graphs[form] = _Graph(run, features)

    def _compare(self, name: str, found: torch.Tensor, expected: torch.Tensor) -> None:
        wanted = expected.double()
        same = found.shape == wanted.shape
        off = float((found.double() - wanted).norm() / wanted.norm()) if same else float("inf")
        if off <= self.tolerance or (
            same and not bool(wanted.isfinite().all())
        ):  # the exporter lists what is not finite
            return
        msg = (
            f"engine: {self.name} gives {name} {tuple(found.shape)} that is {off:.2g} (relative to its norm) away from "
            f"PyTorch's {tuple(wanted.shape)}; {self.tolerance:g} is allowed. Nothing of it is written. Leave engine "
            "out, or try another version of its packages."
        )
        raise OtherNumbersError(msg)
