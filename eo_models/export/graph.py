"""An encoder, with what comes before and after it, as one graph with named inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import nn

from eo_core.arguments import one_of
from eo_data.sensors.units import InputUnit
from eo_models.contract import Pooling
from eo_models.export.inputs import DATES, DeployedInput
from eo_models.export.values import PreparedValues
from eo_models.features import FeatureExtractor
from eo_models.precision.matmul import matmul_precision

Output = Literal["pooled", "grid", "both"]
#: Days of a year, from 0 on, of dates that are made up.
_DAYS = 365
#: Samples of the traced batch; one would become a constant of the graph.
_TRACED_BATCH = 2


class DeployedEncoder(nn.Module):
    """An encoder as a function of tensors alone.

    Parameters
    ----------
    extractor : FeatureExtractor
        The encoder, frozen and in eval mode.
    inputs : sequence of DeployedInput
        The images.
    normalised : bool
        Whether the values come normalised already; missing ones still become 0.
    output : {'pooled', 'grid', 'both'}
        What of the features comes out.
    pooling : {'mean', 'max', 'cls'}
        How tokens become a vector.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        inputs: Sequence[DeployedInput],
        *,
        normalised: bool = False,
        output: Output = "both",
        pooling: Pooling = "mean",
    ) -> None:
        super().__init__()
        self.extractor = extractor
        self.images = tuple(inputs)
        self.output: Output = one_of("output", output, get_args(Output))
        self.pooling: Pooling = one_of("pooling", pooling, get_args(Pooling))
        self.normalised = normalised
        self.prepare = nn.ModuleList(
            _Filled() if normalised else PreparedValues(image.stored, image.unit, image.steps) for image in inputs
        )

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the arguments of a forward pass: images, each followed by its dates."""
        return tuple(
            name for image in self.images for name in (image.name, *([image.name + DATES] if image.dated else []))
        )

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of what a forward pass returns."""
        kinds = ("pooled", "grid") if self.output == "both" else (self.output,)
        layers = self.extractor.layers
        return tuple(kind if len(layers) == 1 else f"{kind}_{layer}" for layer in layers for kind in kinds)

    def channels(self, image: DeployedInput) -> int:
        """Return the number of bands of an input: normalised ones have those that are made of others."""
        return len(image.bands) + (self.normalised and image.steps.ratio is not None)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return vectors ``(B, D)`` and grids ``(B, D', h, w)`` in the order of `output_names`.

        Parameters
        ----------
        *tensors
            In the order of `input_names`: pixels float32 ``(B, C, H, W)`` or ``(B, T, C, H, W)``, dates int64
            ``(B, T)``.

        Raises
        ------
        ValueError
            If a grid is wanted and the tokens form none.
        """
        given = dict(zip(self.input_names, tensors, strict=True))
        for image, prepare in zip(self.images, self.prepare, strict=True):
            pixels = prepare(given[image.name])
            given[image.name] = pixels if pixels.ndim == 4 else pixels.transpose(1, 2)
        found = []
        for features in self.extractor(given):
            if self.output != "grid":
                found.append(features.pooled(self.pooling))
            if self.output != "pooled":
                if features.grid is None:
                    msg = "The tokens of this encoder form no grid. Choose output: pooled."
                    raise ValueError(msg)
                found.append(features.grid)
        return tuple(found)

    def example(self, batch: int, seed: int) -> tuple[torch.Tensor, ...]:
        """Return made-up inputs that look like images of their unit.

        Parameters
        ----------
        batch : int
            Number of samples.
        seed : int
            Of the random numbers.
        """
        numbers = torch.Generator().manual_seed(seed)
        tensors = []
        for image in self.images:
            shape = list(image.shape(batch))
            shape[-3] = self.channels(image)
            noise = torch.randn(shape, generator=numbers)
            tensors.append(noise if self.normalised else _plausible(noise, image))
            if image.dated:
                tensors.append(torch.randint(0, _DAYS, shape[:2], generator=numbers))
        return tuple(tensors)

    def compute(self, tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Run a forward pass in float32, whatever libraries have set for the process."""
        with torch.no_grad(), matmul_precision("highest"):
            found: tuple[torch.Tensor, ...] = self(*tensors)
            return found

    def traced(self) -> torch.export.ExportedProgram:
        """Return the graph for any number of samples."""
        example = self.example(_TRACED_BATCH, seed=0)
        batch = torch.export.Dim("batch")
        shapes = {"tensors": tuple({0: batch} for _ in example)}
        with torch.no_grad():
            return torch.export.export(self, example, dynamic_shapes=shapes)


class _Filled(nn.Module):
    """Replaces missing values by 0, the mean of a normalised band."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.where(torch.isfinite(pixels), pixels, 0.0)


def _plausible(noise: torch.Tensor, image: DeployedInput) -> torch.Tensor:
    """Make numbers of the unit that an input has of normally distributed ones."""
    stored = image.stored
    middle, spread = _RANGES[image.unit]
    values = middle + spread * noise
    if image.unit is InputUnit.REFLECTANCE:
        values = values.abs()
    if stored.unit is InputUnit.DIGITAL_NUMBER and stored.unit is not image.unit:
        return values / stored.scale - stored.offset
    if image.unit is InputUnit.LINEAR_POWER:
        decibel = -12 + 5 * noise
        return decibel if stored.unit is InputUnit.DECIBEL else torch.pow(10.0, decibel / 10)
    return torch.pow(10.0, values / 10) if stored.unit is InputUnit.LINEAR_POWER else values


#: Middle and spread of what is measured over land.
_RANGES = {
    InputUnit.REFLECTANCE: (0.2, 0.15),
    InputUnit.DECIBEL: (-12.0, 5.0),
    InputUnit.LINEAR_POWER: (0.1, 0.0),
    InputUnit.KELVIN: (285.0, 10.0),
    InputUnit.NATIVE: (100.0, 40.0),
    InputUnit.DIGITAL_NUMBER: (1000.0, 300.0),
}
