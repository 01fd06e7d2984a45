"""Which of the eight flips and rotations of a square a random transform makes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from eo_data.augmentation import Augmentation

#: Transforms of Albumentations that only flip and turn by right angles.
TURNS = frozenset(("D4", "HorizontalFlip", "VerticalFlip", "Transpose", "RandomRotate90", "SquareSymmetry", "NoOp"))
_IGNORED = frozenset(("ToTensorV2",))
#: Seeds that are tried to meet every variant: with eight equally likely ones, one is missed once in 1e14.
_TRIES = 256

#: Where the four corners of a square go.
Turn = tuple[int, ...]


def turn_of(augmentation: Augmentation | None, seed: int) -> Turn:
    """Return what a transform with this seed does to the corners of a square, in the order of their rows.

    Two turns that move the corners alike are the same one of the eight.
    """
    import albumentations  # noqa: PLC0415

    corners = np.arange(4, dtype=np.float32).reshape(2, 2, 1)
    steps = [] if augmentation is None else [s for s in augmentation.transforms if type(s).__name__ not in _IGNORED]
    if not steps:
        return (0, 1, 2, 3)
    moved = albumentations.Compose(steps, seed=seed)(image=corners)["image"]
    return tuple(int(value) for value in np.asarray(moved).ravel())


def variants_of(augmentation: Augmentation | None) -> Mapping[Turn, int | None]:
    """Return the turns that a transform can make, each with a seed that makes it; ``None`` if nothing is random.

    Raises
    ------
    ValueError
        If it does more than flips and rotations by right angles.
    """
    if augmentation is None:
        return {turn_of(None, 0): None}
    others = [n for n in (type(step).__name__ for step in augmentation.transforms) if n not in TURNS | _IGNORED]
    if others:
        msg = (
            f"The feature cache can hold the eight flips and rotations of an image, but the transforms have "
            f"{', '.join(others)}, which makes ever new images. Valid: {', '.join(sorted(TURNS))}. Cut chips to their "
            "size beforehand, or leave FrozenFeatureCache out."
        )
        raise ValueError(msg)
    found: dict[Turn, int | None] = {}
    for seed in range(_TRIES):
        found.setdefault(turn_of(augmentation, seed), seed)
    return found
