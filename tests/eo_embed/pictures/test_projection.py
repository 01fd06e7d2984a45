"""One analysis for all grids of a layer: its axes are principal components, and their signs are stable."""

from __future__ import annotations

import numpy as np
import pytest

from eo_embed.pictures.projection import fit_projection


def test_the_axes_are_those_of_an_independent_svd() -> None:
    vectors = np.random.default_rng(0).normal(size=(500, 8)) @ np.diag([5, 3, 2, 1, 0.5, 0.2, 0.1, 0.1])
    projection = fit_projection(vectors.astype(np.float32) + 7)
    _, singular, axes = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    signs = np.sign(axes[np.arange(3), np.abs(axes[:3]).argmax(axis=1)])
    np.testing.assert_allclose(projection.axes, axes[:3] * signs[:, None], atol=1e-5)
    np.testing.assert_allclose(projection.explained, (singular**2 / np.sum(singular**2))[:3], rtol=1e-5)
    np.testing.assert_allclose(projection.mean, 7 + vectors.mean(axis=0), atol=1e-5)


def test_the_sign_of_an_axis_does_not_depend_on_the_sample() -> None:
    vectors = np.random.default_rng(0).normal(size=(4000, 6)) * [5, 3, 2, 1, 0.5, 0.2]
    one, other = (fit_projection(part.astype(np.float32)) for part in (vectors[:2000], vectors[2000:]))
    assert (np.sum(one.axes * other.axes, axis=1) > 0.9).all()


def test_embeddings_that_do_not_vary_are_mid_grey() -> None:
    projection = fit_projection(np.ones((10, 4), np.float32))
    assert np.unique(projection.colours(np.ones((4, 2, 2), np.float32))[:3]).tolist() == [128]


def test_vectors_that_are_too_few_or_too_short_are_refused() -> None:
    for shape, got in (((5, 2), "5 vectors of 2"), ((0, 8), "0 vectors of 8")):
        with pytest.raises(ValueError, match=f"3 principal components need .*got {got}"):
            fit_projection(np.zeros(shape, np.float32))
