"""Panels keep their size and their names, however many there are."""

from __future__ import annotations

import numpy as np
import pytest

from eo_finetune.panels.row import PANEL, Row, shortened


@pytest.mark.parametrize(("count", "aspect"), [(3, 1.0), (5, 0.5), (4, 3.0)])
def test_a_panel_has_the_same_size_in_every_picture(count: int, aspect: float) -> None:
    row = Row(count, aspect, 0.5)
    axes = row.draw([(f"panel {i}", np.zeros((4, 4, 3))) for i in range(count)])
    width, height = row.figure.get_size_inches()
    for own in axes:
        box = own.get_position()
        assert box.height * height == pytest.approx(aspect * box.width * width)
        assert box.width * width == pytest.approx(PANEL * min(1, 1.5 / aspect))
    assert [own.get_title() for own in axes] == [f"panel {i}" for i in range(count)]


def test_long_names_keep_their_end() -> None:
    assert shortened("a" * 50 + "/chip_7.tif", 2, 10) == "...aaaaaa/chip_7.tif"
    assert shortened("chip", 2, 10) == "chip"
