"""What must hold for any input: orders, masks, batches, chunks, copies, modes, precisions."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch

from eo_models.precision.numbers import Arithmetic
from universat_ext.model.encoder import UniverSat
from universat_ext.model.grid import CAREFUL, PUBLISHED
from universat_ext.model.numbers import Norm
from universat_ext.model.positions import PlaneRope

EXACT = 3e-6


def relative(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual.double() - expected.double()).abs().max() / expected.double().abs().max())


@pytest.fixture
def _no_gradients() -> Any:
    with torch.no_grad():
        yield


pytestmark = pytest.mark.usefixtures("_no_gradients")


def test_the_small_number_of_the_norm_is_added_to_the_root() -> None:
    """Under the root, a vector of norm 1e-7 becomes another one; no golden case sees it."""
    vector = torch.zeros(1, 192)
    vector[0, 0] = 1e-7
    root = 1e-7 * 192**-0.5
    assert float(Norm(192)(vector)[0, 0]) == pytest.approx(1e-7 / (root + 1e-8), rel=1e-5)
    assert not Norm(4)(torch.zeros(1, 4)).any()


def test_the_two_channels_of_a_pair_have_angles_of_their_own() -> None:
    """A rotation by one angle a pair is right at the initial weights only: 44 % after training."""
    rope = PlaneRope(8)
    generator = torch.Generator().manual_seed(0)
    rope.freqs.copy_(torch.randn(2, 8, generator=generator))
    place, head = torch.tensor([[0.3, 0.7]]), torch.randn(1, 1, 1, 8, generator=generator)
    x = head.flatten().double()
    t = 0.3 * rope.freqs[0].double() + 0.7 * rope.freqs[1].double()
    expected = [
        *(x[0:2] * t[0:2].cos() - x[2:4] * t[0:2].sin()),
        *(x[2:4] * t[2:4].cos() + x[0:2] * t[2:4].sin()),
        *(x[4:6] * t[4:6].cos() - x[6:8] * t[4:6].sin()),
        *(x[6:8] * t[6:8].cos() + x[4:6] * t[6:8].sin()),
    ]
    torch.testing.assert_close(rope(place).rotate(head).flatten().double(), torch.stack(expected), rtol=0, atol=1e-6)


def test_frames_may_be_permuted_with_their_dates(filled: Any, series: Any) -> None:
    data, order = series("s2", "s1", frames=5), torch.tensor([3, 0, 4, 1, 2])
    permuted = {key: value[:, order] for key, value in data.items()}
    assert relative(filled()(permuted, 20, "all"), filled()(data, 20, "all")) <= EXACT
    only_dates = data | {"s2_dates": data["s2_dates"][:, order]}
    assert relative(filled()(only_dates, 20, "all"), filled()(data, 20, "all")) > 1e-3


def test_channels_may_be_permuted_with_their_wavelengths(filled: Any, series: Any) -> None:
    from universat_ext.model.modalities import MODALITIES

    data, order = series("s2"), [3, 9, 0, 8, 1, 2, 5, 4, 7, 6]
    wavelengths = {"s2": [MODALITIES["s2"].descriptors[i] for i in order]}
    permuted = data | {"s2": data["s2"][:, :, order]}
    expected = filled()(data, 20)
    assert relative(filled()(permuted, 20, wavelengths=wavelengths), expected) <= EXACT
    assert relative(filled()(permuted, 20), expected) > 1e-3


def test_dates_matter_down_to_one_day_but_not_for_a_single_frame(filled: Any, series: Any) -> None:
    data = series("s2")
    later = data | {"s2_dates": data["s2_dates"] + 1}
    assert relative(filled()(later, 20), filled()(data, 20)) > 1e-3
    single = {key: value[:, :1] for key, value in data.items()}
    image = {"s2": single["s2"][:, 0]}
    for other in (single | {"s2_dates": single["s2_dates"] * 0}, image, {"s2": single["s2"]}):
        assert torch.equal(filled()(other, 20), filled()(single, 20))


@pytest.mark.parametrize("fill", [0.0, float("nan")])
def test_a_masked_frame_equals_a_dropped_one(fill: float, filled: Any, series: Any) -> None:
    data = series("s2", "s1", frames=4)
    keep = torch.tensor([[True, False, True, True], [False, False, True, False]])
    masked = data | {"s2": data["s2"].masked_fill(~keep[:, :, None, None, None], fill), "s2_mask": keep}
    found = filled()(masked, 20, "all")
    for sample in range(2):
        alone = {key: value[sample : sample + 1] for key, value in data.items()}
        alone |= {key: alone[key][:, keep[sample]] for key in ("s2", "s2_dates")}
        assert relative(found[sample : sample + 1], filled()(alone, 20, "all")) <= EXACT, sample
    assert relative(found, filled()(data, 20, "all")) > 1e-3


def test_samples_do_not_see_each_other(filled: Any, series: Any) -> None:
    data = series("s2", "spot", batch=3)
    both = filled()(data, 20, "all")
    for sample in range(3):
        alone = {key: value[sample : sample + 1] for key, value in data.items()}
        assert relative(both[sample : sample + 1], filled()(alone, 20, "all")) <= EXACT


@pytest.mark.parametrize("budget", [50_000, 1_000_000, 2**30])
def test_a_memory_budget_changes_no_result(budget: int, filled: Any, series: Any) -> None:
    data = series("s2", "s1", "spot", frames=4, batch=3)
    data["s2_mask"] = torch.tensor([[1, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 1]])
    for output in ("all", "subpatches", "tokens/s2"):
        found = filled("tiny", memory_budget=budget)(data, 20, output, output_grid=6)
        assert relative(found, filled()(data, 20, output, output_grid=6)) <= EXACT


def test_the_values_of_a_large_tile_are_never_all_expanded_at_once(filled: Any, series: Any) -> None:
    rows: list[int] = []
    hook = filled().spatial_encoder.embed.register_forward_hook(lambda _m, inputs, _o: rows.append(inputs[0].numel()))
    filled()(series("s2", side=24, frames=8), 40)
    hook.remove()
    assert sum(rows) == 2 * 8 * 10 * 24 * 24
    assert max(rows) <= 2**14


def test_another_order_of_keys_gives_other_features_only_under_the_published_rule(filled: Any, series: Any) -> None:
    """27 % other features when dsm comes before s2: the first key decides the patch grid of the tile."""
    data = series("s2", "dsm", side=12)
    turned = dict(reversed(data.items()))
    published = [filled()(given, 40, output_grid=3) for given in (data, turned)]
    assert relative(published[0], published[1]) > 0.05
    for rule in ("finest", "s2"):
        careful = [filled()(d, 40, output_grid=3, rules=replace(PUBLISHED, latent_from=rule)) for d in (data, turned)]
        assert relative(careful[0], careful[1]) <= EXACT
    finest = filled()(data, 40, output_grid=3, rules=replace(PUBLISHED, latent_from="finest"))
    assert torch.equal(finest, filled()(data, 40, output_grid=3, latent_grid=16))
    assert relative(finest, published[1]) <= EXACT


def test_modis_in_front_does_not_shrink_the_patch_grid_to_one(filled: Any, series: Any) -> None:
    data = series("s2", "modis")
    turned = dict(reversed(data.items()))
    assert filled()(turned, 20).shape[1] == 1  # published
    careful = [filled()(given, 20, rules=CAREFUL) for given in (data, turned)]
    assert careful[0].shape[1] == 9
    assert relative(careful[0], careful[1]) <= EXACT


def test_a_pixel_count_is_not_truncated_by_rounding(filled: Any) -> None:
    """1.2 m in pixels of 0.2 m are 5.999 in float64: patches of 5 pixels, 1 m, and a tile that is cropped."""
    data = {"drone": torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))}
    sensor: dict[str, Any] = {"wavelengths": {"drone": [0.66, 0.56, 0.49]}, "input_res": {"drone": 0.2}}
    grids = {}
    for name, rules in (("published", PUBLISHED), ("careful", CAREFUL)):
        grids[name] = filled()(data, 1.2, "subpatches", **sensor, rules=rules).shape[1]
    assert grids == {"published": 2 * 2 * 5 * 5, "careful": 2 * 2 * 6 * 6}


def test_a_copy_computes_with_its_own_weights(filled: Any, series: Any) -> None:
    """The published ``encode`` is a closure over the original."""
    data = series("s2")
    twin = copy.deepcopy(filled())
    for parameter in twin.parameters():
        parameter.mul_(0.9)
    assert relative(twin(data, 20), filled()(data, 20)) > 1e-2
    again = pickle.loads(pickle.dumps(filled()))  # noqa: S301
    assert torch.equal(again(data, 20), filled()(data, 20))


def test_training_mode_computes_the_same(filled: Any, series: Any) -> None:
    data, twin = series("s2"), copy.deepcopy(filled()).train()
    assert torch.equal(twin(data, 20), filled()(data, 20))


def test_float64_and_half_inputs_are_cast_and_integers_refused(filled: Any, series: Any) -> None:
    data = series("s2")
    assert torch.equal(filled()(data | {"s2": data["s2"].double()}, 20), filled()(data, 20))
    half = filled()(data | {"s2": data["s2"].half()}, 20)
    assert half.dtype == torch.float32
    with pytest.raises(ValueError, match="normalised floating point values, got torch.int16"):
        filled()(data | {"s2": data["s2"].short()}, 20)


@pytest.mark.parametrize("names", [("s2",), ("s2", "s1", "spot")])
def test_float32_and_bf16_are_as_far_from_float64_as_stated(names: Any, filled: Any, series: Any) -> None:
    """Measured: float32 1e-6, bf16 2e-2; with the angles in bf16 as well it was as much again."""
    data = series(*names, side=8)
    exact = {key: value.double() if value.is_floating_point() else value for key, value in data.items()}
    wanted = copy.deepcopy(filled()).double()(exact, 40)
    assert wanted.dtype == torch.float64
    for numbers, least, most in (("32-true", 0, 3e-6), ("bf16", 1e-3, 3e-2), ("bf16-mixed", 1e-3, 3e-2)):
        mine = copy.deepcopy(filled()).requires_grad_(requires_grad=False)
        arithmetic = Arithmetic(numbers, "highest", torch.device("cpu"))  # type: ignore[arg-type]
        arithmetic.prepare(mine)
        with arithmetic.computing():
            found = mine(data, 40)
        assert found.dtype == torch.float32
        assert least <= float((found - wanted).norm() / wanted.norm()) <= most, numbers


def test_angles_stay_float32_in_bf16(filled: Any, series: Any) -> None:
    found: list[torch.dtype] = []
    twin = copy.deepcopy(filled())
    for module in twin.modules():
        if isinstance(module, PlaneRope):
            module.register_forward_hook(lambda _m, _i, angles: found.append(angles.cos.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        twin(series("s2"), 20)
    assert set(found) == {torch.float32}


def gradients(encoder: UniverSat, data: dict[str, torch.Tensor], output: str = "grid") -> dict[str, torch.Tensor]:
    encoder.zero_grad()
    with torch.enable_grad():
        encoder(data, 20, output).square().mean().backward()
    return {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}


def test_gradient_checkpointing_and_chunks_change_no_gradient(golden: Any, series: Any) -> None:
    data, found = series("s2", "spot"), []
    for arguments in ({}, {"gradient_checkpointing": True}, {"memory_budget": 2_000_000}):
        encoder = UniverSat("tiny", **arguments).train()
        golden.fill_module(encoder)
        found.append(gradients(encoder, data))
    for other in found[1:]:
        assert set(other) == set(found[0])
        for name, gradient in found[0].items():
            torch.testing.assert_close(other[name], gradient, rtol=1e-3, atol=1e-5 * float(gradient.abs().max()))


def test_what_the_output_reads_trains_no_patch_encoder_as_published(golden: Any, series: Any) -> None:
    encoder = UniverSat("tiny").train()
    golden.fill_module(encoder)
    found = gradients(encoder, series("s2"))
    assert not any(name.startswith("blocks.0.attn.w") and "wv" not in name for name in found)
    assert any("predictor_blocks.2" in name for name in found)


def test_adapters_in_the_place_of_a_layer_count(filled: Any, series: Any) -> None:
    """Values are projected after they are summed; with an adapter the layer itself has to be called."""

    class Adapted(torch.nn.Module):
        def __init__(self, layer: torch.nn.Module) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)

    twin = copy.deepcopy(filled())
    for block in twin.spatial_encoder.predictor_blocks:
        block.attn.wv = Adapted(block.attn.wv)
    data = series("s2", "spot")
    assert relative(twin(data, 20), filled()(data, 20)) <= EXACT
