"""Rasters that GDAL reads: GeoTIFF, JPEG 2000, VRT and many more, also behind URLs and within other files."""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid, fault_of_transform
from eo_data.raster.remote.opener import gdal_patience, open_remote, reads_ranges
from eo_data.readers.formats.facts import (
    BandFacts,
    FileFacts,
    OpenLayer,
    Part,
    as_floats,
    mark_missing,
    refuse_complex,
    stated_scale,
)
from eo_data.readers.formats.limits import NO_NETWORK, disguise_of

#: Drivers of GDAL by the suffix of a file on this machine: a file of another kind under such a name is refused. Of
#: those for JPEG 2000, the first that is installed.
_DRIVERS_OF_SUFFIX: Mapping[str, tuple[str, ...]] = MappingProxyType(
    dict.fromkeys((".tif", ".tiff", ".gtiff"), ("GTiff",))
    | dict.fromkeys((".jp2", ".j2k", ".jpx"), ("JP2KAK", "JP2ECW", "JP2MrSID", "JP2Lura", "JP2OpenJPEG"))
    | dict.fromkeys((".jpg", ".jpeg"), ("JPEG",))
    | {".png": ("PNG",), ".vrt": ("VRT",)}
)
#: Options under which GDAL opens our files, whatever a host has set for the process: with ``EMPTY_DIR``, as TerraTorch
#: and torchgeo set it, GDAL sees no file beside another (masks, ``.aux.xml``, world files, headers). ``TRUE`` asks for
#: each by its name, without listing the folder. The others are GDAL's defaults for what a file says of its no-data and
#: place. Source: GDAL's configuration options and its GeoTIFF driver.
GDAL_OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
        "GDAL_PAM_ENABLED": "YES",
        "GDAL_GEOREF_SOURCES": "PAM,INTERNAL,TABFILE,WORLDFILE,XML",
        "GTIFF_POINT_GEO_IGNORE": "FALSE",
    }
)

#: Directories of a TIFF that are looked at; GDAL's own limit of those that it reads is 65 535.
_MOST = 1000


class _Kind(NamedTuple):
    """How directories of a TIFF are written: where the first is named, forms of numbers and offsets, bytes of an entry.

    Source: TIFF 6.0, section 2, and the BigTIFF design.
    """

    first: int
    entries: str
    entry: int
    offset: str


_KINDS = {42: _Kind(4, "H", 12, "I"), 43: _Kind(8, "Q", 20, "Q")}


@contextmanager
def open_dataset(href: Href) -> Iterator[Any]:
    """Open what GDAL reads under our own options; gives rasterio's data set.

    Raises
    ------
    rasterio.errors.RasterioError
        If GDAL cannot open it.
    """
    # The sources of a VRT, of which some may be on servers, were looked at by those who let it in.
    network = NO_NETWORK if href.is_local and href.suffix != ".vrt" else gdal_patience()
    with href.opening(), rasterio.Env(**GDAL_OPTIONS, **network), _opened(href) as file:
        yield file


def _opened(href: Href) -> AbstractContextManager[Any]:
    if reads_ranges(href):
        return open_remote(href)
    # A path as a path: as text, one such as `zip:a.tif` would mean something else to rasterio.
    opened: AbstractContextManager[Any] = _open_local(href) if href.is_local else rasterio.open(href.text)
    return opened


def _open_local(href: Href) -> Any:  # noqa: ANN401
    """Open a file by the driver that its suffix means, or by any that does not read elsewhere."""
    driver = _driver_of(href.suffix)
    kind = "" if driver else disguise_of(href.path)
    try:
        if not kind:
            if driver == "GTiff" and href.path.is_file():
                refuse_cut_off(href.path)
            return rasterio.open(href.path, driver=driver)
    except RasterioError:
        kind = disguise_of(href.path)
        if not kind:
            raise
    msg = (
        f"its name ends in {href.suffix!r}, but it is {kind} under another name: its pixels may come from other files "
        "or servers. Name a VRT x.vrt, of which the sources are checked; of other such files, name the address itself."
    )
    raise ValueError(msg)


