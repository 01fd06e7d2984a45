"""UniverSat's preprocessing: square tiles of whole patches, ratio bands, heights, statistics of the data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from eo_core.arguments import one_of
from eo_data.preprocess.dataset_normalise import DatasetNormalise, PerBand
from eo_data.preprocess.normalisation import IDENTITY_NAMES, TILE_NAMES, Dialect, Normaliser, named, normaliser
from eo_data.preprocess.steps import PixelSteps, filled, label_with_geometry, normalised, with_geometry
from eo_data.raster.georeference import check_georeference
from eo_data.raster.plan import GeometryPlan, centred
from eo_data.raster.sample import Image, Sample, SampleError
from eo_data.sensors.units import as_float32

NonSquare = Literal["error", "crop"]
Indivisible = Literal["error", "crop"]

#: Ratio bands, and the two bands that each is made of.
RATIOS: Mapping[str, tuple[str, str]] = MappingProxyType({"VV/VH": ("VV", "VH"), "HH/HV": ("HH", "HV")})
#: Range of a ratio. Source: the published loaders.
RATIO_RANGE = (-1e4, 1e4)
#: Metres per unit of heights, as the weights saw them.
HEIGHT_SCALE = np.float32(10)
ROUNDING = 1e-6


@dataclass(frozen=True)
class HeightsOverTile:
    """Heights in metres as the weights saw the pair of FLAIR: no statistics, but metres over the tile.

    ``[(surface - its mean over the tile) / 10, (surface - terrain) / 10]``. The second band has to be the height over
    the terrain already. Source: the published loader of ``dem``.
    """

    name: ClassVar[str] = "heights"

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Normalise ``(2, H, W)``: surface, and height over the terrain; float32.

        Raises
        ------
        ValueError
            For another number of bands.
        """
        values = as_float32(pixels)
        if values.shape[-3] != 2:
            msg = (
                "heights are two bands, DSM (surface) and nDEM (surface - terrain), in metres, got an array of shape "
                f"{values.shape}. For others take normalization: dataset or none."
            )
            raise ValueError(msg)
        surface = values[..., 0, :, :]
        if not np.isnan(surface).all():
            surface -= np.nanmean(surface, axis=(-2, -1), keepdims=True)
        values /= HEIGHT_SCALE
        return values

    def describe(self) -> dict[str, Any]:
        """Name and source."""
        return {"name": self.name, "provenance": "UniverSat's loader of FLAIR heights; mean of the tile"}


#: What the names of normalisations mean for UniverSat, beside ``dataset``.
DIALECT = Dialect("universat", {**TILE_NAMES, **IDENTITY_NAMES, **named(HeightsOverTile, "heights")})


