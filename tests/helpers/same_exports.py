"""Two exports compared: rows, grids and manifest, without what tells only when and where they ran."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from eo_embed import open_embeddings
from eo_embed.export.record.manifest import read_manifest

#: Of the manifest: what two runs with the same result may tell differently.
_OF_THE_RUN = ("processing:datetime", "provenance", "earlier_runs")
#: Of the provenance: what must be the same all the same.
_SAME_OF_PROVENANCE = ("checkpoint", "checkpoint_sha256", "software", "root", "notes")
#: Counts that tell which run did what, and so differ where one was interrupted.
_OF_ONE_RUN = ("done", "skipped", "cells")


def assert_same_exports(one: Path, other: Path, *, resumed: bool = False, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Check that two finished exports hold the same.

    Parameters
    ----------
    one, other : Path
        Their folders.
    resumed : bool
        Whether one was interrupted, so that its counts of what was done and skipped may differ.
    rtol, atol : float
        How much values may differ. By default they are equal, and so are all files that hold them.
    """
    exact = not (rtol or atol)
    assert_nothing_is_left(one)
    assert_nothing_is_left(other)
    assert manifest_content(one, resumed=resumed, exact=exact) == manifest_content(other, resumed=resumed, exact=exact)
    assert _failures(one) == _failures(other)
    assert_same_values(one, other, rtol=rtol, atol=atol)


def assert_same_values(one: Path, other: Path, *, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Check that two exports have the same vectors in the same order, and the same grids at the same places."""
    _assert_same_rows(one, other, rtol, atol)
    exports = [open_embeddings(folder) for folder in (one, other)]
    assert exports[0].ids == exports[1].ids
    assert exports[0].layers == exports[1].layers
    for layer in exports[0].layers:
        grids, others = (export.grids_of(layer) for export in exports)
        assert list(grids) == list(others)
        for name in grids:
            found, expected = grids[name](), others[name]()
            np.testing.assert_allclose(found.values, expected.values, rtol, atol, equal_nan=True, err_msg=name)
            assert found.attrs == expected.attrs, name
            assert all(np.array_equal(found[axis], expected[axis]) for axis in found.coords), name


def manifest_content(folder: Path, *, resumed: bool = False, exact: bool = True) -> dict[str, Any]:
    """What the manifest of a finished export says of it, whatever ran when and where.

    Parameters
    ----------
    folder : Path
        Of the export.
    resumed : bool
        Leave out what tells which run did what.
    exact : bool
        Whether sizes and digests of what was written count.
    """
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert content["state"] == "complete", folder
    kept = {key: value for key, value in content.items() if key not in _OF_THE_RUN}
    kept["provenance"] = {key: content["provenance"].get(key) for key in _SAME_OF_PROVENANCE}
    entries = list(open_items(folder))
    kept["inputs"] = entries if exact else [_without(entry, ("written",)) for entry in entries]
    left_out = (_OF_ONE_RUN if resumed else ()) + (() if exact else ("bytes",))
    kept["counts"] = _without(content["counts"], left_out)
    return kept if exact else _without(kept, ("written",))


def open_items(folder: Path) -> list[dict[str, Any]]:
    """The items of a finished export, wherever the manifest keeps them."""
    return list(read_manifest(folder).items())


def assert_nothing_is_left(folder: Path) -> None:
    """Check that nothing of a run lies in the folder of a finished export."""
    left = [path.name for path in folder.iterdir() if path.name in (".lock", "progress", "parts", "shards")]
    left += [path.relative_to(folder).as_posix() for path in folder.rglob(".partial-*")]
    assert not left, (folder, left)


def _assert_same_rows(one: Path, other: Path, rtol: float, atol: float) -> None:
    tables = [pq.read_table(file) for folder in (one, other) if (file := folder / "embeddings.parquet").is_file()]
    if not tables:
        return
    assert len(tables) == 2, "only one of the exports has vectors"
    found, expected = (table.drop_columns(["embedding"]) for table in tables)
    assert found.schema.equals(expected.schema, check_metadata=True)
    assert found.equals(expected)
    vectors, others = (np.array(table["embedding"].to_pylist()) for table in tables)
    np.testing.assert_allclose(vectors, others, rtol, atol, equal_nan=True)


def _failures(folder: Path) -> str:
    file = folder / "failures.csv"
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _without(content: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in names}
