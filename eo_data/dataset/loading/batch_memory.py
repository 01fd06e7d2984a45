"""How many samples a batch may have, by the memory that an encoder takes for one and for two of them."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from eo_core.memory import as_amount, as_bytes
from eo_data.dataset.batch import collate

#: What ``auto`` leaves free of a GPU's memory: workspaces of kernels are not counted.
_SHARE = 0.7


class LiveBytes(TorchDispatchMode):
    """Counts the memory of the tensors that are made inside, on any device, as long as they live.

    It counts what tensors hold, so that the same computation gives the same number wherever it runs. The workspaces
    that kernels take and give back themselves are not counted.

    Attributes
    ----------
    now, most : int
        Bytes that live now, and the most that have lived at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Run an operation and note what it has made."""
        made = func(*args, **(kwargs or {}))
        known = {own.untyped_storage()._cdata for own in tree_leaves((args, kwargs)) if isinstance(own, torch.Tensor)}
        for own in tree_leaves(made):
            if isinstance(own, torch.Tensor):
                self.note(own, known)
        return made

    def note(self, tensor: torch.Tensor, of_others: frozenset[int] | set[int] = frozenset()) -> None:
        """Count a tensor that is not a part of another one."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known or key in of_others:
            return
        size = storage.nbytes()
        self._known[key] = weakref.ref(storage, functools.partial(self._gone, key, size))
        self.now += size
        self.most = max(self.most, self.now)

    def _gone(self, key: int, size: int, _: object) -> None:
        del self._known[key]
        self.now -= size


def fitting_batch(
    encode: Callable[[Mapping[str, Any]], object], entry: Mapping[str, Any], budget: int, most: int
) -> tuple[int, str]:
    """Return how many samples a batch may have, and in words why.

    The encoder works on one sample twice, as it may keep what it computes once, and on two.

    Parameters
    ----------
    encode : callable
        Has the encoder work on a batch.
    entry : mapping
        A sample, as data sets give them.
    budget : int
        Bytes that tensors may take while the encoder works, those of the batch among them.
    most : int
        Samples of a batch at most.

    Raises
    ------
    ValueError
        If one sample takes more than that.
    """
    one, two = (_peak(encode, collate([entry] * count)) for count in (1, 2))
    each = max(two - one, 1)
    if one > budget:
        msg = (
            f"batch_memory is {as_amount(budget)}, and the encoder takes {as_amount(one)} for a single sample. State "
            f"at least {as_amount(int(one * 1.01))}, or smaller samples (tile, a crop in the transforms)."
        )
        raise ValueError(msg)
    count = min(max(most, 1), 1 + (budget - one) // each)
    return count, (
        f"batch_memory {as_amount(budget)}: batches of {count} samples, as the encoder takes {as_amount(one)} for one "
        f"and {as_amount(each)} for each further one."
    )


def _peak(encode: Callable[[Mapping[str, Any]], object], batch: Mapping[str, Any]) -> int:
    """Return the most bytes of tensors while the encoder works, when it has done so before."""
    with torch.no_grad():
        encode(batch)
        with LiveBytes() as live:
            for own in tree_leaves(dict(batch)):
                if isinstance(own, torch.Tensor):
                    live.note(own)
            encode(batch)
    return live.most


def budget_of(stated: int | str, device: torch.device) -> int:
    """Return a budget in bytes; ``auto`` is a share of what is free of a GPU of CUDA.

    Raises
    ------
    ValueError
        If it is no amount, or ``auto`` where nobody can tell what is free.
    """
    if stated != "auto":
        return as_bytes("batch_memory", stated)
    if device.type != "cuda":
        msg = f"batch_memory: auto is for GPUs of CUDA, and this runs on {device}. State an amount, such as 2 GB."
        raise ValueError(msg)
    return int(torch.cuda.mem_get_info(device)[0] * _SHARE)
