"""All attention backends give the same numbers, and the bias is metric."""

from __future__ import annotations

import types
from typing import Any

import pytest
import torch

from thor_terratorch_ext.model import attention
from thor_terratorch_ext.model.alibi import alibi_bias, alibi_slopes
from thor_terratorch_ext.model.attention import make_attend
from thor_terratorch_ext.model.channels import select_bands
from thor_terratorch_ext.model.encoder import ThorEncoder
from thor_terratorch_ext.model.layout import TokenLayout, resolve_layout


def _layout(cover: int = 1280) -> TokenLayout:
    return resolve_layout(select_bands(["RED", "SWIR_1", "VV"]), cover, [8])


@pytest.mark.parametrize("backend", ["shared_bias", "distance", "products", "chunked", "flex"])
def test_backends_agree_with_attention_written_out(backend: str) -> None:
    layout = _layout()
    slopes = alibi_slopes(3)
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 2, 3, layout.n_tokens, 64, generator=generator).unbind(0)
    centres = layout.coordinates()
    distance = torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist").float()
    scores = query @ key.transpose(-1, -2) / 8 - slopes[:, None, None] * distance
    expected = scores.softmax(-1) @ value
    actual = make_attend(backend, centres, slopes, torch.float32)(query, key, value)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


def test_auto_bounds_the_memory_of_the_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []
    real = attention.alibi_bias

    def spy(*arguments: torch.Tensor) -> torch.Tensor:
        bias = real(*arguments)
        calls.append(tuple(bias.shape))
        return bias

    monkeypatch.setattr(attention, "alibi_bias", spy)
    layout, slopes = _layout(2880), alibi_slopes(3)
    query = torch.randn(1, 3, layout.n_tokens, 64)
    whole = make_attend("auto", layout.coordinates(), slopes, torch.float32)(query, query, query)
    assert calls == [(1, 1, layout.n_tokens, layout.n_tokens)]  # distances only, once for all heads
    trained = query.clone().requires_grad_()
    with_gradient = make_attend("auto", layout.coordinates(), slopes, torch.float32)(trained, trained, trained)
    torch.testing.assert_close(with_gradient, whole, rtol=1e-5, atol=1e-5)
    with_gradient.sum().backward()
    assert trained.grad is not None
    monkeypatch.setattr(attention, "MAX_BIAS_BYTES", 10_000)
    calls.clear()
    parts = make_attend("auto", layout.coordinates(), slopes, torch.float32)(query, query, query)
    assert max(shape[2] for shape in calls) <= attention.QUERY_CHUNK
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-5)


def test_a_large_card_keeps_a_larger_bias_and_a_small_one_no_less_than_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    budgets = []
    for gib in (80, 8):
        properties = types.SimpleNamespace(total_memory=gib * 2**30)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device, own=properties: own)
        budgets.append(attention._bias_budget(torch.device("cuda")) / 2**30)
    assert budgets == [5, 1]


def test_without_gradients_the_mlp_goes_in_chunks_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "MLP_CHUNK", 7)
    layout = _layout()
    encoder = ThorEncoder("tiny").eval()
    images = [torch.randn(2, len(g.channels), g.image_size, g.image_size) for g in layout.groups]
    with torch.no_grad():
        chunked = encoder.forward_intermediates(images, layout, [0, 5, 11])
    whole = encoder.forward_intermediates(images, layout, [0, 5, 11])
    for first, second in zip(chunked, whole, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_adding_a_coarse_group_rescales_the_bias_of_all() -> None:
    slope = alibi_slopes(3)
    expected = {("RED",): -0.0625, ("RED", "SWIR_1"): -0.03125, ("RED", "SWIR_1", "COASTAL_AEROSOL"): -0.0104167}
    for bands, value in expected.items():
        centres = resolve_layout(select_bands(list(bands)), 2880, [8]).coordinates()
        bias = alibi_bias(centres, centres, slope)
        assert bias[0, 0, 0, 1].item() == pytest.approx(value, rel=1e-5)
        assert bias[0, :, 0, 0].abs().max() == 0


def test_the_bias_is_shared_over_the_batch_and_built_once_per_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    from thor_terratorch_ext.model import encoder as module

    built: list[torch.dtype] = []
    real = module.make_attend

    def spy(*arguments: Any) -> Any:
        built.append(arguments[3])
        return real(*arguments)

    monkeypatch.setattr(module, "make_attend", spy)
    layout = _layout()
    encoder = ThorEncoder("tiny").eval()
    images = [torch.randn(2, len(g.channels), g.image_size, g.image_size) for g in layout.groups]
    with torch.inference_mode():
        encoder(images, layout)
        encoder([image[:1] for image in images], layout)
    encoder(images, layout).sum().backward()  # what inference mode cached serves training, too
    assert built == [torch.float32]


def test_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="Valid: auto, shared_bias, distance, products, chunked, flex"):
        ThorEncoder("tiny", attention="flash")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_ground_cover_beyond_65504_m_stays_finite_in_half_precision(dtype: torch.dtype) -> None:
    layout = resolve_layout(select_bands(["OA01_REFLECTANCE", "S7_BT_IN"]), 92160, [8])
    encoder = ThorEncoder("tiny").eval()
    images = [torch.randn(1, 1, g.image_size, g.image_size) for g in layout.groups]
    with torch.inference_mode():
        exact = encoder(images, layout)
        with torch.autocast("cpu", dtype=dtype):
            rounded = encoder(images, layout).float()
    assert torch.isfinite(rounded).all()
    assert (rounded - exact).norm() / exact.norm() < 0.05


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_whole_module_may_change_its_dtype(dtype: torch.dtype) -> None:
    layout = _layout()
    encoder = ThorEncoder("tiny").eval()
    images = [torch.randn(1, len(g.channels), g.image_size, g.image_size) for g in layout.groups]
    with torch.inference_mode():
        exact = encoder(images, layout)
        other = encoder.to(dtype)([image.to(dtype) for image in images], layout)
    assert other.dtype == dtype
    assert (other.float() - exact).norm() / exact.norm() < (1e-5 if dtype == torch.float64 else 0.1)
