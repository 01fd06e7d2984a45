"""The pooled vectors of one layer, as the questions to an export take them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from eo_core.arguments import one_of
from eo_core.text import nearest

if TYPE_CHECKING:
    import geopandas as gpd

#: How vectors are compared: by direction, or by distance.
Metric = Literal["cosine", "euclidean"]
METRICS: tuple[Metric, ...] = get_args(Metric)
#: Numbers that are worked on at once: 32 MB of float32.
_BLOCK_VALUES = 1 << 23
#: Ids among which the nearest one to a wrong one is looked for.
_MOST_COMPARED = 50_000


def rows_of_layer(pooled: gpd.GeoDataFrame | None, layer: str, where: object) -> gpd.GeoDataFrame:
    """Return the rows of one layer of a table of pooled vectors.

    Parameters
    ----------
    pooled : GeoDataFrame or None
        With the columns ``layer`` and ``embedding``.
    layer : str
        Name of the layer; may be empty where there is only one.
    where : object
        What the table belongs to, for errors.

    Raises
    ------
    ValueError
        If there are no vectors, or no such layer.
    """
    if pooled is None or not len(pooled):
        msg = f"{where} holds no pooled vectors. Export with output: pooled or both."
        raise ValueError(msg)
    return pooled[pooled["layer"] == chosen_layer(sorted(set(pooled["layer"])), layer)].reset_index(drop=True)


def chosen_layer(layers: Sequence[str], layer: str) -> str:
    """Return the layer that is meant: the named one, or the only one.

    Raises
    ------
    ValueError
        If there is no such layer, or there are several and none is named.
    """
    wanted = layers[0] if not layer and len(layers) == 1 else layer
    if wanted not in layers:
        msg = f"Expected one of the layers {', '.join(map(repr, layers)) or 'none'}, got {layer!r}. State it as layer."
        raise ValueError(msg)
    return wanted


@dataclass(frozen=True, eq=False)
class Vectors:
    """Ids and their vectors; those that lie apart are put side by side by blocks.

    Parameters
    ----------
    ids : sequence of str
        One for each vector, all different.
    values : sequence of ndarray, or ndarray
        Float32 ``(D,)`` each, or ``(n, D)``.

    Raises
    ------
    ValueError
        If there is no vector, or they differ in their width.
    """

    ids: Sequence[str]
    values: Sequence[np.ndarray] | np.ndarray

    def __post_init__(self) -> None:
        """Check the widths."""
        if isinstance(self.values, np.ndarray) and self.values.ndim == 2 and len(self.values) == len(self.ids) > 0:
            return
        widths = {len(value): name for name, value in zip(self.ids, self.values, strict=True)}
        if len(widths) != 1:
            found = ", ".join(f"{width} ({name})" for width, name in sorted(widths.items())) or "no vector"
            msg = f"Expected vectors of one width, got {found}. State the layer, or export again."
            raise ValueError(msg)

    @classmethod
    def of(cls, rows: gpd.GeoDataFrame) -> Vectors:
        """Take the columns ``id`` and ``embedding`` of a table, the vectors side by side."""
        listed = cls(rows["id"].tolist(), rows["embedding"].tolist())
        return cls(listed.ids, listed.rows(slice(None)))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return len(self.values[0])

    def rows(self, chosen: Sequence[int] | np.ndarray | slice) -> np.ndarray:
        """Return float32 ``(n, D)`` of some of the vectors."""
        if isinstance(self.values, np.ndarray):
            return np.asarray(self.values[chosen])
        picked = self.values[chosen] if isinstance(chosen, slice) else [self.values[int(i)] for i in chosen]
        return np.stack(picked).astype(np.float32, copy=False) if len(picked) else np.empty((0, self.width), np.float32)

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (number of the first vector, float32 ``(m, D)``)."""
        size = max(1, _BLOCK_VALUES // self.width)
        for start in range(0, len(self), size):
            yield start, self.rows(slice(start, start + size))

    def number_of(self, name: str) -> int:
        """Return the number of an id.

        Raises
        ------
        ValueError
            If there is no such id; the message names the nearest ones.
        """
        try:
            return self.ids.index(name)
        except ValueError:
            # Among a million ids the nearest one would take minutes to find.
            near = nearest(name, self.ids, cutoff=0.3) if len(self) < _MOST_COMPARED else []
            shown = ", ".join(near or self.ids[:3])
            msg = f"There is no vector of id {name!r} among {len(self)}; nearest ids: {shown}."
            raise ValueError(msg) from None

    def usable(self, metric: Metric) -> np.ndarray:
        """Tell of each vector whether it can be compared, bool ``(n,)``."""
        one_of("metric", metric, METRICS)
        return np.concatenate([comparable(lengths(block), metric) for _, block in self.blocks()])


def lengths(vectors: np.ndarray) -> np.ndarray:
    """Return the lengths ``(n,)`` of vectors ``(n, D)``."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.sqrt(np.einsum("ij,ij->i", vectors, vectors))


def comparable(found: np.ndarray, metric: Metric) -> np.ndarray:
    """Tell by their lengths which vectors are finite and, where directions are compared, have one."""
    return np.isfinite(found) & ((found > 0) | (metric != "cosine"))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors ``(n, D)`` to length one; those of length zero stay as they are."""
    found = lengths(vectors)[:, None]
    return vectors / np.where(found > 0, found, 1)
