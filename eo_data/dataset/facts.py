"""What of a data module changes the numbers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from eo_core.fingerprint import plain_values

#: Settings that say which files or dates; the content of a statistics file counts, as a private field.
_OF_PLACE = frozenset(("statistics", "source", "start", "end", "dates"))


def describe_data(module: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return what of a data module changes the numbers: sources, preprocessing with its statistics, frames, tiles.

    Of data modules that are not ours only the class is known.
    """
    kind = type(module)
    facts: dict[str, Any] = {"class": f"{kind.__module__}.{kind.__qualname__}"}
    for name in ("modalities", "preprocess", "frames", "dates_as", "missing_modality", "tile", "tile_align"):
        value = getattr(module, name, None)
        if value is not None:
            facts[name] = plain_values(value)
    statistics_of = getattr(getattr(module, "preprocess", None), "statistics_of", None)
    if statistics_of is not None:
        facts["statistics"] = {name: statistics_of(source.bands) for name, source in module.modalities.items()}
    return facts


def describe_inputs(module: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return what changes the numbers that an encoder sees, whatever files they come from.

    Bands and unit by modality, preprocessing with its statistics, and frames: what a checkpoint has to know of its
    training. Not where files lie, nor the years that a series is of.
    """
    from eo_data.readers.images import ImageReader  # noqa: PLC0415  (reads with rasterio, which fingerprints do not need)

    facts = describe_data(module)
    kept: dict[str, Any] = {k: _without(facts[k], _OF_PLACE) for k in ("preprocess", "frames") if k in facts}
    kept |= {"statistics": facts["statistics"]} if "statistics" in facts else {}
    sources = {
        name: {"bands": list(source.bands), "unit": plain_values(ImageReader(name, source).target_unit())}
        for name, source in module.modalities.items()
    }
    return kept | {"modalities": sources}


def _without(facts: Any, keys: Collection[str]) -> Any:  # noqa: ANN401
    if not isinstance(facts, dict):
        return facts
    return {key: _without(value, keys) for key, value in facts.items() if key not in keys}
