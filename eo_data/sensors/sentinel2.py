"""Sentinel-2's offset of digital numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: Processing baseline in a product name (``_N0400_``) or granule id (``_N04.00``).
_BASELINE = re.compile(r"_N(\d{2})\.?(\d{2})(?![0-9])")


_OFFSET_TAG = re.compile(r"(BOA|RADIO)_ADD_OFFSET", re.IGNORECASE)


def sentinel2_offset(
    product_name: str | None = None,
    metadata: Mapping[str, object] | None = None,
    baseline: str | float | None = None,
) -> float | None:
    """Return the offset of a Sentinel-2 product, to be added to its digital numbers.

    -1000 from processing baseline 04.00 on (January 2022, and reprocessed older scenes), 0 before it and where the
    provider has taken it off: Earth Engine's ``*_HARMONIZED`` collections, ``earthsearch:boa_offset_applied``.

    Parameters
    ----------
    product_name : str, optional
        SAFE name, granule id or collection: ``S2A_MSIL2A_20220301T..._N0400_...``, ``COPERNICUS/S2_SR_HARMONIZED``.
    metadata : mapping, optional
        Tags of the file, properties of a STAC item or the item itself: ``s2:processing_baseline``,
        ``PROCESSING_BASELINE``, ``BOA_ADD_OFFSET...`` or ``RADIO_ADD_OFFSET...`` of the product's MTD file.
    baseline : str or float, optional
        Processing baseline if known otherwise: ``04.00``, ``N0400``, 4.0.

    Returns
    -------
    float or None
        ``None`` if it cannot be known; then it has to be stated.

    Raises
    ------
    ValueError
        If the sources contradict each other, or a baseline is not a number.
    """
    tags = dict(metadata or {})
    nested = tags.get("properties")
    tags |= nested if isinstance(nested, Mapping) else {}
    applied = str(tags.get("earthsearch:boa_offset_applied", "")).lower() == "true"
    if applied or "_HARMONIZED" in (product_name or "").upper():
        return 0.0
    found: dict[str, float | None] = {
        f"tag {key}": _as_offset(value) for key, value in tags.items() if _OFFSET_TAG.search(key)
    }
    for key in ("s2:processing_baseline", "processing:version", "PROCESSING_BASELINE"):
        if key in tags:
            found[key] = _offset_of_baseline(tags[key])
    if baseline is not None:
        found["baseline"] = _offset_of_baseline(baseline)
    in_name = _BASELINE.search(product_name or "")
    if in_name:
        found[f"name {product_name}"] = _offset_of_baseline(".".join(in_name.groups()))
    offsets = {value for value in found.values() if value is not None}
    if len(offsets) > 1:
        said = "; ".join(f"{value:g} by {key}" for key, value in found.items() if value is not None)
        msg = f"The offset of a Sentinel-2 product is contradictory: {said}. State the offset in the config."
        raise ValueError(msg)
    return offsets.pop() if offsets else None


def _as_offset(value: object) -> float:
    try:
        return float(str(value))
    except ValueError as error:
        msg = f"The offset tag of a Sentinel-2 product must be a number such as -1000, got {value!r}."
        raise ValueError(msg) from error


def _offset_of_baseline(value: object) -> float | None:
    """-1000 from 04.00 on, 0 before; ``None`` for 99.99, which a local run of Sen2Cor writes."""
    match = re.fullmatch(r"N?(?:(\d{1,2})(?:\.\d{1,2})?|(\d{2})\d{2})", str(value).strip().upper())
    if match is None:
        msg = f"A processing baseline is written like '04.00' or 'N0400', got {value!r}."
        raise ValueError(msg)
    major = int(match[1] or match[2])
    return None if major == 99 else -1000.0 if major >= 4 else 0.0
