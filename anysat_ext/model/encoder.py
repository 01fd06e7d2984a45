"""The AnySat encoder in plain PyTorch.

Reference: gastruc/AnySat at commit e03e72e (Astruc et al., CVPR 2025). Parameter names, shapes and the arithmetic of
the forward pass are those of the published encoder, so its checkpoint loads as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, cast, get_args

import torch
from torch import nn

from anysat_ext.model.attention import AttentionBackend, RelativePositions, check_backend
from anysat_ext.model.dense import dense_map
from anysat_ext.model.grid import ReduceScale, TileLayout, check_reduce_scale, patch_scale
from anysat_ext.model.inputs import InputSpec, Observation, checked
from anysat_ext.model.modalities import MODALITIES, select_modalities
from anysat_ext.model.positions import sincos_2d
from anysat_ext.model.projectors import make_projector
from anysat_ext.model.transformer import GLOBAL_EPS, Block, MergingBlock, SpatialEncoder
from eo_models.forward.chunking import check_budget
from eo_models.forward.layout_cache import LayoutCache
from eo_models.forward.recompute import calls_of
from eo_models.precision.matmul import unless_chosen

Output = Literal["patch", "tile", "dense", "all"]
OUTPUTS: tuple[Output, ...] = get_args(Output)
SizeName = Literal["tiny", "small", "base"]


@dataclass(frozen=True)
class Size:
    """Size of an encoder.

    Parameters
    ----------
    name : {'tiny', 'small', 'base'}
        Only base has published weights.
    embed_dim : int
        Token width D, in heads of 64 channels.
    depth : int
        Blocks of the spatial encoder, and again of the tile's encoder.
    """

    name: SizeName
    embed_dim: int
    depth: int


#: As in the release configuration; the training configurations of tiny and small differ, but have no weights either.
SIZES: Mapping[SizeName, Size] = MappingProxyType(
    {"tiny": Size("tiny", 256, 2), "small": Size("small", 512, 4), "base": Size("base", 768, 6)}
)


class AnySat(nn.Module):
    """AnySat: any mix of eleven sensors in, features per tile, per patch or per sub-patch out.

    Parameters
    ----------
    size : {'base', 'small', 'tiny'}
        See `SIZES`.
    modalities : iterable of str, optional
        Which projectors to build; all eleven by default, and then the state dict has exactly the published keys.
    reduce_scale : {'published', 'training'}
        How patches of ``l7`` and ``alos`` are cut, see `anysat_ext.model.grid.patch_grid`. ``training`` lets them go
        with other modalities.
    attention : {'sdpa', 'math'}
        See `anysat_ext.model.attention`.
    memory_budget : int, optional
        Bytes that the intermediate results of one chunk of pixels, patches or tokens may take. The default suits the
        cache of a CPU (16 MiB), or an accelerator (1 GiB). It changes no result.
    dropout : bool
        Whether to drop out at the published rates in training mode. By default both modes compute the same.
    gradient_checkpointing : bool
        While training, keep only the input of each block and of each chunk of pixels, and compute the rest again in the
        backward pass.

    Raises
    ------
    ValueError
        If an argument is none of the valid values.
    """

    def __init__(
        self,
        size: SizeName = "base",
        modalities: Iterable[str] | None = None,
        *,
        reduce_scale: ReduceScale = "published",
        attention: AttentionBackend = "sdpa",
        memory_budget: int | None = None,
        dropout: bool = False,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if size not in SIZES:
            msg = f"Unknown AnySat size {size!r}. Valid: {', '.join(SIZES)}."
            raise ValueError(msg)
        self.size = SIZES[size]
        self.modalities = select_modalities(modalities)
        self.reduce_scale = check_reduce_scale(reduce_scale)
        self.attention = check_backend(attention)
        self.memory_budget = check_budget(memory_budget)
        self.dropout = dropout
        self.gradient_checkpointing = gradient_checkpointing
        dim, depth, budget = self.size.embed_dim, self.size.depth, self.memory_budget
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        for name in self.modalities:
            self.add_module(_projector_name(name), make_projector(MODALITIES[name], dim))
        self.spatial_encoder = SpatialEncoder(dim, depth, self.attention, budget)
        own = [Block(dim, self.attention, budget, GLOBAL_EPS, relative=False) for _ in range(depth)]
        self.blocks = nn.ModuleList([*own, MergingBlock(dim, self.attention, budget)])
        self._positions = LayoutCache(max_entries=4)
        _initialise(self)

    def forward(
        self,
        data: Mapping[str, torch.Tensor],
        patch_size: int,
        output: Output = "patch",
        output_modality: str | None = None,
        *,
        crop: bool = False,
        check_dates: bool = True,
    ) -> torch.Tensor:
        """Encode a batch of tiles.

        Parameters
        ----------
        data : mapping of str to Tensor
            Per modality a series ``(B, T, C, H, W)`` or a single-date image ``(B, C, H, W)``, normalised with the
            statistics of its data set, channels in the order of `anysat_ext.model.modalities.MODALITIES`. All are
            square and cover the same ground; MODIS is the one pixel ``(B, T, 7, 1, 1)`` around the tile.
            ``<modality>_dates`` ``(B, T)``: day of the year of every frame, 1 January = 0; may differ per sample.
            ``<modality>_mask``, optional: bool ``(B, T)``, false for frames to leave out; the result is that without
            these frames. Or, as published, in the shape of the series: values that are false are replaced by the
            padding value of the projector.
        patch_size : int
            Side of a patch in metres, a positive multiple of 10 that divides the tile.
        output : {'patch', 'tile', 'dense', 'all'}
            What to return.
        output_modality : str, optional
            Whose sub-patches go into ``dense``; the first modality in ``data`` by default.
        crop : bool
            Drop rows and columns at the bottom and right that fill no patch instead of raising an error.
        check_dates : bool
            Refuse days outside 0..366. Without effect while `torch.export` or `torch.compile` trace the encoder: names
            and shapes are checked then, values (NaN, dates, empty masks) are not.

        Returns
        -------
        Tensor
            ``patch``: ``(B, n, n, D)``. ``tile``: ``(B, D)``. ``all``: ``(B, 1 + n**2, D)``, the tile first.
            ``dense``: ``(B, n * r, n * r, 2 * D)``, each sub-patch behind the vector of its patch; for aerial images
            with patches of more than 10 m scrambled as published, see `anysat_ext.model.dense.unscramble_dense`.

        Raises
        ------
        ValueError
            If anything in the input is not as described.
        """
        if output not in OUTPUTS:
            msg = f"output must be one of {', '.join(OUTPUTS)}, got {output!r}."
            raise ValueError(msg)
        scale = patch_scale(patch_size)
        observations = self._matched(data, scale, crop=crop)
        if not torch.compiler.is_compiling():
            observations = checked(observations, scale, check_dates=check_dates)
        shown = _output_modality(output_modality, observations)
        with unless_chosen():
            context, vectors, tokens = self._encode_patches(observations, shown if output == "dense" else None)
            layout = TileLayout(shown.grid.side, scale, len(vectors), len(context))
            merged = self._encode_tile(context, vectors, layout, class_only=output == "tile")
        if output == "all":
            return merged
        if output == "tile":
            return merged[:, 0]
        patches = merged[:, 1:].unflatten(1, (layout.side, layout.side))
        return patches if tokens is None else dense_map(patches, tokens)

    def check_values(self, data: Mapping[str, torch.Tensor], patch_size: int, *, crop: bool = False) -> None:
        """Refuse what `forward` refuses, and warn as it does; arguments and errors as there."""
        scale = patch_scale(patch_size)
        checked(self._matched(data, scale, crop=crop), scale, check_dates=True)

    def _matched(self, data: Mapping[str, torch.Tensor], scale: int, *, crop: bool) -> list[Observation]:
        return InputSpec(self.modalities, self.reduce_scale, self.cls_token.dtype, crop).match(data, scale)

    def _encode_patches(
        self, observations: Sequence[Observation], wanted: Observation | None
    ) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor | None]:
        """Vectors of the context and of the images, each ``(B, N, D)``, and the tokens of the wanted image."""
        context: list[torch.Tensor] = []
        vectors: list[torch.Tensor] = []
        kept = None
        dropout = self.dropout and self.training
        call = calls_of(self, gradient_checkpointing=self.gradient_checkpointing)
        for observation in observations:
            modality = observation.modality
            projector = self.get_submodule(_projector_name(modality.name))
            tokens = projector(observation, self.memory_budget, call, dropout=dropout)
            with_tokens = observation is wanted
            encoded = self.spatial_encoder(tokens, modality.token_metres, call, with_tokens=with_tokens)
            vector = encoded[:, 0].unflatten(0, (observation.pixels.shape[0], -1))
            (context if modality.is_context else vectors).append(vector)
            kept = encoded[:, 1:] if with_tokens else kept
        return context, vectors, kept

    def _encode_tile(
        self, context: list[torch.Tensor], vectors: list[torch.Tensor], layout: TileLayout, *, class_only: bool
    ) -> torch.Tensor:
        like = vectors[0]
        positions = self._patch_positions(layout, like)
        cls_token = self.cls_token.to(like.dtype).expand(like.shape[0], -1, -1)
        # No modality embedding. The class token and MODIS have no place in the grid; MODIS stands second.
        tokens = torch.cat([cls_token, *context, *(vector + positions for vector in vectors)], dim=1)
        call = calls_of(self, gradient_checkpointing=self.gradient_checkpointing)
        *blocks, merge = self.blocks
        for block in blocks:
            tokens = call(block, tokens)
        return call(merge, tokens, layout, positions, class_only)

    def _patch_positions(self, layout: TileLayout, like: torch.Tensor) -> torch.Tensor:
        def make() -> torch.Tensor:
            # In units of 10 m, whereas tokens within a patch count metres.
            return sincos_2d(layout.side, layout.scale, self.size.embed_dim).to(like.device, like.dtype)

        return cast(
            "torch.Tensor", self._positions.get((layout.side, layout.scale, like.dtype, like.device), None, make)
        )


def _projector_name(modality: str) -> str:
    return f"projector_{modality}"


def _output_modality(wanted: str | None, observations: Sequence[Observation]) -> Observation:
    shown = [observation for observation in observations if not observation.modality.is_context]
    if not wanted:
        return shown[0]
    for observation in shown:
        if observation.modality.name == wanted:
            return observation
    names = ", ".join(observation.modality.name for observation in shown)
    msg = f"output_modality must be one of the modalities with a grid in data ({names}), got {wanted!r}."
    raise ValueError(msg)


def _initialise(encoder: AnySat) -> None:
    """Random weights for training from scratch: truncated normal of 0.02 for tokens, tables and block layers."""
    for module in (encoder.spatial_encoder, encoder.blocks):
        for part in module.modules():
            if isinstance(part, nn.Linear):
                nn.init.trunc_normal_(part.weight, std=0.02)
                nn.init.zeros_(part.bias)
            elif isinstance(part, RelativePositions):
                nn.init.trunc_normal_(part.lookup_table_weight, std=0.02)
    merging = cast("MergingBlock", encoder.blocks[-1])
    for token in (encoder.cls_token, encoder.spatial_encoder.cls_token, merging.attn.q_learned):
        nn.init.trunc_normal_(token, std=0.02)
