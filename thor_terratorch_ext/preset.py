"""What `eo_embed.embed` may ask of THOR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from eo_data.sensors.units import InputUnit
from eo_models.preset import EncoderCard, ImageFacts, ImageKind, Recipe, refuse_unknown_options
from thor_terratorch_ext.geometry import nominal_pixel_size, plan_snap, side_unit
from thor_terratorch_ext.model.channels import DEFAULT_BANDS, GROUPS
from thor_terratorch_ext.preprocess import LOGARITHMS, ThorPreprocess, gsds_of

if TYPE_CHECKING:
    from torch import nn

#: The ten bands of 10 and 20 m, as rs-embed takes them (THOR's page, 0.3.1); those of 60 m on request.
_S2 = tuple(band for band in DEFAULT_BANDS if band not in ("COASTAL_AEROSOL", "WATER_VAPOR", "VV", "VH"))
_S2_ON_REQUEST = ("COASTAL_AEROSOL", "WATER_VAPOR")
_OLCI = tuple(f"OA{number:02d}_REFLECTANCE" for number in range(1, 22))
_SLSTR = (
    *(f"S{number}_REFLECTANCE_AN" for number in range(1, 7)),
    *(f"S{number}_BT_IN" for number in range(7, 10)),
)
_S1 = ("IW_VV", "IW_VH", "IW_HV", "IW_HH", "EW_VV", "EW_VH", "EW_HV", "EW_HH")
_KINDS: Mapping[str, ImageKind] = {
    "sentinel2_l2a": ImageKind("S2", _S2, _S2_ON_REQUEST),
    "sentinel2_l1c": ImageKind("S2", _S2, _S2_ON_REQUEST),
    "sentinel1": ImageKind("S1", _S1),
    "sentinel3_olci": ImageKind("OLCI", _OLCI),
    "sentinel3_slstr": ImageKind("SLSTR", _SLSTR),
}
#: Arguments of the backbone that are options, too.
_OF_BACKBONE: Mapping[str, Any] = {"attention": "auto", "on_nan": "raise"}


@dataclass(frozen=True)
class ThorPreset:
    """THOR's images, preprocessing and weights, for `eo_models.preset.Preset`."""

    @property
    def names(self) -> Sequence[str]:
        """Names in TerraTorch's registry."""
        from thor_terratorch_ext.backbone import MODEL_NAMES  # noqa: PLC0415  (PyTorch takes seconds)

        return tuple(MODEL_NAMES)

    def images(self, name: str) -> Mapping[str, ImageKind]:
        """Return which images THOR takes, by sensor; any of their bands will do."""
        return _KINDS

    def options(self, name: str) -> Mapping[str, Any]:
        """Return THOR's options with their defaults."""
        own = {field.name: getattr(ThorPreprocess(), field.name) for field in fields(ThorPreprocess) if field.init}
        return own | dict(_OF_BACKBONE)

    def patch_metres(self, images: Mapping[str, ImageFacts], options: Mapping[str, Any]) -> float:
        """Return the side in metres that patches of all GSDs divide, see `thor_terratorch_ext.geometry.side_unit`."""
        size, gsds = _sizes(images)
        return float(size * side_unit(size, int(options.get("patch_size", ThorPreprocess.patch_size)), gsds))

    def encoded_side(self, images: Mapping[str, ImageFacts], options: Mapping[str, Any], side: int) -> int:
        """Return ``image_size`` where the ``fixed`` rule holds, or ``side``.

        Raises
        ------
        ValueError
            As `thor_terratorch_ext.geometry.plan_snap`.
        """
        own = ThorPreprocess(**{key: value for key, value in options.items() if key not in _OF_BACKBONE})
        plan = plan_snap(side, side, *_sizes(images), own.policy)
        return side if plan.resize is None else plan.resize[0]

    def recipe(self, name: str, images: Mapping[str, ImageFacts], options: Mapping[str, Any]) -> Recipe:
        """Return how images become THOR's input.

        Raises
        ------
        TypeError
            For an option that THOR does not have.
        ValueError
            For a value that makes no sense, or images of different pixel size.
        """
        refuse_unknown_options(name, options, tuple(self.options(name)))
        preprocess = ThorPreprocess(**{key: value for key, value in options.items() if key not in _OF_BACKBONE})
        bands: Any = {modality: list(image.bands) for modality, image in images.items()}
        sizes: Any = {modality: _plain(image.pixel_size) for modality, image in images.items()}
        if len(images) == 1:
            bands, sizes = next(iter(bands.values())), next(iter(sizes.values()))
        arguments = {
            "model_bands": bands,
            "input_gsd": sizes,
            "input_params": {"flexivit_patch_size_seqs": [preprocess.patch_size]},
            **{key: options[key] for key in _OF_BACKBONE if key in options},
        }
        powers = {
            modality: InputUnit.LINEAR_POWER.value
            for modality, image in images.items()
            if image.sensor == "sentinel1" and _takes_power(preprocess, modality)
        }
        return Recipe(preprocess, arguments, powers, "none")

    def build(self, name: str, arguments: Mapping[str, Any], layers: Sequence[int]) -> nn.Module:
        """Build a backbone with its weights that returns these layers."""
        from thor_terratorch_ext.backbone import MODEL_NAMES, ThorBackbone, build_thor  # noqa: PLC0415

        return build_thor(MODEL_NAMES[name], **{**arguments, **ThorBackbone.feature_arguments(layers)})

    def card(self, name: str) -> EncoderCard:
        """Return what a user wants to know."""
        from thor_terratorch_ext.backbone import MODEL_NAMES  # noqa: PLC0415
        from thor_terratorch_ext.checkpoint import hub_location  # noqa: PLC0415
        from thor_terratorch_ext.model.encoder import VARIANTS  # noqa: PLC0415

        variant = VARIANTS[MODEL_NAMES[name]]
        hub = hub_location(variant.name)
        return EncoderCard(
            name,
            "Sentinel-1, -2 and -3, any of their bands, in patches of any size",
            variant.embed_dim,
            variant.depth,
            _KINDS,
            "square images; patches of patch_size pixels at the finest GSD (8), sides are snapped to whole patches; "
            f"GSD of the groups: {', '.join(str(gsd) for gsd in sorted({group.gsd for group in GROUPS}))} m",
            "none are read; series become a median composite",
            f"{hub[0]}, {hub[1]} (Hugging Face)",
            "Apache-2.0 (model card of the weights)",
            "THOR 1.0, FM4CS (Norwegian Computing Center and partners)",
            self.options(name),
            hub,
        )


def _sizes(images: Mapping[str, ImageFacts]) -> tuple[int, list[int]]:
    """Return the nominal size of the finest pixels in metres, and the GSD of each band."""
    gsds = list(gsds_of([band for image in images.values() for band in image.bands]))
    return nominal_pixel_size(min(image.pixel_size for image in images.values()), gsds), gsds


def _plain(size: float) -> int | float:
    return int(size) if float(size).is_integer() else size


def _takes_power(preprocess: ThorPreprocess, modality: str) -> bool:
    """Whether radar is normalised as linear power; the logarithm is not of dB."""
    chosen = preprocess.normalization
    return (chosen if isinstance(chosen, str) else chosen.get(modality)) in LOGARITHMS


PRESET = ThorPreset()
