"""TerraTorch's registry of backbones: factories whose errors arrive, and what a name in it stands for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import nn

from eo_models.contract import Encoder

#: Attribute of a factory: the class of the backbone that it builds.
_ENCODER = "encoder"


def registry_factory(
    name: str, doc: str, build: Callable[..., nn.Module], encoder: type[Encoder]
) -> Callable[..., nn.Module]:
    """Wrap a builder for TerraTorch's registry, which goes by the name of the function.

    The registry takes a ``KeyError`` for "no such model" and hides it; the factory lets none out.

    Parameters
    ----------
    name : str
        Name in the registry.
    doc : str
        Docstring of the factory.
    build : callable
        Makes the backbone of keyword arguments.
    encoder : type
        Class of the backbone; `find_encoder` returns it.
    """

    def factory(**arguments: Any) -> nn.Module:  # noqa: ANN401
        try:
            return build(**arguments)
        except KeyError as error:
            msg = f"Building {name} failed on the missing key {error}."
            raise RuntimeError(msg) from error

    factory.__name__ = factory.__qualname__ = name
    factory.__doc__ = doc
    setattr(factory, _ENCODER, encoder)
    return factory


def find_source(name: str) -> tuple[str, str] | None:
    """Return the source of a backbone (``terratorch``, ``timm``, ...) and its name there (imports TerraTorch).

    Parameters
    ----------
    name : str
        With or without the source in front: ``terratorch_x`` and ``x`` are the same.

    Returns
    -------
    (str, str) or None
        ``None`` if no source has such a backbone.
    """
    from terratorch.registry import BACKBONE_REGISTRY  # noqa: PLC0415

    sources = list(BACKBONE_REGISTRY.keys())
    prefix, _, rest = name.partition("_")
    places = [(prefix, rest)] if prefix in sources else [(source, name) for source in sources]
    for source, own in places:
        if own.split(".")[0] in BACKBONE_REGISTRY[source]:  # timm's names may carry a tag of the weights
            return source, own
    return None


def find_builder(name: str) -> Callable[..., nn.Module] | None:
    """Return what builds a backbone; ``None`` if there is no such backbone, or its source does not tell."""
    from terratorch.registry import BACKBONE_REGISTRY  # noqa: PLC0415

    found = find_source(name)
    if found is None:
        return None
    registry: Any = BACKBONE_REGISTRY[found[0]]
    return cast("Callable[..., nn.Module]", registry[found[1]]) if hasattr(registry, "__getitem__") else None


def find_encoder(name: str) -> type[Encoder] | None:
    """Return the class behind a name in TerraTorch's registry, if it declares what `Encoder` does."""
    builder = find_builder(name)
    encoder = getattr(builder, _ENCODER, builder)
    if isinstance(encoder, type) and hasattr(encoder, "pretrained_by_default"):
        return cast("type[Encoder]", encoder)
    return None
