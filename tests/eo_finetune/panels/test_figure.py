"""Colours, errors and scores of a picture are those of the numbers behind it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from eo_finetune.panels.colours import MARK, class_colours
from eo_finetune.panels.drawable import MapSample, SceneSample
from eo_finetune.panels.figure import regression_figure, scene_figure, segmentation_figure


def panels(figure: Figure) -> dict[str, np.ndarray]:
    return {axes.get_title(): np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images}


def test_label_and_prediction_have_the_same_colours_as_the_legend() -> None:
    label = np.array([[0, 1, 2], [2, 1, -1]])
    sample = MapSample("x", (), label, np.roll(label.clip(0), 1), label == -1)
    figure = segmentation_figure(sample, ["a", "b", "c"])
    shown, colours = panels(figure), class_colours(3)
    np.testing.assert_allclose(shown["label"][0], colours)
    np.testing.assert_allclose(shown["prediction"], colours[sample.prediction])
    legend = figure.axes[0].get_legend()
    assert legend is not None
    entries = {
        text.get_text(): patch.get_facecolor()[:3]
        for text, patch in zip(legend.get_texts(), legend.get_patches(), strict=True)
    }
    assert [entries[name] for name in "abc"] == [pytest.approx(colour) for colour in colours]
    assert "no label" in entries


def test_no_error_is_white_whatever_the_range_of_errors() -> None:
    label = np.zeros((4, 4), np.float32)
    said = np.array([[0, 9, 9, 9]] * 4, np.float32)  # all errors are positive
    ignored = np.zeros((4, 4), bool)
    ignored[3] = True
    figure = regression_figure(MapSample("x", (), label, said, ignored))
    difference = panels(figure)["prediction - label"]
    assert difference[0, 0].min() > 0.95
    assert difference[0, 1, 0] > 2 * difference[0, 1, 2], "red: too high"
    assert len(set(difference[3, 0])) == 1, "grey: no label"
    assert [axes.get_xlim() for axes in figure.axes][-1] == pytest.approx((-9, 9))


def test_wrong_scenes_are_marked(tmp_path: Path) -> None:
    picture = np.zeros((4, 4, 3), np.float32)
    samples = [SceneSample("a", picture, "sea", "sea", 0.9, True), SceneSample("b", None, "sea", "land", 0.6, False)]
    figure = scene_figure(samples, "test samples")
    assert [tuple(axes.spines["left"].get_edgecolor()[:3]) == to_rgb(MARK) for axes in figure.axes] == [False, True]
    assert figure.texts[0].get_text() == "test samples: 1 of 2 right"
    assert "predicted: land (0.60)" in [text.get_text() for text in figure.axes[1].texts]
    figure.savefig(tmp_path / "x.png")


def test_legends_of_many_classes_list_those_that_are_seen() -> None:
    label = np.array([[0, 7], [11, -1]])
    sample = MapSample("x", (), label, np.array([[3, 7], [11, 0]]), label == -1)
    legend = segmentation_figure(sample, [f"class {c}" for c in range(12)]).axes[0].get_legend()
    assert legend is not None
    expected = ["class 0", "class 3", "class 7", "class 11", "no label"]
    assert [text.get_text() for text in legend.get_texts()] == expected
