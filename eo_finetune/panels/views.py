"""Which bands of a batch make a picture: true colour by wavelength, radar in grey, or what the user names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch

from eo_data.catalog.sources import ImageSource
from eo_data.dataset.plots import rgb_indices, stretched

#: The image of one sample, or of a batch: one tensor, or tensors by modality.
Images = torch.Tensor | Mapping[str, torch.Tensor]
#: What a user may name: bands, or channels by number; for all modalities, or by modality.
Wanted = Mapping[str, Sequence[str | int]] | Sequence[str | int]
_POLARISATIONS = ("VV", "HH", "VH", "HV")


@dataclass(frozen=True)
class View:
    """One picture of a sample.

    Parameters
    ----------
    title : str
        Modality and bands.
    modality : str or None
        Key of the image in the batch; ``None`` where the batch has a single tensor without a name.
    channels : tuple of int
        Channels to show as red, green and blue, or one for grey.
    """

    title: str
    modality: str | None
    channels: tuple[int, ...]

    def of(self, image: Images | None, valid: np.ndarray | None = None) -> tuple[str, np.ndarray] | None:
        """Return the title and the picture of one sample, or ``None`` if it has no such image or it is constant.

        Parameters
        ----------
        image : Tensor or mapping
            ``(C, H, W)`` or ``(C, T, H, W)``, or such tensors by modality, with ``<modality>_mask`` ``(T,)``.
        valid : bool array, optional
            ``(H, W)``, True where observed; used where its size is that of the image.

        Returns
        -------
        tuple of str and float32 array, or None
            ``(H, W, 3)`` in 0..1.
        """
        tensor = image.get(str(self.modality)) if isinstance(image, Mapping) else image
        if tensor is None or tensor.ndim not in (3, 4) or max(self.channels) >= tensor.shape[0]:
            return None
        pixels = tensor[list(self.channels)].detach().float().cpu().numpy()
        title = self.title
        if pixels.ndim == 4:
            mask = image.get(f"{self.modality}_mask") if isinstance(image, Mapping) else None
            frame = middle_frame(pixels, None if mask is None else mask.cpu().numpy())
            title = f"{title}, frame {frame + 1} of {pixels.shape[1]}"
            pixels = pixels[:, frame]
        if pixels.size == 0 or np.ptp(pixels) == 0:
            return None  # zeros in the place of a missing modality, or of an image whose features are cached
        return title, stretched(pixels, valid if valid is not None and valid.shape == pixels.shape[1:] else None)


def middle_frame(series: np.ndarray, observed: np.ndarray | None = None) -> int:
    """Return the index of the middle one among the frames of ``(C, T, H, W)`` that show something.

    Without a mask ``(T,)``, a frame of one constant value (padding, a date without data) shows nothing.
    """
    seen = np.ptp(series, axis=(2, 3)).max(axis=0) > 0 if observed is None else observed.astype(bool)
    frames = np.flatnonzero(seen)
    return int(frames[len(frames) // 2]) if frames.size else series.shape[1] // 2


def bands_of(datamodule: object) -> dict[str | None, tuple[str, ...]]:
    """Names of the channels by modality, as far as a data module names them; canonical where the sensor is known.

    Data modules of this project have ``modalities``, those of TerraTorch ``output_bands``, ``dataset_bands`` or
    ``bands``, as a list (the key is ``None`` then) or by modality.
    """
    modalities = getattr(datamodule, "modalities", None)
    if isinstance(modalities, Mapping) and all(isinstance(source, ImageSource) for source in modalities.values()):
        return {name: tuple(_canonical(source, band) for band in source.bands) for name, source in modalities.items()}
    for attribute in ("output_bands", "dataset_bands", "bands"):
        stated = getattr(datamodule, attribute, None)
        by_modality = stated if isinstance(stated, Mapping) else {None: stated}
        names = {name: _names(bands) for name, bands in by_modality.items()}
        if any(names.values()):
            return {name: bands for name, bands in names.items() if bands}
    return {}


def _canonical(source: ImageSource, band: str) -> str:
    return (source.table.canonical(band) if source.table else None) or band


def _names(bands: object) -> tuple[str, ...]:
    if not isinstance(bands, Sequence) or isinstance(bands, str):
        return ()
    names = tuple(band.value if isinstance(band, Enum) else band for band in bands)
    return names if all(isinstance(name, str) for name in names) else ()


def views_of(datamodule: object, rgb: Wanted | None = None) -> tuple[View, ...]:
    """Choose what to show of each sample.

    Parameters
    ----------
    datamodule : LightningDataModule or None
        Names the bands, see `bands_of`.
    rgb : sequence or mapping, optional
        Three bands, or one, to show instead of true colour; or such a list by modality, and then only these are shown.
        Channel numbers where the data module knows no names.

    Returns
    -------
    tuple of View
        Empty if nothing is known about the bands; see `views_of_batch`.

    Raises
    ------
    ValueError
        For an unknown modality or band, or another number of bands than three or one.
    """
    bands = bands_of(datamodule)
    if isinstance(rgb, Mapping):
        return tuple(_stated(name, bands, wanted, datamodule) for name, wanted in rgb.items())
    radar = [view for view in (_radar(name, names) for name, names in bands.items()) if view]
    if rgb:
        return (_stated_anywhere(bands, rgb, datamodule), *radar[:1])
    optical = [view for view in (_optical(name, names) for name, names in bands.items()) if view]
    coloured = [view for view in optical if len(view.channels) == 3]
    return (*(coloured or optical)[:1], *radar[:1])


def views_of_batch(image: Images | None, datamodule: object) -> tuple[View, ...]:
    """Choose where no names are known: the data module's ``rgb_indices``, or the first three channels or one."""
    modality, tensor = (
        next(((name, part) for name, part in image.items() if part.ndim > 3), (None, None))
        if isinstance(image, Mapping)
        else (None, image)
    )
    if tensor is None or tensor.ndim < 4:
        return ()
    stated = getattr(datamodule, "rgb_indices", None)
    stated = stated.get(modality) if isinstance(stated, Mapping) else stated
    count = tensor.shape[1]
    channels = tuple(i for i in stated or () if isinstance(i, int) and 0 <= i < count)
    if len(channels) not in (1, 3):
        channels = (0, 1, 2) if count > 2 else (0,)
    return (View(_title(modality, [f"channel {i + 1}" for i in channels]), modality, channels),)


