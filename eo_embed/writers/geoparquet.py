"""Pooled vectors as GeoParquet 1.1: one file for each batch while the export runs, one file at its end."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from pyproj import CRS

from eo_core.files import write_file
from eo_data.raster.footprint import Corners, centres, crs_name, footprints
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.layout import PARTS

if TYPE_CHECKING:
    import geopandas as gpd

_PART = re.compile(r"part-(\d+)-(\d+)\.parquet")
_BOX = ("xmin", "ymin", "xmax", "ymax")
#: Of all files of vectors.
COMPRESSION = "zstd"


def schema(dim: int) -> pa.Schema:
    """Return the columns of a file of vectors of ``dim`` numbers."""
    instant = pa.timestamp("ms", tz="UTC")
    columns = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("layer", pa.string(), nullable=False),
        ("geometry", pa.binary()),
        ("bbox", pa.struct([(name, pa.float64()) for name in _BOX])),
        ("datetime", instant),
        # The same under the name that Major TOM gives it.
        ("timestamp", instant),
        ("start_datetime", instant),
        ("end_datetime", instant),
        pa.field("embedding", pa.list_(pa.float32(), dim), nullable=False),
        ("source", pa.list_(pa.string())),
        ("valid_fraction", pa.float64()),
        ("centre_lat", pa.float64()),
        ("centre_lon", pa.float64()),
        ("crs", pa.string()),
        ("proj_transform", pa.list_(pa.float64())),
        ("proj_shape", pa.list_(pa.int32())),
    ]
    return pa.schema(columns)


@dataclass
class PartWriter:
    """Writes the vectors of a batch to ``<folder>/parts/part-<rank>-<number>.parquet``.

    Numbers go on from the highest one in the folder, so that no part of an earlier run is replaced, and of an item
    that was written twice the later part is known.

    Parameters
    ----------
    folder : Path
        Folder of the export.
    rank : int
        Number of this process, so that no two processes write the same file.
    dim : int
        Numbers in a vector.
    """

    folder: Path
    rank: int
    dim: int
    _number: int = field(init=False)

    def __post_init__(self) -> None:
        self._number = 1 + max((number for number, _, _ in _parts(self.folder)), default=-1)

    def write(self, embeddings: Sequence[Embedding]) -> Path:
        """Write a part, whole or not at all, and return the file.

        Raises
        ------
        ValueError
            If there is nothing to write, or an embedding has no pooled vector of ``dim`` numbers.
        """
        if not embeddings:
            msg = "Expected at least one embedding for a part, got none."
            raise ValueError(msg)
        table = pa.Table.from_pylist(_rows(embeddings, self.dim), schema(self.dim))
        path = self.folder / PARTS / f"part-{self.rank:04d}-{self._number:06d}.parquet"
        # Each part is GeoParquet too, so that an interrupted export can be read.
        table = table.replace_schema_metadata({"geo": geo_metadata(set(), None)})
        write_file(path, lambda file: pq.write_table(table, file, compression=COMPRESSION, write_page_checksum=True))
        self._number += 1
        return path


def part_files(folder: Path) -> list[Path]:
    """Return the parts of an export in order; of rows with the same id and layer the last one counts."""
    return [path for _, _, path in _parts(folder)]


def table_of(embeddings: Sequence[Embedding]) -> gpd.GeoDataFrame:
    """Return vectors as the table that an export's files come to, in EPSG:4326.

    Raises
    ------
    ValueError
        If there are none, or they differ in width.
    """
    import geopandas as gpd  # noqa: PLC0415  (a second that writers of grids need not wait)

    pooled = [own for own in embeddings if own.pooled is not None]
    if not pooled:
        msg = 'There are no vectors: they were not asked for (output="grid"), or nothing was embedded.'
        raise ValueError(msg)
    dim = len(pooled[0].pooled if pooled[0].pooled is not None else ())
    rows = pa.Table.from_pylist(_rows(pooled, dim), schema(dim)).to_pandas()
    geometry = gpd.GeoSeries.from_wkb(rows.pop("geometry"), crs=4326)
    return gpd.GeoDataFrame(rows, geometry=geometry)


def _parts(folder: Path) -> list[tuple[int, int, Path]]:
    """Return (number, rank, file) of all parts, in order."""
    found = ((_PART.fullmatch(path.name), path) for path in (folder / PARTS).glob("part-*.parquet"))
    return sorted((int(match[2]), int(match[1]), path) for match, path in found if match)


def _rows(embeddings: Sequence[Embedding], dim: int) -> list[dict[str, Any]]:
    rows = [_row(own, dim) for own in embeddings]
    return [row | place for row, place in zip(rows, _places(embeddings), strict=True)]


def _row(embedding: Embedding, dim: int) -> dict[str, Any]:
    vector = embedding.pooled
    if vector is None or len(vector) != dim:
        got = "no pooled vector" if vector is None else f"one of {len(vector)}"
        msg = f"{embedding.id}: expected a pooled vector of {dim} numbers, got {got}. Export layers of one width."
        raise ValueError(msg)
    days = sorted(embedding.dates)
    # An acquisition of the series, not the mean of the dates, which may be a day without one.
    middle = _midnight(days[(len(days) - 1) // 2]) if days else None
    return {
        "id": embedding.id,
        "layer": embedding.layer,
        "datetime": middle,
        "timestamp": middle,
        "start_datetime": _midnight(days[0]) if days else None,
        "end_datetime": _midnight(days[-1]) if days else None,
        "embedding": vector,
        "source": list(embedding.sources),
        "valid_fraction": float(embedding.valid_fraction),
    }


def _places(embeddings: Sequence[Embedding]) -> list[dict[str, Any]]:
    """Return what of each place is known; a grid without transform or CRS has no geometry."""
    places, on_map = list[dict[str, Any]](), dict[str, list[tuple[dict[str, Any], Corners]]]()
    for own in embeddings:
        place: dict[str, Any] = {"proj_shape": list(own.shape), "crs": crs_name(own.crs) if own.crs else None}
        places.append(place)
        if own.transform is None or own.corners is None:
            continue
        place["proj_transform"] = list(own.transform[:6])
        if own.crs:
            on_map.setdefault(own.crs, []).append((place, own.corners))
    for crs, placed in on_map.items():
        corners = [own for _, own in placed]
        geometries = footprints(corners, crs)
        boxes, middles = shapely.bounds(geometries).tolist(), centres(corners, crs).tolist()
        for (place, _), wkb, edges, (lon, lat) in zip(placed, shapely.to_wkb(geometries), boxes, middles, strict=True):
            box = dict(zip(_BOX, edges, strict=True))
            place |= {"geometry": wkb, "bbox": box, "centre_lon": lon, "centre_lat": lat}
    return places


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def geo_metadata(types: set[str], bounds: np.ndarray | None) -> str:
    """Return the metadata of GeoParquet 1.1; without types they are unknown."""
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": sorted(types),
        "crs": CRS.from_epsg(4326).to_json_dict(),
        "edges": "planar",
        "orientation": "counterclockwise",
        "covering": {"bbox": {name: ["bbox", name] for name in _BOX}},
    }
    if bounds is not None:
        column["bbox"] = [float(value) for value in bounds]
    return json.dumps({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}})
