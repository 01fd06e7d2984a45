"""What is kept serves every mode, is made anew for another version, and never comes from or goes into a trace."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from eo_models.forward.layout_cache import LayoutCache
from eo_models.precision.matmul import chosen_matmul, matmul_precision


def test_a_value_is_made_once_per_key_and_version() -> None:
    cache, made = LayoutCache(max_entries=2), []

    def get(key: str, version: int) -> int:
        return cache.get(key, version, lambda: made.append((key, version)) or len(made))

    assert [get("a", 0), get("a", 0), get("a", 1), get("b", 0), get("c", 0), get("a", 1)] == [1, 1, 2, 3, 4, 5]
    assert made == [("a", 0), ("a", 1), ("b", 0), ("c", 0), ("a", 1)]


def test_what_inference_mode_made_serves_training() -> None:
    cache, weight = LayoutCache(max_entries=1), torch.ones(2, requires_grad=True)
    with torch.inference_mode():
        kept = cache.get("k", None, lambda: weight * 2)
    assert not kept.requires_grad
    assert not kept.is_inference()
    (kept * weight).sum().backward()


def test_what_a_call_in_tf32_or_bfloat16_made_serves_one_in_float32() -> None:
    cache = LayoutCache(max_entries=1)
    left, right = torch.rand(300, 400), torch.rand(400, 500)
    with matmul_precision("medium"):  # bfloat16 on a CPU with AMX, TF32 on a GPU
        asked = cache.get("k", None, lambda: (chosen_matmul(), left @ right))
    with matmul_precision("highest"):
        kept = cache.get("k", None, lambda: ("made again", left))
    assert asked[0] == kept[0] == "highest"
    exact = left.double() @ right.double()
    assert (kept[1] - exact).norm() < 1e-6 * exact.norm()


def test_a_trace_neither_reads_nor_fills_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = LayoutCache(max_entries=1)
    cache.get("k", None, lambda: "eager")
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert cache.get("k", None, lambda: "traced") == "traced"
    monkeypatch.undo()
    assert cache.get("k", None, lambda: "again") == "eager"


def test_copies_and_pickles_start_empty() -> None:
    cache = LayoutCache(max_entries=3)
    cache.get("k", None, lambda: 1)
    for other in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):  # noqa: S301
        assert other.max_entries == 3
        assert other.get("k", None, lambda: 2) == 2
