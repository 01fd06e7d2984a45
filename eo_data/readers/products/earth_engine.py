"""Images of Google Earth Engine: windows of pixels in the grid of the image, fetched when they are read.

What is asked for is the image itself, with a number in the place of masked pixels: a request without it would give 0
for them, which is a value. Of several sizes of pixels each is a layer, and nothing is resampled by the service.

Source: Google, Earth Engine REST API, projects.image.computePixels (form of a request; 48 MB at most).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from rasterio.crs import CRS

from eo_data.catalog.hrefs import Href
from eo_data.catalog.scenes.catalogues.earth_engine.images import EngineImage, NativeGrid, band_name
from eo_data.catalog.scenes.catalogues.earth_engine.session import client, engine_errors
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid
from eo_data.raster.remote.cache import RangeCache
from eo_data.raster.sample import SampleError
from eo_data.readers.formats.facts import BandFacts, FileFacts, OpenLayer, Part, ProductFacts, as_floats, mark_missing

#: Bytes of a request, well below the 48 MB that are allowed.
_LARGEST = 32_000_000
#: What makes numbers of a type, in the client.
_CASTS = {"uint8": "toUint8", "uint16": "toUint16", "float32": "toFloat"}


@contextmanager
def open_earth_engine(href: Href, source: ImageSource | None = None) -> Iterator[Sequence[OpenLayer]]:
    """Open an image; nothing is asked for.

    Parameters
    ----------
    href : Href
        As `eo_data.catalog.scenes.catalogues.earth_engine.images.EngineImage` writes it. Its ``cache`` keeps what is
        fetched.
    source : ImageSource, optional
        Makes no difference.

    Raises
    ------
    ValueError
        If the address makes no sense.
    """
    image = EngineImage.from_href(href)
    cache = RangeCache.of(href.cache if image.updated else None)
    try:
        yield [_Layer(image, own, href, cache, _facts(image, own)) for own in image.grids]
    finally:
        if cache is not None:
            cache.tidy()


def _facts(image: EngineImage, own: NativeGrid) -> FileFacts:
    known = image.collection
    has_quality = any(known.quality in layer.bands for layer in image.grids)
    product = ProductFacts(
        f"{known.kind} of Earth Engine",
        image.id,
        known.sensor,
        known.unit,
        known.quality if has_quality else None,
        known.quality_kind if has_quality else None,
        notes=(known.note,) if known.note else (),
    )
    bands = tuple(
        # The number that a quality layer has where there is no data is one of its own.
        BandFacts(band_name(band, known), own.dtype, nodata=() if band == known.quality else (own.masked,))
        for band in own.bands
    )
    grid = PixelGrid(own.grid.height, own.grid.width, own.grid.transform, CRS.from_user_input(own.grid.crs).to_wkt())
    return FileFacts("Earth Engine", grid, bands, named=True, product=product)


@dataclass(frozen=True, eq=False)
class _Layer:
    """Bands of an image that lie on one grid; see `eo_data.readers.formats.facts.OpenLayer`."""

    image: EngineImage
    own: NativeGrid
    href: Href
    cache: RangeCache | None
    facts: FileFacts

    def stored(
        self,
        bands: Sequence[int],
        part: Part,
        *,
        nodata: float | None = None,
        alpha: bool = True,
        dtype: type = np.float32,
    ) -> np.ndarray:
        """Read bands as stored.

        Raises
        ------
        SampleError
            With the name of the image, if Earth Engine does not give it.
        """
        ids = list(dict.fromkeys(self.own.bands[i] for i in bands))
        stored = np.concatenate([self._piece(ids, piece) for piece in self._pieces(len(ids), part)], axis=1)
        chosen = stored[[ids.index(self.own.bands[i]) for i in bands]]
        pixels = as_floats(chosen, dtype)
        for i, band in enumerate(bands):
            mark_missing(chosen[i], pixels[i], self.facts.bands[band], None)
            if nodata is not None:
                mark_missing(chosen[i], pixels[i], self.facts.bands[band], nodata)
        return pixels

    def _pieces(self, count: int, part: Part) -> Iterator[Part]:
        """Cut a part into rows that one request may ask for."""
        of_row = part.width * count * np.dtype(self.own.dtype).itemsize
        rows = max(1, _LARGEST // max(of_row, 1))
        for top in range(0, part.height, rows):
            yield Part(part.top + top, part.left, min(rows, part.height - top), part.width)

    def _piece(self, ids: Sequence[str], part: Part) -> np.ndarray:
        """Return the numbers of some bands ``(C, H, W)``, by the cache if it has them."""
        window = f"{part.left},{part.top},{part.width},{part.height}"
        entry = None
        if self.cache is not None:
            own = self.own
            of_all = f"{own.grid.crs} {tuple(own.grid.transform or ())} {own.dtype} {own.masked}"
            address = f"{self.image.id} {of_all} {','.join(ids)} {window}"
            entry = self.cache.entry(address, 0, self.image.updated)
            kept = [entry.read(*span) for span in entry.ranges()]
            if kept and kept[0]:
                return _numbers(kept[0], ids, part)
        data = self._fetched(ids, part)
        numbers = _numbers(data, ids, part)
        if entry is not None:
            entry.write(0, data)
        return numbers

    def _fetched(self, ids: Sequence[str], part: Part) -> bytes:
        try:
            with engine_errors(f"{self.href.name} of Earth Engine cannot be read"):
                ee = client(self.image.session)
                return bytes(ee.data.computePixels(self._request(ee, ids, part)))
        except OSError as error:
            raise SampleError(str(error)) from error.__cause__

    def _request(self, ee: Any, ids: Sequence[str], part: Part) -> dict[str, Any]:  # noqa: ANN401
        """Return a request for a window."""
        whole = ee.Image(self.image.id).select(list(ids))
        # Also beyond the outline of the image, hence the second argument.
        seen = whole.unmask(self.own.masked, False)
        return {
            "expression": getattr(seen, _CASTS[self.own.dtype])(),
            "fileFormat": "NPY",
            "bandIds": list(ids),
            "grid": _asked_grid(self.own.grid.window(part.top, part.left, part.height, part.width)),
        }


def _asked_grid(grid: PixelGrid) -> dict[str, Any]:
    a, b, c, d, e, f = tuple(grid.transform or Affine.identity())[:6]
    return {
        "dimensions": {"width": grid.width, "height": grid.height},
        "affineTransform": {"scaleX": a, "shearX": b, "translateX": c, "shearY": d, "scaleY": e, "translateY": f},
        "crsCode": grid.crs,
    }


def _numbers(data: bytes, ids: Sequence[str], part: Part) -> np.ndarray:
    """Return what an answer holds: an array ``(H, W)`` with a field for each band.

    Raises
    ------
    ValueError
        If it is not what was asked for.
    """
    try:
        found = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except ValueError as error:  # a page of a proxy, or nothing
        msg = f"Earth Engine gave {len(data)} bytes that are no array. Read it again."
        raise ValueError(msg) from error
    names = found.dtype.names or ()
    if found.shape != (part.height, part.width) or not {*ids} <= {*names}:
        msg = (
            f"Earth Engine gave an array of shape {found.shape} with the bands {', '.join(names) or 'none'}, expected "
            f"{(part.height, part.width)} with {', '.join(ids)}. Read it again."
        )
        raise ValueError(msg)
    return np.stack([found[band] for band in ids])