@dataclass(frozen=True)
class UniverSatPreprocess:
    """Samples in physical units to UniverSat's input.

    Parameters
    ----------
    normalization : str, or mapping of str to str
        ``dataset``: with ``means`` and ``stds``, or ``statistics``: what the weights were trained with, pooled over all
        pixels and dates of the data set. None were published, so there is no default.
        ``per_tile_zscore``: every tile by its own mean and deviation, where there is no data set; other features.
        ``heights``: for ``dem``, see `HeightsOverTile`. ``none``: as it is, for ``ndemneon`` (metres). By modality
        where they differ.
    patch_size : float
        Side of a patch in metres; that of the backbone.
    non_square : {'error', 'crop'}
        Whether the centre of images that are not square is kept.
    indivisible : {'error', 'crop'}
        Sides that patches do not divide; ``crop`` keeps the centre that all modalities cover.
    ratio : sequence of str
        Modalities to which the ratio of their two polarisations is appended (``VV/VH`` or ``HH/HV``), in the values of
        the files, limited to +-1e4. The encoder needs it.
    means, stds, statistics : optional
        For ``dataset``, see `eo_data.preprocess.DatasetNormalise`.

    Raises
    ------
    ValueError
        For a setting out of range, an unknown name, or ``dataset`` without statistics.
    """

    normalization: str | Mapping[str, str] = "dataset"
    patch_size: float = 40
    non_square: NonSquare = "error"
    indivisible: Indivisible = "error"
    ratio: Sequence[str] = ()
    means: Mapping[str, PerBand] | None = None
    stds: Mapping[str, PerBand] | None = None
    statistics: str | Mapping[str, str] | None = None
    _dataset: DatasetNormalise | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        """Check the settings."""
        if isinstance(self.patch_size, bool | str) or not 0 < self.patch_size < float("inf"):
            msg = f"patch_size must be a positive number of metres, got {self.patch_size!r}."
            raise ValueError(msg)
        one_of("non_square", self.non_square, get_args(NonSquare))
        one_of("indivisible", self.indivisible, get_args(Indivisible))
        given = self.normalization
        for name in given.values() if isinstance(given, Mapping) else [given]:
            if name != "dataset":
                normaliser(name, DIALECT)
                continue
            if self.means is None and self.stds is None and self.statistics is None:
                msg = (
                    "UniverSat has no published statistics, and raw values give features that mean nothing. Give "
                    "statistics (a file that `python -m eo_data.statistics` writes for your data set), or means and "
                    "stds; where there is no data set, normalization: per_tile_zscore."
                )
                raise ValueError(msg)
            object.__setattr__(self, "_dataset", DatasetNormalise(self.means, self.stds, self.statistics))

    def __call__(self, sample: Sample) -> Sample:
        """Crop, normalise and fill all images; the label follows the first one.

        Parameters
        ----------
        sample : Sample
            Images and series over the same ground, each with its own pixel size.

        Returns
        -------
        Sample
            Normalised float32 images without NaN, square, of a whole number of patches.

        Raises
        ------
        SampleError
            For extents or sides that do not fit.
        """
        check_georeference(sample)
        side = self._common_side(sample.images)
        images: dict[str, Image] = {}
        label = sample.label
        for i, (name, image) in enumerate(sample.images.items()):
            try:
                plan = self._plan(image, side)
            except ValueError as error:
                msg = f"{sample.id}: {name!r}: {error}"
                raise SampleError(msg) from error
            images[name] = self._prepared(name, image, plan)
            if i == 0:
                label = label_with_geometry(label, plan)
        return replace(sample, images=images, label=label)

    def describe(self, image: Image) -> dict[str, object]:
        """Return what would be done to an image on its own: geometry, normalisation, patches."""
        plan = self._plan(image, self._common_side({"this image": image}))
        metres = plan.final_hw[0] * image.pixel_size
        chosen = self.normalization if isinstance(self.normalization, str) else "by modality"
        return {
            "preprocess": "UniverSatPreprocess",
            **plan.describe(),
            "normalization": chosen,
            "patch_size_m": self.patch_size,
            "tokens": {"patches": round(metres / self.patch_size) ** 2},
        }

    def pixel_steps(self, name: str, image: Image) -> PixelSteps:
        """Return what is done to values, see `eo_data.preprocess.steps.DeclaresSteps`."""
        if name not in self.ratio:
            return PixelSteps(self._normaliser(name, image))
        band, positions = ratio_of(name, image.bands)
        image = replace(image, bands=(*image.bands, band))
        return PixelSteps(self._normaliser(name, image), ratio=positions, clip=RATIO_RANGE)

    def _common_side(self, images: Mapping[str, Image]) -> float | None:
        """Metres that all modalities cover with whole patches; ``None`` unless cropping to them is asked for."""
        if self.indivisible != "crop":
            return None
        covers = [min(image.ground_cover) for image in images.values()]
        side = int(min(covers) / self.patch_size * (1 + ROUNDING)) * self.patch_size
        if side == 0:
            covered = ", ".join(f"{name} {cover:g} m" for name, cover in zip(images, covers, strict=True))
            msg = (
                f"{covered}: less than a patch of {self.patch_size:g} m. Choose a smaller patch_size or larger images."
            )
            raise SampleError(msg)
        return side

    def _plan(self, image: Image, side: float | None) -> GeometryPlan:
        size = (image.raster.height, image.raster.width)
        pixels = min(size) if side is None else round(side / image.pixel_size)
        if size[0] != size[1] and side is None and self.non_square == "error":
            msg = f"The encoder needs a square, got {size[0]} x {size[1]} pixels. Set non_square: crop, or cut squares."
            raise ValueError(msg)
        count = pixels * image.pixel_size / self.patch_size
        # Pixels that are coarser than half of a patch stand for patches of about their size.
        fine = image.pixel_size <= self.patch_size / 2 * (1 + ROUNDING)
        if fine and abs(count - round(count)) > ROUNDING * max(1, count):
            msg = (
                f"{pixels * image.pixel_size:g} m do not split into patches of {self.patch_size:g} m. Choose another "
                "patch_size, or set indivisible: crop."
            )
            raise ValueError(msg)
        return _centre(size, pixels, max(1, round(count)) ** 2)

    def _prepared(self, name: str, image: Image, plan: GeometryPlan) -> Image:
        steps = self.pixel_steps(name, image)
        if steps.ratio is not None:
            image = _with_ratio(name, image, *steps.ratio)
        if steps.clip is not None:
            image = replace(image, raster=image.raster.with_pixels(np.clip(image.raster.pixels, *steps.clip)))
        return filled(normalised(with_geometry(image, plan), steps.normaliser))

    def _normaliser(self, name: str, image: Image) -> Normaliser:
        chosen = self.normalization
        if isinstance(chosen, Mapping):
            if name not in chosen:
                msg = f"normalization has no entry for {name!r}; it has {list(chosen)}."
                raise SampleError(msg)
            chosen = chosen[name]
        return (
            self._dataset.zscore(name, image) if chosen == "dataset" and self._dataset else normaliser(chosen, DIALECT)
        )


