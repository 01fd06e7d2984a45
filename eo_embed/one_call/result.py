"""What `eo_embed.embed` gives: one embedding, or many."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eo_core.text import nearest
from eo_embed.one_call.saving import Encoded, save
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.layout import cell_centres

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr
    from affine import Affine
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Embedded:
    """One embedding.

    Parameters
    ----------
    layers : mapping of str to Embedding
        By name of the layer; an empty name if there is only one.
    provenance : mapping
        What it was made of and by: encoder, weights, input, dates, preprocessing, versions. Plain JSON values.
    encoded : sequence of Encoded
        For `save`: one, or one for each tile.
    """

    layers: Mapping[str, Embedding]
    provenance: Mapping[str, Any]
    encoded: Sequence[Encoded] = field(repr=False)

    def __repr__(self) -> str:
        """Return what there is, in a line."""
        own = self._first
        parts = [f"id={self.id!r}"]
        parts += [f"vector ({len(own.pooled)},)"] if own.pooled is not None else []
        parts += [f"grid {own.grid.shape}"] if own.grid is not None else []
        parts += [f"layers {', '.join(self.layers)}"] if len(self.layers) > 1 else []
        days = f"{own.dates[0]} to {own.dates[-1]}" if len(own.dates) > 1 else "".join(map(str, own.dates))
        return f"Embedded({', '.join([*parts, days or 'no dates', f'{own.valid_fraction:.0%} observed'])})"

    @property
    def id(self) -> str:
        """Name of the place, file or array."""
        return self._first.id

    @property
    def vector(self) -> np.ndarray:
        """The vector, float32 ``(D,)``.

        Raises
        ------
        ValueError
            If only a grid was asked for, or there are several layers.
        """
        found = self._only("vector").pooled
        if found is None:
            msg = 'There is no vector: embed(..., output="grid") was asked for. Use output="both" or "pooled".'
            raise ValueError(msg)
        return found

    @property
    def grid(self) -> xr.DataArray:
        """The map of vectors, float32 ``(d, y, x)`` with its place, NaN in cells in which nothing was observed.

        Raises
        ------
        ValueError
            If only a vector was asked for, or there are several layers.
        """
        found = self._only("grid")
        if found.grid is None:
            msg = 'There is no grid: embed(..., output="pooled") was asked for. Use output="both" or "grid".'
            raise ValueError(msg)
        return _as_array(found)

    @property
    def valid(self) -> np.ndarray | None:
        """Share of each cell's pixels that were observed, float32 ``(h, w)``, 0..1."""
        return self._first.valid

    @property
    def dates(self) -> tuple[date, ...]:
        """Dates of the frames that were encoded."""
        return self._first.dates

    @property
    def crs(self) -> str | None:
        """CRS of the grid as WKT; ``None`` without a place on the map."""
        return self._first.crs

    @property
    def transform(self) -> Affine | None:
        """From (column, row) of the grid's cells to map coordinates."""
        return self._first.transform

    def layer(self, name: str) -> Embedded:
        """Return the embedding of one layer.

        Raises
        ------
        ValueError
            If there is no such layer.
        """
        if name not in self.layers:
            msg = f"There is no layer {name!r}; there are {', '.join(map(repr, self.layers))}."
            raise ValueError(msg)
        number = list(self.layers).index(name)
        return replace(self, layers={name: self.layers[name]}, encoded=[own.of_layer(number) for own in self.encoded])

    def save(self, folder: str | Path, **settings: Any) -> Path:  # noqa: ANN401
        """Write the embedding to a folder, as an export that `eo_embed.open_embeddings` reads.

        Parameters
        ----------
        folder : str or Path
            New, or with the same embedding.
        **settings
            Fields of `eo_embed.ExportSettings`: ``grid_format``, ``dtype``, ``overwrite`` ...

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        ValueError
            If the folder holds another export, or its format cannot hold the grid.
        """
        return save(self.encoded, Path(folder), settings)

    def plot(self) -> Figure:
        """Draw the grid: its three principal components as colours, with coordinates.

        Raises
        ------
        ValueError
            If there is no grid.
        """
        from eo_embed.pictures.plot import plot  # noqa: PLC0415

        return plot(self.grid, self.id, self.dates)

    @property
    def _first(self) -> Embedding:
        return next(iter(self.layers.values()))

    def _only(self, what: str) -> Embedding:
        if len(self.layers) > 1:
            names = ", ".join(map(repr, self.layers))
            msg = f"There are several layers ({names}). Say which: embedded.layer({next(iter(self.layers))!r}).{what}."
            raise ValueError(msg)
        return self._first


@dataclass(frozen=True, eq=False)
class EmbeddedPlaces(Sequence[Embedded]):
    """Embeddings of many places, in memory.

    Parameters
    ----------
    entries : sequence of Embedded
        Those that worked, in the order of the places.
    failures : mapping of str to str
        Reason by id of those that did not.
    """

    entries: Sequence[Embedded]
    failures: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.entries)

    def __getitem__(self, key: int | str | slice) -> Any:  # noqa: ANN401
        """Return one by its number or id, or several by a slice.

        Raises
        ------
        ValueError
            For an id that is not there; one that failed is named with its reason.
        """
        if not isinstance(key, str):
            return self.entries[key]
        found = next((entry for entry in self.entries if entry.id == key), None)
        if found is not None:
            return found
        if key in self.failures:
            msg = f"{key!r} failed: {self.failures[key]}"
        else:
            near = nearest(key, [entry.id for entry in self.entries])
            msg = f"There is no embedding of {key!r}. Nearest ids: {', '.join(near) or 'none'}."
        raise ValueError(msg)

    def __iter__(self) -> Iterator[Embedded]:
        """Go through them in order."""
        return iter(self.entries)

    def __repr__(self) -> str:
        """Return how many there are."""
        failed = f", {len(self.failures)} failed (see failures)" if self.failures else ""
        return f"EmbeddedPlaces({len(self)} embeddings{failed})"

    @functools.cached_property
    def pooled(self) -> gpd.GeoDataFrame:
        """One row for each id and layer in EPSG:4326, as `eo_embed.Export.pooled` has it."""
        from eo_embed.writers.geoparquet import table_of  # noqa: PLC0415

        return table_of([own for entry in self.entries for own in entry.layers.values()])

    def save(self, folder: str | Path, **settings: Any) -> Path:  # noqa: ANN401
        """Write all to one folder, as `Embedded.save`.

        Raises
        ------
        ValueError
            If there are none, they were made with different settings, or as `Embedded.save`.
        """
        return save([own for entry in self.entries for own in entry.encoded], Path(folder), settings)


def _as_array(own: Embedding) -> xr.DataArray:
    import xarray as xr  # noqa: PLC0415

    values = np.asarray(own.grid)
    coordinates: dict[str, Any] = {}
    if own.transform is not None:
        for name, places in cell_centres(own.transform, (values.shape[1], values.shape[2])).items():
            coordinates[name] = ((name,) if places.ndim == 1 else ("y", "x"), places)
    attributes = {
        "id": own.id,
        "layer": own.layer,
        "crs": own.crs,
        "transform": own.transform,
        "dates": [day.isoformat() for day in own.dates],
        "sources": list(own.sources),
        "valid_fraction": own.valid_fraction,
    }
    return xr.DataArray(values, coordinates, ("d", "y", "x"), "embedding", attributes)
