"""What `eo_embed.embed` may ask of AnySat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from anysat_ext.model.modalities import MODALITIES
from anysat_ext.preprocess import RATIO, AnySatPreprocess
from eo_data.sensors.tables import SENSORS
from eo_data.sensors.units import InputUnit
from eo_models.preset import EncoderCard, ImageFacts, ImageKind, Recipe, refuse_unknown_options

if TYPE_CHECKING:
    from torch import nn

#: AnySat's modality by sensor. Of radar, the one with the ratio of both polarisations, which the preprocessing appends.
_MODALITY_OF: Mapping[str, str] = {
    "sentinel2_l2a": "s2",
    "sentinel2_l1c": "s2",
    "sentinel1": "s1",
    "landsat7": "l7",
    "landsat8": "l8",
    "aerial": "aerial",
}
#: Sensors of which AnySat takes numbers as they are, and what they are: reflectance beside temperatures, and pictures
#: of 8 bits.
_NATIVE: Mapping[str, str] = {
    "landsat7": InputUnit.REFLECTANCE.value,
    "landsat8": InputUnit.REFLECTANCE.value,
    "aerial": InputUnit.DIGITAL_NUMBER.value,
}
#: Settings of `AnySatPreprocess` that are for arrays without dates.
_NOT_OPTIONS = ("frames", "start", "end", "ratio")
#: Arguments of the backbone that are options, too.
_OF_BACKBONE: Mapping[str, Any] = {
    "features": "patch",
    "output_modality": None,
    "reduce_scale": "published",
    "attention": "sdpa",
    "memory_budget": None,
}
#: What a backbone gives, which it calls ``output``; that of `embed` says whether vectors or grids are wanted.
_RENAMED: Mapping[str, str] = {"features": "output"}


@dataclass(frozen=True)
class AnySatPreset:
    """AnySat's images, preprocessing and weights, for `eo_models.preset.Preset`."""

    @property
    def names(self) -> Sequence[str]:
        """Names in TerraTorch's registry."""
        from anysat_ext.backbone import MODEL_NAMES  # noqa: PLC0415  (PyTorch takes seconds)

        return tuple(MODEL_NAMES)

    def images(self, name: str) -> Mapping[str, ImageKind]:
        """Return which images AnySat takes, by sensor; it needs all their bands."""
        return {sensor: _kind(sensor, modality) for sensor, modality in _MODALITY_OF.items()}

    def options(self, name: str) -> Mapping[str, Any]:
        """Return AnySat's options with their defaults."""
        own = (field.name for field in fields(AnySatPreprocess) if field.init and field.name not in _NOT_OPTIONS)
        return {key: getattr(AnySatPreprocess(), key) for key in own} | dict(_OF_BACKBONE)

    def patch_metres(self, images: Mapping[str, ImageFacts], options: Mapping[str, Any]) -> float:
        """Return the side of a patch in metres."""
        return float(options.get("patch_size", AnySatPreprocess.patch_size))

    def encoded_side(self, images: Mapping[str, ImageFacts], options: Mapping[str, Any], side: int) -> int:
        """Return ``image_size``, which is for one image of 10 m by default, or ``side``."""
        usual = None if _has_no_usual_side(images) else AnySatPreprocess.image_size
        return int(options.get("image_size", usual) or side)

    def recipe(self, name: str, images: Mapping[str, ImageFacts], options: Mapping[str, Any]) -> Recipe:
        """Return how images become AnySat's input.

        Raises
        ------
        TypeError
            For an option that AnySat does not have.
        ValueError
            For a value that makes no sense.
        """
        refuse_unknown_options(name, options, tuple(self.options(name)))
        stated = {key: value for key, value in options.items() if key not in _OF_BACKBONE}
        if _has_no_usual_side(images):
            stated.setdefault("image_size", None)
        radar = [modality for modality in images if RATIO in MODALITIES[modality].bands]
        preprocess = AnySatPreprocess(ratio=radar, **stated)
        arguments = {
            "modalities": list(images),
            "bands": {
                modality: [*image.bands, *([RATIO] if modality in radar else [])] for modality, image in images.items()
            },
            "patch_size": preprocess.patch_size,
            **{_RENAMED.get(key, key): options[key] for key in _OF_BACKBONE if key in options},
        }
        native = {modality: InputUnit.NATIVE.value for modality, image in images.items() if image.sensor in _NATIVE}
        return Recipe(preprocess, arguments, native, "dict")

    def build(self, name: str, arguments: Mapping[str, Any], layers: Sequence[int]) -> nn.Module:
        """Build a backbone with its weights that returns these layers."""
        from anysat_ext.backbone import MODEL_NAMES, AnySatBackbone, build_anysat  # noqa: PLC0415

        return build_anysat(MODEL_NAMES[name], **{**arguments, **AnySatBackbone.feature_arguments(layers)})

    def card(self, name: str) -> EncoderCard:
        """Return what a user wants to know."""
        from anysat_ext.backbone import MODEL_NAMES  # noqa: PLC0415
        from anysat_ext.checkpoint import HUB_FILE, HUB_REPOSITORY  # noqa: PLC0415
        from anysat_ext.model.encoder import SIZES  # noqa: PLC0415

        size = SIZES[MODEL_NAMES[name]]
        published = size.name == "base"
        return EncoderCard(
            name,
            "dated series and images of any mix of its sensors",
            size.embed_dim,
            size.depth,
            self.images(name),
            "square tiles; patches of patch_size metres (a multiple of 10); by default tiles of 10 m pixels are "
            f"resampled to {AnySatPreprocess.image_size} x {AnySatPreprocess.image_size} pixels as rs-embed does; "
            "image_size=None keeps them",
            "needed, one a frame: the day of the year, 1 January = 0",
            f"{HUB_REPOSITORY}, {HUB_FILE} (Hugging Face)" if published else "",
            "MIT" if published else "",
            "AnySat, Astruc et al., CVPR 2025, arXiv 2412.14123",
            self.options(name),
            (HUB_REPOSITORY, HUB_FILE) if published else None,
        )


def _has_no_usual_side(images: Mapping[str, ImageFacts]) -> bool:
    """Whether images keep their pixels by default: only pixels of 10 m have a usual side."""
    return len(images) > 1 or any(image.pixel_size != MODALITIES["s2"].pixel_metres for image in images.values())


def _kind(sensor: str, name: str) -> ImageKind:
    modality, table = MODALITIES[name], SENSORS[sensor]
    bands = tuple(table.canonical(band) or band for band in modality.bands if band != RATIO)
    unit = InputUnit.NATIVE.value if sensor in _NATIVE else None
    frames = AnySatPreprocess.frames if modality.is_series else None
    return ImageKind(
        name, bands, (), True, modality.is_series, unit, modality.pixel_metres, frames, _NATIVE.get(sensor)
    )


PRESET = AnySatPreset()
