"""Which of the eight flips and rotations of a square a random transform makes.

A turn is named by what it does to the four corners of a square, numbered row by row: ``(0, 1, 2, 3)`` changes nothing,
``(1, 0, 3, 2)`` swaps left and right, and ``(2, 0, 3, 1)`` is a quarter turn clockwise. Each of the eight turns moves
the corners in another way, so a square of 2 x 2 pixels that went through a transform shows which turn it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import numpy as np
import torch

from eo_data.preprocess.augmentation import Augmentation, composed

#: Transforms of Albumentations that only flip and turn by right angles.
TURNS = frozenset(("D4", "HorizontalFlip", "VerticalFlip", "Transpose", "RandomRotate90", "SquareSymmetry", "NoOp"))
_IGNORED = frozenset(("ToTensorV2",))
#: Seeds that are tried to find every turn: of eight equally likely ones, 256 seeds miss one with a chance of 1e-14.
_TRIES = 256
#: The turn that changes nothing.
_UPRIGHT = (0, 1, 2, 3)

#: The corners of the unturned square in the order in which they stand in the turned one.
Turn = tuple[int, ...]


def orientation_of(augmentation: Augmentation | None, seed: int | None) -> Turn:
    """Return the turn that a transform makes with a seed.

    Parameters
    ----------
    augmentation : Augmentation or None
        Flips and turns by right angles only, see `variants_of`.
    seed : int or None
        Seed of a sample's random choices. Without, torch's generator draws one where the transform would draw one.
    """
    steps = [] if augmentation is None else [s for s in augmentation.transforms if type(s).__name__ not in _IGNORED]
    if not steps:
        return _UPRIGHT
    seed = int(torch.randint(2**31 - 1, (1,))) if seed is None else seed
    corners = np.arange(4, dtype=np.float32).reshape(2, 2, 1)
    moved = composed(steps, seed)(image=corners)["image"]
    return tuple(int(value) for value in np.asarray(moved).ravel())


def with_even_chances(augmentation: Augmentation) -> Augmentation:
    """Return transforms of which each random one happens half of the time, so that none of their turns is rare."""
    steps = deepcopy(list(augmentation.transforms))
    for step in steps:
        step.p = 0.5 if 0 < step.p < 1 else step.p
    return Augmentation(steps)


def variants_of(augmentation: Augmentation | None) -> Mapping[Turn, int | None]:
    """Return the turns that a transform can make, each with a seed that makes it.

    Returns
    -------
    mapping of turn to int or None
        With this seed, ``with_even_chances(augmentation)`` makes the turn; ``None`` if there is no transform.

    Raises
    ------
    ValueError
        If it does more than flips and rotations by right angles.
    """
    if augmentation is None:
        return {_UPRIGHT: None}
    others = [n for n in (type(step).__name__ for step in augmentation.transforms) if n not in TURNS | _IGNORED]
    if others:
        msg = (
            f"The feature cache can hold the eight flips and rotations of an image, but the transforms have "
            f"{', '.join(others)}, which makes ever new images. Valid: {', '.join(sorted(TURNS))}. Cut chips to their "
            "size beforehand, or leave FrozenFeatureCache out."
        )
        raise ValueError(msg)
    found: dict[Turn, int | None] = {}
    even = with_even_chances(augmentation)
    for seed in range(_TRIES):
        found.setdefault(orientation_of(even, seed), seed)
    return found
