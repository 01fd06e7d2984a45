"""Exports whose values and places are known, in several forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from placed_exports import placed, write_export
from published_tiles import CELL, LEFT, TOP, values


@pytest.fixture
def make_tiles(tmp_path: Path) -> Callable[..., Path]:
    """Return a maker of an export of 20 x 20 cells at stated rows and columns of one lattice."""

    def make(
        at: Sequence[tuple[int, int]] = ((0, 0), (0, 20), (40, 60)),
        crs: str = "EPSG:32633",
        days: Sequence[date | None] = (),
        **other: Any,
    ) -> Path:
        items = []
        for number, (top, left) in enumerate(at):
            grid = values(top, left)
            grid[:, 3, 4] = np.nan
            day = days[number] if days else date(2024, 5, 1 + number)
            place = Affine(CELL, 0, LEFT + CELL * left, 0, -CELL, TOP - CELL * top)
            items.append(
                placed(
                    f"t/{number}", grid, place, crs, pooled=np.nanmean(grid, axis=(1, 2)),
                    dates=() if day is None else (day,), sources=(f"in/{number}.tif",), **other,
                )
            )  # fmt: skip
        write_export(tmp_path / "export", items)
        return tmp_path / "export"

    return make
