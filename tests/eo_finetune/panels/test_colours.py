"""Colours tell classes and errors apart, for all who see them, and none of them means "no label"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from eo_finetune.panels.colours import (
    CORRECT,
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    NO_LABEL,
    TRUE_NEGATIVE,
    TRUE_POSITIVE,
    WRONG,
    class_colours,
    error_map,
)

#: What is left of linear RGB without one kind of cones (Machado, Oliveira and Fernandes 2009, severity 1).
SEEN = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
#: From linear sRGB to CIE XYZ, by the white point of D65.
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_XYZ /= _XYZ.sum(axis=1, keepdims=True)


def nearest(colours: Sequence[object] | np.ndarray, sight: str) -> float:
    """Least distance in CIELAB (1976) between any two colours: 2.3 can just be told, 10 at a glance."""
    given = np.array([to_rgb(colour) for colour in colours])  # type: ignore[arg-type]
    linear = np.where(given <= 0.04045, given / 12.92, ((given + 0.055) / 1.055) ** 2.4)
    xyz = (linear @ np.transpose(SEEN[sight])).clip(0, 1) @ _XYZ.T
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)
    far = np.linalg.norm(lab[:, None] - lab, axis=-1)
    return float(far[np.triu_indices(len(far), 1)].min())


def test_ignored_pixels_are_no_errors() -> None:
    label = np.array([[0, 0, 1, 1, -1, -1]])
    said = np.array([[0, 1, 0, 1, 0, 1]])
    shown = error_map(label, said, label == -1, 2)[0]
    expected = [TRUE_NEGATIVE, FALSE_POSITIVE, FALSE_NEGATIVE, TRUE_POSITIVE]
    assert [tuple(colour) for colour in shown[:4]] == [to_rgb(colour) for colour in expected]
    assert all(len(set(colour)) == 1 for colour in shown[4:]), "grey"
    many = error_map(label, said, label == -1, 5)[0]
    assert [tuple(c) == to_rgb(WRONG) for c in many] == [False, True, True, False, False, False]


@pytest.mark.parametrize("count", [2, 9, 18, 40])
def test_no_class_is_grey_and_no_two_are_alike(count: int) -> None:
    colours = class_colours(count)
    assert len(np.unique(colours.round(3), axis=0)) == count
    assert np.ptp(colours, axis=1).min() > 0.05


def test_the_measure_finds_red_beside_green() -> None:
    red_and_green = ["#d62728", "#2ca02c"]
    assert nearest(red_and_green, "all cones") > 100
    assert nearest(red_and_green, "deuteranopia") < 40
    assert nearest(["#ffffff", "#000000"], "tritanopia") == pytest.approx(100, abs=0.5)


@pytest.mark.parametrize("sight", SEEN)
def test_the_colour_blind_tell_errors_apart(sight: str) -> None:
    of_two = [TRUE_NEGATIVE, TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE]
    assert nearest(of_two, sight) > 15
    assert nearest([CORRECT, WRONG, *NO_LABEL[:1]], sight) > 15


@pytest.mark.parametrize("sight", SEEN)
@pytest.mark.parametrize("count", [2, 3, 6, 9])
def test_the_colour_blind_tell_classes_apart_and_no_class_is_an_error(count: int, sight: str) -> None:
    classes = list(class_colours(count))
    assert nearest(classes, sight) > 8
    errors = [FALSE_POSITIVE, FALSE_NEGATIVE] if count == 2 else [WRONG]
    assert all(nearest([error, colour], sight) > 15 for error in errors for colour in classes)
