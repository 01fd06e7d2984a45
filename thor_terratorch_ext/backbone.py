"""THOR as a TerraTorch backbone: an image with named bands in, a list of feature maps or tokens out."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import torch

from eo_core.arguments import as_bool, as_ints, as_path, from_text, one_of
from eo_data.sensors.tables import SENTINEL_SENSORS
from eo_models.backbone import FreezableBackbone, constructor_arguments, refuse_unknown
from eo_models.contract import BandsByImage, Features, GroupMerge, SensorsByImage
from eo_models.forward.layout_cache import LayoutCache
from eo_models.registry import registry_factory
from eo_models.weights.checkpoints import LoadReport
from thor_terratorch_ext.checkpoint import DEFAULT_PREFIX, load_checkpoint
from thor_terratorch_ext.inputs import InputSpec, OnNan
from thor_terratorch_ext.model.attention import AttentionBackend
from thor_terratorch_ext.model.channels import CHANNELS, BandSelection, select_bands, weight_name
from thor_terratorch_ext.model.encoder import VARIANTS, ThorEncoder, VariantName, split_groups
from thor_terratorch_ext.model.layout import TokenLayout, resolve_layout
from thor_terratorch_ext.necks import (
    MERGE_METHODS,
    GroupedChannels,
    MergeMethod,
    THORGroupReshapeTokensToImage,
    grid_sizes,
    merge_maps,
    token_maps,
)
from thor_terratorch_ext.parameters import InputParams, read_config

#: Registered names and the variant behind each: the short names and the published long ones.
MODEL_NAMES: Mapping[str, VariantName] = MappingProxyType(
    {f"thor_v1_{variant}": variant for variant in VARIANTS}
    | {f"thor_vit_{variant}_encoder_alibi_patch_size_embed_v1": variant for variant in VARIANTS}
)

_HINTS: Mapping[str, str] = MappingProxyType(
    {"patch_size": "The patch size is set by input_params: {flexivit_patch_size_seqs: [8]}."}
)


class ThorBackbone(FreezableBackbone):
    """THOR encoder with named bands and checked geometry.

    Parameters
    ----------
    variant : {'tiny', 'small', 'base', 'large'}
        Size of the encoder.
    model_bands : sequence of str or Enum, or mapping of str to sequence, optional
        Band of each input channel, in order. A mapping names the bands of each image of a multi-modal input.
        Defaults to `thor_terratorch_ext.model.channels.DEFAULT_BANDS`.
    out_indices : int or sequence of int, optional
        Blocks whose output is wanted: indices (negative ones count from the end) or, for one int n, the last n.
        Each block is returned once, in the order of the blocks. Defaults to all blocks.
    input_params : mapping, optional
        ``ground_covers`` ([2880], metres), ``flexivit_patch_size_seqs`` ([8], pixels), ``select_patch_strategy``
        (``min``), ``flexivit_ref_patch_size`` (4).
    merge_method : {None, 'mean', 'sum', 'concat'}
        How the groups are merged to one map per feature. ``None`` returns tokens.
    return_channel_params : bool
        Return ``(features, channel parameters)`` as `THORGroupReshapeTokensToImage` wants it.
    input_gsd : float or mapping, optional
        Pixel size of the input in metres (per image for a multi-modal input). When stated, the input must cover the
        ground cover exactly; without a stated ground cover, the ground cover follows from the size of each input.
        When not stated, an input of another size is resized to the ground cover, with a warning.
    on_nan : {'raise', 'mask'}
        ``raise`` refuses NaN and infinity. ``mask`` replaces them by 0, which is the mean of a normalised band.
    attention : {'auto', 'shared_bias', 'distance', 'products', 'chunked', 'flex'}
        See `thor_terratorch_ext.model.attention`.
    gradient_checkpointing : bool
        While training, keep only the input of each block, and compute the block again in the backward pass: much less
        memory for one more forward pass in time; the gradients are the same.

    Attributes
    ----------
    out_channels : list of int
        Channels of each returned feature.
    bands : list of str
        THOR channel of each input channel.
    groups : dict of str to list of str
        Selected channels of each group in use.
    ground_cover, input_size, lowest_gsd : int
        Metres, pixels at the finest GSD in use, metres. The first two are ``None`` if they follow the input.

    Raises
    ------
    ValueError
        For arguments that make no sense; the message names the valid ones.
    """

    out_indices: list[int]
    pretrained_by_default: ClassVar[bool] = True
    takes_dates: ClassVar[bool] = False
    output_advice: ClassVar[str] = (
        "With return_channel_params, THOR needs the neck THORGroupReshapeTokensToImage; or set merge_method and leave "
        "return_channel_params out."
    )

    def __init__(
        self,
        variant: VariantName = "base",
        model_bands: Sequence[object] | Mapping[str, Sequence[object]] | None = None,
        out_indices: int | Sequence[int] | None = None,
        input_params: Mapping[str, object] | None = None,
        merge_method: MergeMethod | None = None,
        return_channel_params: bool = False,  # noqa: FBT001, FBT002
        input_gsd: float | Mapping[str, float] | None = None,
        on_nan: OnNan = "raise",
        attention: AttentionBackend = "auto",
        gradient_checkpointing: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        super().__init__()
        self.merge_method = one_of("merge_method", merge_method, (None, *MERGE_METHODS))
        self.return_channel_params = as_bool("return_channel_params", return_channel_params)
        self.params = InputParams.parse(input_params)
        self.input_spec = InputSpec.parse(model_bands, input_gsd, on_nan)
        self.selection: BandSelection = select_bands(self.input_spec.bands)
        recompute = as_bool("gradient_checkpointing", gradient_checkpointing)
        self.model = ThorEncoder(variant, attention, gradient_checkpointing=recompute)
        self.out_indices = _block_indices(out_indices, self.model.variant.depth)
        self.load_report: LoadReport | None = None
        self._layouts = LayoutCache(max_entries=16)
        self._describe()
        self._freeze_what_never_runs()

    @classmethod
    def feature_arguments(cls, layers: Sequence[int]) -> dict[str, Any]:
        """Return the arguments that make it return the tokens of these blocks, with their layout."""
        return {"return_channel_params": True, "merge_method": None, "out_indices": _likely_ascending(layers)}

    @property
    def input_bands(self) -> BandsByImage:
        """THOR's name of each input channel by image."""
        channels = iter(self.selection.channels)
        return {name: tuple(itertools.islice(channels, len(bands))) for name, bands in self.input_spec.modalities}

    @property
    def band_sensors(self) -> SensorsByImage:
        """The Sentinels, for every image."""
        return dict.fromkeys(self.input_bands, SENTINEL_SENSORS)

    def _describe(self) -> None:
        """Set the attributes that the published wrapper has."""
        groups = self.selection.groups()
        follows_input = self.input_spec.gsd is not None and not self.params.ground_cover_stated
        self.bands = list(self.selection.channels)
        self.groups = {group.name: list(self.selection.members(group)) for group in groups}
        self.channels = list(CHANNELS)
        self.lowest_gsd = self.selection.lowest_gsd
        self.ground_cover = None if follows_input else self.params.ground_cover
        self.input_size = None if follows_input else self.params.ground_cover // self.lowest_gsd
        self.single_embedding_shape = self.model.variant.embed_dim
        width = self.single_embedding_shape * (len(groups) if self.merge_method == "concat" else 1)
        in_tokens = len(groups) if self.merge_method is None else 0
        self.out_channels = GroupedChannels([width] * len(self.out_indices), in_tokens)
        if self.ground_cover is not None:
            self.layout(self.ground_cover)

    def _freeze_what_never_runs(self) -> None:
        """Clear ``requires_grad`` of weights that no output depends on: ``strategy: ddp`` waits for their gradients.

        These are the kernels of other bands, the blocks behind the last wanted one, and the norm behind the last block.
        """
        read = {weight_name(channel) for channel in self.selection.channels}
        kernels = self.model.ind_patch_embed.patch_embed.items()
        behind = self.model.blocks[max(self.out_indices) + 1 :]
        for module in (*(kernel for name, kernel in kernels if name not in read), *behind, self.model.norm):
            module.requires_grad_(requires_grad=False)

    def layout(self, ground_cover: int) -> TokenLayout:
        """Token layout of an image with a side of ``ground_cover`` metres.

        Raises
        ------
        ValueError
            If the patch size does not divide it; the message names the nearest values that do.
        """
        params = self.params
        return self._layouts.get(
            ground_cover,
            None,
            lambda: resolve_layout(
                self.selection, ground_cover, params.patch_sizes, params.strategy, params.reference_patch_size
            ),
        )

    def forward(
        self, x: torch.Tensor | Mapping[str, torch.Tensor], ground_cover: float | None = None, **_: object
    ) -> Any:  # noqa: ANN401  (list of tensors, or a tuple with the channel parameters)
        """Encode a batch.

        Parameters
        ----------
        x : Tensor or mapping of str to Tensor
            Normalised image ``(B, C, H, W)`` with one channel per band, or one such image per modality.
        ground_cover : float, optional
            Side of this batch's images on the ground in metres, instead of the model's.

        Returns
        -------
        list of Tensor
            One feature per wanted block: tokens ``(B, N, D)``, or maps ``(B, D', n, n)`` with a merge method.
            With ``return_channel_params``, a tuple of that list and the layout per channel.

        Raises
        ------
        ValueError
            For a wrong number of channels, a size or ground cover that does not fit, NaN, or a missing modality.

        Notes
        -----
        `torch.export` and ``torch.compile(fullgraph=True)`` take the backbone as it is. A trace checks names and
        shapes; it does not look for NaN and does not warn, and ``ground_cover`` must be a plain number in it.
        """
        images, cover = self._matched(x, ground_cover)
        images = self.input_spec.finite(images)
        layout = self.layout(cover)
        self.input_spec.warn_if_resized(images, layout, self.selection)
        features = self.model.forward_intermediates(split_groups(images, layout), layout, self.out_indices)
        if self.merge_method is not None:
            sizes = [group.grid_size for group in layout.groups]
            features = [merge_maps(token_maps(feature, sizes), self.merge_method) for feature in features]
        if self.return_channel_params:
            return features, layout.channel_params(self.selection)
        return features

    def check_values(
        self, x: torch.Tensor | Mapping[str, torch.Tensor], ground_cover: float | None = None, **_: object
    ) -> None:
        """Refuse what `forward` refuses, and warn as it does; arguments and errors as there."""
        images, cover = self._matched(x, ground_cover)
        self.input_spec.finite(images)
        self.input_spec.warn_if_resized(images, self.layout(cover), self.selection)

    def _matched(
        self, x: torch.Tensor | Mapping[str, torch.Tensor], ground_cover: float | None
    ) -> tuple[list[torch.Tensor], int]:
        return self.input_spec.match(x, self.ground_cover if ground_cover is None else ground_cover)

    def read_features(
        self,
        output: tuple[list[torch.Tensor], Mapping[str, Mapping[str, int]]],
        layers: Sequence[int],
        group_merge: GroupMerge,
    ) -> list[Features]:
        """Return the tokens of all groups, and the groups merged to one grid, for each block.

        Parameters
        ----------
        output : tuple of (list of Tensor, mapping)
            What the forward pass returned, built with ``feature_arguments(layers)``.
        layers : sequence of int
            Blocks; negative ones count from the end.
        group_merge : {'mean', 'sum', 'concat'}
            How the groups are merged.
        """
        tokens, channel_params = output
        sizes = grid_sizes(channel_params)
        of_block = dict(zip(self.out_indices, tokens, strict=True))
        wanted = [of_block[layer % self.model.variant.depth] for layer in layers]
        return [Features(block, None, merge_maps(token_maps(block, sizes), group_merge)) for block in wanted]


