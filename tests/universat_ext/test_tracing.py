"""A trace of the encoder computes what the encoder computes, also for pixels and dates that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch

from universat_ext import UniverSat

Data = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    """Graphs of one test are no candidates for the next."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture(scope="module")
def encoder(golden: Any) -> UniverSat:
    made = UniverSat("tiny").eval().requires_grad_(requires_grad=False)
    golden.fill_module(made)
    return made


def exported(encoder: UniverSat, *example: Any) -> Callable[..., torch.Tensor]:
    return torch.export.export(encoder, example).module()


def compiled(encoder: UniverSat, *example: Any) -> Callable[..., torch.Tensor]:
    traced = torch.compile(encoder, fullgraph=True, backend="eager")  # the trace is under test, not a compiler
    traced(*example)
    return traced


def check(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("trace", "names", "output"),
    [
        (exported, ("s2",), "grid"),
        (exported, ("spot", "s2", "modis"), "all"),
        (exported, ("s1", "s2"), "subpatches"),
        (compiled, ("s2", "spot"), "grid"),
    ],
)
def test_a_trace_equals_eager_on_other_pixels_and_dates(
    trace: Any, names: tuple[str, ...], output: str, encoder: UniverSat, series: Any
) -> None:
    first, other = series(*names, seed=0), series(*names, seed=1)
    encoder(first, 20, output)  # what eager mode keeps is no part of the trace
    traced = trace(encoder, first, 20, output)
    check(traced(other, 20, output), encoder(other, 20, output))


def test_a_mask_is_an_input_of_a_trace(encoder: UniverSat, series: Any) -> None:
    def masked(seed: int, frames: list[list[bool]]) -> Data:
        return series("s2", seed=seed) | {"s2_mask": torch.tensor(frames)}

    program = exported(encoder, masked(0, [[True, False, True], [True, True, True]]), 20)
    for frames in ([[True] * 3] * 2, [[False, True, True], [True, False, False]]):
        data = masked(1, frames)
        data["s2"][~data["s2_mask"]] = float("nan")
        check(program(data, 20), encoder(data, 20))


def test_an_exported_encoder_takes_other_batch_sizes_and_numbers_of_frames(encoder: UniverSat, series: Any) -> None:
    batch, frames = torch.export.Dim("batch"), torch.export.Dim("frames", min=2)
    shapes: Mapping[str, Any] = {"spot": {0: batch}, "s2": {0: batch, 1: frames}, "s2_dates": {0: batch, 1: frames}}
    program = torch.export.export(encoder, (series("spot", "s2"), 20), dynamic_shapes=(shapes, None)).module()
    data = series("spot", "s2", batch=3, frames=5, seed=1)
    check(program(data, 20), encoder(data, 20))


def test_a_trace_has_chunks_only_for_a_stated_budget(series: Any) -> None:
    sizes = {}
    for budget in (None, 2_000_000):
        encoder = UniverSat("tiny", memory_budget=budget).eval()
        program = torch.export.export(encoder, (series("s2"), 20))
        sizes[budget] = len(program.graph.nodes)
        check(program.module()(series("s2", seed=1), 20), encoder(series("s2", seed=1), 20))
    assert sizes[None] < sizes[2_000_000]


def test_names_and_shapes_are_still_checked_in_a_trace(encoder: UniverSat, series: Any) -> None:
    with pytest.raises(ValueError, match="a series of 3 frames without dates"):
        exported(encoder, {"s2": series("s2")["s2"]}, 20)
