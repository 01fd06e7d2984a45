"""Gradient checkpointing: keep what goes into a part of an encoder, and compute the rest again in the backward pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from eo_models.precision.matmul import chosen_matmul, matmul_precision

#: Maps tensors (and what belongs to them) to a tensor.
type Part = Callable[..., torch.Tensor]
#: Calls a part of an encoder: the part, then what it is given.
type Call = Callable[..., torch.Tensor]


def calls_of(owner: nn.Module, *, gradient_checkpointing: bool) -> Call:
    """Return how the parts of an encoder are to be called in this forward pass: ``call(part, *inputs)``.

    With ``gradient_checkpointing``, a part's inputs are all that is kept of it until the backward pass, which computes
    the part again: one more forward pass in time, and the gradients are the same. It counts only while ``owner`` is in
    training mode and gradients are wanted, and never while `torch.export` or `torch.compile` trace.

    The second pass runs with the random state, the autocast and the matmul precision of the first.

    Parameters
    ----------
    owner : nn.Module
        The encoder, for its mode.
    gradient_checkpointing : bool
        Whether the user wants it.
    """
    wanted = gradient_checkpointing and owner.training and torch.is_grad_enabled()
    if not wanted or torch.compiler.is_compiling():
        return _plainly
    # The backward pass may run in another thread and outside of what the forward pass was called in.
    matmul = chosen_matmul()

    def contexts() -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
        again = contextlib.nullcontext() if matmul is None else matmul_precision(matmul)
        return contextlib.nullcontext(), again

    def call(part: Part, *inputs: object) -> torch.Tensor:
        found: torch.Tensor = checkpoint(part, *inputs, use_reentrant=False, context_fn=contexts)
        return found

    return call


def _plainly(part: Part, *inputs: object) -> torch.Tensor:
    return part(*inputs)