@functools.cache
def _driver_of(suffix: str) -> str | None:
    """Return the driver of GDAL that may open a file on this machine with a suffix, or ``None`` for any.

    Any is meant of files that `disguise_of` knows nothing of.
    """
    own = _DRIVERS_OF_SUFFIX.get(suffix, ())
    if len(own) < 2:
        return own[0] if own else None
    with rasterio.Env() as env:
        installed = env.drivers()
    return next((name for name in own if name in installed), None)


def refuse_cut_off(path: Path) -> None:
    """Refuse a TIFF whose second directory, or one after it, is not in the file.

    Each page, overview and mask has a directory, which names the place of the next one. A file that was not copied
    whole and has lost the directory of its mask is read without it otherwise, and what it hides is taken for data.

    Parameters
    ----------
    path : Path
        The file; of anything but a TIFF nothing is said.

    Raises
    ------
    ValueError
        If one is not there, or not whole. Of the first, whoever opens the file says that.
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        head, size = file.read(16), os.fstat(file.fileno()).st_size
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        kind = _KINDS.get(struct.unpack(f"{order}H", head[2:4])[0]) if order and len(head) == 16 else None
        if kind is not None:
            _follow(file, order or "", kind, size)


def _follow(file: BinaryIO, order: str, kind: _Kind, size: int) -> None:
    seen: set[int] = set()
    at = _number(file, order + kind.offset, kind.first)
    while at and at not in seen and len(seen) < _MOST:
        seen.add(at)
        width = struct.calcsize(order + kind.entries)
        count = _number(file, order + kind.entries, at) if at + width <= size else 0
        following = at + width + count * kind.entry
        lost = at + width > size or following + struct.calcsize(order + kind.offset) > size
        if lost and len(seen) == 1:
            return
        if lost:
            msg = (
                f"it is cut off: its directory {len(seen)} lies at byte {at}, and ends beyond the file's {size} bytes. "
                "A mask may be lost. Copy the file again."
            )
            raise ValueError(msg)
        at = _number(file, order + kind.offset, following)


def _number(file: BinaryIO, form: str, at: int) -> int:
    file.seek(at)
    (number,) = struct.unpack(form, file.read(struct.calcsize(form)))
    return int(number)


@contextmanager
def open_raster(href: Href, source: ImageSource | None = None) -> Iterator[Sequence[OpenLayer]]:
    """Open a raster.

    Parameters
    ----------
    href : Href
        Anything that GDAL opens.
    source : ImageSource, optional
        Not needed here: which bands a raster has does not depend on it.

    Raises
    ------
    ValueError
        If its pixels are complex, or it has no bands.
    rasterio.errors.RasterioError
        If GDAL cannot open it.
    """
    with open_dataset(href) as file:
        yield (_Raster(file),)


class _Raster:
    """An open raster; see `eo_data.readers.formats.facts.OpenLayer`."""

    def __init__(self, file: Any) -> None:  # noqa: ANN401  (rasterio is untyped)
        self._file = file
        self.facts = _facts(file)

    def stored(
        self,
        bands: Sequence[int],
        part: Part,
        *,
        nodata: float | None = None,
        alpha: bool = True,
        dtype: type = np.float32,
    ) -> np.ndarray:
        window = Window(part.left, part.top, part.width, part.height)
        stored = self._numbers(bands, window)
        pixels = as_floats(stored, dtype) if isinstance(stored, np.ndarray) else _stacked(stored, dtype)
        for plane, own, i in zip(pixels, stored, bands, strict=True):
            mark_missing(own, plane, self.facts.bands[i], nodata)
        if self.facts.mask == "mask":
            for mask, of in self._masks(bands, window):
                for i in of:
                    pixels[i][mask == 0] = np.nan
        if self.facts.alpha is not None and alpha:
            pixels[:, self._file.read(self.facts.alpha + 1, window=window) == 0] = np.nan
        return pixels

    def _numbers(self, bands: Sequence[int], window: Window) -> np.ndarray | list[np.ndarray]:
        """Bands as stored: one array, or an array each if they are of several types, which a VRT may mix."""
        if len({self._file.dtypes[i] for i in bands}) == 1:
            return np.asarray(self._file.read([i + 1 for i in bands], window=window))
        return [self._file.read(i + 1, window=window) for i in bands]

    def _masks(self, bands: Sequence[int], window: Window) -> Iterator[tuple[np.ndarray, list[int]]]:
        """Masks, and which of the bands each is for: one of the whole file, or one of each band."""
        flags = self._file.mask_flag_enums
        own = [i for i, band in enumerate(bands) if MaskFlags.per_dataset not in flags[band] and _is_mask(flags[band])]
        shared = [i for i, band in enumerate(bands) if MaskFlags.per_dataset in flags[band] and _is_mask(flags[band])]
        if shared:
            yield self._file.read_masks(bands[shared[0]] + 1, window=window), shared
        for i in own:
            yield self._file.read_masks(bands[i] + 1, window=window), [i]


def _stacked(planes: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.stack([as_floats(plane, dtype) for plane in planes])


def _is_mask(flags: Sequence[MaskFlags]) -> bool:
    """Whether a band has a mask of its own or of the whole file, beside numbers and opacity."""
    return not {MaskFlags.all_valid, MaskFlags.alpha} & set(flags) and list(flags) != [MaskFlags.nodata]


def _facts(file: Any) -> FileFacts:  # noqa: ANN401
    if not file.count:
        parts = list(file.subdatasets[:8])
        msg = f"it has no bands of its own; it holds {parts}. Name one of them, or the files of the bands."
        raise ValueError(msg)
    for dtype in set(file.dtypes):
        refuse_complex(dtype)
    colours = file.colorinterp
    alpha = next((i for i, colour in enumerate(colours) if colour is ColorInterp.alpha), None)
    described = zip(
        file.descriptions, file.dtypes, file.units, file.scales, file.offsets, file.nodatavals, colours, strict=True
    )
    bands = tuple(_band(*band) for band in described)
    masked = any(_is_mask(flags) for flags in file.mask_flag_enums)
    transform, crs = file.transform, file.crs.to_wkt() if file.crs else None
    # rasterio gives the identity where a file has no transform; a CRS alone is no place.
    located = transform != Affine.identity() and (crs is not None or not _is_default(transform, file.height))
    points = "" if located else _points(file)
    if located:
        _check_transform(transform)
    grid = PixelGrid(file.height, file.width, transform if located else None, crs)
    mask: Literal["", "mask", "alpha"] = "mask" if masked else "" if alpha is None else "alpha"
    return FileFacts(
        file.driver,
        grid,
        bands,
        file.tags(),
        mask=mask,
        alpha=alpha,
        points=points,
        block_bytes=_block_bytes(file),
    )


def _block_bytes(file: Any) -> int:  # noqa: ANN401
    """Memory of the largest block; of interleaved bands, one block has all of them."""
    sizes = [h * w * np.dtype(d).itemsize for (h, w), d in zip(file.block_shapes, file.dtypes, strict=True)]
    return sum(sizes) if str(file.profile.get("interleave", "")) == "pixel" else max(sizes)


def _band(
    name: str | None,
    dtype: str,
    unit: str | None,
    scale: float,
    offset: float,
    nodata: float | None,
    colour: ColorInterp,
) -> BandFacts:
    own_scale, own_offset = stated_scale(scale, offset)
    missing = () if nodata is None else (float(nodata),)
    return BandFacts(name or None, dtype, unit or None, own_scale, own_offset, missing, colour=colour.name)


def _points(file: Any) -> str:  # noqa: ANN401
    if file.gcps[0]:
        return "ground control points"
    return "RPCs" if file.rpcs is not None else ""


def _check_transform(transform: Affine) -> None:
    if fault := fault_of_transform(transform):
        msg = (
            f"{fault}. Correct the georeference, or take it out of the file (gdal_edit.py -unsetgt) to use the pixels "
            "without one."
        )
        raise ValueError(msg)


def _is_default(transform: Affine, height: int) -> bool:
    """Whether a transform only counts pixels, as tools write it that know no place."""
    return tuple(transform)[:6] in ((1, 0, 0, 0, 1, 0), (1, 0, 0, 0, -1, 0), (1, 0, 0, 0, -1, height))
