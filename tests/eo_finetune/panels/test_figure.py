"""Colours, errors and scores of a picture are those of the numbers behind it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from eo_finetune.panels.figure import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    TRUE_NEGATIVE,
    TRUE_POSITIVE,
    WRONG,
    MapSample,
    SceneSample,
    class_colours,
    class_scores,
    error_map,
    regression_figure,
    scene_figure,
    segmentation_figure,
    shortened,
    value_scores,
)


def test_ignored_pixels_are_no_errors() -> None:
    label = np.array([[0, 0, 1, 1, -1, -1]])
    said = np.array([[0, 1, 0, 1, 0, 1]])
    shown = error_map(label, said, label == -1, 2)[0]
    expected = [TRUE_NEGATIVE, FALSE_POSITIVE, FALSE_NEGATIVE, TRUE_POSITIVE]
    assert [tuple(colour) for colour in shown[:4]] == [to_rgb(colour) for colour in expected]
    assert all(len(set(colour)) == 1 for colour in shown[4:]), "grey"
    assert class_scores(label, said, label == -1, ["land", "water"]).startswith(
        "IoU of water 0.333, accuracy 0.500, 33.3%"
    )
    many = error_map(label, said, label == -1, 5)[0]
    assert [tuple(c) == to_rgb(WRONG) for c in many] == [False, True, True, False, False, False]


def test_scores_of_a_sample_without_the_class_or_without_labels() -> None:
    zeros, nowhere = np.zeros((2, 2), int), np.zeros((2, 2), bool)
    assert class_scores(zeros, zeros, nowhere, ["land", "water"]) == "no water, and none predicted, accuracy 1.000"
    assert class_scores(zeros, zeros, ~nowhere, ["land", "water"]) == "no pixel has a label"
    assert class_scores(zeros, zeros + 2, nowhere, ["a", "b", "c"]) == "mIoU 0.000 over 2 classes, accuracy 0.000"
    assert value_scores(zeros, zeros + 2.0, nowhere) == "RMSE 2, MAE 2, bias +2"
    assert value_scores(zeros, zeros + 2.0, ~nowhere) == "no pixel has a label"


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


@pytest.mark.parametrize("count", [2, 9, 18, 40])
def test_no_class_is_grey_and_no_two_are_alike(count: int) -> None:
    colours = class_colours(count)
    assert len(np.unique(colours.round(3), axis=0)) == count
    assert np.ptp(colours, axis=1).min() > 0.05


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
    assert [tuple(axes.spines["left"].get_edgecolor()[:3]) == to_rgb(WRONG) for axes in figure.axes] == [False, True]
    assert figure.texts[0].get_text() == "test samples: 1 of 2 right"
    assert "predicted: land (0.60)" in [text.get_text() for text in figure.axes[1].texts]
    figure.savefig(tmp_path / "x.png")


def test_long_names_keep_their_end() -> None:
    assert shortened("a" * 50 + "/chip_7.tif", 2, 10) == "...aaaaaa/chip_7.tif"
    assert shortened("chip", 2, 10) == "chip"
