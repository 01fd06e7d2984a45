"""Which settings of a data module change the numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from eo_core.fingerprint import plain_values
from eo_data.sensors.scaling import assumed_scale

if TYPE_CHECKING:
    from eo_data.catalog.sources import ImageSource

#: Settings that name files or dates. The content of a statistics file does count: it is a private field.
_OF_PLACE = frozenset(("statistics", "source", "start", "end", "dates"))


class HasModalities(Protocol):
    """A data module of `eo_data`, as far as it is described here."""

    @property
    def modalities(self) -> Mapping[str, ImageSource]:
        """Where images come from, by modality."""
        ...


def describe_data(module: object) -> dict[str, Any]:
    """Return all settings of a data module that change the numbers: sources, preprocessing, statistics, frames, tiles.

    For data modules that are not ours, only the class is known.
    """
    kind = type(module)
    facts: dict[str, Any] = {"class": f"{kind.__module__}.{kind.__qualname__}"}
    for name in ("modalities", "preprocess", "frames", "dates_as", "missing_modality", "tile", "tile_align", "halo"):
        value = getattr(module, name, None)
        if value is not None:
            facts[name] = plain_values(value)
    if getattr(module, "blend", "core") != "core":  # exports are as old as fingerprints without it
        facts["blend"] = cast("Any", module).blend
    for source in (facts.get("modalities") or {}).values():
        _as_before(source)
    statistics_of = getattr(getattr(module, "preprocess", None), "statistics_of", None)
    if statistics_of is not None:
        modalities = cast("HasModalities", module).modalities
        facts["statistics"] = {name: statistics_of(source.bands) for name, source in modalities.items()}
    return facts


def _as_before(source: dict[str, Any]) -> None:
    """Keep fingerprints as they were when a scale that is not stated was 0.0001.

    For sensors of which that was wrong the fingerprint does differ.
    """
    if "scale" in source and source["scale"] is None:
        bands = source.get("bands") or ()
        linear = source.get("unit") == "digital_number" and source.get("formula") is None
        usual = not linear or all(assumed_scale(source["sensor"], band) for band in bands)
        source["scale"] = 1e-4 if usual or source.get("sensor") is None else None


def describe_inputs(module: object) -> dict[str, Any]:
    """Return all settings that change the numbers that an encoder sees, whatever files they come from.

    Bands and unit by modality, preprocessing with its statistics, and frames: what a checkpoint has to know about its
    training. Paths of files and the years of a series are left out. Only for data modules of ours.
    """
    from eo_data.readers.images import ImageReader  # noqa: PLC0415  (reads with rasterio, which fingerprints do not need)

    facts = describe_data(module)
    kept: dict[str, Any] = {k: _without(facts[k], _OF_PLACE) for k in ("preprocess", "frames") if k in facts}
    kept |= {"statistics": facts["statistics"]} if "statistics" in facts else {}
    sources = {
        name: {"bands": list(source.bands), "unit": plain_values(ImageReader(name, source).target_unit())}
        for name, source in cast("HasModalities", module).modalities.items()
    }
    return kept | {"modalities": sources}


def _without(facts: object, keys: Collection[str]) -> object:
    if not isinstance(facts, dict):
        return facts
    return {key: _without(value, keys) for key, value in facts.items() if key not in keys}
