"""Maps at sub-patch resolution."""

from __future__ import annotations

import torch

from anysat_ext.model.grid import patch_scale
from anysat_ext.model.modalities import MODALITIES


def dense_map(patches: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Set the tokens of all patches side by side, each with the vector of its patch in front, as published.

    Token k of a patch goes to row ``k // r``, column ``k % r``. The tokens of aerial images are in nested order, so
    with patches of more than 10 m they come out in the wrong place, see `unscramble_dense`.

    Parameters
    ----------
    patches : Tensor
        ``(B, n, n, D)``.
    tokens : Tensor
        ``(B * n**2, r**2, D)``.

    Returns
    -------
    Tensor
        ``(B, n * r, n * r, 2 * D)``.
    """
    batch, n, _, dim = patches.shape
    r = round(tokens.shape[1] ** 0.5)
    result = patches.new_empty(batch, n, r, n, r, 2 * dim)
    result[..., :dim] = patches[:, :, None, :, None]
    result[..., dim:] = tokens.view(batch, n, n, r, r, dim).transpose(2, 3)
    return result.view(batch, n * r, n * r, 2 * dim)


def unscramble_dense(dense: torch.Tensor, patch_size: int, modality: str) -> torch.Tensor:
    """Put the sub-patches of a published dense map where they belong on the ground.

    The published map reads the tokens of a patch as rows, but those of ``aerial`` and ``aerial-flair`` come 10 m
    cell by 10 m cell. The values stay as they are. For all other modalities, and for patches of 10 m, nothing moves.

    Parameters
    ----------
    dense : Tensor
        ``(B, n * r, n * r, C)``, as `AnySat` returns it for ``output='dense'``.
    patch_size : int
        In metres, as given to the encoder.
    modality : str
        The ``output_modality`` of the map.

    Returns
    -------
    Tensor
        The same shape.

    Raises
    ------
    ValueError
        If the modality is unknown or the map is not square with whole patches.
    """
    if modality not in MODALITIES:
        msg = f"Unknown modality {modality!r}. Valid: {', '.join(MODALITIES)}."
        raise ValueError(msg)
    s, g = patch_scale(patch_size), MODALITIES[modality].tokens_per_cell
    if s == 1 or g == 1:
        return dense
    size = dense.shape[1] if dense.ndim == 4 else 0
    if size == 0 or dense.shape[2] != size or size % (s * g):
        msg = (
            f"A dense map of {modality!r} at patch_size {patch_size} has shape (B, S, S, C) with S a multiple of "
            f"{s * g}, got {tuple(dense.shape)}."
        )
        raise ValueError(msg)
    batch, n, channels = dense.shape[0], size // (s * g), dense.shape[3]
    tokens = dense.view(batch, n, s * g, n, s * g, channels).transpose(2, 3).reshape(batch, n, n, s, s, g, g, channels)
    # patch row, cell row, token row; patch column, cell column, token column
    return tokens.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(batch, size, size, channels)
