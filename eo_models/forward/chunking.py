"""Evaluate a row-wise function in chunks, so that its intermediate results fit a memory budget and the CPU's cache.

While `torch.export` or `torch.compile` trace the encoder, there are chunks only if the user sets a budget: a trace
repeats the function once per chunk, and a compiler plans memory by itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch

#: Default budgets in bytes. On a CPU a chunk that stays in the last-level cache is faster, too.
CPU_BUDGET = 16 * 2**20
ACCELERATOR_BUDGET = 2**30


def check_budget(budget: object) -> int | None:
    """Return a memory budget in bytes, or ``None`` for the default of the device.

    Raises
    ------
    ValueError
        If it is no positive whole number.
    """
    if budget is None:
        return None
    if isinstance(budget, bool) or not isinstance(budget, int) or budget <= 0:
        msg = f"memory_budget must be a positive whole number of bytes such as {CPU_BUDGET}, or None, got {budget!r}."
        raise ValueError(msg)
    return budget


def rows_per_chunk(budget: int | None, bytes_per_row: int, device: torch.device) -> int | None:
    """Number of rows whose intermediate results fit the budget, at least one; ``None`` for no limit in a trace."""
    if budget is None and torch.compiler.is_compiling():
        return None
    if budget is None:
        budget = CPU_BUDGET if device.type == "cpu" else ACCELERATOR_BUDGET
    return max(1, budget // bytes_per_row)


def bytes_per_value(like: torch.Tensor) -> int:
    """Bytes of a value that a layer makes of ``like``: autocast lets layers compute in half as many."""
    if torch.is_autocast_enabled(like.device.type):
        return min(like.element_size(), torch.get_autocast_dtype(like.device.type).itemsize)
    return like.element_size()


def even_slices(n_rows: int, limit: int | None) -> list[slice]:
    """Cut rows into slices of at most ``limit`` rows and nearly equal size; a short rest would run slowly."""
    if limit is None or n_rows <= limit:
        return [slice(0, n_rows)]
    n_chunks = -(-n_rows // limit)
    limits = [n_rows * i // n_chunks for i in range(n_chunks + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(limits)]


def sample_slices(n_samples: int, rows_per_sample: int, limit: int | None) -> list[slice]:
    """Cut the rows of a batch into slices that hold whole samples or lie within one sample."""
    if limit is None:
        return [slice(0, n_samples * rows_per_sample)]
    if rows_per_sample <= limit:
        groups = even_slices(n_samples, limit // rows_per_sample)
        return [slice(g.start * rows_per_sample, g.stop * rows_per_sample) for g in groups]
    parts = even_slices(rows_per_sample, limit)
    starts = [sample * rows_per_sample for sample in range(n_samples)]
    return [slice(start + part.start, start + part.stop) for start in starts for part in parts]


def in_chunks(function: Callable[[slice], torch.Tensor], slices: Sequence[slice]) -> torch.Tensor:
    """Concatenate ``function(rows)`` over consecutive slices of rows.

    Without gradients the chunks are written into one tensor, so that the result exists once.
    """
    if len(slices) == 1:
        return function(slices[0])
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return torch.cat([function(rows) for rows in slices])
    first = function(slices[0])
    result = first.new_empty((slices[-1].stop, *first.shape[1:]))
    result[slices[0]] = first
    for rows in slices[1:]:
        result[rows] = function(rows)
    return result
