"""What a picture is drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MapSample:
    """A sample with a label for each pixel.

    Parameters
    ----------
    name : str
        Path or id.
    pictures : tuple of (str, array)
        Titles and pictures ``(h, w, 3)`` in 0..1; the pixels may be of another size than the label's.
    label, prediction : array
        ``(H, W)``: classes, or values.
    ignored : bool array
        ``(H, W)``: pixels without a label.
    """

    name: str
    pictures: tuple[tuple[str, np.ndarray], ...]
    label: np.ndarray
    prediction: np.ndarray
    ignored: np.ndarray


@dataclass(frozen=True)
class SceneSample:
    """A sample with one label.

    Parameters
    ----------
    name : str
        Path or id.
    picture : array or None
        ``(h, w, 3)`` in 0..1.
    label, prediction : str
        The text that is shown for each.
    probability : float or None
        Probability of the predicted class, 0..1; ``None`` if there is none.
    correct : bool or None
        Whether they agree; ``None`` for values.
    """

    name: str
    picture: np.ndarray | None
    label: str
    prediction: str
    probability: float | None
    correct: bool | None
