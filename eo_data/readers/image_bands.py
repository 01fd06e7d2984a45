"""The wanted bands of files on one grid: the one read path of images, tiles and files of single bands.

Nothing is converted here but what CF's packing says: values are those of the file, NaN where it says that there is
none.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import TileWindow
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid
from eo_data.raster.remote.opener import look_at, reads_ranges
from eo_data.raster.sample import SampleError
from eo_data.readers.alpha import alpha_counts
from eo_data.readers.files import opened
from eo_data.readers.formats.facts import OpenLayer, Part
from eo_data.readers.formats.file_raster import BandOrigin, FileRaster, choose_bands, is_quality_layer, reading_errors
from eo_data.readers.formats.limits import USUAL, Limits, check_file
from eo_data.readers.grids.bands import WantedBand, decoded, memory_of
from eo_data.readers.grids.differences import difference, one_grid, refuse_unplaced, size_of_pixels
from eo_data.readers.grids.regrid import Fill, needed_part, read_on_grid, resampled_grid, same_ground, with_stated_crs
from eo_data.readers.scaling import fill_of
from eo_data.sensors.bands import band_order
from eo_data.sensors.beside import Sidecar
from eo_data.sensors.quality import missing_numbers
from eo_data.sensors.tables import Sensor
from eo_data.sensors.units import InputUnit

#: Files on servers that are asked for at once: some archives allow a user four connections (Copernicus Data Space).
_AT_ONCE = 4


def read_file(
    href: Href,
    source: ImageSource,
    window: TileWindow | None = None,
    limits: Limits = USUAL,
    grid: PixelGrid | None = None,
) -> FileRaster:
    """Read the wanted bands of one file.

    Parameters
    ----------
    href : Href
        A path to a raster that GDAL reads, NetCDF, Zarr, HDF5 or ``.npy``; or a URL or name for GDAL.
    source : ImageSource
        Which bands, and how the file is to be understood.
    window : TileWindow, optional
        The part to read, of the grid that the bands come to.
    limits : Limits
        What reading may touch, and how much memory it may take.
    grid : PixelGrid, optional
        Where the pixels are wanted, in any CRS and of any size; NaN where the file has none. By default the file's.

    Raises
    ------
    SampleError
        If the file cannot be read, has other bands, is empty, or takes too much memory.
    """
    with opened(href, source, limits) as layers:
        return _read(_wanted(href, layers, source), source, window, limits, grid)


def read_bands(
    hrefs: Sequence[Href],
    names: Sequence[str],
    source: ImageSource,
    window: TileWindow | None = None,
    limits: Limits = USUAL,
    grid: PixelGrid | None = None,
    said: Sequence[Sidecar] = (),
) -> FileRaster:
    """Read an image of which every band has its own file.

    Parameters
    ----------
    hrefs, names : sequences
        The files and the band of each.
    source : ImageSource
        Which bands to read. With ``resample_to`` all come to one grid; else they must be on one.
    window, limits, grid
        As in `read_file`.
    said : sequence of Sidecar
        What a catalogue says of each file.

    Raises
    ------
    SampleError
        If a file cannot be read, a band is missing, the grids differ, or it takes too much memory.
    """
    of_file = dict(zip(hrefs, said, strict=bool(said)))
    with reading_errors(hrefs[0]):
        wanted = [hrefs[i] for i in choose_bands(names, source)]
    if len(wanted) > 1 and all(map(reads_ranges, wanted)):
        _look_at_once(wanted, limits)
    with ExitStack() as stack:
        bands = [replace(own, beside=of_file.get(own.href)) for own in _of_files(hrefs, names, source, stack, limits)]
        return _read(bands, source, window, limits, grid)


def _look_at_once(hrefs: Sequence[Href], limits: Limits) -> None:
    """Look at files on servers, some at a time: most of the time goes by until a server answers."""

    def look(href: Href) -> None:
        with reading_errors(href):
            check_file(href, limits)
            look_at(replace(href, cache=limits.remote_cache or href.cache))

    with ThreadPoolExecutor(min(_AT_ONCE, len(hrefs))) as pool:
        tasks = [pool.submit(look, href) for href in hrefs]
        try:
            for task in tasks:
                task.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def grid_of(
    hrefs: Sequence[Href], names: Sequence[str] | None, source: ImageSource, limits: Limits = USUAL
) -> PixelGrid:
    """Return the grid that the bands of an image come to; pixels are not read.

    Parameters
    ----------
    hrefs : sequence of Href
        Its files; of a series, the first counts.
    names : sequence of str or None
        The band of each file, where every band has its own.
    source : ImageSource
        Which bands.
    limits : Limits
        As in `read_file`.

    Raises
    ------
    SampleError
        If a file cannot be opened or has other bands.
    """
    with ExitStack() as stack:
        return _grid(_opened_bands(hrefs, names, source, stack, limits), source)


def band_names(href: Href, file_bands: Sequence[str] | None, table: Sensor | None) -> tuple[str, ...]:
    """Return the names of the bands of a file, in its order.

    Parameters
    ----------
    href : Href
        The file.
    file_bands : sequence of str, optional
        Their order by the config.
    table : Sensor or None
        By which spellings are known.

    Raises
    ------
    SampleError
        If it cannot be opened, or the order is not known.
    """
    with opened(href, None) as layers:
        facts = [layer.facts for layer in layers]
        if all(own.named for own in facts):
            return tuple(str(band.name) for own in facts for band in own.bands)
        bands = [band.name for own in facts for band in own.bands]
        return band_order(len(bands), bands, file_bands, str(href), table)


def origins_of(
    hrefs: Sequence[Href], names: Sequence[str] | None, source: ImageSource, said: Sequence[Sidecar] = ()
) -> tuple[list[BandOrigin], dict[str, str]]:
    """Return where the bands of an image come from, and the metadata of the first file; pixels are not read.

    Parameters
    ----------
    hrefs, names, source, said
        As in `grid_of` and `read_bands`.

    Raises
    ------
    SampleError
        If a file cannot be opened or has other bands.
    """
    with ExitStack() as stack:
        of_file = dict(zip(hrefs, said, strict=True)) if said else {}
        bands = _opened_bands(hrefs, names, source, stack, USUAL)
        known = (replace(band, beside=of_file.get(band.href)) for band in bands)
        return [band.origin(source) for band in known], dict(bands[0].layer.facts.tags)


def _opened_bands(
    hrefs: Sequence[Href], names: Sequence[str] | None, source: ImageSource, stack: ExitStack, limits: Limits
) -> list[WantedBand]:
    """Open the wanted bands of an image: of files of single bands, or of its first file."""
    if names is not None:
        return _of_files(hrefs, names, source, stack, limits)
    return _wanted(hrefs[0], stack.enter_context(opened(hrefs[0], source, limits)), source)


def _of_files(
    hrefs: Sequence[Href], names: Sequence[str], source: ImageSource, stack: ExitStack, limits: Limits
) -> list[WantedBand]:
    """Open the files of the wanted bands, each of which holds one."""
    with reading_errors(hrefs[0]):
        chosen = choose_bands(names, source)
    wanted = []
    layers: dict[int, OpenLayer] = {}
    for name, i in zip(source.bands, chosen, strict=True):
        if i not in layers:
            layers[i] = _opened_band(hrefs[i], source, stack, limits)
        wanted.append(WantedBand(name, hrefs[i], layers[i], 0))
    return wanted


def _opened_band(href: Href, source: ImageSource, stack: ExitStack, limits: Limits) -> OpenLayer:
    """Open a file that must have one band."""
    found = stack.enter_context(opened(href, source, limits))
    if len(found) != 1 or len(found[0].facts.bands) != 1:
        count = sum(len(layer.facts.bands) for layer in found)
        msg = f"{href} has {count} bands, expected one, as the pattern has {{band}}."
        raise SampleError(msg)
    return found[0]


def _wanted(href: Href, layers: Sequence[OpenLayer], source: ImageSource) -> list[WantedBand]:
    """Find the wanted bands in the layers of one file; of copies on several grids, the finest."""
    places: list[tuple[str, OpenLayer, int]] = []
    for layer in sorted(layers, key=lambda own: -own.facts.grid.height * own.facts.grid.width):
        facts, known = layer.facts, {name for name, *_ in places}
        descriptions = [band.name for band in facts.bands]
        if facts.named:
            names: Sequence[str] = [str(name) for name in descriptions]
        else:
            names = band_order(len(facts.bands), descriptions, source.file_bands, str(href), source.table)
        places += [(name, layer, i) for i, name in enumerate(names) if name not in known]
    with reading_errors(href):
        chosen = choose_bands([name for name, *_ in places], source)
    return [WantedBand(name, href, *places[i][1:]) for name, i in zip(source.bands, chosen, strict=True)]


def _grid(bands: Sequence[WantedBand], source: ImageSource) -> PixelGrid:
    """Grid that bands come to: of the first one, of a product's finest one, or of ``resample_to`` over its ground."""
    measured = [band for band in bands if not is_quality_layer(band.name, source)] or bands
    lead = measured[0]
    if lead.layer.facts.product is not None:
        lead = max(measured, key=lambda band: band.layer.facts.grid.height * band.layer.facts.grid.width)
    facts = lead.layer.facts
    if facts.points and facts.grid.transform is None:
        if source.pixel_size is None:
            msg = (
                f"{lead.href}: only {facts.points} say where its pixels lie, so it has no affine transform. Warp or "
                "terrain-correct it first (gdalwarp, SNAP), or state pixel_size to use it without a place on the map."
            )
            raise SampleError(msg)
        warnings.warn(
            f"{lead.href}: only {facts.points} say where its pixels lie. It is used without a place on the map, as "
            "pixel_size is stated.",
            stacklevel=2,
        )
    with reading_errors(lead.href):
        own = with_stated_crs(facts.grid, source.crs)
        return own if source.resample_to is None else resampled_grid(own, source.resample_to)


