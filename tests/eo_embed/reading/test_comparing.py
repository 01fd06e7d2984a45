"""Two exports are as alike as they are, not as wide as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from placed_exports import write_vectors

from eo_embed.reading import comparing
from eo_embed.reading.comparing import debiased_cka


def by_definition(first: np.ndarray, second: np.ndarray) -> float:
    """Song et al. 2012, equation 5, with whole kernel matrices."""

    def hsic(k: np.ndarray, other: np.ndarray) -> float:
        n = len(k)
        k, other = k - np.diag(np.diag(k)), other - np.diag(np.diag(other))
        ones = np.ones(n)
        middle = (ones @ k @ ones) * (ones @ other @ ones) / ((n - 1) * (n - 2))
        return float((np.trace(k @ other) + middle - 2 / (n - 2) * (ones @ k @ other @ ones)) / (n * (n - 3)))

    k, other = first @ first.T, second @ second.T
    return hsic(k, other) / np.sqrt(hsic(k, k) * hsic(other, other))


def test_cka_is_that_of_the_definition() -> None:
    generator = np.random.default_rng(0)
    first = generator.normal(size=(50, 7)) + 3
    second = first @ generator.normal(size=(7, 5)) + generator.normal(size=(50, 5))
    assert debiased_cka(first, second) == pytest.approx(by_definition(first, second), rel=1e-9)
    assert 0.3 < debiased_cka(first, second) < 0.99


def test_wide_unrelated_vectors_are_not_alike() -> None:
    """The biased estimate says about 0.9 here: 40 samples of 500 dimensions."""
    generator = np.random.default_rng(1)
    one, other = generator.normal(size=(2, 40, 500))
    assert abs(debiased_cka(one, other)) < 0.05


def test_rotated_and_scaled_vectors_are_the_same(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    values = generator.normal(size=(30, 6))
    turn, _ = np.linalg.qr(generator.normal(size=(6, 6)))
    found = write_vectors(tmp_path / "a", values).compare(write_vectors(tmp_path / "b", 3 * values @ turn), k=4)
    assert found.cka == pytest.approx(1, abs=1e-6)
    assert found.overlap == 1
    assert found.chance == 4 / 29
    assert found.by_id["overlap"].tolist() == [1] * 30


def test_ids_are_joined_and_what_is_lost_is_counted(tmp_path: Path) -> None:
    """Neighbours by hand: on a line of angles, ids in another order in the other export."""
    angles = np.radians([0, 10, 30, 60, 80, 85])
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    one = write_vectors(tmp_path / "a", np.concatenate([circle, [[0, 0]]]), [*"abcdef", "zero"])
    # d and e change places: the nearest of c, d and f change, those of a and b do not, and e's stays f's place.
    wide = np.concatenate([circle, np.zeros((6, 1))], axis=1)
    other = write_vectors(tmp_path / "b", np.concatenate([wide, [[1, 1, 0], [1, 0, 0]]]), [*"abcedf", "zero", "new"])
    found = one.compare(other, k=1)
    assert found.ids == tuple("abcdef")
    assert (found.only_in_first, found.only_in_second, found.left_out) == (0, 1, 1)
    # nearest here: a-b b-a c-b d-e e-f f-e; there (e at 60, d at 80): a-b b-a c-b d-f e-d f-d
    assert found.by_id["overlap"].tolist() == [1, 1, 1, 0, 0, 0]
    assert found.overlap == 0.5


def test_many_ids_are_compared_by_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "MOST_ANCHORS", 12)
    values = np.random.default_rng(3).normal(size=(40, 5))
    export = write_vectors(tmp_path, values)
    found = export.compare(export, k=3)
    assert len(found.ids) == 40
    assert len(found.by_id) == 12
    assert found.overlap == 1


def test_what_cannot_be_compared_is_named(tmp_path: Path) -> None:
    one = write_vectors(tmp_path / "a", np.eye(5), list("abcde"))
    with pytest.raises(ValueError, match="at least 4 ids that both.*got 0: such as a, b in one and v, w"):
        one.compare(write_vectors(tmp_path / "b", np.eye(5), list("vwxyz")))
    with pytest.raises(ValueError, match="k must be 1..4, .*got 5"):
        one.compare(one, k=5)
    with pytest.raises(ValueError, match="all equal is not defined"):
        one.compare(write_vectors(tmp_path / "c", np.ones((5, 3)), list("abcde")), k=2)
