"""Whether a part of a layer's weight may be used without calling the layer."""

from __future__ import annotations

from torch import nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass


def has_plain_weight(layer: nn.Module) -> bool:
    """Whether a linear layer is a product with its weight, so that rows of the weight are a layer of their own.

    It is not where an adapter such as LoRA stands in its place, with weights that count only if it is called, or where
    the weight is quantised: then the numbers that it stands for are found only by calling the layer.
    """
    return type(layer) is nn.Linear and not is_traceable_wrapper_subclass(layer.weight)