def _refuse_another_unit(band: WantedBand, source: ImageSource) -> None:
    """Refuse a unit, or a sensor, that contradicts the product that a band is of."""
    product = band.layer.facts.product
    if product is None or is_quality_layer(band.name, source) or source.unit is InputUnit.NATIVE:
        return
    for what, stated, own in (("unit", str(source.unit), str(product.unit)), ("sensor", source.sensor, product.sensor)):
        if stated is not None and stated != own:
            msg = (
                f"{band.href} is a product ({product.kind}), of which the {what} is {own}, but the config states "
                f"{what}: {stated}. State {what}: {own}."
            )
            raise SampleError(msg)


def _read(
    bands: Sequence[WantedBand],
    source: ImageSource,
    window: TileWindow | None,
    limits: Limits,
    wanted_grid: PixelGrid | None,
) -> FileRaster:
    for band in bands:
        _refuse_another_unit(band, source)
    grid = wanted_grid or _grid(bands, source)
    if 0 in (grid.height, grid.width):
        msg = f"{bands[0].href} holds no pixels: {grid.height} x {grid.width}."
        raise SampleError(msg)
    if window is not None and (grid.height, grid.width) != window.of:
        msg = (
            f"{bands[0].href} has {(grid.height, grid.width)} pixels, the first modality {window.of}. Tiles need one "
            "grid."
        )
        raise SampleError(msg)
    part = Part(0, 0, grid.height, grid.width) if window is None else Part(*window.inside)
    with reading_errors(bands[0].href):
        size = f"{part.height} x {part.width} pixels of {len(bands)} bands"
        wanted = memory_of(bands, grid, part, 0 if window is None else window.side)
        limits.refuse_large(wanted, f"it has {grid.height} x {grid.width} pixels; reading {size}")
    groups, placed = _together(bands, source), wanted_grid is not None
    planes = [_on_grid(group, grid, part, source, bands[0], placed=placed) for group in groups]
    if 0 in planes[0].shape:
        msg = f"{bands[0].href} holds no pixels: shape {planes[0].shape}."
        raise SampleError(msg)
    pixels = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=-3)
    place = grid.window(part.top, part.left, part.height, part.width)
    facts = bands[0].layer.facts
    return FileRaster(
        pixels,
        place.transform,
        grid.crs,
        facts.tags,
        facts.frame_names,
        facts.frame_dates,
        tuple(band.origin(source) for band in bands),
        facts.product.notes if facts.product else (),
    )


