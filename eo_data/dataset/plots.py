"""Quick-looks: an RGB of a sample beside its label and the prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eo_data.sensors.tables import SENSORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Red, green and blue in nm, and how far a band may be off.
RGB_NM = (665.0, 560.0, 490.0)
RGB_TOLERANCE_NM = 40.0
#: Percentiles that a quick-look is stretched between.
STRETCH = (2.0, 98.0)


def rgb_indices(bands: Sequence[str], wanted: Sequence[str] = ()) -> list[int]:
    """Channels to show as red, green and blue: the wanted ones, those nearest to 665, 560 and 490 nm, or the first.

    Raises
    ------
    ValueError
        If a wanted band is not there.
    """
    if wanted:
        missing = [band for band in wanted if band not in bands]
        if missing:
            msg = f"rgb names {missing}, but the bands are {list(bands)}."
            raise ValueError(msg)
        return [list(bands).index(band) for band in wanted]
    wavelengths = _wavelengths(bands)
    if wavelengths:
        nearest = [min(wavelengths, key=lambda i: abs(wavelengths[i] - wanted_nm)) for wanted_nm in RGB_NM]
        if all(abs(wavelengths[i] - nm) < RGB_TOLERANCE_NM for i, nm in zip(nearest, RGB_NM, strict=True)):
            return nearest
    upper = [band.upper() for band in bands]
    if all(name in upper for name in "RGB"):
        return [upper.index(name) for name in "RGB"]
    return [0, 1, 2] if len(bands) > 2 else [0]


def _wavelengths(bands: Sequence[str]) -> dict[int, float]:
    """Central wavelength in nm of the optical bands, if one sensor has all bands."""
    for sensor in SENSORS.values():
        known = {alias.upper(): band for band in sensor.bands for alias in (band.name, *band.aliases)}
        if all(band.upper() in known for band in bands):
            found = {i: known[band.upper()].wavelength_nm for i, band in enumerate(bands)}
            return {i: nm for i, nm in found.items() if nm is not None}
    return {}


def stretched(pixels: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Scale channels ``(C, H, W)`` to ``(H, W, 1 or 3)`` in 0..1 between two percentiles; missing pixels are white."""
    shown = np.asarray(pixels, dtype=np.float32)
    seen = np.isfinite(shown).all(axis=0) if valid is None else valid & np.isfinite(shown).all(axis=0)
    result = np.ones((*shown.shape[1:], len(shown)), dtype=np.float32)
    for channel, plane in enumerate(shown):
        if seen.any():
            low, high = np.percentile(plane[seen], STRETCH)
            scaled = np.clip((plane - low) / max(float(high - low), 1e-6), 0, 1)
            result[..., channel] = np.where(seen, scaled, 1)
    return result if result.shape[-1] == 3 else np.repeat(result[..., :1], 3, axis=-1)


def plot_sample(
    sample: Mapping[str, Any],
    modality: str,
    bands: Sequence[str],
    rgb: Sequence[str] = (),
    classes: int | None = None,
    suptitle: str | None = None,
) -> Figure:
    """Draw image, label and prediction side by side.

    Parameters
    ----------
    sample : mapping
        With ``image`` (tensor, or mapping by modality; TerraTorch also flattens that mapping into the sample), and
        what there is of ``mask`` and ``prediction``.
    modality : str
        Which image to show.
    bands : sequence of str
        Its bands.
    rgb : sequence of str
        Bands to show.
    classes : int, optional
        Number of classes, for one colour scale in label and prediction.
    suptitle : str, optional
        Title.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  (half a second, which those who draw nothing need not wait)

    image = sample.get("image")
    pixels = np.asarray(image[modality] if isinstance(image, Mapping) else sample[modality] if image is None else image)
    frame = pixels[:, pixels.shape[1] // 2] if pixels.ndim == 4 else pixels
    observed = np.asarray(sample["valid"], dtype=bool) if "valid" in sample else None
    shown = observed if observed is not None and observed.shape == frame.shape[-2:] else None
    panels: list[tuple[str, np.ndarray]] = [(modality, stretched(frame[rgb_indices(bands, rgb)], shown))]
    panels += [
        (key, np.asarray(sample[key]).squeeze())
        for key in ("mask", "prediction")
        if key in sample and np.asarray(sample[key]).squeeze().ndim == 2
    ]
    low, high = _common_range([panel for _, panel in panels[1:]], classes)
    figure = Figure(figsize=(4 * len(panels), 4.4), layout="constrained")
    for i, (title, panel) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), i + 1)
        if panel.ndim == 3:
            axes.imshow(panel)
        else:
            hidden = np.ma.masked_invalid(np.ma.masked_equal(panel, -1))
            cmap = "tab20" if (classes or 0) > 2 else "viridis"
            axes.imshow(hidden, cmap=cmap, interpolation="nearest", vmin=low, vmax=high)
        axes.set_title(title)
        axes.set_axis_off()
    if suptitle:
        figure.suptitle(suptitle)
    return figure


def _common_range(panels: Sequence[np.ndarray], classes: int | None) -> tuple[float | None, float | None]:
    """One colour scale for label and prediction: the classes, or the range of the first panel, which is the label."""
    if classes:
        return 0, classes - 1
    seen = [panel[np.isfinite(panel) & (panel != -1)] for panel in panels]
    values = next((part for part in seen if part.size), None)
    return (None, None) if values is None else (float(values.min()), float(values.max()))
