"""What every backbone of this project shares: eval mode when frozen, and the usual case of the contract."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

from torch import nn

from eo_models.contract import BandsByImage, SensorsByImage


class FreezableBackbone(nn.Module):
    """A module that stays in eval mode while none of its parameters trains.

    TerraTorch freezes by clearing ``requires_grad``, and Lightning puts everything in training mode afterwards.

    It declares the usual case of `eo_models.contract.Encoder`; subclasses declare what is different with them.
    """

    #: Switches TerraTorch's own padding off: it takes the first ``patch_size`` that it finds in the modules.
    patch_size = None
    pretrained_by_default: ClassVar[bool] = False
    takes_dates: ClassVar[bool] = True
    output_advice: ClassVar[str] = ""
    out_channels: list[int]
    out_indices: list[int] | None = None

    @classmethod
    def feature_arguments(cls, layers: Sequence[int]) -> dict[str, Any]:
        """Return the arguments that make it return the features of these layers: none are needed."""
        return {}

    @property
    def input_bands(self) -> BandsByImage:
        """Bands of the input channels by image, ``None`` for a plain tensor; data modules compare theirs with them."""
        return {}

    @property
    def band_sensors(self) -> SensorsByImage:
        """Sensors whose names `input_bands` are, by image."""
        return {}

    @property
    def derived_bands(self) -> frozenset[str]:
        """Input channels that its preprocessing makes of others, in upper case."""
        return frozenset()

    def freeze(self) -> None:
        """Stop training the encoder; it stays in eval mode from here on."""
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002
        """Set the mode; a frozen encoder stays in eval mode."""
        trainable = any(parameter.requires_grad for parameter in self.parameters())
        return super().train(mode and trainable)


def constructor_arguments(backbone: type, *hidden: str) -> tuple[str, ...]:
    """Names of a constructor's arguments without the hidden ones."""
    return tuple(name for name in inspect.signature(backbone).parameters if name not in hidden)


def refuse_unknown(model: str, given: Iterable[str], valid: Iterable[str], hints: Mapping[str, str]) -> None:
    """Refuse arguments that a model does not have.

    Raises
    ------
    TypeError
        For the first unknown name, with a hint, the nearest match and the valid names.
    """
    names = tuple(valid)
    for name in given:
        if name in names:
            continue
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" {hints[name]}" if name in hints else f" Did you mean {near[0]!r}?" if near else ""
        msg = f"{model} has no argument {name!r}.{hint} Valid: {', '.join(names)}."
        raise TypeError(msg)
