"""Which encoders there are, and what each takes and gives."""

from __future__ import annotations

from eo_models.preset import EncoderCard, find_preset, presets


def models() -> tuple[str, ...]:
    """Return the names of the encoders that `eo_embed.embed` knows."""
    return tuple(presets())


def describe(encoder: str) -> EncoderCard:
    """Return what an encoder takes and gives: bands, units, sizes, dates, weights, licence; ``print`` it to read it.

    Parameters
    ----------
    encoder : str
        One of `models`.

    Raises
    ------
    ValueError
        For any other name; the message lists the valid ones.
    """
    return find_preset(encoder).card(encoder)
