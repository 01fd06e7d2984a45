"""Grids as npz: the place as plain arrays, and whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eo_embed.writers.embedding import Embedding
from eo_embed.writers.npz import NpzWriter

Make = Callable[..., Embedding]
LEFT, TOP = 399960.1234567891, 5300040.9876543211


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_npz_has_the_place_as_plain_arrays(make_embedding: Make, tmp_path: Path, utm_wkt: str) -> None:
    embedding = make_embedding("høyde/野/tile", layer="layer_1")
    path = NpzWriter(tmp_path).write(embedding)
    assert path == tmp_path / "grids/layer_1/høyde/野/tile.npz"
    with np.load(path) as file:
        np.testing.assert_array_equal(file["embedding"], embedding.grid)
        assert file["transform"].tolist() == [160, 0, LEFT, 0, -160, TOP]
        assert file["x"][0] == LEFT + 80
        assert str(file["crs"]) == utm_wkt
        assert str(file["id"]) == "høyde/野/tile"
        assert file["names"].tolist() == ["e000", "e001", "e002", "e003"]


def test_a_failed_npz_leaves_nothing(make_embedding: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, _: Any) -> None:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space left on device: .*tile.npz"):
        NpzWriter(tmp_path).write(make_embedding())
    assert _files(tmp_path) == []
