"""Batches are as large as a budget lets them be: counted, not guessed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from eo_data.dataset.loading.batch_memory import LiveBytes, budget_of, fitting_batch

#: Bytes of a sample of 3 bands of 8 x 8 pixels.
SAMPLE = 4 * 3 * 8 * 8


def entry() -> dict[str, Any]:
    return {"image": torch.ones(3, 8, 8), "filename": "a.tif"}


class Encoder(nn.Module):
    """Holds at most: its input, two results of that size (while the second is made), and its table."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1000))
        self.seen: list[int] = []
        self.cached: torch.Tensor | None = None

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(image))
        if self.cached is None:
            self.cached = torch.zeros(1_000_000)  # once and for all: not of a batch
        table = torch.zeros(100)
        first = image * 2
        second = first + 1
        del first
        third = second.view(len(image), -1)  # the same memory
        return third.sum(1) + table.sum() + self.weight.view(10, 100)[0, 0]


def encode(encoder: Encoder) -> Any:
    def run(batch: Mapping[str, Any]) -> torch.Tensor:
        found: torch.Tensor = encoder(batch["image"])
        return found

    return run


def test_memory_is_what_lives_at_once_and_not_all_that_was_made() -> None:
    """Sums of all results say ten times too much, and what weights take is no matter of the batch."""
    image, encoder = torch.ones(5, 3, 8, 8), Encoder()
    with torch.no_grad():
        encoder(image)
        with LiveBytes() as live:
            live.note(image)
            encoder(image)
    assert live.most == 5 * 3 * SAMPLE + 400
    assert live.now == 5 * SAMPLE  # the image alone


@pytest.mark.parametrize(("samples", "missing"), [(1, 0), (7, 0), (7, 1), (30, 5)])
def test_the_batch_is_the_largest_that_the_budget_is_enough_for(samples: int, missing: int) -> None:
    budget = samples * 3 * SAMPLE + 400 - missing
    count, why = fitting_batch(encode(Encoder()), entry(), budget, 1000)
    assert count == samples - bool(missing)
    assert f"batches of {count} samples, as the encoder takes 2.7 kB for one and 2.3 kB for each further one" in why


def test_no_batch_is_larger_than_what_there_is_to_encode() -> None:
    assert fitting_batch(encode(Encoder()), entry(), 10**9, 12)[0] == 12


def test_the_encoder_sees_no_more_than_two_samples() -> None:
    encoder = Encoder()
    fitting_batch(encode(encoder), entry(), 10**9, 12)
    assert encoder.seen == [1, 1, 2, 2]


def test_a_budget_that_is_not_enough_for_one_sample_says_what_would_be() -> None:
    with pytest.raises(
        ValueError, match="batch_memory is 1 kB, and the encoder takes 2.7 kB .* State at least 2.73 kB"
    ):
        fitting_batch(encode(Encoder()), entry(), 1000, 10)


def test_attention_is_counted_as_it_is_made() -> None:
    """Linear in the batch: what one and two samples take tells what nine do."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()

    def run(batch: Mapping[str, Any]) -> torch.Tensor:
        found: torch.Tensor = layer(batch["image"].flatten(2).repeat(1, 11, 1)[:, :32, :16])
        return found

    _, why = fitting_batch(run, entry(), 10**9, 9)
    one, two, nine = (_live(run, count) for count in (1, 2, 9))
    assert nine == one + 8 * (two - one)
    assert "batches of 9" in why


def _live(run: Any, count: int) -> int:
    image = torch.ones(count, 3, 8, 8)
    with torch.no_grad(), LiveBytes() as live:
        live.note(image)
        run({"image": image})
    return live.most


def test_amounts_are_read_before_a_run_and_auto_needs_a_gpu() -> None:
    assert budget_of("2 GB", torch.device("cpu")) == 2 * 10**9
    with pytest.raises(ValueError, match="batch_memory must be a number of bytes or a text such as 4GB"):
        budget_of("plenty", torch.device("cpu"))
    with pytest.raises(
        ValueError, match="batch_memory: auto is for GPUs of CUDA, and this runs on cpu. State an amount"
    ):
        budget_of("auto", torch.device("cpu"))
