"""Where the files of an export lie, and what each file says of itself."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from affine import Affine

from eo_core.paths import fault_of_name, path_of_name
from eo_embed.writers.embedding import Embedding

MANIFEST = "manifest.json"
GRIDS = "grids"
PARTS = "parts"
POOLED = "embeddings.parquet"


def item_path(folder: Path, embedding_id: str, layer: str, suffix: str) -> Path:
    """Return ``<folder>/<layer or nothing>/<id><suffix>``; a ``/`` in the id is a folder.

    Raises
    ------
    ValueError
        If the id or the layer is empty, leaves the folder, or is no name of a file.
    """
    if "/" in layer or (layer and fault_of_name(layer)):
        msg = f"The layer {layer!r} cannot name a folder. Expected a name such as layer_11."
        raise ValueError(msg)
    return path_of_name(folder / layer, embedding_id, suffix)


def attributes_of(embedding: Embedding, path: Path, manifest: Path, dtype: str) -> dict[str, str]:
    """Return what the file of an embedding says of itself, see `tags_of`."""
    return tags_of(
        id=embedding.id,
        layer=embedding.layer,
        dates=[day.isoformat() for day in embedding.dates],
        sources=embedding.sources,
        valid_fraction=embedding.valid_fraction,
        dtype=dtype,
        manifest=manifest,
        path=path,
    )


def tags_of(
    *,
    id: str,  # noqa: A002  (the word of every export's column)
    layer: str,
    dates: Sequence[str],
    sources: Sequence[str],
    valid_fraction: float,
    dtype: str,
    manifest: Path,
    path: Path,
) -> dict[str, str]:
    """Return what the file at ``path`` says of itself, as text.

    ``manifest`` is relative to the folder that the file lies in, ``dates`` are ISO dates with ``;`` between them, and
    ``sources`` is a JSON list, as a file name may hold any separator.
    """
    return {
        "id": id,
        "layer": layer,
        "dates": ";".join(dates),
        "sources": json.dumps(sources, ensure_ascii=False),
        "valid_fraction": repr(float(valid_fraction)),
        "quantisation": dtype,
        "manifest": PurePosixPath(os.path.relpath(manifest, path.parent)).as_posix(),
    }


def parsed_attributes(attributes: Mapping[str, object]) -> dict[str, object]:
    """Return the values behind :func:`attributes_of`, without the link to the manifest.

    Raises
    ------
    ValueError
        If the file says nothing of itself, so it is no embedding of ours.
    """
    missing = [name for name in ("id", "quantisation") if name not in attributes]
    if missing:
        msg = f"The file has no {', '.join(missing)} among its attributes: eo_embed has not written it."
        raise ValueError(msg)
    dates = str(attributes.get("dates", ""))
    return {
        "id": str(attributes["id"]),
        # GDAL drops empty tags.
        "layer": str(attributes.get("layer", "")),
        "dates": tuple(dates.split(";")) if dates else (),
        "sources": tuple(json.loads(str(attributes.get("sources", "[]")))),
        "valid_fraction": float(str(attributes.get("valid_fraction", "nan"))),
        "quantisation": str(attributes["quantisation"]),
    }


def grid_of(embedding: Embedding) -> np.ndarray:
    """Return the grid of an embedding.

    Raises
    ------
    ValueError
        If it has none.
    """
    if embedding.grid is None:
        msg = f"{embedding.id}: there is no grid to write; pooled vectors go to GeoParquet (output: pooled)."
        raise ValueError(msg)
    return embedding.grid


def band_names(embedding: Embedding, count: int) -> tuple[str, ...]:
    """Return a name for each band: the embedding's own, or ``e000`` and so on.

    Raises
    ------
    ValueError
        If it has another number of names.
    """
    if not embedding.names:
        return tuple(f"e{i:03d}" for i in range(count))
    if len(embedding.names) != count:
        msg = f"{embedding.id}: expected {count} names, one for each band, or none; got {len(embedding.names)}."
        raise ValueError(msg)
    return embedding.names


def cell_centres(transform: Affine, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return the map coordinates of the cell centres, float64.

    ``x`` is ``(w,)`` and ``y`` is ``(h,)``; of a rotated grid both need two axes and are named ``xc`` and ``yc``,
    ``(h, w)``.
    """
    rows, columns = np.arange(shape[0]) + 0.5, np.arange(shape[1]) + 0.5
    if transform.b == 0 and transform.d == 0:
        return {"x": transform.c + transform.a * columns, "y": transform.f + transform.e * rows}
    x = transform.c + transform.a * columns + transform.b * rows[:, None]
    y = transform.f + transform.d * columns + transform.e * rows[:, None]
    return {"xc": x, "yc": y}