def _together(bands: Sequence[WantedBand], source: ImageSource) -> Iterator[list[WantedBand]]:
    """Neighbours that are read at once: of one layer, measurements apart from classes."""
    kinds = itertools.groupby(bands, lambda own: (id(own.layer), is_quality_layer(own.name, source)))
    return (list(group) for _, group in kinds)


def _on_grid(
    group: Sequence[WantedBand], grid: PixelGrid, part: Part, source: ImageSource, first: WantedBand, *, placed: bool
) -> np.ndarray:
    """Read bands of one layer on the grid of the first, or, if ``placed``, on any; classes are never interpolated."""
    layer, href = group[0].layer, group[0].href
    quality = is_quality_layer(group[0].name, source)
    with reading_errors(href):
        own = with_stated_crs(layer.facts.grid, source.crs)
        if placed:
            refuse_unplaced(own, layer.facts.points)
    nested = bool(source.resample_to) or quality or layer.facts.product is not None
    if not placed and own != grid and not (same_ground(grid, own) if nested else one_grid(grid, own)):
        msg = (
            f"{href} has {own.height} x {own.width} pixels{size_of_pixels(own)}, but {first.href} has another grid "
            f"(size, transform or CRS): {grid.height} x {grid.width}{size_of_pixels(grid)}; {difference(grid, own)}. "
            "For bands of different pixel size over one ground, set resample_to to the pixel size that all shall have."
        )
        raise SampleError(msg)
    resampling = "nearest" if quality else source.resampling
    with reading_errors(href):
        bands = [band.position for band in group]
        target = grid.window(part.top, part.left, part.height, part.width)
        named = {band.position: band.name for band in group}
        alpha = alpha_counts(layer, named, source, part if own == grid else needed_part(own, target, resampling))
        # Many tools tag 0 as no-data of all layers of a product, though it is a class of some quality layers.
        kept = all(missing_numbers(source.cloud_kind, band.facts.nodata) == band.facts.nodata for band in group)
        nodata = (None if kept else math.nan) if quality else source.nodata
        fill = None if quality or own == grid else _fill(group, source, first)
        pixels = read_on_grid(layer, bands, grid, part, resampling, nodata=nodata, alpha=alpha, fill=fill)
        return pixels if quality else decoded(pixels, group, source)


def _fill(group: Sequence[WantedBand], source: ImageSource, first: WantedBand) -> Fill | None:
    """Numbers for no data by the definition of the product; of values that come to be by decoding there are none."""
    if any(band.decodes(source) for band in group):
        return None
    origins = [BandOrigin(band.href, band.position, band.facts, band.beside) for band in group]
    return fill_of(source, [band.name for band in group], origins, first.layer.facts.tags)
