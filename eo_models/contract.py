"""What generic code may ask of a backbone. Each backbone declares it; nothing is guessed from a name.

A backbone of this project is a subclass of `eo_models.backbone.FreezableBackbone`, which declares the usual case, and
enters TerraTorch's registry through `eo_models.registry.registry_factory`, so that `eo_models.registry.find_encoder`
tells what it declares before a model is built. Backbones that declare nothing work too: they return maps or tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch

from eo_data.sensors.tables import Sensor

Pooling = Literal["mean", "max", "cls"]
GroupMerge = Literal["mean", "sum", "concat"]

#: Band names by image. The key ``None`` is the only image of an input, which has no name then.
BandsByImage = Mapping[str | None, tuple[str, ...]]
#: Sensors whose tables say what the band names of an image mean, with the same keys.
SensorsByImage = Mapping[str | None, tuple[Sensor, ...]]


@dataclass(frozen=True, eq=False)
class Features:
    """What one layer gave for a batch.

    Parameters
    ----------
    tokens : Tensor
        ``(B, N, D)``: the patch tokens, without a class token.
    cls_token : Tensor or None
        ``(B, D)``.
    grid : Tensor or None
        ``(B, D', h, w)``; ``None`` where tokens form no grid.
    """

    tokens: torch.Tensor
    cls_token: torch.Tensor | None
    grid: torch.Tensor | None

    def pooled(self, how: Pooling | str) -> torch.Tensor:
        """Return one vector per sample ``(B, D)``.

        Raises
        ------
        ValueError
            For ``cls`` without a class token.
        """
        if how == "cls":
            if self.cls_token is None:
                msg = "pooling: cls needs a class token, which this backbone does not give. Use mean or max."
                raise ValueError(msg)
            return self.cls_token
        return self.tokens.mean(dim=1) if how == "mean" else self.tokens.amax(dim=1)


class Encoder(Protocol):
    """A backbone as generic code sees it.

    Attributes
    ----------
    pretrained_by_default : bool
        Of the class: whether building one without arguments asks for published weights.
    takes_dates : bool
        Of the class: whether dates may be in its input: a channel of days, or ``<image>_dates`` beside a single image.
    output_advice : str
        Of the class: what to do where the forward pass returns anything but a list of tensors; empty if it never does.
    out_channels : list of int
        Channels of each returned feature.
    out_indices : list of int or None
        Blocks behind the returned features, from 0; ``None`` if features do not belong to numbered blocks.
    input_bands : mapping of (str or None) to tuple of str
        Bands of the input channels by image. Data modules compare theirs with them.
    band_sensors : mapping of (str or None) to tuple of Sensor
        Sensors whose names ``input_bands`` are, by image; no entry where no table knows the names.
    derived_bands : frozenset of str
        Input channels that its preprocessing makes of others, such as a ratio, in upper case; data need not have them.
    """

    pretrained_by_default: ClassVar[bool]
    takes_dates: ClassVar[bool]
    output_advice: ClassVar[str]

    @classmethod
    def feature_arguments(cls, layers: Sequence[int]) -> dict[str, Any]:
        """Return the arguments that make it return these layers, for `TokenReader` or as maps; often none."""
        ...

    @property
    def out_channels(self) -> list[int]: ...  # noqa: D102  (see above)

    @property
    def out_indices(self) -> list[int] | None: ...  # noqa: D102

    @property
    def input_bands(self) -> BandsByImage: ...  # noqa: D102

    @property
    def band_sensors(self) -> SensorsByImage: ...  # noqa: D102

    @property
    def derived_bands(self) -> frozenset[str]: ...  # noqa: D102

    def forward(self, x: torch.Tensor | Mapping[str, torch.Tensor], **batch: Any) -> list[torch.Tensor]:  # noqa: ANN401
        """Encode a batch.

        Parameters
        ----------
        x : Tensor or mapping of str to Tensor
            Normalised ``(B, C, H, W)`` or ``(B, C, T, H, W)``, or one of these per image.
        **batch
            Other keys of the batch, such as ``<image>_dates``.

        Returns
        -------
        list of Tensor
            Maps ``(B, D, h, w)`` or tokens ``(B, N, D)``.
        """
        ...


@runtime_checkable
class TokenReader(Protocol):
    """A backbone whose tokens only it can read: they are of several grids, for example."""

    def read_features(self, output: Any, layers: Sequence[int], group_merge: GroupMerge) -> list[Features]:  # noqa: ANN401
        """Return tokens and grid of each layer.

        Parameters
        ----------
        output : object
            What its forward pass returned, built with ``feature_arguments(layers)``.
        layers : sequence of int
            The wanted layers; the features have their order.
        group_merge : {'mean', 'sum', 'concat'}
            How the grids of several groups of bands become one.
        """
        ...


@runtime_checkable
class ChecksValues(Protocol):
    """A backbone whose forward pass refuses values, such as NaN or days outside the year, but not in a trace."""

    def check_values(self, x: torch.Tensor | Mapping[str, torch.Tensor], **batch: Any) -> None:  # noqa: ANN401
        """Refuse what the forward pass would refuse; arguments as there.

        Raises
        ------
        ValueError
            For values that would spoil the features.
        """
        ...
