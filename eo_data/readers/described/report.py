"""What a file says of itself, and what a config makes of it, as lines to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.readers.conversion import target_unit
from eo_data.readers.files import opened
from eo_data.readers.formats.facts import BandFacts, FileFacts, ProductFacts
from eo_data.readers.formats.file_raster import BandOrigin
from eo_data.readers.formats.sidecars import sidecar_of
from eo_data.readers.image_bands import origins_of
from eo_data.readers.scaling import BandScaling, UnknownScalingError, band_scalings, refuse_packed
from eo_data.sensors.beside import Sidecar
from eo_data.sensors.units import InputUnit

#: What becomes of what a file says: it is used; the config states it; they contradict each other; nothing is said.
Verdict = Literal["used", "stated", "contradicts", "unknown"]


@dataclass(frozen=True)
class BandVerdict:
    """What a config makes of what a file says of one band.

    Parameters
    ----------
    band : str
        Name of the band.
    verdict : {'used', 'stated', 'contradicts', 'unknown'}
        As above.
    text : str
        Scale and offset, and where they come from; or what is wrong and what to write.
    """

    band: str
    verdict: Verdict
    text: str


def band_verdicts(
    name: str,
    source: ImageSource,
    hrefs: Sequence[Href],
    names: Sequence[str] | None,
    said: Sequence[Sidecar] = (),
) -> list[BandVerdict]:
    """Judge the scale and the offset of each band of an image; pixels are not read.

    Parameters
    ----------
    name : str
        Name of the modality.
    source : ImageSource
        What the config states.
    hrefs : sequence of Href
        The files of the image; of a series, the first counts.
    names : sequence of str or None
        The band of each file, where every band has its own.
    said : sequence of Sidecar
        What a catalogue says of each file.

    Raises
    ------
    SampleError
        If a file cannot be opened or has other bands.
    """
    origins, tags = origins_of(hrefs, names, source, said)
    return [_verdict(name, source, band, origin, tags) for band, origin in zip(source.bands, origins, strict=True)]


def _verdict(name: str, source: ImageSource, band: str, origin: BandOrigin, tags: dict[str, str]) -> BandVerdict:
    one = source.with_bands([band])
    try:
        if source.unit is not InputUnit.DIGITAL_NUMBER:
            refuse_packed(name, one, [origin])
            return BandVerdict(band, "stated", f"unit {source.unit}")
        if source.formula is not None:
            return BandVerdict(band, "stated", f"formula {source.formula}")
        (scaling,) = band_scalings(name, one, [origin], tags, target_unit(name, one))
    except UnknownScalingError as error:
        return BandVerdict(band, "unknown", str(error))
    except ValueError as error:
        return BandVerdict(band, "contradicts", str(error))
    stated = source.scale is not None or isinstance(source.offset, int | float)
    return BandVerdict(band, "stated" if stated else "used", _shown(source, scaling))


def _shown(source: ImageSource, scaling: BandScaling) -> str:
    scale = "no scale" if scaling.scale is None else f"scale: {scaling.scale:.6g}"
    origin = scaling.note or ("config" if source.scale is not None else "the usual scale of the sensor")
    agreed = f", as {scaling.metadata} says" if scaling.metadata and scaling.metadata not in origin else ""
    return f"{scale}, offset: {scaling.offset:.6g} ({origin}{agreed})"


def describe_file(href: Href, source: ImageSource | None = None) -> Iterator[str]:
    """Yield lines of what a file says of itself, and of what lies beside it.

    Raises
    ------
    SampleError
        If it cannot be opened.
    """
    with opened(href, source) as layers:
        facts = [layer.facts for layer in layers]
    yield f"file      {href}"
    for product in dict.fromkeys(own.product for own in facts if own.product is not None):
        yield from _lines_of_product(product)
    for own in facts:
        yield from _lines_of_layer(own)
    beside = sidecar_of(href.path) if href.is_local else None
    if beside is not None:
        yield f"  beside    {beside.path.name}: {_some(dict(beside.tags))}"


def _lines_of_product(product: ProductFacts) -> Iterator[str]:
    """Yield what to state for a product, and what it warns of."""
    tile = f", tile {product.tile}" if product.tile else ""
    began = "" if product.started is None else f", sensing began {product.started:%Y-%m-%d %H:%M:%S} UTC"
    yield f"  product   {product.name} ({product.kind}{tile}{began})"
    clouds = f", cloud_band: {product.quality_band}, cloud_kind: {product.quality_kind}" if product.quality_band else ""
    yield f"  state     sensor: {product.sensor}, unit: {product.unit}{clouds}"
    for note in product.notes:
        yield f"  note      {note}"


def _lines_of_layer(facts: FileFacts) -> Iterator[str]:
    grid = facts.grid
    frames = "" if facts.frames is None else f"{facts.frames} frames, "
    yield f"  kind      {facts.kind}, {frames}{grid.height} x {grid.width} px, {len(facts.bands)} bands"
    yield f"  place     {_place(facts)}"
    if facts.frame_dates:
        yield f"  dates     {facts.frame_dates[0].isoformat()} to {facts.frame_dates[-1].isoformat()}"
    masks = {"mask": "a mask inside or beside the file", "alpha": f"band {(facts.alpha or 0) + 1}, which is opacity"}
    yield f"  missing   by {masks[facts.mask]}" if facts.mask else "  missing   no mask; no-data by band: see below"
    if facts.tags:
        yield f"  tags      {_some(dict(facts.tags))}"
    heads = ("band", "type", "unit", "scale", "offset", "no-data", "valid range", "colour")
    yield f"  {_columns(*heads)}"
    for i, band in enumerate(facts.bands, start=1):
        yield f"  {_row(i, band)}".rstrip()


def _place(facts: FileFacts) -> str:
    grid = facts.grid
    if facts.points:
        return f"none; only {facts.points} say where its pixels lie"
    if grid.transform is None:
        return "none" if grid.crs is None else f"no transform ({crs_name(grid.crs)})"
    t = grid.transform
    return (
        f"{crs_name(grid.crs)}, pixels of {abs(t.a) or abs(t.b):.10g} x {abs(t.e) or abs(t.d):.10g}, corner "
        f"{t.c:.10g}, {t.f:.10g}{', south up' if t.e > 0 else ''}{', rotated' if t.b or t.d else ''}"
    )


def _row(number: int, band: BandFacts) -> str:
    nodata = ", ".join(f"{value:g}" for value in band.nodata) or "-"
    valid = "-" if band.valid_range is None else "{:g} .. {:g}".format(*band.valid_range)
    scale, offset = ("-" if value is None else f"{value:.6g}" for value in (band.scale, band.offset))
    name = f"{number} {band.name or '(no name)'}"
    return _columns(name, np.dtype(band.dtype).name, band.unit or "-", scale, offset, nodata, valid, band.colour or "-")


def _columns(name: str, dtype: str, unit: str, scale: str, offset: str, nodata: str, valid: str, colour: str) -> str:
    return f"{name:<22} {dtype:<9} {unit:<10} {scale:>10} {offset:>9} {nodata:>12} {valid:>16}  {colour}"


def _some(tags: dict[str, object], count: int = 6) -> str:
    shown = [f"{key}={str(value)[:40]}" for key, value in list(tags.items())[:count]]
    return ", ".join(shown) + (f", ... {len(tags)} in all" if len(tags) > count else "")


def crs_name(crs: str | None) -> str:
    """Return the code of a CRS, or its name."""
    if not crs:
        return "no CRS"
    from pyproj import CRS  # noqa: PLC0415
    from pyproj.exceptions import CRSError  # noqa: PLC0415

    try:
        system = CRS.from_user_input(crs)
    except CRSError:
        return crs
    authority = system.to_authority()
    return ":".join(authority) if authority else str(system.name)
