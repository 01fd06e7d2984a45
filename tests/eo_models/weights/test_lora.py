"""Merged adapters give the numbers of the adapted model, or are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from eo_models.weights.lora import AdapterError, Scaling, has_adapters, merge_adapters


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def adapted() -> dict[str, torch.Tensor]:
    return {
        "a.base_layer.weight": draw(4, 3),
        "a.base_layer.bias": draw(4, seed=1),
        "a.lora_A.default.weight": draw(2, 3, seed=2),
        "a.lora_B.default.weight": draw(4, 2, seed=3),
        "b.weight": draw(1, seed=4),
    }


def arguments(method: str = "LORA", **given: Any) -> dict[str, Any]:
    return {"model_args": {"peft_config": {"method": method, "peft_config_kwargs": given}}}


@pytest.mark.parametrize(
    ("given", "scale"),
    [({}, 8 / 2), ({"lora_alpha": 6}, 3), ({"lora_alpha": 6, "use_rslora": True}, 6 / 2**0.5)],
)
def test_the_merged_layer_computes_what_layer_and_adapter_compute(given: dict[str, Any], scale: float) -> None:
    tensors = adapted()
    merged = merge_adapters(tensors, arguments(**given))
    assert merged.keys() == {"a.weight", "a.bias", "b.weight"}
    x = draw(5, 3, seed=5)
    down, up = tensors["a.lora_A.default.weight"], tensors["a.lora_B.default.weight"]
    expected = x @ tensors["a.base_layer.weight"].T + scale * (x @ down.T @ up.T)
    torch.testing.assert_close(x @ merged["a.weight"].T, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(merged["a.bias"], tensors["a.base_layer.bias"])
    assert Scaling(8)(2) == 4


def test_separated_queries_keys_and_values_are_one_matrix_again() -> None:
    tensors = {f"qkv.{part}.weight": draw(2, 2, seed=i) for i, part in enumerate(("q_linear", "k_linear", "v_linear"))}
    tensors |= {"x.lora_A.d.weight": draw(1, 2), "x.lora_B.d.weight": draw(2, 1), "x.base_layer.weight": draw(2, 2)}
    joined = merge_adapters(tensors, arguments())["qkv.weight"]
    assert torch.equal(joined, torch.cat([tensors[f"qkv.{part}_linear.weight"] for part in "qkv"]))


def test_a_layer_that_was_trained_whole_replaces_the_original() -> None:
    tensors = adapted() | {"n.original_module.weight": draw(2), "n.modules_to_save.default.weight": draw(2, seed=9)}
    assert torch.equal(merge_adapters(tensors, arguments())["n.weight"], draw(2, seed=9))


def test_a_checkpoint_without_adapters_stays_as_it_is() -> None:
    tensors = {"a.weight": draw(2)}
    assert not has_adapters(tensors)
    assert merge_adapters(tensors, None) == tensors


@pytest.mark.parametrize(
    ("tensors", "given", "message"),
    [
        (adapted(), None, "holds adapters but not their alpha"),
        (adapted(), arguments("VERA"), "only plain LORA can be merged, got VERA"),
        (adapted(), arguments(use_dora=True), "got LORA, use_dora"),
        ({k: v for k, v in adapted().items() if "lora_B" not in k}, arguments(), "a is no linear layer with both"),
        (adapted() | {"c.lora_embedding_A.d": draw(1)}, arguments(), "1 weights are of other adapters than LoRA"),
    ],
)
def test_other_adapters_are_refused(tensors: dict[str, Any], given: Any, message: str) -> None:
    with pytest.raises(AdapterError, match=message):
        merge_adapters(tensors, given)
