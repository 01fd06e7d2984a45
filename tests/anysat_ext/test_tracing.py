"""A trace of the encoder computes what the encoder computes, also for pixels and dates that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch

from anysat_ext import AnySat, build_anysat
from eo_models.forward import chunking

Data = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    """Graphs of one test are no candidates for the next."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture(scope="module")
def encoder() -> AnySat:
    return AnySat("tiny", ["aerial", "s2", "s1", "modis"]).eval().requires_grad_(requires_grad=False)


def exported(encoder: AnySat, *example: Any) -> Callable[..., torch.Tensor]:
    return torch.export.export(encoder, example).module()


def compiled(encoder: AnySat, *example: Any) -> Callable[..., torch.Tensor]:
    traced = torch.compile(encoder, fullgraph=True, backend="eager")  # the trace is under test, not a compiler
    traced(*example)
    return traced


def check(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("trace", "names", "output"),
    [
        (exported, ("s2",), "patch"),
        (exported, ("s2", "s1"), "tile"),
        (exported, ("s1", "modis"), "all"),
        (exported, ("aerial", "s2"), "dense"),
        (compiled, ("s2",), "patch"),
        (compiled, ("aerial", "s2"), "dense"),
    ],
)
def test_a_trace_equals_eager_on_other_pixels_and_dates(
    trace: Any, names: tuple[str, ...], output: str, encoder: AnySat, series: Any
) -> None:
    first, other = series(*names, seed=0), series(*names, seed=1)
    assert not all(torch.equal(first[key], other[key]) for key in first if key.endswith("_dates"))
    encoder(first, 20, output)  # what eager mode keeps is no part of the trace
    traced = trace(encoder, first, 20, output)
    check(traced(other, 20, output), encoder(other, 20, output))


def test_gradients_of_a_compiled_encoder_are_those_of_eager(series: Any) -> None:
    encoder = AnySat("tiny", ["s2"])
    projector: Any = encoder.projector_s2
    weights = [encoder.blocks[-1].attn.q_learned, projector.patch_embed.inconv["0"].weight]
    traced, data = compiled(encoder, series("s2", seed=0), 20), series("s2", seed=1)
    expected = torch.autograd.grad(encoder(data, 20).square().sum(), weights)
    for mine, theirs in zip(torch.autograd.grad(traced(data, 20).square().sum(), weights), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


def test_a_mask_is_an_input_of_a_trace(encoder: AnySat, series: Any) -> None:
    def masked(seed: int, frames: list[list[bool]]) -> Data:
        return series("s2", seed=seed) | {"s2_mask": torch.tensor(frames)}

    program = exported(encoder, masked(0, [[True, False, True], [True, True, True]]), 20)
    for frames in ([[True] * 3] * 2, [[False, True, True], [True, False, False]]):
        data = masked(1, frames)
        data["s2"][~data["s2_mask"]] = float("nan")
        check(program(data, 20), encoder(data, 20))


def test_an_exported_encoder_takes_other_batch_sizes_and_numbers_of_frames(encoder: AnySat, series: Any) -> None:
    batch, frames = torch.export.Dim("batch"), torch.export.Dim("frames")
    shapes: Mapping[str, Any] = {
        "aerial": {0: batch},
        "s2": {0: batch, 1: frames},
        "s2_dates": {0: batch, 1: frames},
    }
    example = (series("aerial", "s2"), 20, "dense")
    program = torch.export.export(encoder, example, dynamic_shapes=(shapes, None, None)).module()
    data = series("aerial", "s2", batch=3, frames=5, seed=1)
    check(program(data, 20, "dense"), encoder(data, 20, "dense"))


def test_a_trace_has_chunks_only_for_a_stated_budget(series: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunking, "CPU_BUDGET", 500_000)
    sizes = {}
    for budget in (None, 500_000):
        encoder = AnySat("tiny", ["s2"], memory_budget=budget).eval()
        program = torch.export.export(encoder, (series("s2"), 20, "tile"))
        sizes[budget] = len(program.graph.nodes)
        check(program.module()(series("s2", seed=1), 20, "tile"), encoder(series("s2", seed=1), 20, "tile"))
    assert sizes[None] < sizes[500_000]


def test_a_trace_does_not_look_at_values_and_eager_mode_still_does(encoder: AnySat, series: Any) -> None:
    program = exported(encoder, series("s2"), 20)
    late = series("s2", seed=1)
    late["s2_dates"] += 400
    check(program(late, 20), encoder(late, 20, check_dates=False))
    with pytest.raises(ValueError, match="must hold days of the year"):
        encoder(late, 20)


def test_names_and_shapes_are_still_checked_in_a_trace(encoder: AnySat, series: Any) -> None:
    with pytest.raises(ValueError, match="a series of 3 frames without dates"):
        exported(encoder, {"s2": series("s2")["s2"]}, 20)


@pytest.mark.parametrize("dates_as", ["key", "plane"])
def test_the_terratorch_backbone_can_be_exported(dates_as: str, series: Any) -> None:
    bands = ["B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"]
    names = bands if dates_as == "key" else [*bands, "DATE"]
    backbone = build_anysat("tiny", pretrained=False, modalities=["s2"], bands={"s2": names}, patch_size=20)
    backbone.freeze()

    def example(seed: int) -> Data:
        data = series("s2", seed=seed)
        image, dates = data["s2"].transpose(1, 2), data["s2_dates"]
        if dates_as == "key":
            return {"s2": image, "s2_dates": dates}
        plane = dates[:, None, :, None, None].expand(-1, 1, -1, 6, 6).float().clone()
        plane[0, 0, seed] = -1  # a frame to leave out
        return {"s2": torch.cat([image, plane], dim=1)}

    program = torch.export.export(backbone, (example(0),)).module()
    check(program(example(1))[0], backbone(example(1))[0])
