"""A static STAC catalogue of an export: one Collection and an Item for each grid, with links that may be moved.

Written for the embedding extension 0.0.1 (README.md of github.com/geo-embeddings/embeddings-stac-specification at
0a9cb04), which builds on STAC 1.0.0; so the bands stand in ``raster:bands`` (raster extension 1.1.0), which STAC 1.1
moved into its core.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import shapely
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from eo_core.files import write_text
from eo_core.paths import path_of_name
from eo_data.raster.footprint import crs_name, footprint_of_grid
from eo_embed.export.opening import Export, open_embeddings
from eo_embed.export.record.manifest import STAC_FIELDS
from eo_embed.reading.publishing.grids import ExportedGrid, grids_of
from eo_embed.reading.publishing.told import Told
from eo_embed.reading.vectors import chosen_layer, rows_of_layer
from eo_embed.writers.layout import MANIFEST, POOLED
from eo_embed.writers.quantise import INT8_NODATA

if TYPE_CHECKING:
    import geopandas as gpd

FOLDER, COLLECTION, ITEMS = "stac", "collection.json", "items"
VERSION = "1.0.0"
_EXTENSIONS = (
    "https://stac-extensions.github.io/embeddings/v0.0.1/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
)
_OF_GRIDS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
)
_ITEM_ASSETS = "https://stac-extensions.github.io/item-assets/v1.0.0/schema.json"
PARQUET_TYPE, JSON_TYPE, GEOJSON_TYPE = "application/vnd.apache.parquet", "application/json", "application/geo+json"
#: Media type of each grid format.
MEDIA_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "geotiff": "image/tiff; application=geotiff; profile=cloud-optimized",
        "zarr": "application/vnd.zarr; version=3",
        "netcdf": "application/x-netcdf",
        "npz": "application/octet-stream",
    }
)


@dataclass(frozen=True)
class Publication:
    """What only the publisher of an export knows.

    Parameters
    ----------
    licence : str
        SPDX identifier of the licence, such as ``CC-BY-4.0``, or ``other``.
    id, title, description : str
        Of the collection; by default from the folder's name and the encoder's.
    model : str
        Address of the encoder.
    sources : tuple of str
        Addresses of the data sets.
    period : tuple of date, optional
        First and last day of items whose files say none.
    layer : str
        One of the export's; may be empty where there is only one.

    Raises
    ------
    ValueError
        Without a licence, or if the period ends before it begins.
    """

    licence: str
    id: str = ""
    title: str = ""
    description: str = ""
    model: str = ""
    sources: tuple[str, ...] = ()
    period: tuple[date, date] | None = None
    layer: str = ""

    def __post_init__(self) -> None:
        if not self.licence:
            msg = "A STAC collection needs a licence, such as CC-BY-4.0 (an SPDX identifier), or other."
            raise ValueError(msg)
        if self.period is not None and self.period[1] < self.period[0]:
            msg = f"The period ends on {self.period[1]}, before it begins on {self.period[0]}."
            raise ValueError(msg)


def write_catalogue(folder: str | Path, publication: Publication, out: str | Path | None = None) -> Path:
    """Write the catalogue of a finished export; return the collection's file.

    Items come first and the collection last, each whole or not at all, so that a collection names no item that is not
    there.

    Parameters
    ----------
    folder : str or Path
        Of the export.
    publication : Publication
        Licence, addresses, and the period of items without dates.
    out : str or Path, optional
        Folder of the catalogue; ``stac`` in that of the export. Links to the data are relative.

    Raises
    ------
    ValueError
        If there is no finished export, nothing of it has a place, or an item has no date and no period is given.
    OSError
        If something cannot be written.
    """
    export = open_embeddings(folder)
    if not export.manifest:
        msg = f"{folder} is one file. Give the folder of the export, which says what it is."
        raise ValueError(msg)
    target = Path(out) if out is not None else Path(folder) / FOLDER
    catalogue = _Catalogue(export, publication, target)
    written = []
    for path, item in catalogue.items():
        _write(path, item)
        written.append(_Written.of(path, item))
    collection = target / COLLECTION
    _write(collection, catalogue.collection(written))
    return collection


def _write(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))


class _Written(NamedTuple):
    """What the Collection must know of an Item."""

    path: Path
    bbox: Sequence[float]
    start: str
    end: str

    @classmethod
    def of(cls, path: Path, item: Mapping[str, Any]) -> _Written:
        told = item["properties"]
        start, end = (told.get(name) or told["datetime"] for name in ("start_datetime", "end_datetime"))
        return cls(path, item["bbox"], start, end)


class _Catalogue:
    """Makes the content of the files."""

    def __init__(self, export: Export, publication: Publication, target: Path) -> None:
        self.export, self.publication, self.target = export, publication, target
        self.layer = chosen_layer(export.layers, publication.layer)
        self.told = Told.of(export.manifest, publication.model, publication.sources)
        self.grids = grids_of(export, self.layer)
        self.id = publication.id or export.path.resolve().name

    def items(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield the Items with their files: of each grid, or one of the table of vectors if there are no grids."""
        for grid in self.grids:
            yield self._placed(grid.id, self._of_grid(grid))
        if not self.grids:
            rows = rows_of_layer(self.export.pooled, self.layer, self.export.path)
            yield self._placed("vectors", self._of_rows(rows))

    def _placed(self, name: str, item: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
        path = path_of_name(self.target / ITEMS, name, ".json")
        item["links"] = [
            _link(rel, _relative(self.target / COLLECTION, path), JSON_TYPE) for rel in ("root", "parent", "collection")
        ]
        for asset in item["assets"].values():
            asset["href"] = _relative(Path(asset["href"]), path)
        return path, item

    def _of_grid(self, grid: ExportedGrid) -> dict[str, Any]:
        geometry = footprint_of_grid(grid.place)
        properties = self._properties(grid.id, grid.dates)
        asset = {
            "href": str(grid.path), **self._described(), **_projection(grid), "raster:bands": _bands(grid),
        }  # fmt: skip
        return self._item(grid.id, geometry, properties, asset, (*_EXTENSIONS, *_OF_GRIDS))

    def _of_rows(self, rows: gpd.GeoDataFrame) -> dict[str, Any]:
        placed = rows.geometry.dropna()
        if not len(placed):
            msg = f"Nothing in {self.export.path} has a georeference, so there is no place to tell. Georeference it."
            raise ValueError(msg)
        west, south, east, north = bbox_of([bbox_of_geometry(geometry) for geometry in placed])
        halves = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
        boxes = [shapely.box(left, south, right, north) for left, right in halves]
        geometry = boxes[0] if len(boxes) == 1 else shapely.MultiPolygon(boxes)
        known = [str(day.date()) for name in ("start_datetime", "end_datetime") for day in rows[name].dropna()]
        asset = {"href": str(self.export.path / POOLED), **self._described()}
        return self._item(f"{self.id}-vectors", geometry, self._properties("vectors", known), asset, _EXTENSIONS)

    def _described(self) -> dict[str, Any]:
        """Return what the asset of each Item says alike."""
        kind = MEDIA_TYPES[self.grids[0].form.name] if self.grids else PARQUET_TYPE
        return {
            "type": kind, "roles": ["data"], "title": "Grid of embeddings" if self.grids else "Embedding vectors"
        }  # fmt: skip

    def _item(
        self,
        name: str,
        geometry: BaseGeometry,
        properties: dict[str, Any],
        asset: dict[str, Any],
        extensions: Sequence[str],
    ) -> dict[str, Any]:
        return {
            "type": "Feature",
            "stac_version": VERSION,
            "stac_extensions": list(extensions),
            "id": name,
            "collection": self.id,
            "geometry": shapely.geometry.mapping(geometry),
            "bbox": bbox_of_geometry(geometry),
            "properties": properties,
            "assets": {"embeddings": asset},
        }

    def _properties(self, name: str, days: Iterable[str]) -> dict[str, Any]:
        """Return the time that an item stands for, and how it was made."""
        known = sorted({date.fromisoformat(day) for day in days})
        if not known and self.publication.period is None:
            msg = f"{name} has no date, and STAC needs one. State the period of such items: --period FIRST LAST."
            raise ValueError(msg)
        first, last = (known[0], known[-1]) if known else self.publication.period or (date.min, date.max)
        properties: dict[str, Any] = {"datetime": _instant(first) if first == last else None}
        if first != last:
            properties |= {"start_datetime": _instant(first), "end_datetime": _instant(last)}
        manifest = self.export.manifest
        for field in ("processing:datetime", "emb:runtime_parameters", "emb:quantization"):
            if field in manifest:
                properties[field] = manifest[field]
        return properties | self._software()

    def _software(self) -> dict[str, Any]:
        name = "thor-anysat-terratorch"
        version = self.export.manifest.get("provenance", {}).get("software", {}).get(name, "")
        return {"processing:software": {name: str(version)}}

    def collection(self, items: Sequence[_Written]) -> dict[str, Any]:
        """Return the Collection of some Items."""
        manifest, here = self.export.manifest, self.target / COLLECTION
        told = {name: manifest[name] for name in STAC_FIELDS if name in manifest and name != "links"}
        depth = self.grids[0].depth if self.grids else len(self.export.pooled["embedding"].iloc[0])  # type: ignore[index]
        summary = {
            "emb:type": "pixel" if self.grids else "chip",
            "emb:dimensions": depth,
            "data_type": self.grids[0].encoding.storage if self.grids else "float32",
            **({"gsd": told["gsd"]} if "gsd" in told else {}),
        }
        task = manifest.get("facts", {}).get("task", {})
        encoder = task.get("backbone", "an encoder") if isinstance(task, dict) else "an encoder"
        return {
            "type": "Collection",
            "stac_version": VERSION,
            "stac_extensions": [*_EXTENSIONS, _ITEM_ASSETS],
            "id": self.id,
            "title": self.publication.title or f"Embeddings by {encoder}",
            "description": self.publication.description or f"Embeddings by {encoder}; how they were made: {MANIFEST}.",
            "license": self.publication.licence,
            "extent": {
                "spatial": {"bbox": [bbox_of([item.bbox for item in items])]},
                "temporal": {"interval": [[min(item.start for item in items), max(item.end for item in items)]]},
            },
            **summary,
            # A Collection that names the processing extension must say something of it.
            "summaries": {name: [value] for name, value in (summary | self._software()).items()},
            "item_assets": {"embeddings": self._described()},
            "assets": self._assets(here),
            "links": [
                _link("root", f"./{COLLECTION}", JSON_TYPE),
                {**_link("emb:model", self.told.model), "title": str(encoder)},
                *(_link("emb:source-data", source) for source in self.told.sources),
                *(_link("item", _relative(item.path, here), GEOJSON_TYPE) for item in items),
            ],
        }

    def _assets(self, here: Path) -> dict[str, Any]:
        files = {"manifest": (MANIFEST, JSON_TYPE, "metadata"), "vectors": (POOLED, PARQUET_TYPE, "data")}
        return {
            name: {"href": _relative(self.export.path / file, here), "type": kind, "roles": [role]}
            for name, (file, kind, role) in files.items()
            if (self.export.path / file).is_file()
        }


def _projection(grid: ExportedGrid) -> dict[str, Any]:
    """Return where a grid lies in its CRS, by the projection extension 2."""
    t, crs = grid.place.transform, crs_name(str(grid.place.crs))
    if t is None:
        return {}
    height, width = grid.place.height, grid.place.width
    xs = [t.c + t.a * x + t.b * y for x in (0, width) for y in (0, height)]
    ys = [t.f + t.d * x + t.e * y for x in (0, width) for y in (0, height)]
    return {
        **({"proj:code": crs} if len(crs) < 40 else {"proj:code": None, "proj:wkt2": CRS(crs).to_wkt()}),
        "proj:shape": [height, width],
        "proj:transform": list(t[:6]),
        "proj:bbox": [min(xs), min(ys), max(xs), max(ys)],
    }


def _bands(grid: ExportedGrid) -> list[dict[str, Any]]:
    kind = grid.encoding.storage
    nodata = INT8_NODATA if kind == "int8" else "nan"
    scales = [None] * grid.depth if grid.scales is None or grid.encoding.dtype != "int8" else grid.scales.tolist()
    return [
        {"data_type": kind, "nodata": nodata, **({} if scale is None else {"scale": scale, "offset": 0.0})}
        for scale in scales
    ]


def bbox_of_geometry(geometry: BaseGeometry) -> list[float]:
    """Return west, south, east and north; west is larger than east across the antimeridian (RFC 7946, 5.2)."""
    _, south, _, north = geometry.bounds
    parts = [part.bounds for part in shapely.get_parts(geometry)]
    west, _, east, _ = bbox_of([[left, south, right, north] for left, _, right, _ in parts])
    return [float(west), float(south), float(east), float(north)]


def bbox_of(boxes: Sequence[Sequence[float]]) -> list[float]:
    """Return the narrowest box around boxes, each west, south, east, north; it may lie across the antimeridian."""
    south, north = min(box[1] for box in boxes), max(box[3] for box in boxes)
    halves = [
        half
        for west, _, east, _ in boxes
        for half in ([(west, east)] if west <= east else [(west, 180.0), (-180.0, east)])
    ]
    # The widest stretch of longitudes without any is left out.
    merged: list[list[float]] = []
    for west, east in sorted(halves):
        if merged and west <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], east)
        else:
            merged.append([west, east])
    gaps = [(merged[i + 1][0] - merged[i][1], i) for i in range(len(merged) - 1)]
    around = merged[0][0] + 360 - merged[-1][1]
    widest, at = max(gaps, default=(0.0, 0))
    if widest <= around:
        return [merged[0][0], south, merged[-1][1], north]
    return [merged[at + 1][0], south, merged[at][1], north]


def _link(rel: str, href: str, kind: str = "") -> dict[str, Any]:
    return {"rel": rel, "href": href, **({"type": kind} if kind else {})}


def _relative(file: Path, beside: Path) -> str:
    """Return the way from one file to another one."""
    way = PurePosixPath(os.path.relpath(file.absolute(), beside.absolute().parent)).as_posix()
    return way if way.startswith("..") else f"./{way}"


def _instant(day: date) -> str:
    return datetime.combine(day, time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
