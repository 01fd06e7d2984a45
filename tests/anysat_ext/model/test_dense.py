"""The published dense map of aerial images is scrambled inside each patch; the helper puts it right."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from anysat_ext.model.dense import dense_map, unscramble_dense


def _labelled_tokens(n: int, s: int, g: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens in nested order that carry their raster position on the ground, and the raster that they must give."""
    r = s * g
    raster = torch.arange(n * r * n * r, dtype=torch.float32).view(n * r, n * r)
    nested = raster.view(n, s, g, n, s, g).permute(0, 3, 1, 4, 2, 5).reshape(n * n, r * r, 1)
    return nested, raster


@pytest.mark.parametrize(("s", "g", "name"), [(1, 5, "aerial"), (2, 5, "aerial"), (3, 5, "aerial-flair"), (3, 1, "s2")])
def test_every_sub_patch_ends_up_where_it_is_on_the_ground(s: int, g: int, name: str) -> None:
    tokens, raster = _labelled_tokens(4, s, g)
    patches = torch.arange(16.0).view(1, 4, 4, 1)
    published = dense_map(patches, tokens)
    placed = unscramble_dense(published, 10 * s, name)
    assert torch.equal(placed[0, ..., 1], raster)
    assert torch.equal(placed[..., 0], published[..., 0])
    assert torch.equal(published[0, ..., 1], raster) == (s == 1 or g == 1)


def test_an_impulse_in_an_aerial_image_shows_where_it_is(filled: Any) -> None:
    encoder = filled("tiny")
    flat = torch.zeros(1, 4, 100, 100)
    published_at = {(0, 5): (2, 5), (2, 6): (3, 6), (9, 0): (7, 0), (4, 4): (2, 4)}
    for (row, column), expected in published_at.items():
        image = flat.clone()
        image[..., 10 * row : 10 * row + 10, 10 * column : 10 * column + 10] = 3.0
        with torch.inference_mode():
            change = encoder({"aerial": image}, 20, "dense") - encoder({"aerial": flat}, 20, "dense")
        strength = unscramble_dense(change, 20, "aerial")[0, ..., 256:].norm(dim=-1)
        assert divmod(int(strength.argmax()), 10) == (row, column)
        published = change[0, ..., 256:].norm(dim=-1)
        assert divmod(int(published.argmax()), 10) == expected


def test_maps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"multiple of 10, got \(1, 12, 12, 4\)"):
        unscramble_dense(torch.zeros(1, 12, 12, 4), 20, "aerial")
    with pytest.raises(ValueError, match="Unknown modality 'hls'"):
        unscramble_dense(torch.zeros(1, 10, 10, 4), 20, "hls")
