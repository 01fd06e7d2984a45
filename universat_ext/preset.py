"""What `eo_embed.embed` may ask of UniverSat."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from eo_data.sensors.tables import SENSORS
from eo_data.sensors.units import InputUnit
from eo_models.preset import EncoderCard, ImageFacts, ImageKind, Recipe, refuse_unknown_options
from universat_ext.model.modalities import MODALITIES
from universat_ext.preprocess import RATIOS, UniverSatPreprocess

if TYPE_CHECKING:
    from torch import nn

#: UniverSat's modality by sensor.
_MODALITY_OF: Mapping[str, str] = {
    "sentinel2_l2a": "s2",
    "sentinel2_l1c": "s2",
    "sentinel1": "s1",
    "sentinel3_olci": "s3",
    "landsat7": "l7",
    "landsat8": "l8",
    "aerial": "aerial",
}
#: Sensors of which numbers are taken as they are, and what they are: reflectance beside temperatures, and pictures of
#: 8 bits.
_NATIVE: Mapping[str, str] = {
    "landsat7": InputUnit.REFLECTANCE.value,
    "landsat8": InputUnit.REFLECTANCE.value,
    "aerial": InputUnit.DIGITAL_NUMBER.value,
}
#: Composites of a series over a window of time.
_FRAMES = 8
#: Settings of `UniverSatPreprocess` that follow from the images.
_NOT_OPTIONS = ("ratio",)
#: Arguments of the backbone that are options, too.
_OF_BACKBONE: Mapping[str, Any] = {
    "features": "patch",
    "cell_metres": None,
    "latent_from": "finest",
    "last_day": 366,
    "memory_budget": None,
}
#: What a backbone gives, which it calls ``output``; that of `embed` says whether vectors or grids are wanted.
_RENAMED: Mapping[str, str] = {"features": "output"}


@dataclass(frozen=True)
class UniverSatPreset:
    """UniverSat's images, preprocessing and weights, for `eo_models.preset.Preset`."""

    @property
    def names(self) -> Sequence[str]:
        """Names in TerraTorch's registry."""
        from universat_ext.backbone import MODEL_NAMES  # noqa: PLC0415  (PyTorch takes seconds)

        return tuple(MODEL_NAMES)

    def images(self, name: str) -> Mapping[str, ImageKind]:
        """Return which images UniverSat takes, by sensor; of optical ones any of their bands."""
        return {sensor: _kind(sensor, modality) for sensor, modality in _MODALITY_OF.items()}

    def options(self, name: str) -> Mapping[str, Any]:
        """Return UniverSat's options with their defaults; there are no statistics for ``normalization: dataset``."""
        own = (entry for entry in fields(UniverSatPreprocess) if entry.init and entry.name not in _NOT_OPTIONS)
        return {entry.name: entry.default for entry in own} | dict(_OF_BACKBONE)

    def patch_metres(self, images: Mapping[str, ImageFacts], options: Mapping[str, Any]) -> float:
        """Return the side of a patch in metres: as stated, else 40, or the next whole number of pixels."""
        if "patch_size" in options:
            return float(options["patch_size"])
        usual = float(UniverSatPreprocess.patch_size)
        finest = min((image.pixel_size for image in images.values()), default=usual)
        pixels = usual / finest
        return usual if abs(pixels - round(pixels)) < 1e-6 else math.ceil(pixels) * finest

    def encoded_side(self, images: Mapping[str, ImageFacts], options: Mapping[str, Any], side: int) -> int:
        """Return ``side``: nothing is resampled."""
        return side

    def recipe(self, name: str, images: Mapping[str, ImageFacts], options: Mapping[str, Any]) -> Recipe:
        """Return how images become UniverSat's input.

        Raises
        ------
        TypeError
            For an option that UniverSat does not have.
        ValueError
            For a value that makes no sense, and without statistics or another normalisation.
        """
        refuse_unknown_options(name, options, tuple(self.options(name)))
        stated = {key: value for key, value in options.items() if key not in _OF_BACKBONE}
        stated["patch_size"] = self.patch_metres(images, options)
        ratios = {modality: _ratios(modality) for modality in images}
        preprocess = UniverSatPreprocess(ratio=[modality for modality in images if ratios[modality]], **stated)
        arguments = {
            "modalities": list(images),
            "bands": {modality: [*image.bands, *ratios[modality]] for modality, image in images.items()},
            "patch_size": preprocess.patch_size,
            **{_RENAMED.get(key, key): options[key] for key in _OF_BACKBONE if key in options},
        }
        native = {modality: InputUnit.NATIVE.value for modality, image in images.items() if image.sensor in _NATIVE}
        return Recipe(preprocess, arguments, native, "dict")

    def build(self, name: str, arguments: Mapping[str, Any], layers: Sequence[int]) -> nn.Module:
        """Build a backbone with its weights that returns these layers."""
        from universat_ext.backbone import MODEL_NAMES, UniverSatBackbone, build_universat  # noqa: PLC0415

        return build_universat(MODEL_NAMES[name], **{**arguments, **UniverSatBackbone.feature_arguments(layers)})

    def card(self, name: str) -> EncoderCard:
        """Return what a user wants to know."""
        from universat_ext.backbone import MODEL_NAMES  # noqa: PLC0415
        from universat_ext.checkpoint import HUB_FILE, HUB_REPOSITORY  # noqa: PLC0415
        from universat_ext.model.encoder import SIZES  # noqa: PLC0415

        size = SIZES[MODEL_NAMES[name]]
        published = size.name == "base"
        return EncoderCard(
            name,
            "dated series and images of any sensors, by the wavelengths of their bands; of your own, too, in a config",
            size.embed_dim,
            size.depth,
            self.images(name),
            "square tiles; patches of patch_size metres, by default 40; nothing is resampled; normalisation needs "
            "statistics of your data set (none are published), or normalization='per_tile_zscore'",
            "needed, one a frame: the day of the year, 1 January = 0; of a single frame it has no effect",
            f"{HUB_REPOSITORY}, {HUB_FILE} (Hugging Face)" if published else "",
            "MIT" if published else "",
            "UniverSat, github.com/gastruc/UniverSat (commit f6df2ee)",
            self.options(name),
            (HUB_REPOSITORY, HUB_FILE) if published else None,
        )


def _ratios(modality: str) -> tuple[str, ...]:
    return tuple(band for band in MODALITIES[modality].bands if band in RATIOS)


def _kind(sensor: str, name: str) -> ImageKind:
    modality, table = MODALITIES[name], SENSORS[sensor]
    bands = tuple(table.canonical(band) or band for band in modality.bands if band not in RATIOS)
    unit = InputUnit.NATIVE.value if sensor in _NATIVE else None
    series = name != "aerial"
    radar = bool(_ratios(name))
    return ImageKind(
        name,
        bands,
        (),
        radar,
        series,
        unit,
        modality.pixel_metres,
        _FRAMES if series else None,
        _NATIVE.get(sensor),
    )


PRESET = UniverSatPreset()
