"""A small cache for what depends on the token layout, dtype and device only, and not on the input."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import torch

from eo_models.precision.matmul import matmul_precision


class LayoutCache:
    """Least-recently-used cache that never travels with its owner.

    Copies and pickles of a module start with an empty cache, and nothing in it enters a state dict. While
    `torch.export` or `torch.compile` trace a module, nothing is looked up and nothing is kept: what is made then
    belongs to the trace.

    Parameters
    ----------
    max_entries : int
        Number of keys that are kept.
    """

    def __init__(self, max_entries: int) -> None:
        self.max_entries = max_entries
        self._entries: OrderedDict[Hashable, tuple[Hashable, Any]] = OrderedDict()

    def get(self, key: Hashable, version: Hashable, make: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Return the value of ``key`` if it was made for ``version``, else make it anew in its place.

        ``make`` runs without gradients, outside inference mode and with products in float32, so that what is kept
        serves every later call: in float32 none may find what another has made in TF32.
        """
        if torch.compiler.is_compiling():
            return make()
        entry = self._entries.pop(key, None)
        if entry is None or entry[0] != version:
            with torch.inference_mode(False), torch.no_grad(), matmul_precision("highest"):
                entry = (version, make())
        self._entries[key] = entry
        while len(self._entries) > self.max_entries:
            self._entries.popitem(last=False)
        return entry[1]

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()

    def __deepcopy__(self, memo: dict[int, Any]) -> LayoutCache:
        return LayoutCache(self.max_entries)

    def __reduce__(self) -> tuple[type[LayoutCache], tuple[int]]:
        return LayoutCache, (self.max_entries,)
