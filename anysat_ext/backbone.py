"""AnySat as a TerraTorch backbone: named bands and dated frames in, a list with one feature map out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_args

import torch

from anysat_ext.checkpoint import load_checkpoint
from anysat_ext.model.attention import AttentionBackend
from anysat_ext.model.dense import unscramble_dense
from anysat_ext.model.encoder import SIZES, AnySat, SizeName
from anysat_ext.model.grid import ReduceScale
from anysat_ext.preprocess import RATIO
from anysat_ext.sensors import TABLE
from eo_core.arguments import as_bool, as_int, as_path, from_text, one_of
from eo_models.backbone import FreezableBackbone, constructor_arguments, refuse_unknown
from eo_models.contract import BandsByImage, SensorsByImage
from eo_models.forward.default_date import days_of
from eo_models.forward.series import SeriesSpec
from eo_models.registry import registry_factory
from eo_models.weights.checkpoints import LoadReport

Output = Literal["patch", "dense", "tile"]
DEFAULT_PREFIX = "target_encoder"

#: Registered names and the size behind each.
MODEL_NAMES: Mapping[str, SizeName] = MappingProxyType({f"anysat_{size}": size for size in SIZES} | {"anysat": "base"})

_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "model_bands": "Name the bands per modality: bands={'s2': ['BLUE', ...]}.",
        "out_indices": "AnySat returns one feature; choose it with output='patch', 'dense' or 'tile'.",
        "dates": "Dates belong to a batch; a constant for all samples is default_date.",
    }
)


class AnySatBackbone(FreezableBackbone):
    """AnySat with named bands, dates that are never guessed, and one feature map out.

    Parameters
    ----------
    size : {'tiny', 'small', 'base'}
        Size of the encoder.
    modalities : sequence of str, or mapping of str to str
        AnySat modalities of the input. A mapping gives the name that each has in the data:
        ``{"S2L1C": "s2", "S1GRD": "s1-asc"}``. A tensor input is the single modality.
    bands : mapping of str to sequence of str, optional
        Band of each input channel by modality, under either name; any order, TerraTorch or ESA names. All bands of
        the modality must be there, no others. ``DATE`` among them is a constant plane per frame with the day of the
        year, the one form of dates that survives tiled inference; -1 for a frame to leave out. Defaults to AnySat's own
        order.
    patch_size : int
        Side of a patch in metres, a positive multiple of 10. In a TerraTorch config set ``backbone_padding: null``
        beside it: the factory takes ``backbone_patch_size`` for pixels and pads by it otherwise.
    output : {'patch', 'dense', 'tile'}
        ``patch``: ``(B, D, n, n)``. ``dense``: ``(B, 2 D, n r, n r)``, at pixel resolution for 10 m sensors; the
        sub-patches of aerial images are where they belong, not in the published order. ``tile``: ``(B, D, 1, 1)``.
    output_modality : str, optional
        Whose sub-patches ``dense`` shows; the first modality by default.
    default_date : int, str or mapping, optional
        Day of the year (1 January = 0) or date ``YYYY-MM-DD`` for samples that come without dates, for all
        modalities or by modality. Without it, missing dates are an error.
    crop : bool
        Drop rows and columns that fill no patch instead of raising an error.
    allow_missing : bool
        Take batches in which some of the modalities are missing; features come from the others.
    gradient_checkpointing : bool
        While training, keep only the input of each block and of each chunk of pixels, and compute the rest again in the
        backward pass: much less memory for one more forward pass in time; the gradients are the same.
    reduce_scale, attention, memory_budget
        See `anysat_ext.model.encoder.AnySat`.

    Attributes
    ----------
    out_channels : list of int
        ``[D]``, or ``[2 D]`` for ``dense``.

    Raises
    ------
    ValueError
        For arguments that make no sense; the message names the valid ones.
    """

    pretrained_by_default: ClassVar[bool] = True

    def __init__(
        self,
        size: SizeName = "base",
        modalities: Sequence[str] | Mapping[str, str] = ("s2",),
        bands: Mapping[str, Sequence[object]] | None = None,
        patch_size: int = 10,
        output: Output = "patch",
        output_modality: str | None = None,
        default_date: int | str | Mapping[str, int | str] | None = None,
        crop: bool = False,  # noqa: FBT001, FBT002
        allow_missing: bool = False,  # noqa: FBT001, FBT002
        reduce_scale: ReduceScale = "published",
        attention: AttentionBackend = "sdpa",
        memory_budget: int | None = None,
        gradient_checkpointing: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        super().__init__()
        self.input_spec = SeriesSpec.parse(
            TABLE,
            from_text(modalities),
            from_text(bands),
            days_of(default_date),
            allow_missing=as_bool("allow_missing", allow_missing),
        )
        self.patch_metres = as_int("patch_size", patch_size)
        if self.patch_metres <= 0 or self.patch_metres % 10:
            msg = f"patch_size must be a positive multiple of 10 metres (10, 20, 40, ...), got {patch_size!r}."
            raise ValueError(msg)
        self.output = one_of("output", output, get_args(Output))
        names = self.input_spec.modality_names
        self.output_modality = self.input_spec.resolve("output_modality", output_modality) if output_modality else None
        self.crop = as_bool("crop", crop)
        self.model = AnySat(
            size,
            names,
            reduce_scale=reduce_scale,
            attention=attention,
            memory_budget=None if memory_budget is None else as_int("memory_budget", memory_budget),
            gradient_checkpointing=as_bool("gradient_checkpointing", gradient_checkpointing),
        )
        width = self.model.size.embed_dim
        self.out_channels = [2 * width if self.output == "dense" else width]
        self.load_report: LoadReport | None = None
        self._freeze_what_never_counts()

    def _freeze_what_never_counts(self) -> None:
        """Clear ``requires_grad`` of weights that no output depends on: ``strategy: ddp`` waits for their gradients.

        These are what stands for masked pixels (masks of `eo_data` are of frames), a constant before a softmax, and the
        position biases of a last block that computes its class token only.
        """
        last = len(self.model.spatial_encoder.predictor_blocks) - 1
        never = ["pad_parameter", "fc1_k.bias"]
        never += [f"predictor_blocks.{last}.attn.rpe_k.lookup_table_weight"] if self.output != "dense" else []
        merging = f"blocks.{len(self.model.blocks) - 1}.attn.rpe_k."
        for name, parameter in self.model.named_parameters():
            if name.endswith(tuple(never)) or (self.output == "tile" and name.startswith(merging)):
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
        """The ratio of both polarisations of Sentinel-1, which `AnySatPreprocess` appends."""
        return frozenset((RATIO,))

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
        shown = self.output_modality or next(iter(data))
        wanted = shown if self.output == "dense" else None
        features = self.model(data, self.patch_metres, self.output, wanted, crop=self.crop)
        if self.output == "tile":
            return [features[:, :, None, None]]
        if self.output == "dense":
            features = unscramble_dense(features, self.patch_metres, shown)
        return [features.permute(0, 3, 1, 2).contiguous()]

    def check_values(self, x: torch.Tensor | Mapping[str, torch.Tensor], **batch: Any) -> None:  # noqa: ANN401
        """Refuse what `forward` refuses, and warn as it does; arguments and errors as there."""
        self.model.check_values(self.input_spec.match(x, batch), self.patch_metres, crop=self.crop)


def build_anysat(
    size: SizeName,
    *,
    pretrained: bool = True,
    ckpt: str | Path | None = None,
    model_ckpt_type: str = DEFAULT_PREFIX,
    revision: str | None = None,
    **arguments: Any,  # noqa: ANN401
) -> AnySatBackbone:
    """Build an AnySat backbone with its weights.

    Parameters
    ----------
    size : {'tiny', 'small', 'base'}
        Only base has published weights.
    pretrained : bool
        Load ``models/AnySat.pth`` of ``g-astruc/AnySat`` (Hugging Face cache or network) unless ``ckpt`` is given.
    ckpt : str or Path, optional
        Weights to load, whatever ``pretrained`` says: the published file, the training checkpoint,
        ``.safetensors``, or a TerraTorch checkpoint of a fine-tuned model.
    model_ckpt_type : str
        Prefix of the encoder in a file that holds several.
    revision : str, optional
        Hugging Face revision of the published weights.
    **arguments
        Arguments of `AnySatBackbone`.

    Returns
    -------
    AnySatBackbone
        With ``load_report`` telling what was loaded; ``None`` means random weights.

    Raises
    ------
    TypeError
        For an unknown argument.
    ValueError
        For a wrong value, or weights that do not fit (`eo_models.weights.checkpoints.CheckpointError`).
    """
    arguments.pop("padding", None)  # TerraTorch's factory reads it and passes it on.
    own = constructor_arguments(AnySatBackbone, "size")
    valid = (*own, "pretrained", "ckpt", "model_ckpt_type", "revision")
    refuse_unknown("AnySat", arguments, valid, _HINTS)
    file = as_path(ckpt)
    backbone = AnySatBackbone(size, **arguments)
    if file is not None or as_bool("pretrained", pretrained):
        backbone.load_report = load_checkpoint(backbone.model, file, model_ckpt_type, revision)
    return backbone


def register() -> None:
    """Enter the backbones in TerraTorch's registry (imports TerraTorch)."""
    from terratorch.registry import TERRATORCH_BACKBONE_REGISTRY  # noqa: PLC0415

    for name, size in MODEL_NAMES.items():
        doc = f"Build AnySat {size}; arguments as for `anysat_ext.backbone.build_anysat`."

        def build(size: SizeName = size, **arguments: Any) -> AnySatBackbone:  # noqa: ANN401
            return build_anysat(size, **arguments)

        TERRATORCH_BACKBONE_REGISTRY.register(registry_factory(name, doc, build, AnySatBackbone))
