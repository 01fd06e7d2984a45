"""The questions that an export answers: what is at a place, what is alike, which groups, how two differ."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eo_core.arguments import one_of
from eo_embed.reading.items import KINDS, Kind, grid_items, in_order, places_of_rows, pooled_items
from eo_embed.reading.places import place_table
from eo_embed.reading.sampling import sample
from eo_embed.reading.similar import Query, asked, nearest
from eo_embed.reading.vectors import Metric, Vectors, rows_of_layer

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

    from eo_embed.reading.comparing import Comparison
    from eo_embed.reading.places import Places


class Questions(ABC):
    """What can be asked of pooled vectors and grids, wherever they come from."""

    path: Path

    @property
    @abstractmethod
    def pooled(self) -> gpd.GeoDataFrame | None:
        """Pooled vectors, one row for each id and layer, in EPSG:4326."""

    @abstractmethod
    def grids_of(self, layer: str = "") -> Mapping[str, Callable[[], xr.DataArray]]:
        """Return by id what reads the grids of a layer."""

    def sample(
        self,
        places: Places,
        layer: str = "",
        of: Kind | None = None,
        ids: Sequence[str] | None = None,
    ) -> gpd.GeoDataFrame:
        """Return the vectors at points, and the mean vectors of areas.

        A point takes the cell that it falls in, an area the mean over the cells that it touches, weighted by the ground
        that it covers of each. A pooled vector counts for all of its sample's ground. Cells without data are passed
        over. Where items overlap, the first one in ``ids`` that has data counts.

        Parameters
        ----------
        places : GeoDataFrame, GeoSeries, str, Path, or sequence of (float, float)
            Points and areas in any CRS: a table, the path of a vector file, or pairs of longitude and latitude.
        layer : str
            One of ``layers``; may be left out where there is only one.
        of : {'grid', 'pooled'}, optional
            What is read; by default grids where there are any.
        ids : sequence of str, optional
            Items that are read, the most important one first; by default all, sorted.

        Returns
        -------
        GeoDataFrame
            The rows of ``places``, each of them, with the columns ``item``, ``embedding`` (float32 ``(D,)`` or
            ``None``), ``share`` (of the area that has data, 0..1) and ``note`` (why there is no vector, or empty).

        Raises
        ------
        ValueError
            If the places cannot be read or have no CRS, nothing has a georeference, or for an unknown id or layer.
        """
        table = place_table(places)
        grids = self.grids_of(layer)
        kind = one_of("of", of, (*KINDS, None)) or ("grid" if grids else "pooled")
        if kind == "grid" and grids:
            rows = None if self.pooled is None else self._rows(layer)
            items = grid_items(grids, {} if rows is None else places_of_rows(rows))
        else:
            items = pooled_items(self._rows(layer)) if kind == "pooled" else []
        return sample(table, in_order(items, ids, self.path))

    def similar(
        self,
        query: Query,
        k: int = 10,
        *,
        negatives: Query = (),
        layer: str = "",
        metric: Metric = "cosine",
        with_query: bool = False,
    ) -> gpd.GeoDataFrame:
        """Return the ``k`` pooled vectors that are most like the query: exact, all of them are compared.

        The score of a vector is its mean similarity to the query less its mean similarity to the negatives. The
        similarity is the cosine of the angle, -1..1, or the distance with a minus before it. Of equal scores the id
        that sorts first comes first. The first question puts all vectors side by side, a second copy in memory; a
        million of 768 numbers are then searched in a second or two (`benchmarks/similar.py`).

        Parameters
        ----------
        query, negatives : str, ndarray, or sequence of them
            Ids or vectors to be like, and to be unlike.
        k : int
            How many.
        layer : str
            One of ``layers``; may be left out where there is only one.
        metric : {'cosine', 'euclidean'}
            What is compared.
        with_query : bool
            Whether ids of the query and the negatives may be found.

        Returns
        -------
        GeoDataFrame
            Rows of ``pooled``, best first, with the column ``score``.

        Raises
        ------
        ValueError
            If there are no vectors or no ``k`` to find, for an unknown id, metric or layer, or a vector that is no
            query: of another width, with NaN, or of zeros.
        """
        rows, vectors = self._vectors(layer)
        question, named = asked(vectors, query, negatives, metric)
        numbers, scores = nearest(vectors, question, k, () if with_query else named)
        return rows.iloc[numbers].assign(score=scores).reset_index(drop=True)

    def cluster(self, k: int, layer: str = "", metric: Metric = "cosine", seed: int = 0) -> gpd.GeoDataFrame:
        """Return the rows of ``pooled`` with the column ``cluster``, by `eo_embed.reading.clusters.Clusters`.

        Cluster 0 is the largest one; -1 is a vector that cannot be compared.
        """
        from eo_embed.reading.clusters import Clusters  # noqa: PLC0415

        rows, vectors = self._vectors(layer)
        values = vectors.rows(slice(None))
        return rows.assign(cluster=Clusters(values, k, metric, seed).of(values))

    def cluster_grids(
        self, k: int, layer: str = "", metric: Metric = "cosine", seed: int = 0
    ) -> Iterator[xr.DataArray]:
        """Yield the clusters of the cells of each grid, one fit for all of them.

        Int32 ``(y, x)`` with the coordinates and attributes of `grid`; -1 is no-data. A large export is fitted on a
        sample of its cells; cluster 0 is the largest one of the sample.

        Raises
        ------
        ValueError
            If there are no grids, or ``k`` is not 1 to the number of different cells.
        """
        from eo_embed.reading.clusters import Clusters, sampled_cells  # noqa: PLC0415

        grids = self.grids_of(layer)
        if not grids:
            msg = f"{self.path} holds no grids to cluster. Export with output: grid or both, or use cluster()."
            raise ValueError(msg)
        cells = sum(int(np.prod(grid().shape[1:])) for grid in grids.values())
        clusters = Clusters(sampled_cells((grid().values for grid in grids.values()), cells, seed), k, metric, seed)
        for read in grids.values():
            grid = read()
            labels = clusters.of(grid.values.reshape(len(grid), -1).T).reshape(grid.shape[1:])
            yield grid[0].drop_vars("band").copy(data=labels).rename("cluster")

    def compare(self, other: Questions, k: int = 10, layer: str = "", other_layer: str = "") -> Comparison:
        """Return how alike the pooled vectors of this and another export are, over the ids that both have.

        Parameters
        ----------
        other : Export
            Of the same samples, or this one with another layer.
        k : int
            Number of nearest neighbours that are compared.
        layer, other_layer : str
            Layers here and there; may be left out where there is only one.

        Returns
        -------
        Comparison
            See `eo_embed.reading.comparing.Comparison`: debiased linear CKA, and the overlap of neighbours.

        Raises
        ------
        ValueError
            If fewer than four ids are common, or ``k`` is not 1 to their number less one.
        """
        from eo_embed.reading.comparing import compare  # noqa: PLC0415

        return compare(self._vectors(layer)[1], other._vectors(other_layer)[1], k)

    def _rows(self, layer: str) -> gpd.GeoDataFrame:
        return rows_of_layer(self.pooled, layer, self.path)

    @functools.cached_property
    def _asked(self) -> dict[str, tuple[gpd.GeoDataFrame, Vectors]]:
        return {}

    def _vectors(self, layer: str) -> tuple[gpd.GeoDataFrame, Vectors]:
        """Return the rows of a layer and their vectors, which are put side by side once: most of a question's time."""
        if layer not in self._asked:
            rows = self._rows(layer)
            self._asked[layer] = rows, Vectors.of(rows)
        return self._asked[layer]
