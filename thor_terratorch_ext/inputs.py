"""The input of a forward pass: modalities, channel counts and geometry by shape, NaN by value.

What follows from shapes is checked on every call. What needs the values, and every warning, is a step of its own,
which a trace by `torch.export` or `torch.compile` leaves out.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from eo_core.arguments import from_text, one_of
from eo_data.sensors.tables import spelling
from thor_terratorch_ext.model.channels import DEFAULT_BANDS, BandSelection
from thor_terratorch_ext.model.layout import TokenLayout

OnNan = Literal["raise", "mask"]


@dataclass(frozen=True)
class InputSpec:
    """What the model knows about its input.

    Parameters
    ----------
    modalities : tuple of (str or None, tuple)
        Name and bands of each image; one entry named ``None`` for a plain tensor.
    gsd : tuple of float, or None
        Pixel size of each image in metres, if stated.
    on_nan : {'raise', 'mask'}
        What to do about NaN and infinity.
    """

    modalities: tuple[tuple[str | None, tuple[object, ...]], ...]
    gsd: tuple[float, ...] | None
    on_nan: OnNan

    @classmethod
    def parse(cls, model_bands: object, input_gsd: object, on_nan: object) -> InputSpec:
        """Check the arguments of the backbone.

        Raises
        ------
        ValueError
            For an empty band list, a pixel size that is not positive or not given for each image.
        """
        given = from_text(model_bands) if isinstance(model_bands, str) and model_bands[:1] in "[{" else model_bands
        modalities: tuple[tuple[str | None, tuple[object, ...]], ...]
        if given is None:
            modalities = ((None, DEFAULT_BANDS),)
        elif isinstance(given, Mapping):
            modalities = tuple((str(name), _as_bands(bands)) for name, bands in given.items())
        else:
            modalities = ((None, _as_bands(given)),)
        gsd = _as_gsd(from_text(input_gsd), modalities)
        return cls(modalities, gsd, one_of("on_nan", on_nan, get_args(OnNan)))

    @property
    def bands(self) -> tuple[object, ...]:
        """Bands of all images, in order."""
        return tuple(band for _, bands in self.modalities for band in bands)

    def match(
        self, x: torch.Tensor | Mapping[str, torch.Tensor], ground_cover: float | None
    ) -> tuple[list[torch.Tensor], int]:
        """Find the image of each modality in a batch, and the ground cover, by names and shapes alone.

        Parameters
        ----------
        x : Tensor or mapping of str to Tensor
            Input of the forward pass.
        ground_cover : float or None
            Side of the images on the ground in metres; ``None`` derives it from size and pixel size.

        Returns
        -------
        list of Tensor, int
            One ``(B, C, H, W)`` per modality, and the ground cover in metres.

        Raises
        ------
        ValueError
            If something does not fit; the message says what was expected and what came.
        """
        images = [self._image(tensor, bands, name) for tensor, (name, bands) in self._pair(x)]
        if any(image.shape[0] != images[0].shape[0] for image in images):
            msg = f"The modalities have different batch sizes: {[tuple(image.shape) for image in images]}."
            raise ValueError(msg)
        covers = self._stated_covers(images)
        if ground_cover is None:
            cover = covers[0]
        else:
            cover = _one_value(ground_cover)
        if cover != int(cover):
            msg = f"The ground cover must be a whole number of metres, got {cover}."
            raise ValueError(msg)
        self._compare(covers, images, int(cover))
        return images, int(cover)

    def finite(self, images: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return the images without NaN and infinity: masked, or refused.

        In a trace, ``on_nan='mask'`` still masks; ``'raise'`` cannot look at values and returns the images as they are.

        Raises
        ------
        ValueError
            If there is any and ``on_nan`` is ``raise``; the message names the bands.
        """
        if not torch.compiler.is_compiling():
            return [
                self._finite(image, bands, name) for image, (name, bands) in zip(images, self.modalities, strict=True)
            ]
        return [_masked(image) for image in images] if self.on_nan == "mask" else list(images)

    def warn_if_resized(self, images: Sequence[torch.Tensor], layout: TokenLayout, selection: BandSelection) -> None:
        """Warn, once per size, if images without a stated pixel size are resized to the ground cover.

        A trace does not warn.
        """
        if self.gsd is not None or torch.compiler.is_compiling():
            return
        first = 0
        for image in images:
            finest = min(selection.gsd(channel) for channel in selection.channels[first : first + image.shape[1]])
            first += image.shape[1]
            side = layout.ground_cover // finest
            height, width = image.shape[-2:]
            if (height, width) != (side, side):
                msg = (
                    f"THOR resizes the input from {height} x {width} px to {side} x {side} px, as the ground cover "
                    f"is {layout.ground_cover} m and the finest band has {finest} m. If the pixels of the input have "
                    "that size already, this changes the scale: state input_gsd, so that the ground cover follows the "
                    "input or a mismatch is an error."
                )
                warnings.warn(msg, stacklevel=3)

    def _pair(
        self, x: torch.Tensor | Mapping[str, torch.Tensor]
    ) -> list[tuple[torch.Tensor, tuple[str | None, tuple[object, ...]]]]:
        names = [name for name, _ in self.modalities]
        if isinstance(x, Mapping):
            if names == [None]:
                if len(x) == 1:
                    return [(next(iter(x.values())), self.modalities[0])]
                msg = (
                    f"The input has the modalities {list(x)}, but model_bands is a plain list. Name each one's bands: "
                    f"model_bands={{{next(iter(x))!r}: ['VV', 'VH'], ...}}."
                )
                raise ValueError(msg)
            missing = [name for name in names if name not in x]
            if missing:
                msg = f"Modalities {missing} are missing from the input, which has {list(x)}."
                raise ValueError(msg)
            return [(x[str(name)], (name, bands)) for name, bands in self.modalities]
        if len(names) == 1:
            return [(x, self.modalities[0])]
        counts = [len(bands) for _, bands in self.modalities]
        if x.ndim != 4 or x.shape[1] != sum(counts):
            msg = (
                f"Expected the modalities {names}, or one image with their {sum(counts)} channels in that order "
                f"({_listed(self.bands)}), got shape {tuple(x.shape)}."
            )
            raise ValueError(msg)
        return list(zip(x.split(counts, dim=1), self.modalities, strict=True))

    def _image(self, tensor: torch.Tensor, bands: Sequence[object], name: str | None) -> torch.Tensor:
        what = _what(name)
        if tensor.ndim == 5 and tensor.shape[2] == 1:
            tensor = tensor.squeeze(2)
        if tensor.ndim != 4:
            msg = (
                f"Expected {what} as (batch, channels, height, width), got shape {tuple(tensor.shape)}. THOR has no "
                "time axis: for a series use TerraTorch's backbone_use_temporal, or the AnySat backbone."
            )
            raise ValueError(msg)
        if tensor.shape[1] != len(bands):
            msg = (
                f"Expected {len(bands)} channels in {what}, one per band ({_listed(bands)}), got {tensor.shape[1]} "
                f"(shape {tuple(tensor.shape)}). Make the data module's output bands and model_bands the same list."
            )
            raise ValueError(msg)
        if not tensor.is_floating_point():
            msg = (
                f"Expected {what} as floating point, got {tensor.dtype}: digital numbers must be normalised "
                "before the encoder (data module means and stds)."
            )
            raise ValueError(msg)
        return tensor

    def _finite(self, tensor: torch.Tensor, bands: Sequence[object], name: str | None) -> torch.Tensor:
        finite = torch.isfinite(tensor)
        if bool(finite.all()):
            return tensor
        if self.on_nan == "mask":
            return _masked(tensor)
        shares = (~finite).float().mean(dim=(0, 2, 3)).tolist()
        spoilt = [f"{spelling(b)} {share:.1%}" for b, share in zip(bands, shares, strict=True) if share > 0]
        msg = (
            f"NaN or infinity in {_what(name)} ({', '.join(spoilt)} of the pixels); a single one makes every token of "
            "its sample NaN. Fill no-data before the encoder (data module: no_data_replace), or build the backbone "
            "with on_nan='mask', which puts the mean of a normalised band there."
        )
        raise ValueError(msg)

    def _stated_covers(self, images: Sequence[torch.Tensor]) -> list[float]:
        if self.gsd is None:
            return []
        for image, (name, _) in zip(images, self.modalities, strict=True):
            if image.shape[-1] != image.shape[-2]:
                side = min(image.shape[-2:])
                msg = (
                    f"THOR reads square images, {_what(name)} is {image.shape[-2]} x {image.shape[-1]} px. Crop it to "
                    f"{side} x {side}, or use tiled inference."
                )
                raise ValueError(msg)
        return [round(image.shape[-1] * gsd, 3) for image, gsd in zip(images, self.gsd, strict=True)]

    def _compare(self, covers: Sequence[float], images: Sequence[torch.Tensor], cover: int) -> None:
        if self.gsd is None:
            return
        for image, actual, gsd in zip(images, covers, self.gsd, strict=True):
            if abs(actual - cover) > 1e-3:
                fit = cover / gsd
                sides = f"{fit:g} px" if fit == int(fit) else f"{int(fit)} or {int(fit) + 1} px (neither exact)"
                msg = (
                    f"The input covers {image.shape[-1]} px x {gsd:g} m = {actual:g} m, but the ground cover is "
                    f"{cover} m. Crop or pad the input to {sides}, set ground_covers to [{actual:g}], or leave "
                    "ground_covers out so that it follows the input."
                )
                raise ValueError(msg)


