"""Positions, dates and relative position buckets: constants that no shape check would find wrong."""

from __future__ import annotations

import math

import pytest
import torch

from anysat_ext.model.positions import CLASS_BUCKET, encode_dates, grid_buckets, sincos_2d, token_buckets


def test_the_first_half_encodes_the_column_not_the_row() -> None:
    table = sincos_2d(3, 10.0, 16).view(3, 3, 16)
    assert torch.equal(table[0, 1, :8], table[2, 1, :8])
    assert torch.equal(table[1, 0, 8:], table[1, 2, 8:])
    assert table[0, 1, 0].item() == pytest.approx(math.sin(10), abs=1e-5)
    assert table[0, 1, 4].item() == pytest.approx(math.cos(10), abs=1e-5)
    assert table[2, 0, 9].item() == pytest.approx(math.sin(20 * 10000**-0.25), abs=1e-5)


def test_dates_alternate_sine_and_cosine_and_do_not_wrap_after_a_year() -> None:
    code = encode_dates(torch.tensor([[0, 200, 365]]), 4, 2, 367)[0]
    assert torch.equal(code[:, :4], code[:, 4:])
    for row, day in zip(code, (0, 200, 365), strict=True):
        slow = day / 367**0.5
        expected = [math.sin(day), math.cos(day), math.sin(slow), math.cos(slow)]
        assert row[:4].tolist() == pytest.approx(expected, abs=2e-5)
    assert (code[0] - code[2]).abs().max() > 0.3


def test_whole_and_fractional_dates_of_any_dtype_are_the_same_days() -> None:
    days = torch.tensor([[3, 300]])
    for dtype in (torch.int16, torch.int32, torch.float32, torch.float64, torch.float16):
        assert torch.equal(encode_dates(days.to(dtype), 16, 16, 367), encode_dates(days, 16, 16, 367))


def test_landsat_8_alone_has_a_period_of_366() -> None:
    from anysat_ext.model.modalities import MODALITIES

    assert {name for name, m in MODALITIES.items() if m.is_series and m.period != 367} == {"l8"}
    assert MODALITIES["l8"].period == 366


def _bucket_by_formula(squared: int) -> int:
    """Wu et al. 2021, equation 18, with alpha 1.9, beta 3.8, gamma 15.2, as the published code evaluates it."""
    rounded = round(math.sqrt(squared))
    if rounded <= 1.9:
        return 3 + rounded
    grown = 1.9 + math.log(rounded / 1.9) / math.log(15.2 / 1.9) * (3.8 - 1.9)
    return 3 + int(min(round(grown), 3.8))


@pytest.mark.parametrize("side", [1, 2, 7, 24])
def test_buckets_are_those_of_the_formula(side: int) -> None:
    buckets = grid_buckets(side)
    cells = [(i // side, i % side) for i in range(side * side)]
    for i, (row, column) in enumerate(cells[:: max(1, side)]):
        first = i * max(1, side)
        expected = [_bucket_by_formula((row - r) ** 2 + (column - c) ** 2) for r, c in cells]
        assert buckets[first].tolist() == expected
    part = slice(1, side * side - 1)
    assert torch.equal(grid_buckets(side, part), buckets[part])


def test_the_class_token_has_a_bucket_of_its_own() -> None:
    buckets = token_buckets(2)
    assert buckets[0].tolist() == [CLASS_BUCKET] * 5
    assert buckets[:, 0].tolist() == [CLASS_BUCKET] * 5
    assert torch.equal(buckets[1:, 1:], grid_buckets(2))
