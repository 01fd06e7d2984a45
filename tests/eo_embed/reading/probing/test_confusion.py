"""Pictures of confusion that can be read, with few classes and many."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from eo_embed.reading.probing.confusion import draw_confusion, draw_scatter


def _matrix(side: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.integers(0, 30, (side, side)) + 200 * np.eye(side, dtype=int)


def _rendered(figure: Figure) -> np.ndarray:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=60)
    file.seek(0)
    return np.asarray(imread(file))


def test_rows_are_true_classes_and_colours_are_their_shares() -> None:
    figure = draw_confusion(np.array([[8, 2], [1, 0]]), ["water", "land"], "knn")
    axes = figure.axes[0]
    assert {text.get_position(): text.get_text() for text in axes.texts} == {(0, 0): "8", (1, 0): "2", (0, 1): "1"}
    shares = axes.images[0].get_array()
    assert shares is not None
    np.testing.assert_allclose(shares, [[0.8, 0.2], [1, 0]])
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("true", "predicted")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["water", "land"]


def test_a_class_without_test_samples_has_a_grey_row() -> None:
    figure = draw_confusion(np.array([[5, 0], [0, 0]]), ["a", "b"], "knn")
    shares = figure.axes[0].images[0].get_array()
    assert np.ma.getmaskarray(np.ma.masked_invalid(shares)).tolist() == [[False, False], [True, True]]
    pixels = _rendered(figure)[..., :3]
    assert (np.abs(pixels - 0.85).max(axis=2) < 0.01).mean() > 0.1


def test_classes_of_two_names_stay_two() -> None:
    """By their beginning alone they are alike; where their middle tells them apart, they are not shortened."""
    ends = [f"Broad-leaved forest on peat, type {i}" for i in range(3)]
    middles = [f"Broad-leaved forest {i} on mineral soil" for i in range(3)]
    for names, shown in ((ends, [f"Broad-leav...eat, type {i}" for i in range(3)]), (middles, middles)):
        labels = draw_confusion(_matrix(3), names, "knn").axes[0].get_yticklabels()
        assert [label.get_text() for label in labels] == shown


def test_numbers_stand_out_from_their_cells() -> None:
    axes = draw_confusion(np.array([[90, 10], [50, 50]]), ["a", "b"], "knn").axes[0]
    inks = {text.get_text(): to_rgb(text.get_color()) for text in axes.texts}
    assert inks["90"] == (1, 1, 1)
    assert inks["10"] == inks["50"] == (0, 0, 0)


@pytest.mark.parametrize("side", [2, 20])
def test_long_names_are_upright_within_the_picture(side: int) -> None:
    names = [f"Broad-leaved forest on peat, type {i}" for i in range(side)]
    figure = draw_confusion(_matrix(side), names, "logistic: accuracy 0.912 [0.875, 0.940]")
    figure.draw_without_rendering()
    axes = figure.axes[0]
    labels = [*axes.get_xticklabels(), *axes.get_yticklabels()]
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {90}
    for label in labels:
        box = label.get_window_extent()
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1
    tops = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert all(one.x1 <= other.x0 for one, other in itertools.pairwise(tops))


def test_numbers_fit_their_cells() -> None:
    figure = draw_confusion(_matrix(20) * 500, [str(i) for i in range(20)], "knn")
    figure.draw_without_rendering()
    axes = figure.axes[0]
    cell = axes.get_window_extent().width / 20
    assert max(text.get_window_extent().width for text in axes.texts) < cell


def test_very_many_classes_are_drawn_without_numbers() -> None:
    assert not draw_confusion(_matrix(60), [str(i) for i in range(60)], "knn").axes[0].texts


def test_a_dollar_in_a_name_is_no_formula() -> None:
    _rendered(draw_confusion(_matrix(2), ["$_{", "$"], "price $"))
    _rendered(draw_scatter(np.array([1.0, 2]), np.array([1.0, 3]), "knn", "$/ha$^{"))


def test_the_scatter_has_one_scale_on_both_axes() -> None:
    axes = draw_scatter(np.array([1.0, 3]), np.array([0.0, 10]), "ridge", "biomass").axes[0]
    assert axes.get_xlim() == axes.get_ylim() == (-0.5, 10.5)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("true biomass", "predicted biomass")
    _rendered(draw_scatter(np.array([2.0]), np.array([2.0]), "ridge", "biomass"))
