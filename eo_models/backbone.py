"""What both encoders owe their host TerraTorch: eval mode when frozen, and factories whose errors arrive."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from torch import nn


class FreezableBackbone(nn.Module):
    """A module that stays in eval mode while none of its parameters trains.

    TerraTorch freezes by clearing ``requires_grad``, and Lightning puts everything in training mode afterwards.
    """

    #: Switches TerraTorch's own padding off: it takes the first ``patch_size`` that it finds in the modules.
    patch_size = None

    @property
    def input_bands(self) -> Mapping[str | None, tuple[str, ...]]:
        """Bands of the input channels by image, ``None`` for a plain tensor; data modules compare theirs with them."""
        return {}

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


def registry_factory(name: str, doc: str, build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Wrap a builder for TerraTorch's registry, which goes by the name of the function.

    The registry takes a ``KeyError`` for "no such model" and hides it; the factory lets none out.
    """

    def factory(**arguments: Any) -> nn.Module:  # noqa: ANN401
        try:
            return build(**arguments)
        except KeyError as error:
            msg = f"Building {name} failed on the missing key {error}."
            raise RuntimeError(msg) from error

    factory.__name__ = factory.__qualname__ = name
    factory.__doc__ = doc
    return factory
