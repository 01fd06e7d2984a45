"""Colours tell classes and errors apart, and none of them means "no label"."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from eo_finetune.panels.colours import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    TRUE_NEGATIVE,
    TRUE_POSITIVE,
    WRONG,
    class_colours,
    error_map,
)


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
