"""An embedding whose parts do not fit together is refused before it reaches a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from affine import Affine

from eo_embed.writers.embedding import Embedding

Make = Callable[..., Embedding]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"pooled": None, "grid": None}, "needs a pooled vector or a grid"),
        ({"pooled": np.zeros(3)}, r"pooled must be float32 \(D,\), got float64 \(3,\)"),
        ({"pooled": np.zeros((1, 3), np.float32)}, r"pooled must be float32 \(D,\), got float32 \(1, 3\)"),
        ({"grid": np.zeros((4, 7, 5), np.float32)}, r"grid must be float32 \(D, \*\(5, 7\)\), got float32 \(4, 7, 5\)"),
        ({"valid": np.zeros((7, 5), np.float32)}, r"valid must have the shape of the grid, \(5, 7\), got \(7, 5\)"),
    ],
)
def test_parts_that_do_not_fit_are_refused(make_embedding: Make, parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"a/tile: .*{message}"):
        make_embedding(**parts)


def test_corners_go_clockwise_from_the_upper_left_also_if_rotated(make_embedding: Make) -> None:
    transform = Affine(10, 2, 100, 3, -10, 200)
    corners = [transform * corner for corner in ((0, 0), (7, 0), (7, 5), (0, 5))]
    assert make_embedding(transform=transform).corners == tuple(corners)
    assert make_embedding(transform=None).corners is None
