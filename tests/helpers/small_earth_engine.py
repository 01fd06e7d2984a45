"""A stand-in on this machine for the REST service of Earth Engine, made by its documentation.

It gives the discovery document and the algorithms that lie in the client's package, lists images page by page, and
computes pixels: of the few functions that are needed, on the grid of the image alone. Masked pixels come as 0, as from
the service.
"""

from __future__ import annotations

import functools
import io
import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import ee
import numpy as np
import pytest
import shapely
from affine import Affine
from google.oauth2.credentials import Credentials
from small_scenes import CORNER
from small_stac import bounds

SEEN, MASKED, OUTSIDE = 0, 1, 2
PUBLIC = "projects/earthengine-public/assets"


@dataclass(frozen=True)
class StoredBand:
    """A band: its numbers, the size of its pixels in metres, and which are masked or beyond the image's outline."""

    values: np.ndarray
    size: float = 10
    state: np.ndarray | None = None


@dataclass(frozen=True)
class StoredImage:
    """An image as the service stores it."""

    name: str
    bands: Mapping[str, StoredBand]
    when: str = "2022-06-01T10:20:31.024Z"
    corner: tuple[float, float] = (CORNER.c, CORNER.f)
    crs: str = "EPSG:32632"
    properties: Mapping[str, Any] = field(default_factory=dict)
    geometry: Mapping[str, Any] | None = None
    updated: str = "2022-06-03T01:02:03.456789Z"

    def transform(self, band: str) -> Affine:
        size = self.bands[band].size
        return Affine(size, 0, self.corner[0], 0, -size, self.corner[1])

    @property
    def said(self) -> dict[str, Any]:
        """Its description; numbers that are 0 are left out, as JSON of the service does."""
        first = next(iter(self.bands))
        west, south, east, north = bounds(self.bands[first].values.shape, self.transform(first), self.crs)
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        return {
            "type": "IMAGE",
            "name": f"{PUBLIC}/{self.name}",
            "id": self.name,
            "updateTime": self.updated,
            "startTime": self.when,
            "properties": dict(self.properties),
            "geometry": self.geometry or {"type": "Polygon", "coordinates": [ring]},
            "bands": [self._band(name, own) for name, own in self.bands.items()],
            "sizeBytes": "1",
        }

    def _band(self, name: str, own: StoredBand) -> dict[str, Any]:
        a, b, c, d, e, f = self.transform(name)[:6]
        keys = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
        whole = own.values.dtype.kind == "u"
        kind = {"precision": "INT", "range": {"max": int(np.iinfo(own.values.dtype).max)}} if whole else {}
        return {
            "id": name,
            "dataType": kind or {"precision": "DOUBLE"},
            "grid": {
                "crsCode": self.crs,
                "dimensions": {"width": own.values.shape[1], "height": own.values.shape[0]},
                "affineTransform": {
                    key: value for key, value in zip(keys, (a, b, c, d, e, f), strict=True) if value != 0
                },
            },
            "pyramidingPolicy": "MEAN",
        }


@dataclass
class Engine:
    """A running stand-in.

    Parameters
    ----------
    url : str
        Its address.
    images : sequence of StoredImage
        What it has.
    lists, pixels : list
        Queries for images and bodies of requests for pixels, as they came.
    given, sign_ins : int
        Bytes of pixels that it gave, and how often it was asked for its algorithms.
    faults, pixel_faults : list of (int, str)
        Statuses and reasons with which the next requests for lists, or for pixels, are refused; an answer of the
        status 0 ends early.
    refused : dict of str to (int, str)
        With which all requests for pixels of an image are.
    """

    url: str
    images: Sequence[StoredImage]
    page: int = 2
    lists: list[dict[str, str]] = field(default_factory=list)
    pixels: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    given: int = 0
    sign_ins: int = 0
    faults: list[tuple[int, str]] = field(default_factory=list)
    pixel_faults: list[tuple[int, str]] = field(default_factory=list)
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)


#: What the client sends, and nothing may keep.
TOKEN = "ya29.a0SECRETtokenOfNobody"  # noqa: S105


