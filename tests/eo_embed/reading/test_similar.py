"""What is said to be most alike is: no approximation, no chance among equals, never the query itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from placed_exports import write_vectors

import eo_embed.reading.similar
import eo_embed.reading.vectors
from eo_embed.reading.similar import neighbours
from eo_embed.reading.vectors import Vectors


def cosines(values: np.ndarray, query: np.ndarray) -> np.ndarray:
    exact, own = values.astype(np.float64), query.astype(np.float64)
    return (exact @ own) / np.linalg.norm(exact, axis=1) / np.linalg.norm(own)


def test_neighbours_are_those_of_a_full_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eo_embed.reading.vectors, "_BLOCK_VALUES", 16 * 7)  # blocks of 7 vectors
    values = np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)
    export = write_vectors(tmp_path, values)
    found = export.similar("s017", 5)
    expected = cosines(values, values[17])
    expected[17] = -np.inf
    order = np.argsort(-expected)[:5]
    assert found["id"].tolist() == [f"s{i:03d}" for i in order]
    np.testing.assert_allclose(found["score"], expected[order], rtol=1e-12)
    assert found.crs.to_epsg() == 4326
    assert not found.geometry.is_empty.any()
    assert export.similar(values[17], 1)["id"].tolist() == ["s017"]  # a vector is no id: what is equal to it is found
    assert export.similar("s017", 1, with_query=True)["id"].tolist() == ["s017"]


def test_distances_order_otherwise_than_directions(tmp_path: Path) -> None:
    values = np.array([[1, 0], [10, 0], [1, 1], [1.2, 0.1]], np.float32)
    export = write_vectors(tmp_path, values)
    assert export.similar("s000", 3)["id"].tolist() == ["s001", "s003", "s002"]
    by_distance = export.similar("s000", 3, metric="euclidean")
    assert by_distance["id"].tolist() == ["s003", "s002", "s001"]
    np.testing.assert_allclose(by_distance["score"], [-np.hypot(0.2, 0.1), -1, -9], rtol=1e-6)


def test_several_and_negatives_are_means_of_similarities(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(30, 8)).astype(np.float32)
    export = write_vectors(tmp_path, values)
    strange = np.random.default_rng(2).normal(size=8).astype(np.float32)
    expected = (cosines(values, values[3]) + cosines(values, strange)) / 2 - cosines(values, values[9])
    expected[[3, 9]] = -np.inf
    order = np.argsort(-expected)[:4]
    found = export.similar(["s003", strange], 4, negatives="s009")
    assert found["id"].tolist() == [f"s{i:03d}" for i in order]
    np.testing.assert_allclose(found["score"], expected[order], atol=1e-7)
    distances = [np.linalg.norm(values.astype(float) - values[i], axis=1) for i in (3, 9)]
    expected = distances[1] - distances[0]
    expected[[3, 9]] = -np.inf
    found = export.similar("s003", 4, negatives=["s009"], metric="euclidean")
    assert found["id"].tolist() == [f"s{i:03d}" for i in np.argsort(-expected)[:4]]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_equal_vectors_come_in_the_order_of_their_ids(tmp_path: Path, metric: str) -> None:
    """Float32 products of equal rows may differ in the last digit, by where the row stands."""
    same = np.random.default_rng(3).normal(size=(1, 771)).astype(np.float32)
    others = np.random.default_rng(4).normal(size=(6, 771)).astype(np.float32)
    values = np.concatenate([np.repeat(same, 37, axis=0), others])
    ids = [f"x{(7 * i) % 37:02d}" for i in range(37)] + [f"y{i}" for i in range(6)]
    export = write_vectors(tmp_path, values, ids)
    found = export.similar(others[0], 40, metric=metric)  # type: ignore[arg-type]
    names = [name for name in found["id"] if name.startswith("x")]
    assert names == sorted(names)
    assert found["score"][found["id"].str.startswith("x")].nunique() == 1


def test_nearly_equal_vectors_are_told_apart_in_float64(tmp_path: Path) -> None:
    """Differences of 1e-8 in the cosine are lost in float32."""
    base = np.random.default_rng(5).normal(size=512)
    away = np.random.default_rng(6).normal(size=512)
    values = np.stack([base + step * away for step in (4e-4, 1e-4, 3e-4, 2e-4)]).astype(np.float32)
    found = write_vectors(tmp_path, values).similar(base.astype(np.float32), 4)
    assert found["id"].tolist() == ["s001", "s003", "s002", "s000"]


def test_the_best_of_nearly_equal_vectors_are_not_lost_by_float32(tmp_path: Path) -> None:
    generator = np.random.default_rng(8)
    base = generator.normal(size=256)
    values = (base + 1e-4 * generator.normal(size=(200, 256))).astype(np.float32)
    expected = np.argsort(-cosines(values, base.astype(np.float32)), kind="stable")[:5]
    found = write_vectors(tmp_path, values).similar(base.astype(np.float32), 5)
    assert found["id"].tolist() == [f"s{i:03d}" for i in expected]


def test_vectors_without_a_direction_are_never_found(tmp_path: Path) -> None:
    values = np.array([[1, 0], [0, 0], [np.nan, 1], [0, 1], [np.inf, 0]], np.float32)
    export = write_vectors(tmp_path, values)
    assert export.similar("s000", 1)["id"].tolist() == ["s003"]
    with pytest.raises(ValueError, match="k must be 1..1, the number of other vectors that can be compared, got 2"):
        export.similar("s000", 2)
    assert export.similar("s000", 2, metric="euclidean")["id"].tolist() == ["s001", "s003"]
    with pytest.raises(ValueError, match="the vector of 's001': it is zero, so it has no direction"):
        export.similar("s001", 1)
    with pytest.raises(ValueError, match="the vector of 's002': it holds NaN"):
        export.similar("s002", 1)


def test_what_cannot_be_asked_is_named(tmp_path: Path) -> None:
    export = write_vectors(tmp_path, np.eye(4))
    with pytest.raises(ValueError, match="no vector of id 's01' among 4; nearest ids: s001"):
        export.similar("s01", 1)
    with pytest.raises(ValueError, match="k must be 1..3.*got 0"):
        export.similar("s001", 0)
    with pytest.raises(ValueError, match="k must be 1..3.*got 4"):
        export.similar("s001", 4)
    with pytest.raises(ValueError, match=r"a vector of 4 numbers, got .* shape \(3,\)"):
        export.similar(np.ones(3), 1)
    with pytest.raises(ValueError, match="at least one id or vector to look for"):
        export.similar([], 1)
    with pytest.raises(ValueError, match="metric must be .*'dot'"):
        export.similar("s001", 1, metric="dot")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Expected one of the layers '', got 'layer_3'"):
        export.similar("s001", 1, layer="layer_3")


def test_all_pairs_are_the_same_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eo_embed.reading.similar, "_SCORES", 3 * 40)
    values = np.random.default_rng(7).normal(size=(40, 6)).astype(np.float32)
    for anchor, (numbers, scores) in enumerate(
        neighbours(Vectors([f"{i:02d}" for i in range(40)], values), range(40), 4)
    ):
        expected = cosines(values, values[anchor])
        expected[anchor] = -np.inf
        assert numbers.tolist() == np.argsort(-expected)[:4].tolist()
        np.testing.assert_allclose(scores, np.sort(expected)[::-1][:4], rtol=1e-12)
