"""Chunks change no result, and caches neither leave their owner nor outlive what they were made from."""

from __future__ import annotations

import pickle
from copy import deepcopy
from typing import Any

import pytest
import torch

from anysat_ext.model import transformer
from anysat_ext.model.encoder import AnySat


def relative(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("budget", [30_000, 200_000, 2**30])
def test_a_memory_budget_changes_no_result(budget: int, filled: Any, series: Any) -> None:
    data = series("aerial", "s2", "s1", frames=4, batch=3)
    data["s2_mask"] = torch.tensor([[1, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 1]])
    with torch.inference_mode():
        for output in ("all", "dense"):
            expected = filled()(data, 20, output)
            assert relative(filled("tiny", memory_budget=budget)(data, 20, output), expected) <= 3e-6


def test_the_pixels_of_a_large_tile_are_never_all_expanded_at_once(filled: Any, series: Any) -> None:
    encoder = filled("tiny", memory_budget=2**20)
    rows: list[int] = []
    handle = encoder.projector_s2.patch_embed.inconv.register_forward_hook(
        lambda _module, inputs, _output: rows.append(inputs[0].shape[0])
    )
    with torch.inference_mode():
        encoder(series("s2", side=24, frames=8), 40)
    handle.remove()
    assert sum(rows) == 2 * 8 * 24 * 24
    assert max(rows) * 2 * 512 * 4 <= 2**20


def test_queries_in_chunks_when_the_bias_is_too_large_to_keep(
    filled: Any, series: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = series("s2", "s1", "modis", side=12)
    with torch.inference_mode():
        expected = filled()(data, 20, "all")
        for limit in (1, 1000, 5000):
            monkeypatch.setattr(transformer, "MAX_BIAS_BYTES", limit)
            assert relative(deepcopy(filled())(data, 20, "all"), expected) <= 3e-6


def test_what_does_not_depend_on_the_input_is_made_once(
    filled: Any, series: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    for name in ("sincos_2d", "token_buckets", "grid_buckets"):
        real = getattr(transformer, name)
        monkeypatch.setattr(transformer, name, lambda *a, _real=real, _name=name: made.append(_name) or _real(*a))
    encoder = deepcopy(filled())
    with torch.inference_mode():
        for seed, batch in ((1, 2), (2, 1), (3, 3)):
            encoder(series("s2", "s1", seed=seed, batch=batch), 20)
    assert sorted(made) == ["grid_buckets", "sincos_2d", "token_buckets"]


def test_caches_stay_out_of_state_dicts_copies_and_pickles(filled: Any, series: Any) -> None:
    encoder = deepcopy(filled())
    keys = list(encoder.state_dict())
    data = series("s2")
    with torch.inference_mode():
        expected = encoder(data, 20)
    assert list(encoder.state_dict()) == keys
    size = len(pickle.dumps(AnySat("tiny", ["s2"])))
    small = AnySat("tiny", ["s2"])
    small(series("s2", side=24), 10)
    assert len(pickle.dumps(small)) <= size + 100
    for copy in (deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):  # noqa: S301
        with torch.inference_mode():
            assert torch.equal(copy(data, 20), expected)


@pytest.mark.parametrize("write", ["in place", "data", "load"])
def test_new_weights_are_seen_by_the_kept_queries(write: str, filled: Any, series: Any) -> None:
    encoder = deepcopy(filled()).requires_grad_(requires_grad=False)
    data = series("s2")
    before = encoder(data, 20)
    attention = encoder.blocks[-1].attn
    other = torch.randn_like(attention.q_learned)
    if write == "in place":
        attention.q_learned.add_(other)
    elif write == "data":
        attention.q_learned.data.add_(other)
    else:
        changed = {key: value.clone() for key, value in encoder.state_dict().items()}
        changed[f"blocks.{len(encoder.blocks) - 1}.attn.q_learned"] += other
        encoder.load_state_dict(changed)
    after = encoder(data, 20)
    fresh = deepcopy(encoder)(data, 20)
    assert torch.equal(after, fresh)
    assert relative(after, before) > 1e-2


def test_what_inference_mode_kept_serves_training_too(series: Any) -> None:
    encoder = AnySat("tiny", ["s2"])
    data = series("s2")
    with torch.inference_mode():
        encoder(data, 20)
    encoder(data, 20).sum().backward()
    encoder.requires_grad_(requires_grad=False)
    with torch.inference_mode():
        encoder(data, 20)
    encoder.projector_s2.requires_grad_(requires_grad=True)
    encoder(data, 20).sum().backward()
    assert encoder.projector_s2.patch_embed.inconv["0"].weight.grad is not None


def test_the_core_imports_without_terratorch_and_timm() -> None:
    import subprocess
    import sys

    code = (
        "import sys, anysat_ext.model.encoder, anysat_ext.checkpoint; "
        "sys.exit(bool({'timm', 'terratorch', 'lightning', 'thor_terratorch_ext'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603
