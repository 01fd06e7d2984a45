"""Clusters are those that are there, under stable names, and no data has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from placed_exports import placed, write_export, write_vectors

from eo_embed.reading import clusters
from eo_embed.reading.clusters import Clusters


def blobs(counts: tuple[int, ...], width: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    centres = 8 * np.eye(width)[: len(counts)]
    truth = generator.permutation(np.repeat(np.arange(len(counts)), counts))
    return (centres[truth] + generator.normal(size=(len(truth), width)) * 0.3).astype(np.float32), truth


@pytest.mark.parametrize("most", [20_000, 10])
def test_groups_are_found_and_the_largest_is_cluster_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(clusters, "MOST_AT_ONCE", most)  # all at once, or by mini batches
    values, truth = blobs((10, 40, 25))
    values[3] = np.nan
    found = write_vectors(tmp_path, values).cluster(3)
    expected = np.array([2, 0, 1])[truth]
    expected[3] = -1
    assert found["cluster"].tolist() == expected.tolist()
    assert {"id", "geometry", "embedding"} <= set(found.columns)


def test_directions_or_distances() -> None:
    values = np.array([[1, 0], [0, 1], [100, 1], [1, 100]], np.float32)
    assert Clusters(values, 2).of(values).tolist() in ([0, 1, 0, 1], [1, 0, 1, 0])
    by_distance = Clusters(values, 3, "euclidean").of(values)
    assert by_distance[0] == by_distance[1]
    assert len({*by_distance[1:]}) == 3


def test_cells_of_all_grids_share_one_fit(tmp_path: Path) -> None:
    values, truth = blobs((30, 20), width=4)
    cells = values.T.reshape(4, 5, 10)
    cells[:, 0, 0] = np.nan
    items = [
        placed(name, cells[:, :, part].copy(), Affine(100, 0, 500_000 + 500 * i, 0, -100, 5_000_500))
        for i, (name, part) in enumerate((("a", slice(0, 5)), ("b", slice(5, 10))))
    ]
    a, b = write_export(tmp_path, items).cluster_grids(2)
    expected = truth.reshape(5, 10).copy()
    expected[0, 0] = -1
    assert np.concatenate([a.values, b.values], axis=1).tolist() == expected.tolist()
    assert a.dims == ("y", "x")
    assert (a.attrs["id"], b.attrs["id"]) == ("a", "b")
    assert b["x"].values[0] == 500_550


def test_what_cannot_be_clustered_is_named(tmp_path: Path) -> None:
    export = write_vectors(tmp_path, np.repeat(np.eye(3), 4, axis=0))
    with pytest.raises(ValueError, match="k must be 1..3, the number of different vectors.*got 5"):
        export.cluster(5)
    with pytest.raises(ValueError, match="k must be 1..3.*got 0"):
        export.cluster(0)
    with pytest.raises(ValueError, match="holds no grids to cluster"):
        list(export.cluster_grids(2))