def _centre(size: tuple[int, int], side: int, patches: int) -> GeometryPlan:
    """Keep the central square of ``side`` pixels."""
    steps = centred(size, (side, side))
    record = {
        "raw_input_hw": size,
        "geometry_steps": tuple(repr(step) for step in steps),
        "final_hw": (side, side),
    }
    return GeometryPlan(
        input_hw=size,
        before=steps,
        resize=None,
        reason="crop" if steps else "as_is",
        final_hw=(side, side),
        effective_image_size=side,
        estimated_patch_tokens=patches,
        ground_cover_m=None,
        true_ground_cover_m=None,
        record=tuple(record.items()),
    )


def ratio_of(name: str, bands: Sequence[str]) -> tuple[str, tuple[int, int]]:
    """Return the ratio band that two polarisations of an image make, and their positions.

    Raises
    ------
    SampleError
        If there is no such pair.
    """
    plain = [band.upper().removeprefix("IW_").removeprefix("EW_") for band in bands]
    for band, pair in RATIOS.items():
        if all(polarisation in plain for polarisation in pair):
            return band, (plain.index(pair[0]), plain.index(pair[1]))
    msg = f"The ratio of {name!r} needs the bands VV and VH, or HH and HV, got {list(bands)}."
    raise SampleError(msg)


def _with_ratio(name: str, image: Image, first: int, second: int) -> Image:
    """Append the ratio of two bands, with the published guard against division by zero."""
    pixels = image.raster.pixels
    one, other = (pixels[..., band, :, :] for band in (first, second))
    ratio = (one / (other + np.float32(1e-10)))[..., None, :, :]
    together = np.concatenate([pixels, ratio], axis=-3)
    band, _ = ratio_of(name, image.bands)
    return replace(image, raster=image.raster.with_pixels(together), bands=(*image.bands, band))
