"""UniverSat's sensors as the reader of TerraTorch's batches sees them: those of the table, and the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from eo_core.arguments import from_text
from eo_data.sensors.tables import (
    AERIAL,
    LANDSAT7,
    LANDSAT8,
    SENTINEL1,
    SENTINEL2,
    SENTINEL3_OLCI,
    Sensor,
)
from eo_models.forward.series import SeriesKind, SeriesTable
from universat_ext.model.modalities import (
    MODALITIES,
    Descriptor,
    Modality,
    check_count,
    check_descriptors,
    check_metres,
)

MODEL = "UniverSat"
#: Sensor behind the band names of a modality; the names of others are known to no table.
SENSORS: Mapping[str, Sensor] = MappingProxyType(
    dict.fromkeys(("s2", "s2flair", "s2withaerosol", "s2l1c", "s2_4band"), SENTINEL2)
    | dict.fromkeys(("s1", "s1-asc", "s1flair"), SENTINEL1)
    | dict.fromkeys(("l8", "l8forestnet", "hls"), LANDSAT8)
    | {"l7": LANDSAT7, "s3": SENTINEL3_OLCI}
    | dict.fromkeys(("aerial", "aerialflair", "spot", "spotRGBN", "naip", "rgbn", "planet", "maxar", "rgbneon"), AERIAL)
)
_SETTINGS = ("bands", "pixel_metres", "subpatch_pixels")
_BAND_SETTINGS = ("wavelength", "bandwidth")


@dataclass(frozen=True)
class OwnSensors:
    """The sensors that a backbone may take.

    Parameters
    ----------
    modalities : mapping of str to Modality
        Those of the table, and the user's own, which may take the place of one of the table.
    own : frozenset of str
        Names of the user's own.
    bandwidths : mapping of str to mapping of str to float
        By modality and band, what the user stated: kept, and not read by the encoder, which takes wavelengths alone.
    """

    modalities: Mapping[str, Modality]
    own: frozenset[str] = frozenset()
    bandwidths: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def parse(cls, given: object) -> OwnSensors:
        """Check the argument ``sensors`` of the backbone.

        Raises
        ------
        ValueError
            For an unknown setting, or a value out of range; the message says what is valid.
        """
        stated = from_text(given)
        if stated is None:
            return cls(MODALITIES)
        if not isinstance(stated, Mapping):
            msg = f"sensors must be a mapping of a name to its settings ({', '.join(_SETTINGS)}), got {given!r}."
            raise ValueError(msg)
        found: dict[str, Modality] = {}
        widths: dict[str, Mapping[str, float]] = {}
        for key, settings in stated.items():
            name = str(key)
            found[name], widths[name] = _sensor(name, settings)
        kept = {name: own for name, own in widths.items() if own}
        return cls(MappingProxyType({**MODALITIES, **found}), frozenset(found), MappingProxyType(kept))

    @property
    def table(self) -> SeriesTable:
        """What the reader needs of them."""
        return SeriesTable(MODEL, MappingProxyType({name: self._kind(name, m) for name, m in self.modalities.items()}))

    def _kind(self, name: str, modality: Modality) -> SeriesKind:
        sensor = SENSORS.get(name) if modality.bands == getattr(MODALITIES.get(name), "bands", None) else None
        # The weights have seen codes only together: a radar without its ratio is none that they know.
        coded = all(isinstance(value, str) for value in modality.descriptors)
        return SeriesKind(name, modality.bands, sensor, "either", all_bands=coded and name not in self.own)

    def with_bands(self, name: str, bands: Sequence[str]) -> Modality:
        """Return a modality that has only these of its bands, in this order."""
        modality = self.modalities[name]
        descriptor_of = dict(zip(modality.bands, modality.descriptors, strict=True))
        return replace(modality, bands=tuple(bands), descriptors=tuple(descriptor_of[band] for band in bands))


def _sensor(name: str, settings: object) -> tuple[Modality, Mapping[str, float]]:
    known = MODALITIES.get(name)
    if not isinstance(settings, Mapping) or [key for key in settings if key not in _SETTINGS]:
        msg = f"sensors: {name!r} must have settings among {', '.join(_SETTINGS)}, got {settings!r}."
        raise ValueError(msg)
    missing = [key for key in _SETTINGS[:2] if key not in settings]
    if known is None and missing:
        msg = (
            f"sensors: {name!r} is none of the table, so it needs {' and '.join(missing)}. For example: {{{name}: "
            "{pixel_metres: 2.5, bands: {BLUE: 0.49, RED: {wavelength: 0.665, bandwidth: 0.03}, HEIGHT: nDEM}}}."
        )
        raise ValueError(msg)
    bands, widths = _bands(name, settings["bands"]) if "bands" in settings else ({}, {})
    base = known or Modality(name, (), (), 1.0)
    metres = check_metres(f"sensors: pixel_metres of {name!r}", settings.get("pixel_metres", base.pixel_metres))
    pixels = check_count(f"sensors: subpatch_pixels of {name!r}", settings.get("subpatch_pixels", base.subpatch_pixels))
    found = replace(base, pixel_metres=metres, subpatch_pixels=pixels)
    return (replace(found, bands=tuple(bands), descriptors=tuple(bands.values())) if bands else found), widths


def _bands(name: str, given: object) -> tuple[dict[str, Descriptor], dict[str, float]]:
    if not isinstance(given, Mapping) or not given:
        msg = (
            f"sensors: bands of {name!r} must be a mapping of a band's name to its wavelength in micrometres, a code, "
            f"or {{wavelength: ..., bandwidth: ...}}, got {given!r}."
        )
        raise ValueError(msg)
    descriptors: dict[str, Descriptor] = {}
    widths: dict[str, float] = {}
    for band, value in given.items():
        stated = value
        if isinstance(value, Mapping):
            if "wavelength" not in value or [key for key in value if key not in _BAND_SETTINGS]:
                msg = f"sensors: {band!r} of {name!r} must have {' and '.join(_BAND_SETTINGS)}, got {dict(value)!r}."
                raise ValueError(msg)
            stated = value["wavelength"]
            if "bandwidth" in value:
                widths[str(band)] = check_metres(f"sensors: bandwidth of {band!r} (micrometres)", value["bandwidth"])
        (descriptors[str(band)],) = check_descriptors(name, [stated])
    return descriptors, widths