@contextmanager
def signed_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the client credentials that need no server."""
    monkeypatch.setattr(ee.data, "get_persistent_credentials", lambda: Credentials(TOKEN))
    yield
    ee.Reset()


@contextmanager
def earth_engine(images: Sequence[StoredImage]) -> Iterator[Engine]:
    """Serve images on this machine."""
    state = Engine("", images)
    handler = type("Handler", (_Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads, server.block_on_close = True, False
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20
    state: Engine

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path.startswith("/$discovery"):
            return self._answer(200, _discovery())
        if url.path.endswith("/algorithms"):
            self.state.sign_ins += 1
            return self._answer(200, _packaged("algorithms.json"))
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.state.lists.append({"path": url.path, **query})
        if self.state.faults:
            return self._refuse(*self.state.faults.pop(0))
        parent = url.path.partition("/assets/")[2].removesuffix(":listAssets")
        found = [own for own in self.state.images if own.name.rpartition("/")[0] == parent and _fits(own, query)]
        start = int(query.get("pageToken", 0))
        answer: dict[str, Any] = {"assets": [own.said for own in found[start : start + self.state.page]]}
        if start + self.state.page < len(found):
            answer["nextPageToken"] = str(start + self.state.page)
        return self._answer(200, json.dumps(answer).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.state.pixels.append(body)
        self.state.tokens.add(self.headers.get("Authorization", ""))
        self.state.paths.add(urlsplit(self.path).path)
        fault = next((own for name, own in self.state.refused.items() if name in json.dumps(body)), None)
        if not fault and self.state.pixel_faults:
            fault = self.state.pixel_faults.pop(0)
        if fault and fault[0]:
            return self._refuse(*fault)
        try:
            data = _computed(self.state.images, body)
        except ValueError as error:
            return self._answer(400, json.dumps({"error": {"code": 400, "message": str(error)}}).encode())
        self.state.given += len(data)
        return self._answer(200, data, "application/octet-stream", early=fault is not None)

    def _refuse(self, status: int, reason: str) -> None:
        self._answer(status, json.dumps({"error": {"code": status, "message": reason}}).encode())

    def _answer(self, status: int, data: bytes, kind: str = "application/json", *, early: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if early else data)
        self.close_connection = early


@functools.cache
def _packaged(name: str) -> bytes:
    return (Path(ee.__file__).parent / "tests" / name).read_bytes()


@functools.cache
def _discovery() -> bytes:
    """Return the packaged document with the parameters of listAssets that it lacks, by the reference of the API."""
    document = json.loads(_packaged("cloud_api_discovery_document.json"))
    listed = document["resources"]["projects"]["resources"]["assets"]["methods"]["listAssets"]["parameters"]
    for name, kind in {"pageSize": "integer", "pageToken": "string", "filter": "string", "view": "string"}.items():
        listed.setdefault(name, {"location": "query", "type": kind})
    return json.dumps(document).encode()


def _fits(own: StoredImage, query: Mapping[str, str]) -> bool:
    """Whether an image meets a filter: parts that are joined by AND."""
    asked = query.get("filter", "")
    known = re.sub(r'startTime (>=|<) "[^"]+"|intersects\("[^"]+"\)| AND ', "", asked)
    if known:
        msg = f"what is {known!r}?"
        raise ValueError(msg)
    when = datetime.fromisoformat(own.when)
    for sign, text in re.findall(r'startTime (>=|<) "([^"]+)"', asked):
        bound = datetime.fromisoformat(text)
        if (when < bound) if sign == ">=" else (when >= bound):
            return False
    outline = shapely.geometry.shape(own.said["geometry"])
    regions = [json.loads(text.replace("'", '"')) for text in re.findall(r'intersects\("([^"]+)"\)', asked)]
    return all(outline.intersects(shapely.geometry.shape(region)) for region in regions)


@dataclass(frozen=True)
class _Rendered:
    """What an expression comes to: by band its numbers, and their state."""

    image: StoredImage
    bands: dict[str, tuple[np.ndarray, np.ndarray]]


def _computed(images: Sequence[StoredImage], body: Mapping[str, Any]) -> bytes:
    """Return pixels of a window in the form NPY: a field for each band."""
    if body["fileFormat"] != "NPY":
        msg = "only NPY"
        raise ValueError(msg)
    graph = body["expression"]["values"]
    found = _value(graph, {"valueReference": body["expression"]["result"]}, {own.name: own for own in images})
    planes = {name: _window(found, name, body["grid"]) for name in body["bandIds"]}
    shape = next(iter(planes.values())).shape
    result = np.zeros(shape, dtype=[(name, plane.dtype) for name, plane in planes.items()])
    for name, plane in planes.items():
        result[name] = plane
    stream = io.BytesIO()
    np.save(stream, result)
    return stream.getvalue()


def _window(found: _Rendered, band: str, grid: Mapping[str, Any]) -> np.ndarray:
    """Return a window of a band, 0 where it is masked; of another grid than its own, an error."""
    own, asked = found.image.transform(band), grid["affineTransform"]
    left, top = (asked["translateX"] - own.c) / own.a, (asked["translateY"] - own.f) / own.e
    native = (asked["scaleX"], asked["scaleY"], asked["shearX"], asked["shearY"]) == (own.a, own.e, 0, 0)
    if grid["crsCode"] != found.image.crs or not native or not left.is_integer() or not top.is_integer():
        msg = f"{band} would have to be resampled: {grid}"
        raise ValueError(msg)
    rows = slice(int(top), int(top) + grid["dimensions"]["height"])
    columns = slice(int(left), int(left) + grid["dimensions"]["width"])
    values, state = found.bands[band]
    return np.where(state == SEEN, values, 0).astype(values.dtype)[rows, columns]


def _value(graph: Mapping[str, Any], node: Mapping[str, Any], images: Mapping[str, StoredImage]) -> Any:
    if "valueReference" in node:
        return _value(graph, graph[node["valueReference"]], images)
    if "constantValue" in node:
        return node["constantValue"]
    if "arrayValue" in node:
        return [_value(graph, own, images) for own in node["arrayValue"]["values"]]
    call = node["functionInvocationValue"]
    given = {key: _value(graph, own, images) for key, own in call["arguments"].items()}
    return _FUNCTIONS[call["functionName"]](images, **given)


def _load(images: Mapping[str, StoredImage], id: str) -> _Rendered:  # noqa: A002
    own = images[id]
    blank = {name: np.zeros(band.values.shape, int) for name, band in own.bands.items()}
    states = {name: blank[name] if band.state is None else band.state for name, band in own.bands.items()}
    return _Rendered(own, {name: (band.values, states[name]) for name, band in own.bands.items()})


def _select(_: Mapping[str, StoredImage], input: _Rendered, bandSelectors: Sequence[str]) -> _Rendered:  # noqa: A002, N803
    return _Rendered(input.image, {name: input.bands[name] for name in bandSelectors})


def _unmask(
    _: Mapping[str, StoredImage],
    input: _Rendered,  # noqa: A002
    value: float,
    sameFootprint: bool = True,  # noqa: N803
) -> _Rendered:
    """Fill what is masked: beyond the outline only where the outline is not kept."""
    filled = {}
    for name, (values, state) in input.bands.items():
        empty = state == MASKED if sameFootprint else state != SEEN
        filled[name] = (np.where(empty, float(value), values.astype(float)), np.where(empty, SEEN, state))
    return _Rendered(input.image, filled)


def _cast(dtype: str) -> Any:
    def cast(_: Mapping[str, StoredImage], value: _Rendered) -> _Rendered:
        return _Rendered(value.image, {name: (own.astype(dtype), state) for name, (own, state) in value.bands.items()})

    return cast


_FUNCTIONS: Mapping[str, Any] = {
    "Image.load": _load,
    "Image.select": _select,
    "Image.constant": lambda _, value: value,
    "Image.unmask": _unmask,
    "Image.toUint8": _cast("uint8"),
    "Image.toUint16": _cast("uint16"),
    "Image.toFloat": _cast("float32"),
}

S2_IDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
#: Size of the pixels of each of them in metres.
S2_SIZES = (10, 10, 10, 20, 20, 20, 10, 20, 20, 20)


def sentinel2(
    index: str,
    numbers: np.ndarray,
    *,
    classes: np.ndarray | None = None,
    state: np.ndarray | None = None,
    collection: str = "COPERNICUS/S2_SR_HARMONIZED",
    **given: Any,
) -> StoredImage:
    """Return an image of bands ``(10, H, W)`` of 10 m; those of 20 m are every second pixel of it."""
    bands = {}
    for name, size, values in zip((*S2_IDS, "SCL"), (*S2_SIZES, 20), (*numbers, classes), strict=True):
        if values is not None:
            step = size // 10
            there = None if state is None else state[::step, ::step]
            bands[name] = StoredBand(values[::step, ::step], size, there)
    properties = {"MGRS_TILE": index[-5:], "CLOUDY_PIXEL_PERCENTAGE": 12.5, **given.pop("properties", {})}
    return StoredImage(f"{collection}/{index}", bands, properties=properties, **given)


def as_read(numbers: np.ndarray) -> np.ndarray:
    """Return bands ``(10, H, W)`` as they come on a grid of 10 m: each pixel of 20 m is four."""
    planes = []
    for size, values in zip(S2_SIZES, numbers, strict=True):
        step = size // 10
        planes.append(np.kron(values[::step, ::step], np.ones((step, step), values.dtype)))
    return np.stack(planes)