def _likely_ascending(layers: Sequence[int]) -> list[int]:
    """Each layer once, those that count from the end last: the depth is not known before a variant is."""
    return sorted(set(layers), key=lambda layer: (layer < 0, layer))


def _block_indices(out_indices: object, depth: int) -> list[int]:
    given = from_text(out_indices)
    if given is None:
        return list(range(depth))
    if isinstance(given, int) and not isinstance(given, bool):
        if not 1 <= given <= depth:
            msg = f"out_indices={given} asks for the last {given} blocks; valid: 1..{depth}, or a list of indices."
            raise ValueError(msg)
        return list(range(depth - given, depth))
    asked = as_ints("out_indices", given, "[2, 5, 8, 11]")
    outside = [index for index in asked if not -depth <= index < depth]
    if outside:
        msg = f"out_indices {outside} do not exist: this variant has {depth} blocks, valid {-depth}..{depth - 1}."
        raise ValueError(msg)
    blocks = [index % depth for index in asked]
    ordered = sorted(set(blocks))
    if ordered != blocks:
        msg = f"out_indices {list(asked)} are returned as {ordered}: each block once, in the order of the blocks."
        warnings.warn(msg, stacklevel=4)
    return ordered


def build_thor(
    variant: VariantName,
    *,
    pretrained: bool = True,
    ckpt: str | Path | None = None,
    config: object = None,
    model_ckpt_type: str = DEFAULT_PREFIX,
    revision: str | None = None,
    **arguments: Any,  # noqa: ANN401
) -> ThorBackbone:
    """Build a THOR backbone with its weights.

    Parameters
    ----------
    variant : {'tiny', 'small', 'base', 'large'}
        Size of the encoder.
    pretrained : bool
        Load the published weights (from the Hugging Face cache or the network) unless ``ckpt`` is given.
    ckpt : str or Path, optional
        Weights to load: a published file, ``.safetensors``, or a TerraTorch checkpoint of a fine-tuned model. Is
        loaded whatever ``pretrained`` says.
    config : mapping, str or Path, optional
        THOR configuration; its ``models.<model_ckpt_type>.input_params`` replace ``input_params``.
    model_ckpt_type : str
        Prefix of the encoder in the checkpoint.
    revision : str, optional
        Hugging Face revision of the published weights.
    **arguments
        Arguments of `ThorBackbone`.

    Returns
    -------
    ThorBackbone
        With ``load_report`` telling what was loaded; ``None`` means random weights.

    Raises
    ------
    TypeError
        For an unknown argument.
    ValueError
        For a wrong value, or weights that do not fit (`eo_models.weights.checkpoints.CheckpointError`).
    """
    arguments.pop("padding", None)  # TerraTorch's factory reads it and passes it on.
    own = constructor_arguments(ThorBackbone, "variant")
    valid = (*own, "pretrained", "ckpt", "config", "model_ckpt_type", "revision")
    refuse_unknown("THOR", arguments, valid, _HINTS)
    settings = read_config(config, model_ckpt_type)
    if "input_params" in settings:
        arguments["input_params"] = settings["input_params"]
    file = as_path(ckpt) if ckpt is not None else settings.get("ckpt")
    backbone = ThorBackbone(variant, **arguments)
    if file is not None or as_bool("pretrained", pretrained):
        path = str(file) if file is not None else None
        backbone.load_report = load_checkpoint(backbone.model, path, model_ckpt_type, revision)
    return backbone


def register() -> None:
    """Enter the backbones and the neck in TerraTorch's registries (imports TerraTorch)."""
    from terratorch.registry import TERRATORCH_BACKBONE_REGISTRY, TERRATORCH_NECK_REGISTRY  # noqa: PLC0415

    for name, variant in MODEL_NAMES.items():
        doc = f"Build THOR {variant}; arguments as for `thor_terratorch_ext.backbone.build_thor`."

        def build(variant: VariantName = variant, **arguments: Any) -> ThorBackbone:  # noqa: ANN401
            return build_thor(variant, **arguments)

        TERRATORCH_BACKBONE_REGISTRY.register(registry_factory(name, doc, build, ThorBackbone))
    TERRATORCH_NECK_REGISTRY.register(THORGroupReshapeTokensToImage)
