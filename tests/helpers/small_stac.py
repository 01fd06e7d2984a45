"""Small STAC catalogues in the forms of those that are known: as files, and as an API on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.transform import array_bounds
from rasterio.warp import transform_bounds
from small_scenes import CORNER, S2_BANDS

#: Keys of the assets of `S2_BANDS`, and of the classes.
KEYS: dict[str, tuple[str, ...]] = {
    "earth-search": (
        *("blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "swir16", "swir22", "scl"),
    ),
    "planetary-computer": ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12", "SCL"),
    "copernicus": (
        *("B02_10m", "B03_10m", "B04_10m", "B05_20m", "B06_20m", "B07_20m", "B08_10m", "B8A_20m", "B11_20m"),
        *("B12_20m", "SCL_20m"),
    ),
}
COLLECTION = {
    "earth-search": "sentinel-2-c1-l2a",
    "planetary-computer": "sentinel-2-l2a",
    "copernicus": "sentinel-2-l2a",
}


def write_band(
    path: Path, values: np.ndarray, transform: Affine = CORNER, crs: str = "EPSG:32632", nodata: float | None = 0
) -> Path:
    """Write one band; a file with neither a name nor a scale, as the catalogues have them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = values.shape
    profile = {"count": 1, "height": height, "width": width, "dtype": values.dtype.name, "nodata": nodata}
    with rasterio.open(path, "w", driver="GTiff", transform=transform, crs=crs, **profile) as file:
        file.write(values, 1)
    return path


def bounds(shape: Sequence[int], transform: Affine = CORNER, crs: str = "EPSG:32632") -> tuple[float, ...]:
    """West, south, east and north of a raster in degrees."""
    height, width = shape
    left, bottom, right, top = array_bounds(height, width, transform)
    return tuple(transform_bounds(crs, "EPSG:4326", left, bottom, right, top))


def item(
    name: str, collection: str, box: Sequence[float], when: str, assets: Mapping[str, Any], **properties: Any
) -> dict[str, Any]:
    """Return an item."""
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": name,
        "collection": collection,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": list(box),
        "properties": {"datetime": when, **properties},
        "assets": dict(assets),
        "links": [],
    }


def sentinel2_item(
    folder: Path,
    form: str,
    name: str,
    numbers: np.ndarray,
    when: str = "2022-06-01T10:20:31Z",
    *,
    baseline: str = "05.09",
    tile: str = "32TNR",
    transform: Affine = CORNER,
    crs: str = "EPSG:32632",
    classes: np.ndarray | None = None,
    bands: Sequence[str] = S2_BANDS,
    address: str = "",
    query: str = "",
    **properties: Any,
) -> dict[str, Any]:
    """Write the bands ``(C, H, W)`` of a scene and return its item, in the form of one of the catalogues."""
    keys = dict(zip((*S2_BANDS, "SCL"), KEYS[form], strict=True))
    planes = dict(zip(bands, numbers, strict=True))
    if classes is not None:
        planes["SCL"] = classes
    assets: dict[str, Any] = {"thumbnail": {"href": "nowhere.jpg"}}
    for band, values in planes.items():
        path = write_band(folder / name / f"{keys[band]}.tif", values, transform, crs)
        href = f"{address}/{path.relative_to(folder).as_posix()}{query}" if address else str(path)
        said: dict[str, Any] = {}
        offset = -0.1 if baseline >= "04" else 0.0
        if form == "earth-search" and band != "SCL":
            said = {"raster:bands": [{"nodata": 0, "data_type": "uint16", "scale": 0.0001, "offset": offset}]}
        if form == "copernicus" and band != "SCL":
            said = {"raster:scale": 0.0001, "raster:offset": offset, "nodata": 0}
        assets[keys[band]] = {"href": href, **said}
    stated = {"processing:version": baseline} if form == "copernicus" else {"s2:processing_baseline": baseline}
    stated |= {"s2:mgrs_tile": tile} if form == "planetary-computer" else {"grid:code": f"MGRS-{tile}"}
    box = bounds(numbers.shape[1:], transform, crs)
    return item(name, COLLECTION[form], box, when, assets, platform="sentinel-2a", **stated, **properties)


def write_catalogue(folder: Path, items: Sequence[Mapping[str, Any]]) -> Path:
    """Write a catalogue of files."""
    links = [{"rel": "item", "href": f"./items/{own['id']}.json", "type": "application/json"} for own in items]
    content = {"type": "Catalog", "id": "small", "stac_version": "1.0.0", "description": "small", "links": links}
    (folder / "items").mkdir(parents=True, exist_ok=True)
    for own in items:
        (folder / "items" / f"{own['id']}.json").write_text(json.dumps(own))
    path = folder / "catalog.json"
    path.write_text(json.dumps(content))
    return path


@dataclass
class Api:
    """A running API.

    Parameters
    ----------
    url : str
        Its address.
    searches : list of dict
        What was asked for.
    faults : list of int
        Statuses with which the next searches are refused.
    """

    url: str
    searches: list[dict[str, Any]] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)


@contextmanager
def stac_api(items: Sequence[Mapping[str, Any]], page: int = 2) -> Iterator[Api]:
    """Serve items on this machine, some on a page."""
    api = Api("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            names = dict.fromkeys(own["collection"] for own in items)
            answer = {"collections": [_collection(name) for name in names], "links": []}
            self._answer(answer if self.path == "/collections" else _landing(api.url))

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            api.searches.append(asked)
            if api.faults:
                self.send_error(api.faults.pop(0), "refused")
                return
            found = [own for own in items if _fits(own, asked)]
            start = int(asked.get("token", 0))
            links = []
            if start + page < len(found):
                body = {**asked, "token": start + page}
                links = [{"rel": "next", "href": f"{api.url}/search", "method": "POST", "body": body}]
            features = found[start : start + page]
            self._answer({"type": "FeatureCollection", "features": features, "links": links})

        def _answer(self, content: Mapping[str, Any]) -> None:
            data = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        api.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()


def _landing(url: str) -> dict[str, Any]:
    conforms = ["core", "item-search", "collections", "ogcapi-features"]
    links = [
        {"rel": "self", "href": url},
        {"rel": "data", "href": f"{url}/collections"},
        {"rel": "search", "href": f"{url}/search", "method": "POST", "type": "application/geo+json"},
    ]
    return {
        "type": "Catalog",
        "id": "api",
        "stac_version": "1.0.0",
        "description": "api",
        "conformsTo": [f"https://api.stacspec.org/v1.0.0/{name}" for name in conforms],
        "links": links,
    }


def _collection(name: str) -> dict[str, Any]:
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [["2015-01-01T00:00:00Z", None]]}}
    return {
        "type": "Collection",
        "id": name,
        "stac_version": "1.0.0",
        "description": name,
        "license": "other",
        "extent": extent,
        "links": [],
    }


def _fits(own: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    west, south, east, north = asked["bbox"]
    box = own["bbox"]
    beside = box[2] < west or box[0] > east or box[3] < south or box[1] > north
    when = datetime.fromisoformat(own["properties"]["datetime"])
    start, _, end = asked.get("datetime", "").partition("/")
    outside = bool(start) and not datetime.fromisoformat(start) <= when <= datetime.fromisoformat(end)
    return own["collection"] in asked["collections"] and not beside and not outside
