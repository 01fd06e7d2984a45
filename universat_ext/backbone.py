"""UniverSat as a TerraTorch backbone: named bands and dated frames in, a list with one feature map out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_args

import torch

from eo_core.arguments import as_bool, as_int, as_path, from_text, one_of
from eo_models.backbone import FreezableBackbone, constructor_arguments, refuse_unknown
from eo_models.contract import BandsByImage, SensorsByImage
from eo_models.forward.default_date import days_of
from eo_models.forward.series import SeriesSpec
from eo_models.registry import registry_factory
from eo_models.weights.checkpoints import LoadReport
from universat_ext.checkpoint import DEFAULT_PREFIX, load_checkpoint
from universat_ext.model.encoder import SIZES, SizeName, UniverSat
from universat_ext.model.grid import CAREFUL, Rules, check_patch_size
from universat_ext.model.modalities import CODES, LAST_TABLE_DAY, Modality, check_metres
from universat_ext.preprocess import RATIOS
from universat_ext.sensors import MODEL, OwnSensors

Output = Literal["patch", "dense", "tile"]

#: Registered names and the size behind each.
MODEL_NAMES: Mapping[str, SizeName] = MappingProxyType(
    {f"universat_{size}": size for size in SIZES} | {"universat": "base"}
)

_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "model_bands": "Name the bands per modality: bands={'s2': ['BLUE', ...]}.",
        "out_indices": "UniverSat returns one feature; choose it with output='patch', 'dense' or 'tile'.",
        "dates": "Dates belong to a batch; a constant for all samples is default_date.",
        "output_grid": "A finer map is output='dense' with cell_metres.",
        "wavelengths": "A sensor of your own is sensors={'name': {'pixel_metres': ..., 'bands': {'RED': 0.665}}}.",
    }
)


class UniverSatBackbone(FreezableBackbone):
    """UniverSat with named bands, sensors of any kind, dates that are never guessed, and one feature map out.

    Parameters
    ----------
    size : {'tiny', 'base'}
        Size of the encoder.
    modalities : sequence of str, or mapping of str to str
        Sensors of the input. A mapping gives the name that each has in the data: ``{"S2L1C": "s2", "S1GRD": "s1"}``.
        A tensor input is the single modality.
    bands : mapping of str to sequence of str, optional
        Band of each input channel by modality, under either name; any order, TerraTorch or ESA names. Optical sensors
        may have some of their bands; radar and heights need all, the ratio too. ``DATE`` among them is a constant plane
        per frame with the day of the year; -1 for a frame to leave out. Defaults to the order of the table.
    sensors : mapping, optional
        Sensors of your own, or other settings of one of the table: ``{"drone": {"pixel_metres": 2.5,
        "subpatch_pixels": 2, "bands": {"BLUE": 0.49, "RED": {"wavelength": 0.665, "bandwidth": 0.03}, "H": "nDEM"}}}``.
        Wavelengths in micrometres (0.2 to 20). Bandwidths are kept (`bandwidths`); the encoder reads none.
    patch_size : float
        Side of a patch in metres. In a TerraTorch config set ``backbone_padding: null`` beside it: the factory takes
        ``backbone_patch_size`` for pixels and pads by it otherwise.
    output : {'patch', 'dense', 'tile'}
        ``patch``: a map on the patch grid, ``(B, D, n, n)``. ``dense``: on a finer grid, see ``cell_metres``. ``tile``:
        the mean over the patch grid, ``(B, D, 1, 1)``.
    cell_metres : float, optional
        Side of a cell of ``dense``; by default a pixel of the first modality. Each cell attends to all sub-patches of
        the tile: time grows with the square of both.
    latent_from : str
        Whose patch grid the tile gets, where they differ: ``finest`` (the most patches), or a modality under either
        name. The published encoder takes the first of the dictionary.
    default_date : int, str or mapping, optional
        Day of the year (1 January = 0) or date ``YYYY-MM-DD`` for series that come without dates, for all modalities
        or by modality. Without it, missing dates are an error. A single frame needs none: its date has no effect.
    last_day : int
        Largest day that is taken: 366, or up to 749 for days that count on from an earlier 1 January (PASTIS was so).
    crop : bool
        Drop rows and columns that fill no patch, or no sub-patch, instead of raising an error.
    allow_missing : bool
        Take batches in which some of the modalities are missing; features come from the others.
    memory_budget, gradient_checkpointing
        See `universat_ext.model.encoder.UniverSat`.

    Attributes
    ----------
    out_channels : list of int
        ``[D]``.

    Raises
    ------
    ValueError
        For arguments that make no sense; the message names the valid ones.

    Notes
    -----
    What feeds the cells of the output (``spatial_proj``) does not train, as published; neither do codes of channels and
    pooling blocks that the modalities do not use. With images of a single frame, the date block does not train either:
    ``strategy: ddp_find_unused_parameters_true``.
    """

    pretrained_by_default: ClassVar[bool] = True

    def __init__(
        self,
        size: SizeName = "base",
        modalities: Sequence[str] | Mapping[str, str] = ("s2",),
        bands: Mapping[str, Sequence[object]] | None = None,
        sensors: Mapping[str, Mapping[str, object]] | None = None,
        patch_size: float = 40,
        output: Output = "patch",
        cell_metres: float | None = None,
        latent_from: str = "finest",
        default_date: int | str | Mapping[str, int | str] | None = None,
        last_day: int = CAREFUL.last_day,
        crop: bool = False,  # noqa: FBT001, FBT002
        allow_missing: bool = False,  # noqa: FBT001, FBT002
        memory_budget: int | None = None,
        gradient_checkpointing: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        super().__init__()
        own = OwnSensors.parse(sensors)
        self.bandwidths = own.bandwidths
        self.input_spec = SeriesSpec.parse(
            own.table,
            from_text(modalities),
            from_text(bands),
            days_of(default_date),
            allow_missing=as_bool("allow_missing", allow_missing),
        )
        self.sensors: Mapping[str, Modality] = MappingProxyType(
            {image.kind.name: own.with_bands(image.kind.name, image.chosen) for image in self.input_spec.images}
        )
        self.patch_metres = check_patch_size(from_text(patch_size))
        self.output = one_of("output", output, get_args(Output))
        stated = from_text(cell_metres)
        self.cell_metres = None if stated is None else check_metres("cell_metres", stated)
        if self.cell_metres and self.output != "dense":
            msg = f"cell_metres is for output='dense', got it with output={self.output!r}."
            raise ValueError(msg)
        self.rules = self._rules(latent_from, as_int("last_day", last_day), as_bool("crop", crop))
        self.model = UniverSat(
            size,
            memory_budget=None if memory_budget is None else as_int("memory_budget", memory_budget),
            gradient_checkpointing=as_bool("gradient_checkpointing", gradient_checkpointing),
        )
        self.out_channels = [self.model.size.embed_dim]
        self.load_report: LoadReport | None = None
        self._freeze_what_never_counts()

    def _rules(self, latent_from: str, last_day: int, crop: bool) -> Rules:  # noqa: FBT001
        if not 0 <= last_day <= LAST_TABLE_DAY:
            msg = f"last_day must be in 0..{LAST_TABLE_DAY}, the days that the weights know, got {last_day}."
            raise ValueError(msg)
        named = latent_from if latent_from == "finest" else self.input_spec.resolve("latent_from", latent_from)
        return replace(CAREFUL, latent_from=named, last_day=last_day, crop=crop)

    def _freeze_what_never_counts(self) -> None:
        """Clear ``requires_grad`` of weights that no output depends on: ``strategy: ddp`` waits for their gradients."""
        used = [value for modality in self.sensors.values() for value in modality.descriptors]
        encoder = "spatial_encoder"
        never = [f"{encoder}.spatial_proj."]
        never += [f"{encoder}.Encoding_{code}" for code in CODES if code not in used]
        never += [f"{encoder}.spectral_embed."] if all(isinstance(value, str) for value in used) else []
        # A block that only ever pools one token projects it, and nothing else.
        parts = ("wq.", "wk.", "q_norm.", "k_norm.", "rope.")
        if all(modality.subpatch_pixels == 1 for modality in self.sensors.values()):
            never += [f"{encoder}.predictor_blocks.0.attn.{part}" for part in parts]
        if all(len(modality.bands) == 1 for modality in self.sensors.values()):
            never += [f"{encoder}.predictor_blocks.1.attn.{part}" for part in parts]
        if len(self.sensors) == 1:
            never += [f"blocks.0.attn.{part}" for part in parts]
        for name, parameter in self.model.named_parameters():
            if f"{name}.".startswith(tuple(start if start.endswith(".") else f"{start}." for start in never)):
                parameter.requires_grad = False

    @property
    def input_bands(self) -> BandsByImage:
        """Bands of the input channels by image."""
        return {image.source: image.bands for image in self.input_spec.images}

    @property
    def band_sensors(self) -> SensorsByImage:
        """Sensor of each image, where a table knows its bands."""
        return {image.source: (image.kind.sensor,) for image in self.input_spec.images if image.kind.sensor}

    @property
    def derived_bands(self) -> frozenset[str]:
        """The ratios of two polarisations, which `UniverSatPreprocess` appends."""
        return frozenset(RATIOS)

    def forward(self, x: torch.Tensor | Mapping[str, torch.Tensor], **batch: Any) -> list[torch.Tensor]:  # noqa: ANN401
        """Encode a batch.

        Parameters
        ----------
        x : Tensor or mapping of str to Tensor
            Normalised ``(B, C, T, H, W)`` or ``(B, C, H, W)`` (one frame), or one of these per modality, with
            ``<modality>_dates`` ``(B, T)`` beside it: day of the year, 1 January = 0.
        **batch
            Other keys of the batch. ``<modality>_dates``, or ``dates`` for a single modality, is used where ``x`` has
            none; the rest is ignored.

        Returns
        -------
        list of Tensor
            One map, see ``output``.

        Raises
        ------
        ValueError
            For missing or misshapen dates, wrong channels, tiles that do not divide, NaN.

        Notes
        -----
        `torch.export` and ``torch.compile(fullgraph=True)`` take the backbone as it is. A trace checks names and
        shapes; it does not look at values (NaN, dates outside the year) and does not warn.
        """
        data = self.input_spec.match(x, batch)
        side = self._output_side(data)
        features = self.model(data, self.patch_metres, "grid", output_grid=side, **self._described(data))
        side = math.isqrt(features.shape[1])
        grid = features.transpose(1, 2).unflatten(2, (side, side))
        return [grid.mean(dim=(2, 3), keepdim=True) if self.output == "tile" else grid.contiguous()]

    def check_values(self, x: torch.Tensor | Mapping[str, torch.Tensor], **batch: Any) -> None:  # noqa: ANN401
        """Refuse what `forward` refuses, and warn as it does; arguments and errors as there."""
        data = self.input_spec.match(x, batch)
        self.model.check_values(data, self.patch_metres, **self._described(data))

    def _described(self, data: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """What the encoder is told of the modalities of a batch."""
        there = {name: modality for name, modality in self.sensors.items() if name in data}
        return {
            "wavelengths": {name: modality.descriptors for name, modality in there.items()},
            "input_res": {name: modality.pixel_metres for name, modality in there.items()},
            "subpatches": {name: modality.subpatch_pixels for name, modality in there.items()},
            "rules": self._rules_for(there),
        }

    def _rules_for(self, there: Mapping[str, Modality]) -> Rules:
        """The rules; where the modality that they name is missing from a batch, the finest grid."""
        missing = self.rules.latent_from != "finest" and self.rules.latent_from not in there
        return replace(self.rules, latent_from="finest") if missing else self.rules

    def _output_side(self, data: Mapping[str, torch.Tensor]) -> int | Literal["patch"]:
        """Cells per side of the output."""
        if self.output != "dense":
            return "patch"
        name = next(name for name in self.sensors if name in data and not self.sensors[name].is_context)
        metres, pixels = self.sensors[name].pixel_metres, data[name].shape[-1]
        if self.cell_metres is None:
            return int(pixels)
        cells = pixels * metres / self.cell_metres
        if abs(cells - round(cells)) > 1e-6 * cells or round(cells) < 1:
            msg = (
                f"Cells of {self.cell_metres:g} m do not tile {pixels * metres:g} m of {name!r}. Take a divisor of it, "
                f"such as {metres:g}."
            )
            raise ValueError(msg)
        return round(cells)


def build_universat(
    size: SizeName,
    *,
    pretrained: bool = True,
    ckpt: str | Path | None = None,
    model_ckpt_type: str = DEFAULT_PREFIX,
    revision: str | None = None,
    **arguments: Any,  # noqa: ANN401
) -> UniverSatBackbone:
    """Build a UniverSat backbone with its weights.

    Parameters
    ----------
    size : {'tiny', 'base'}
        Only base has published weights.
    pretrained : bool
        Load ``model.safetensors`` of ``g-astruc/UniverSat`` (Hugging Face cache or network) unless ``ckpt`` is given.
    ckpt : str or Path, optional
        Weights to load, whatever ``pretrained`` says: the published file, a training checkpoint, or a TerraTorch
        checkpoint of a fine-tuned model.
    model_ckpt_type : str
        Prefix of the encoder in a file that holds several.
    revision : str, optional
        Hugging Face revision of the published weights.
    **arguments
        Arguments of `UniverSatBackbone`.

    Returns
    -------
    UniverSatBackbone
        With ``load_report`` telling what was loaded; ``None`` means random weights.

    Raises
    ------
    TypeError
        For an unknown argument.
    ValueError
        For a wrong value, or weights that do not fit (`eo_models.weights.checkpoints.CheckpointError`).
    """
    arguments.pop("padding", None)  # TerraTorch's factory reads it and passes it on.
    own = constructor_arguments(UniverSatBackbone, "size")
    valid = (*own, "pretrained", "ckpt", "model_ckpt_type", "revision")
    refuse_unknown(MODEL, arguments, valid, _HINTS)
    file = as_path(ckpt)
    backbone = UniverSatBackbone(size, **arguments)
    if file is not None or as_bool("pretrained", pretrained):
        backbone.load_report = load_checkpoint(backbone.model, file, model_ckpt_type, revision)
    return backbone


def register() -> None:
    """Enter the backbones in TerraTorch's registry (imports TerraTorch)."""
    from terratorch.registry import TERRATORCH_BACKBONE_REGISTRY  # noqa: PLC0415

    for name, size in MODEL_NAMES.items():
        doc = f"Build UniverSat {size}; arguments as for `universat_ext.backbone.build_universat`."

        def build(size: SizeName = size, **arguments: Any) -> UniverSatBackbone:  # noqa: ANN401
            return build_universat(size, **arguments)

        TERRATORCH_BACKBONE_REGISTRY.register(registry_factory(name, doc, build, UniverSatBackbone))
