"""Which sample of an export a label table means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import pandas as pd

#: Ends of file names that are no part of an id.
_RASTERS = frozenset((".tif", ".tiff", ".nc", ".npz", ".npy", ".h5", ".hdf5", ".zarr", ".jp2", ".png", ".jpg"))
_SHOWN = 3


def match_ids(wanted: Sequence[str], pooled: pd.DataFrame) -> list[str]:
    """Find the sample that each id of a label table means.

    That is the one of that id; else the one whose id, or the path of one of whose source files, ends like it, folder
    by folder and without the suffix of a raster.

    Parameters
    ----------
    wanted : sequence of str
        Ids of the label table.
    pooled : DataFrame
        Rows of an export, with ``id`` and ``source`` (list of files, or ``None``).

    Returns
    -------
    list of str
        An id of the export each, or an empty text where there is none.

    Raises
    ------
    ValueError
        If an id could mean several samples, or none is found at all.
    """
    known = set(pooled["id"])
    ends: dict[str, list[tuple[str, str]]] = {}
    for name, sources in zip(pooled["id"], pooled["source"], strict=True):
        for path in (name, *(_bare(str(source)) for source in (() if sources is None else sources))):
            ends.setdefault(path.rsplit("/", 1)[-1], []).append((path, name))
    found = []
    for text in wanted:
        candidates = {text} if text in known else _ending(ends, text)
        if len(candidates) > 1:
            msg = (
                f"The id {text!r} of the label table could mean {len(candidates)} samples: "
                f"{', '.join(sorted(candidates)[:_SHOWN])} ... Use the ids of the export."
            )
            raise ValueError(msg)
        found.append(next(iter(candidates), ""))
    if wanted and not any(found):
        msg = (
            f"None of the {len(wanted)} ids of the label table is in the export. Labels: "
            f"{', '.join(sorted(wanted)[:_SHOWN])}; export: {', '.join(sorted(known)[:_SHOWN])}."
        )
        raise ValueError(msg)
    return found


def _ending(ends: Mapping[str, list[tuple[str, str]]], text: str) -> set[str]:
    """Samples whose id or source file ends as the text does, folder by folder."""
    bare = _bare(text.replace("\\", "/"))
    paths = ends.get(bare.rsplit("/", 1)[-1], [])
    return {name for path, name in paths if f"/{path}".endswith(f"/{bare.lstrip('/')}")}


def _bare(path: str) -> str:
    """Path without the suffix of a raster; ``tile.v1`` has none."""
    plain = PurePosixPath(path)
    return str(plain.with_suffix("") if plain.suffix.lower() in _RASTERS else plain)