def _title(modality: str | None, names: Sequence[str]) -> str:
    said = "true colour" if list(names) == ["RED", "GREEN", "BLUE"] else ", ".join(names)
    return f"{modality} {said}" if modality else said


def _polarisation(band: str) -> str | None:
    last = band.upper().split("_")[-1]
    return last if last in _POLARISATIONS else None


def _radar(modality: str | None, bands: Sequence[str]) -> View | None:
    found = {_polarisation(band): i for i, band in reversed(list(enumerate(bands)))}
    for name in _POLARISATIONS:
        if name in found:
            return View(_title(modality, [name]), modality, (found[name],))
    return None


def _optical(modality: str | None, bands: Sequence[str]) -> View | None:
    places = [i for i, band in enumerate(bands) if _polarisation(band) is None]
    if not places:
        return None
    channels = tuple(places[i] for i in rgb_indices([bands[i] for i in places]))
    return View(_title(modality, [bands[i] for i in channels]), modality, channels)


def _stated_anywhere(bands: Mapping[str | None, tuple[str, ...]], rgb: Sequence[str | int], datamodule: object) -> View:
    for name in bands:
        try:
            return _stated(name, bands, rgb, datamodule)
        except ValueError:
            continue
    if bands:
        held = "; ".join(f"{name or 'image'}: {', '.join(names)}" for name, names in bands.items())
        msg = f"rgb names {list(rgb)}, but no modality has one or three such bands. Bands: {held}."
        raise ValueError(msg)
    return _stated(None, bands, rgb, datamodule)


def _stated(
    modality: str | None,
    bands: Mapping[str | None, tuple[str, ...]],
    wanted: Sequence[str | int],
    datamodule: object,
) -> View:
    if bands and modality not in bands:
        msg = f"rgb names the modality {modality!r}. Valid: {', '.join(str(name) for name in bands)}."
        raise ValueError(msg)
    if isinstance(wanted, str) or len(wanted) not in (1, 3):
        msg = f"rgb must list three bands (red, green, blue) or one (grey), got {wanted!r}."
        raise ValueError(msg)
    names = bands.get(modality, ())
    channels = tuple(_channel(band, names, modality, datamodule) for band in wanted)
    shown = [names[i] if names else f"channel {i + 1}" for i in channels]
    return View(_title(modality, shown), modality, channels)


def _channel(band: str | int, names: Sequence[str], modality: str | None, datamodule: object) -> int:
    if isinstance(band, int):
        if band < 0 or (names and band >= len(names)):
            msg = f"rgb names the channel {band} of {modality or 'the image'}. Valid: 0..{len(names) - 1}."
            raise ValueError(msg)
        return band
    source = getattr(datamodule, "modalities", None)
    own = source.get(modality) if isinstance(source, Mapping) else None
    canonical = _canonical(own, band) if isinstance(own, ImageSource) else band
    for i, name in enumerate(names):
        if name.upper() == canonical.upper():
            return i
    held = ", ".join(names) if names else "not known, as the data module does not name them; give channel numbers"
    msg = f"rgb names the band {band!r} of {modality or 'the image'}. Valid: {held}."
    raise ValueError(msg)
