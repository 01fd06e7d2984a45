"""Gradient checkpointing computes parts twice, only where it must, and the second time as the first."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from eo_models.forward.recompute import calls_of
from eo_models.precision.matmul import chosen_matmul, matmul_precision


class Part(nn.Module):
    """A linear layer that tells in which numbers it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.called_in: list[tuple[object, bool]] = []

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.called_in.append((chosen_matmul(), torch.is_autocast_enabled("cpu")))
        return nn.functional.dropout(self.layer(rows).sigmoid())


class Owner(nn.Module):
    def __init__(self, *, wanted: bool) -> None:
        super().__init__()
        self.part, self.wanted = Part(), wanted

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        call = calls_of(self, gradient_checkpointing=self.wanted)
        return call(self.part, rows)


@pytest.fixture
def rows() -> torch.Tensor:
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("matmul", ["highest", "medium"])
def test_the_second_pass_has_the_precision_of_the_first_in_another_thread_too(matmul: str, rows: torch.Tensor) -> None:
    """Backward passes on a GPU run in a thread of their own, and after the context of the forward pass."""
    around = chosen_matmul()
    owner = Owner(wanted=True)
    with matmul_precision(matmul), torch.autocast("cpu", torch.bfloat16):  # type: ignore[arg-type]
        loss = owner(rows).float().sum()
    thread = threading.Thread(target=loss.backward)
    thread.start()
    thread.join()
    assert owner.part.called_in == [(matmul, True)] * 2
    assert chosen_matmul() == around


def test_what_drops_out_is_dropped_out_again(rows: torch.Tensor) -> None:
    gradients = []
    for wanted in (False, True):
        torch.manual_seed(0)
        owner = Owner(wanted=wanted)
        owner(rows).sum().backward()
        gradients.append(owner.part.layer.weight.grad)
    assert torch.equal(*gradients)  # type: ignore[arg-type]


@pytest.mark.parametrize(("training", "gradient"), [(False, True), (True, False), (False, False)])
def test_nothing_is_computed_twice_outside_of_training(training: bool, gradient: bool, rows: torch.Tensor) -> None:
    owner = Owner(wanted=True).train(training)
    with torch.set_grad_enabled(gradient):
        result = owner(rows)
    if gradient:
        result.sum().backward()
    assert len(owner.part.called_in) == 1


def test_a_trace_does_not_hold_it() -> None:
    class Pure(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return calls_of(self, gradient_checkpointing=True)(self.layer, rows)

    program = torch.export.export(Pure().train(), (torch.ones(2, 4),), strict=False)
    assert "checkpoint" not in str(program.graph)
