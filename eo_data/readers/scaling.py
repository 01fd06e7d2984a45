"""The scale and the offset of each band: what the config states, compared with what the file and its product say.

Nothing is assumed that neither of them states, but the scale of Sentinel-2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.readers.formats.file_raster import BandOrigin
from eo_data.readers.formats.sidecars import sidecar_of
from eo_data.readers.grids.regrid import Fill
from eo_data.sensors.beside import Sidecar
from eo_data.sensors.plausible import zero_is_missing
from eo_data.sensors.scaling import Scaling, assumed_scale, fill_number, product_scaling, scale_advice
from eo_data.sensors.sentinel2 import NO_DATA, SATURATED, is_sentinel2, sentinel2_offset
from eo_data.sensors.units import InputUnit

#: Spellings of degrees Celsius, and what is added for kelvin.
_CELSIUS = (
    "degc",
    "deg c",
    "°c",
    "c",
    "celsius",
    "degree_celsius",
    "degrees_celsius",
    "degree celsius",
    "degrees celsius",
)
_KELVIN_OFFSET = 273.15


class UnknownScalingError(ValueError):
    """Neither config nor file nor product says how digital numbers become values."""


@dataclass(frozen=True)
class BandScaling:
    """How the digital numbers of one band become values: ``(number + offset) * scale``.

    Parameters
    ----------
    scale : float or None
        ``None`` where it is not needed.
    offset : float
        In digital numbers.
    stated : bool
        Whether the config states the offset.
    metadata : str
        What else states the offset; empty if nothing does.
    note : str
        What a user may want to know.
    missing : tuple of float
        Numbers that mean "missing" by the definition of the product or what lies beside it.
    """

    scale: float | None
    offset: float
    stated: bool = False
    metadata: str = ""
    note: str = ""
    missing: tuple[float, ...] = ()

    @property
    def has_other_fill(self) -> bool:
        """Whether the product has another number than 0 for no data, so that 0 is a value."""
        return bool(self.missing) and 0 not in self.missing


def band_scalings(
    name: str, source: ImageSource, bands: Sequence[BandOrigin], tags: Mapping[str, str], target: InputUnit
) -> list[BandScaling]:
    """Return the scale and offset of each band of what was read.

    Parameters
    ----------
    name : str
        Name of the modality, for messages.
    source : ImageSource
        What the config states.
    bands : sequence of BandOrigin
        Where each band of the source comes from, and what its file says.
    tags : mapping of str to str
        Metadata of the first file.
    target : InputUnit
        Unit that the numbers come to.

    Raises
    ------
    ValueError
        If the scale or offset is not known, or config, file and product contradict each other.
    """
    found: dict[tuple[object, ...], BandScaling] = {}
    beside = {href: _sidecar(origin) for href, origin in {own.href: own for own in bands}.items()}
    result = []
    for band, origin in zip(source.bands, bands, strict=True):
        facts, own = origin.facts, beside[origin.href]
        key = (origin.href, facts.scale, facts.offset, facts.unit, facts.nodata, _key(source, band, own))
        if key not in found:
            found[key] = _band_scaling(name, source, band, origin, own, tags, target)
        result.append(found[key])
    return result


def refuse_packed(name: str, source: ImageSource, bands: Sequence[BandOrigin]) -> None:
    """Refuse integers that are declared to be values, though their file states the scale that makes them so.

    Raises
    ------
    ValueError
        With the line to write.
    """
    if source.file_scaling == "ignore" or source.unit is InputUnit.NATIVE:
        return
    for band, origin in zip(source.bands, bands, strict=True):
        facts = origin.facts
        if facts.is_scaled and not facts.dtype.startswith("float"):
            msg = (
                f"{name!r} ({origin.href}, band {band}) is declared as {source.unit}, but the tags of the file state "
                f"{_shown(_of_file(origin))} for its numbers ({facts.dtype}). Declare unit: digital_number, so that "
                "they are used; or set file_scaling: ignore if the tags are wrong."
            )
            raise ValueError(msg)


def fill_of(source: ImageSource, names: Sequence[str], bands: Sequence[BandOrigin], tags: Mapping[str, str]) -> Fill:
    """Return the numbers of some bands that stand for no data by the definition of their product.

    Parameters
    ----------
    source : ImageSource
        What the config states.
    names : sequence of str
        The bands as the source names them.
    bands : sequence of BandOrigin
        Where each comes from, and what its file says.
    tags : mapping of str to str
        Metadata of the first file of the image.

    Raises
    ------
    ValueError
        As in `band_scalings`, if what is stated is contradictory.
    """
    nothing: tuple[tuple[float, ...], ...] = ((),) * len(bands)
    if zero_is_missing(InputUnit(source.unit), len(source.bands)):
        return Fill(nothing, 0.0)
    if source.unit is not InputUnit.DIGITAL_NUMBER or source.target_unit is InputUnit.NATIVE:
        return Fill(nothing)
    if source.formula is not None:
        return Fill(((0.0,),) * len(bands))
    scalings = [
        _band_scaling("image", source, name, origin, _sidecar(origin), tags, InputUnit.NATIVE)
        for name, origin in zip(names, bands, strict=True)
    ]
    by_band = tuple(band.missing for band in scalings)
    if source.is_radar:
        return Fill(by_band, -scalings[0].offset)
    if not is_sentinel2(source.sensor) or scalings[0].has_other_fill:
        return Fill(by_band)
    special = (float(SATURATED), float(NO_DATA)) if scalings[0].offset < 0 else (float(SATURATED),)
    return Fill(tuple((*own, *special) for own in by_band), float(NO_DATA))


def _key(source: ImageSource, band: str, beside: Sidecar | None) -> object:
    """What else the scale depends on: all bands of Sentinel-2 share it, unless something beside the file says more."""
    table = source.table
    physical = assumed_scale(source.sensor, (table.canonical(band) if table else None) or band)
    return ("all", physical) if physical is not None and beside is None else band


def _band_scaling(
    modality: str,
    source: ImageSource,
    name: str,
    origin: BandOrigin,
    beside: Sidecar | None,
    tags: Mapping[str, str],
    target: InputUnit,
) -> BandScaling:
    band = source.substitutes.get(name, name)
    canonical = (source.table.canonical(band) if source.table else None) or band
    where = f"{modality!r}: {origin.href}, band {band}"
    metadata: dict[str, object] = {**tags, **(beside.tags if beside else {})}
    known = _known(where, source, canonical, origin, beside, metadata)
    product = _product_offset(source, str(origin.href), metadata)
    offset, stated = _offset(modality, origin.href, source, known, product)
    scale = (
        source.scale if source.scale is not None else known.scale if known else assumed_scale(source.sensor, canonical)
    )
    if scale is None and target not in (InputUnit.DIGITAL_NUMBER, InputUnit.NATIVE):
        msg = (
            f"{where}: the scale of its digital numbers is not known: neither the config nor the file or product "
            f"states one. {scale_advice(source.sensor, canonical)}"
        )
        raise UnknownScalingError(msg)
    if source.scale is None and known is None and scale is not None and origin.facts.dtype in ("uint8", "int8"):
        msg = (
            f"{where}: its numbers have 8 bits ({origin.facts.dtype}), so they are not the product's, of which one is "
            f"{scale:g}; neither config nor file states their scale. State scale (1/255 is 0.00392157) and offset, or "
            "declare unit: native for a picture that was stretched."
        )
        raise ValueError(msg)
    if known is not None and scale is not None:
        _refuse_contradiction(where, Scaling(scale, offset * scale, "the config"), known)
    said = "" if known is None else known.origin
    if product is not None:
        said = "the name or metadata of the product"
    note = "" if known is None or source.scale is not None else f"{_shown(known)} from {known.origin}"
    if source.offset == "auto":
        note = f"digital number offset {offset:g} from the product"
    missing = tuple(dict.fromkeys(_missing(source, known, offset, origin, beside)))
    return BandScaling(scale, offset, stated, said, note, missing)


def _missing(
    source: ImageSource, known: Scaling | None, offset: float, origin: BandOrigin, beside: Sidecar | None
) -> Iterator[float]:
    """Numbers that mean "missing", which the file itself does not say; those of the product count in any case."""
    by_product = known.missing if known is not None else None
    if by_product is None:
        by_product = fill_number(source.sensor, offset)
    if by_product is not None:
        yield by_product
    if source.nodata is not None or origin.facts.nodata:
        return
    said = beside.bands[origin.position].nodata if beside and origin.position < len(beside.bands) else None
    if said is not None and not math.isnan(said):
        yield said


def _known(
    where: str,
    source: ImageSource,
    band: str,
    origin: BandOrigin,
    beside: Sidecar | None,
    metadata: Mapping[str, object],
) -> Scaling | None:
    """What file, sidecar and product say together; of two that agree but for an offset, the one that states it."""
    evidence = (
        []
        if source.file_scaling == "ignore"
        else [_of_file(origin), beside.scaling(origin.position) if beside else None]
    )
    if source.file_scaling == "check" or source.scale is None:
        evidence.append(product_scaling(source.sensor, band, str(origin.href), metadata))
    found: Scaling | None = None
    for said in evidence:
        if said is None:
            continue
        if found is None or (found.offset == 0 and replace(said, offset=0.0).same(found)):
            found = said
        elif not (said.offset == 0 and replace(found, offset=0.0).same(said)) and not found.same(said):
            if source.scale is not None and isinstance(source.offset, float | int):
                return None  # the config decides between them
            msg = (
                f"{where}: {found.origin} states {_shown(found)}, {said.origin} {_shown(said)}: a contradiction. "
                "State scale and offset in the config: physical value = (number + offset) * scale."
            )
            raise ValueError(msg)
    return found


def _of_file(origin: BandOrigin) -> Scaling | None:
    facts = origin.facts
    if not facts.is_scaled:
        return None
    scale, offset = 1.0 if facts.scale is None else facts.scale, facts.offset or 0.0
    if (facts.unit or "").strip().lower() in _CELSIUS:
        offset += _KELVIN_OFFSET
    return Scaling(scale, offset, "the file's tags")


def _product_offset(source: ImageSource, product: str, metadata: Mapping[str, object]) -> float | None:
    """What name and metadata of a Sentinel-2 product say of its offset."""
    if source.sensor is not None and not is_sentinel2(source.sensor):
        return None
    return sentinel2_offset(product_name=product, metadata=metadata)


def _offset(
    name: str, href: Href, source: ImageSource, known: Scaling | None, product: float | None
) -> tuple[float, bool]:
    """Return the offset in numbers, and whether the config states it."""
    tagged = None if known is None or not known.offset else known.number_offset
    if isinstance(source.offset, int | float):
        if source.offset < 0 and product == 0 and source.file_scaling != "ignore":
            msg = (
                f"{name!r}: {href}: the config states offset: {source.offset:g}, but by its name or metadata the "
                "product has no offset (processing baseline before 04.00, or taken off already). State offset: auto "
                "to use what each product says, or set file_scaling: ignore if that is wrong."
            )
            raise ValueError(msg)
        return float(source.offset), True
    if product is not None and tagged is not None and abs(product - tagged) > 0.51:
        msg = (
            f"{name!r}: {href}: {known.origin if known else 'the file'} states the offset {tagged:g}, the name or "
            f"metadata of the product {product:g}. State offset: {tagged:g} or offset: {product:g}, and file_scaling: "
            "ignore if the tags are wrong."
        )
        raise ValueError(msg)
    if source.offset == "auto":
        offset = product if product is not None else tagged
        if offset is None:
            msg = (
                f"{name!r}: the digital number offset of {href} cannot be told from its name or metadata. State "
                "offset: -1000 (processing baseline 04.00 and later, from 25 January 2022) or offset: 0."
            )
            raise UnknownScalingError(msg)
        return offset, False
    if tagged is None and product:
        msg = (
            f"{name!r}: {href} is a product whose digital numbers have an offset of {product:g}. State offset: auto, "
            "or offset: 0 if it has been taken off already."
        )
        raise ValueError(msg)
    return tagged or 0.0, False


def _refuse_contradiction(where: str, used: Scaling, known: Scaling) -> None:
    """Refuse what the config states if the file says otherwise; an offset of 0 in a file may only be not stated."""
    said = known if known.offset else replace(known, offset=used.offset)
    if used.same(said):
        return
    msg = (
        f"{where}: the config states {_shown(used)}, {known.origin} {_shown(known)}. Leave scale and offset out to "
        "use what the file says, or set file_scaling: ignore if its tags are wrong."
    )
    raise ValueError(msg)


def _shown(scaling: Scaling | None) -> str:
    """Scale and offset as a config states them."""
    return "no scale" if scaling is None else str(scaling)


def _sidecar(origin: BandOrigin) -> Sidecar | None:
    if origin.beside is not None or not origin.href.is_local:
        return origin.beside
    return sidecar_of(origin.href.path)