def _what(name: str | None) -> str:
    return "the image" if name is None else f"modality {name!r}"


def _masked(image: torch.Tensor) -> torch.Tensor:
    return torch.where(torch.isfinite(image), image, torch.zeros((), dtype=image.dtype, device=image.device))


def _one_value(ground_cover: object) -> float:
    if isinstance(ground_cover, int | float):
        return float(ground_cover)
    values = torch.as_tensor(ground_cover).unique()
    if values.numel() != 1:
        msg = f"One forward pass has one ground cover, got {values.tolist()} m. Sort the batches by size."
        raise ValueError(msg)
    return float(values.item())


def _listed(bands: Sequence[object]) -> str:
    return ", ".join(spelling(band) for band in bands)


def _as_bands(bands: object) -> tuple[object, ...]:
    if isinstance(bands, str):
        return (bands,)
    if not isinstance(bands, Sequence):
        msg = f"Bands are a list of names such as ['VV', 'VH'], got {bands!r}."
        raise ValueError(msg)
    return tuple(bands)


def _as_gsd(given: object, modalities: Sequence[tuple[str | None, tuple[object, ...]]]) -> tuple[float, ...] | None:
    if given is None:
        return None
    names = [name for name, _ in modalities]
    if isinstance(given, Mapping):
        if set(given) != set(names):
            msg = f"input_gsd names {list(given)}, but the modalities are {names}. State one pixel size for each."
            raise ValueError(msg)
        values = [given[name] for name in names]
    else:
        values = [given] * len(names)
    if any(isinstance(value, bool) or not isinstance(value, int | float) or value <= 0 for value in values):
        msg = f"input_gsd must be a positive pixel size in metres such as 10, got {given!r}."
        raise ValueError(msg)
    return tuple(float(value) for value in values)
