"""What metadata outside of a raster say of it: the file of its product, or an item of a catalogue.

Source: STAC item, ``raster`` and ``eo`` extensions (``raster:bands`` up to STAC 1.0, ``bands`` from 1.1 on).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eo_data.sensors.scaling import Scaling


@dataclass(frozen=True)
class SidecarBand:
    """What a STAC item says of one band of a file; ``None`` where it says nothing.

    Parameters
    ----------
    name : str or None
        As in the item: ``B02``, ``blue``.
    scale, offset : float or None
        Physical value = number * scale + offset.
    nodata : float or None
        The number that stands for missing pixels; may be NaN.
    unit : str or None
        What the values are, where the collection says so: ``linear_power``.
    dtype : str or None
        Type of the numbers, as numpy spells it.
    gsd : float or None
        Side of a pixel in metres.
    """

    name: str | None = None
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    unit: str | None = None
    dtype: str | None = None
    gsd: float | None = None


@dataclass(frozen=True)
class Sidecar:
    """Metadata that lie beside a raster, or that a catalogue has of it.

    Parameters
    ----------
    tags : mapping
        Flat: the MTL file as ``GROUP.KEY``; of the MTD file the baseline, names and times, ``BOA_ADD_OFFSET_B02``,
        ``BOA_QUANTIFICATION_VALUE`` and ``SPECIAL_VALUE_NODATA``; of a STAC item the properties, and ``stac:id`` and
        ``stac:collection``. `eo_data.sensors.sentinel2.sentinel2_offset` and
        `eo_data.sensors.scaling.product_scaling` read them.
    path : Path
        The file that says so; of a catalogue, the id of its item.
    bands : tuple of SidecarBand
        Of a STAC item: each band of the raster in its order, if an asset of the item is this raster.
    """

    tags: Mapping[str, object]
    path: Path
    bands: tuple[SidecarBand, ...] = field(default=())

    def scaling(self, index: int) -> Scaling | None:
        """Return scale and offset of the band at an index, counted from 0, or ``None`` if they are not stated."""
        band = self.bands[index] if index < len(self.bands) else SidecarBand()
        if band.scale is None and band.offset is None:
            return None
        return Scaling(1.0 if band.scale is None else band.scale, band.offset or 0.0, f"{self.path.name}")


#: Clouds of a whole scene in percent: STAC, Sentinel-2's MTD file, tags of HLS, Landsat's MTL file (of any group) and
#: images of Earth Engine, Sentinel-2 of Earth Engine.
_CLOUD_SHARES = (
    *("eo:cloud_cover", "cloud_coverage_assessment", "cloud_coverage", "cloud_cover"),
    "cloudy_pixel_percentage",
)


def cloud_share(tags: Mapping[str, object]) -> float | None:
    """Return the clouds of a whole scene in percent; ``None`` where tags do not say, as -1 of Landsat does."""
    last = {name.rpartition(".")[2].lower(): value for name, value in tags.items()}
    for name in _CLOUD_SHARES:
        with suppress(ValueError):
            share = float(str(last.get(name)))
            if 0 <= share <= 100:
                return share
    return None


def asset_bands(asset: Mapping[str, Any], *, applied: bool) -> tuple[SidecarBand, ...]:
    """Return what a STAC item says of each band of an asset; at least one.

    Parameters
    ----------
    asset : mapping
        As the item has it.
    applied : bool
        Whether the item says that the offset has been taken off the numbers, see
        `eo_data.sensors.sentinel2.offset_is_applied`: the offset that it states all the same does not count.

    Raises
    ------
    ValueError, TypeError, AttributeError
        If a scale, an offset or a no-data number is none.
    """
    new, raster = _list_of(asset, "bands"), _list_of(asset, "raster:bands")
    names = [band.get("name") for band in new or _list_of(asset, "eo:bands")]
    common = {key: asset.get(f"raster:{key}") for key in ("scale", "offset")} | {"nodata": asset.get("nodata")}
    bands = []
    for i in range(max(len(new), len(raster), len(names), 1)):
        said: dict[str, Any] = dict(common)
        old = raster[i] if i < len(raster) else {}
        said |= {key: old[key] for key in said if key in old}
        band = new[i] if i < len(new) else {}
        said |= {key: band[f"raster:{key}"] for key in ("scale", "offset") if f"raster:{key}" in band}
        said |= {"nodata": band["nodata"]} if "nodata" in band else {}
        values = {key: None if value is None else float(value) for key, value in said.items()}
        if applied:
            values["offset"] = None if values["offset"] is None else 0.0
        name = names[i] if i < len(names) else None
        kind = str(band.get("data_type") or old.get("data_type") or asset.get("data_type") or "")
        size = band.get("gsd") or asset.get("gsd") or old.get("spatial_resolution")
        numbers = values["scale"], values["offset"], values["nodata"]
        bands.append(SidecarBand(name, *numbers, dtype=kind or None, gsd=float(size) if size else None))
    return tuple(bands)


def _list_of(asset: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    found = asset.get(key, [])
    if not isinstance(found, list) or not all(isinstance(band, dict) for band in found):
        msg = f"{key} must be a list of bands"
        raise ValueError(msg)
    return found
