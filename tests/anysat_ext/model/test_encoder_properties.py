"""What must hold for any input: order of frames, masks, batches, modes, backends."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch

from anysat_ext.model.encoder import AnySat
from eo_models.precision.matmul import matmul_precision

EXACT = 3e-6


def relative(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual.double() - expected.double()).abs().max() / expected.double().abs().max())


@pytest.fixture(scope="module", autouse=True)
def _no_gradients() -> Any:
    with torch.no_grad():
        yield


def test_frames_may_be_permuted_with_their_dates(filled: Any, series: Any) -> None:
    data = series("s2", "s1", frames=5)
    order = torch.tensor([3, 0, 4, 1, 2])
    permuted = {key: value[:, order] for key, value in data.items()}
    encoder = filled()
    assert relative(encoder(permuted, 20, "all"), encoder(data, 20, "all")) <= EXACT
    only_dates = data | {"s2_dates": data["s2_dates"][:, order]}
    assert relative(encoder(only_dates, 20, "all"), encoder(data, 20, "all")) > 1e-2


@pytest.mark.parametrize("name", ["s2", "s1", "l8"])
def test_dates_matter_down_to_one_day(name: str, filled: Any, series: Any) -> None:
    data = series(name)
    data[f"{name}_dates"] = torch.tensor([[10, 100, 200]]).expand(2, 3)
    later = data | {f"{name}_dates": data[f"{name}_dates"] + 1}
    assert relative(filled()(later, 20), filled()(data, 20)) > 1e-2


def test_every_sample_has_its_own_dates(filled: Any, series: Any) -> None:
    data = series("s2", batch=1)
    twice = {"s2": data["s2"].expand(2, -1, -1, -1, -1), "s2_dates": torch.tensor([[1, 50, 300], [20, 70, 260]])}
    both = filled()(twice, 20)
    for sample in range(2):
        alone = filled()(data | {"s2_dates": twice["s2_dates"][sample : sample + 1]}, 20)
        assert relative(both[sample : sample + 1], alone) <= EXACT
    assert relative(both[:1], both[1:]) > 1e-2


@pytest.mark.parametrize("names", [("s2",), ("s1",), ("s2", "modis")])
@pytest.mark.parametrize("fill", [0.0, 50.0, float("nan")])
def test_a_masked_frame_equals_a_dropped_one(names: Any, fill: float, filled: Any, series: Any) -> None:
    data = series(*names, frames=4)
    masked = dict(data)
    for name in names:
        keep = torch.tensor([[True, False, True, True], [True, True, True, False]])
        masked[f"{name}_mask"] = keep
        masked[name] = data[name].masked_fill(~keep[:, :, None, None, None], fill)
        masked[f"{name}_dates"] = data[f"{name}_dates"].masked_fill(~keep, 9999)
    together = filled()(masked, 20, "dense")
    for sample in range(2):
        dropped = {}
        for name in names:
            keep = masked[f"{name}_mask"][sample]
            for key in (name, f"{name}_dates"):
                dropped[key] = data[key][sample : sample + 1, keep]
        assert relative(together[sample : sample + 1], filled()(dropped, 20, "dense")) <= EXACT


def test_a_mask_that_keeps_all_changes_nothing(filled: Any, series: Any) -> None:
    data = series("s2")
    plain = filled()(data, 20)
    assert torch.equal(filled()(data | {"s2_mask": torch.ones(2, 3)}, 20), plain)
    assert torch.equal(filled()(data | {"s2_mask": torch.ones_like(data["s2"])}, 20), plain)


def test_masked_values_become_the_padding_value(filled: Any, series: Any) -> None:
    data = series("s2")
    keep = torch.rand(data["s2"].shape) < 0.7
    padded = torch.where(keep, data["s2"], filled().get_parameter("projector_s2.pad_parameter"))
    spoilt = data["s2"].masked_fill(~keep, float("nan"))
    actual = filled()(data | {"s2": spoilt, "s2_mask": keep}, 20)
    assert relative(actual, filled()(data | {"s2": padded}, 20)) <= EXACT


@pytest.mark.parametrize("output", ["patch", "tile", "dense", "all"])
def test_a_batch_equals_its_samples_one_by_one(output: str, filled: Any, series: Any) -> None:
    data = series("aerial", "s2", "s1", batch=3)
    together = filled()(data, 20, output)
    for sample in range(3):
        alone = filled()({key: value[sample : sample + 1] for key, value in data.items()}, 20, output)
        assert relative(together[sample : sample + 1], alone) <= EXACT


def test_all_outputs_come_from_the_same_features(filled: Any, series: Any) -> None:
    data = series("s2", "s1")
    merged = filled()(data, 20, "all")
    dense = filled()(data, 20, "dense", "s1")
    assert relative(filled()(data, 20, "tile"), merged[:, 0]) <= EXACT
    assert relative(filled()(data, 20, "patch"), merged[:, 1:].unflatten(1, (3, 3))) <= EXACT
    assert relative(dense[:, ::2, ::2, :256], merged[:, 1:].unflatten(1, (3, 3))) <= EXACT


def test_the_order_of_the_modalities_only_picks_the_default_output_modality(filled: Any, series: Any) -> None:
    data = series("s2", "s1", "modis")
    turned = {key: data[key] for key in ("modis", "modis_dates", "s1_dates", "s1", "s2_dates", "s2")}
    assert relative(filled()(turned, 20, "all"), filled()(data, 20, "all")) <= EXACT
    assert relative(filled()(turned, 20, "dense"), filled()(data, 20, "dense", "s1")) <= EXACT


def test_modis_is_context_for_the_others_and_not_one_of_the_patches(filled: Any, series: Any) -> None:
    data = series("s2", "modis")
    without = {key: value for key, value in data.items() if "modis" not in key}
    with_it = filled()(data, 20, "all")
    assert with_it.shape == (2, 10, 256)
    assert relative(with_it, filled()(without, 20, "all")) > 1e-2


def test_sensors_of_30_m_alone_at_10_m_do_not_depend_on_the_reduce_scale(filled: Any, series: Any) -> None:
    data = series("l7", "alos", side=12)
    published, trained = (filled(reduce_scale=name)(data, 10) for name in ("published", "training"))
    assert torch.equal(published, trained)


def test_training_mode_computes_the_same_unless_dropout_is_asked_for(filled: Any, series: Any) -> None:
    data = series("s2", "s1")
    expected = filled()(data, 20)
    encoder = deepcopy(filled()).train()
    assert torch.equal(encoder(data, 20), expected)
    dropping = AnySat("tiny", dropout=True)
    dropping.load_state_dict(encoder.state_dict())
    assert relative(dropping(data, 20), expected) > 1e-2
    assert relative(dropping.eval()(data, 20), expected) <= EXACT


@pytest.mark.parametrize("names", [("s2", "s1"), ("aerial", "s2"), ("s2", "modis")])
def test_attention_written_out_is_the_fused_one(names: Any, filled: Any, series: Any) -> None:
    data = series(*names)
    for output in ("all", "dense"):
        assert relative(filled(attention="math")(data, 20, output), filled()(data, 20, output)) <= EXACT


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_whole_module_may_change_its_dtype(dtype: torch.dtype, filled: Any, series: Any) -> None:
    data = series("s2", "aerial")
    exact = filled()(data, 20, "dense")
    other = deepcopy(filled()).to(dtype)(data, 20, "dense")
    assert other.dtype == dtype
    assert ((other.double() - exact.double()).norm() / exact.norm()).item() < (1e-5 if dtype == torch.float64 else 0.1)


def test_autocast_stays_close(filled: Any, series: Any) -> None:
    data = series("s2", "aerial")
    exact = filled()(data, 20, "dense")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = filled()(data, 20, "dense").float()
    assert ((rounded - exact).norm() / exact.norm()).item() < 0.1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_other_floating_point_inputs_are_taken_in_the_dtype_of_the_weights(
    dtype: torch.dtype, filled: Any, series: Any
) -> None:
    data = series("s2")
    converted = data | {"s2": data["s2"].to(dtype)}
    expected = filled()(data | {"s2": converted["s2"].float()}, 20)
    assert torch.equal(filled()(converted, 20), expected)


def test_every_parameter_that_is_used_gets_a_gradient(series: Any) -> None:
    names = ("aerial", "s2", "s1", "modis")
    encoder = AnySat("tiny", names)
    with torch.enable_grad():
        encoder(series(*names), 20, "dense", "s2").square().sum().backward()
    without = {name for name, parameter in encoder.named_parameters() if parameter.grad is None}
    series_projectors = [f"projector_{name}" for name in ("s2", "s1", "modis")]
    # Without a mask nothing is padded, and the bias of the keys is the same for all frames: no gradient in any case.
    assert without == {
        *(f"{name}.pad_parameter" for name in series_projectors),
        *(f"{name}.patch_embed.attention_heads.fc1_k.bias" for name in series_projectors),
    }


def test_gradients_are_those_of_the_written_out_attention_in_one_chunk(filled: Any, series: Any) -> None:
    data = series("s2", "aerial")
    gradients = []
    for arguments in ({}, {"attention": "math", "memory_budget": 2**30}, {"memory_budget": 2**16}):
        encoder = deepcopy(filled("tiny", **arguments))
        with torch.enable_grad(), matmul_precision("highest"):
            encoder(data, 20).square().mean().backward()
        gradients.append({name: p.grad for name, p in encoder.named_parameters() if p.grad is not None})
    for other in gradients[1:]:
        for name, gradient in gradients[0].items():
            # The bias of keys has a gradient of rounding errors only.
            assert (other[name] - gradient).norm() <= 1e-3 * gradient.norm() + 1e-7, name
