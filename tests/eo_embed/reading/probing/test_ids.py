"""An id of a label table means one sample, or none, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from eo_embed.export.opening import Export
from eo_embed.reading.probing.table import Columns, Labelled, join
from eo_embed.writers.embedding import Embedding

Make = Callable[..., Embedding]


def _joined(export: Export, rows: dict[str, Any], **columns: Any) -> Labelled:
    return join(export, pd.DataFrame(rows), Columns(**columns), "classification")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("tile_1", "a/tile_1"),
        ("tile_1.tif", "a/tile_1"),
        ("c.v1.tif", "c.v1"),
        ("b/tile_2.tif", "b/tile_2"),
        ("tile_1_S2Hand", "a/tile_1"),
        ("/data/s1/b/tile_2_S1Hand.tif", "b/tile_2"),
        (r"b\tile_2.TIF", "b/tile_2"),
    ],
)
def test_file_names_stand_for_ids_if_they_are_clear(opened: Callable[..., Export], given: str, meant: str) -> None:
    assert _joined(opened(), {"id": [given], "label": ["x"]}).ids.tolist() == [meant]


def test_a_file_of_another_folder_is_not_taken(opened: Callable[..., Export]) -> None:
    found = _joined(opened(), {"id": ["z/tile_1", "ile_1", "c", "b/tile_2"], "label": ["x"] * 4})
    assert found.ids.tolist() == ["b/tile_2"]
    assert found.counts["labels without embedding"] == 3


def test_an_exact_id_wins_over_a_file_name(opened: Callable[..., Export]) -> None:
    assert _joined(opened(("tile", "a/tile")), {"id": ["tile"], "label": ["x"]}).ids.tolist() == ["tile"]


def test_ambiguous_ids_are_refused(opened: Callable[..., Export]) -> None:
    with pytest.raises(ValueError, match="'tile_2.tif' .* could mean 2 samples: a/tile_2, b/tile_2"):
        _joined(opened(), {"id": ["tile_2.tif"], "label": ["x"]})


def test_a_table_of_another_data_set_is_refused(opened: Callable[..., Export]) -> None:
    with pytest.raises(ValueError, match="None of the 2 ids .* Labels: x1, x2; export: a/tile_1, a/tile_2, b/tile_2"):
        _joined(opened(), {"id": ["x1", "x2"], "label": ["x", "y"]})
