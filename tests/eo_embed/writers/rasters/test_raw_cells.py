"""Cells of a raw file: each number where GDAL is told that it is, in groups of bands and planes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eo_embed.writers.rasters.raw_cells import RawCells


def test_numbers_lie_where_their_offset_says_in_groups_that_no_plane_shares(tmp_path: Path) -> None:
    # Two planes of 19 bands: groups of 16 and 3 bands each, of 5 x 4 cells.
    cells = RawCells(tmp_path / "raw", (38, 5, 4), "float32", planes=2)
    assert cells.groups == [range(16), range(16, 19), range(19, 35), range(35, 38)]
    cells.create()
    values = np.arange(38 * 20, dtype=np.float32).reshape(38, 5, 4)
    for first in (0, 19):
        for rows, columns in ((slice(0, 2), slice(0, 4)), (slice(2, 5), slice(0, 3)), (slice(2, 5), slice(3, 4))):
            cells.write(values[first : first + 19, rows, columns], rows.start, columns.start, first)
    found = np.fromfile(cells.path, np.float32)
    for band, row, column in ((0, 0, 1), (15, 4, 3), (16, 0, 0), (18, 3, 2), (19, 1, 1), (37, 4, 3)):
        assert found[cells.offset(band, row, column) // 4] == values[band, row, column]
    assert cells.offset(17, 2, 3) == (16 * 20 + (2 * 4 + 3) * 3 + 1) * 4
    read = np.zeros_like(values)
    for group, first, rows in cells.blocks(2):
        read[group, first : first + rows.shape[1]] = rows
    np.testing.assert_array_equal(read, values)


def test_a_file_that_is_too_short_is_no_zeros(tmp_path: Path) -> None:
    cells = RawCells(tmp_path / "raw", (3, 5, 4), "float32")
    cells.create()
    cells.path.write_bytes(cells.path.read_bytes()[:-4])
    with pytest.raises(OSError, match="shorter"):
        list(cells.blocks())
