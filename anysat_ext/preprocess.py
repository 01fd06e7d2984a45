"""AnySat's preprocessing: square tiles, normalisation and frames, the same for fine-tuning and frozen embeddings.

Rules and defaults are those of rs-embed's AnySat page, as constructor arguments. Where the adapter of rs-embed 0.3.1
departs from the page, an argument offers both.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np

from anysat_ext.geometry import Indivisible, NonSquare, plan_square
from anysat_ext.model.modalities import CELL_METRES
from eo_core.arguments import one_of
from eo_data.preprocess.dataset_normalise import DatasetNormalise, PerBand
from eo_data.preprocess.normalisation import (
    IDENTITY_NAMES,
    TILE_NAMES,
    UNIT_SCALE_NAMES,
    Dialect,
    Normaliser,
    PerTileZScore,
    named,
    normaliser,
)
from eo_data.preprocess.steps import PixelSteps, filled, label_with_geometry, normalised, with_geometry
from eo_data.raster.georeference import check_georeference
from eo_data.raster.plan import Crop, GeometryPlan, apply_before
from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image, Sample, SampleError
from eo_data.sensors.units import InputUnit
from eo_data.temporal.calendar_date import day_of_year, parse_date
from eo_data.temporal.frames import bins, midpoint, resample_frames

#: Side in pixels that rs-embed brings every tile to; it stands for 240 m then.
ADAPTER_SIDE = 24
RATIO = "VV/VH"
#: What the names of normalisations mean for AnySat in rs-embed: ``zscore`` is that of the tile, without statistics.
DIALECT = Dialect("anysat", {**TILE_NAMES, **named(PerTileZScore, "zscore"), **UNIT_SCALE_NAMES, **IDENTITY_NAMES})

#: Memory of AnySat base in float32 on a CPU beyond its weights, measured for 24 to 96 px of Sentinel-2 in 2 to 8
#: frames (within a third): the chunks that it works in, what it keeps per sub-patch, and what attention keeps per pair
#: of patches.
_CHUNK_BYTES, _BYTES_PER_SUB_PATCH, _BYTES_PER_PAIR = 24 * 2**20, 6 * 2**10, 24


@dataclass(frozen=True)
class AnySatPreprocess:
    """Samples in physical units to AnySat's input.

    Parameters
    ----------
    normalization : str, or mapping of str to str
        ``per_tile_zscore``: every tile by its own mean and deviation per band over frames and pixels. ``dataset``:
        with ``means`` and ``stds``, or ``statistics``. ``unit_scale``: reflectance limited to 0..1. ``none``. By
        modality where they differ.
    patch_size : int
        Side of a patch in metres, a positive multiple of 10; that of the backbone.
    image_size : int or None
        Side in pixels to resample 10 m sensors to; the pixels count as 10 m then, whatever they were (rs-embed: 24).
        ``None`` keeps the pixels.
    non_square : {'error', 'crop', 'pad_reflect', 'stretch'}
        ``stretch``: the page's plain resampling; ``pad_reflect``: that of rs-embed 0.3.1.
    indivisible : {'error', 'crop'}
        Sides that patches do not divide; ``crop`` keeps the centre that all modalities cover.
    clip : bool
        Limit reflectance to 0..1 (digital numbers 0..10000) before anything else.
    ratio : sequence of str
        Modalities to which the band ``VV/VH`` is appended, in the values of the files (TreeSatAI, PASTIS).
    means, stds, statistics : optional
        For ``dataset``, see `eo_data.preprocess.DatasetNormalise`.
    frames, start, end
        For arrays without dates only, see `prepare_array`: number of frames, and the window that is split into them.

    Raises
    ------
    ValueError
        For a setting out of range or an unknown name.
    """

    normalization: str | Mapping[str, str] = "per_tile_zscore"
    patch_size: int = 10
    image_size: int | None = ADAPTER_SIDE
    non_square: NonSquare = "error"
    indivisible: Indivisible = "error"
    clip: bool = True
    ratio: Sequence[str] = ()
    means: Mapping[str, PerBand] | None = None
    stds: Mapping[str, PerBand] | None = None
    statistics: str | Mapping[str, str] | None = None
    frames: int = 8
    start: str = "2022-06-01"
    end: str = "2022-09-01"
    _dataset: DatasetNormalise | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.patch_size <= 0 or self.patch_size % CELL_METRES:
            msg = f"patch_size must be a positive multiple of 10 metres, got {self.patch_size!r}."
            raise ValueError(msg)
        if self.frames < 1:
            msg = f"frames must be at least 1, got {self.frames!r}."
            raise ValueError(msg)
        one_of("non_square", self.non_square, get_args(NonSquare))
        one_of("indivisible", self.indivisible, get_args(Indivisible))
        given = self.normalization
        for name in given.values() if isinstance(given, Mapping) else [given]:
            if name == "dataset":
                object.__setattr__(self, "_dataset", DatasetNormalise(self.means, self.stds, self.statistics))
            else:
                normaliser(name, DIALECT)

    def __call__(self, sample: Sample) -> Sample:
        """Crop, resample, normalise and fill all images; the label follows the first one.

        Parameters
        ----------
        sample : Sample
            Images and dated series over the same ground, each with its own pixel size.

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
                plans = self._plans(image, side)
            except ValueError as error:
                msg = f"{sample.id}: {name!r}: {error}"
                raise SampleError(msg) from error
            images[name] = self._prepared(name, image, plans)
            if i == 0:
                for plan in plans:
                    label = label_with_geometry(label, plan)
        return replace(sample, images=images, label=label)

    def describe(self, image: Image) -> dict[str, object]:
        """Return what would be done to an image on its own: geometry, normalisation, patches.

        The memory is that of AnySat base for one image or series.
        """
        plans = self._plans(image, self._common_side({"this image": image}))
        record = plans[-1].describe() if plans else {}
        side = plans[-1].final_hw[0] if plans else image.raster.height
        metres = side * (CELL_METRES if self.image_size and image.pixel_size == CELL_METRES else image.pixel_size)
        chosen = self.normalization if isinstance(self.normalization, str) else "by modality"
        patches, sub_patches = (round(metres / edge) ** 2 for edge in (self.patch_size, CELL_METRES))
        memory = _CHUNK_BYTES + _BYTES_PER_SUB_PATCH * sub_patches + _BYTES_PER_PAIR * patches**2
        return {
            "preprocess": "AnySatPreprocess",
            "raw_input_hw": (image.raster.height, image.raster.width),
            **{key: value for key, value in record.items() if key != "raw_input_hw"},
            "normalization": chosen,
            "patch_size_m": self.patch_size,
            "tokens": {"patches": patches, "sub-patches": sub_patches},
            "estimated_memory": f"{memory / 2**20:.0f} MiB (base, float32, batch of 1)",
        }

    def _common_side(self, images: Mapping[str, Image]) -> float | None:
        """Metres that all modalities cover with whole patches; ``None`` unless cropping to them is asked for."""
        if self.indivisible != "crop" or self.image_size is not None:
            return None
        covers = [min(image.ground_cover) for image in images.values()]
        side = min(covers) // self.patch_size * self.patch_size
        if side == 0:
            covered = ", ".join(f"{name} {cover:g} m" for name, cover in zip(images, covers, strict=True))
            msg = f"{covered}: less than a patch of {self.patch_size} m. Choose a smaller patch_size or larger images."
            raise SampleError(msg)
        return side

    def _plans(self, image: Image, side: float | None) -> list[GeometryPlan]:
        height, width = image.raster.height, image.raster.width
        if side is not None:
            return [_centre_plan(height, width, round(side / image.pixel_size))]
        if self.image_size is not None:
            if image.pixel_size != CELL_METRES:
                msg = (
                    f"image_size resamples sensors of 10 m, but these pixels have {image.pixel_size:g} m. Set "
                    "image_size: null."
                )
                raise ValueError(msg)
            self._warn_of_resampling(image)
            patch = self.patch_size // CELL_METRES
            return [plan_square(height, width, patch, self.image_size, self.non_square, self.indivisible)]
        patch_px = self.patch_size / image.pixel_size
        if patch_px < 1 or patch_px != round(patch_px):
            _check_whole_patches(image, self.patch_size)
            return []
        return [plan_square(height, width, round(patch_px), None, self.non_square, self.indivisible)]

    def _warn_of_resampling(self, image: Image) -> None:
        if self.image_size is not None and (image.raster.height, image.raster.width) != (self.image_size,) * 2:
            msg = (
                f"image_size resamples {image.raster.height} x {image.raster.width} px to {self.image_size} px, which "
                f"AnySat takes for {self.image_size * CELL_METRES} m. Set image_size: null to keep the scale."
            )
            warnings.warn(msg, stacklevel=5)

    def _prepared(self, name: str, image: Image, plans: Sequence[GeometryPlan]) -> Image:
        steps = self.pixel_steps(name, image)
        if steps.ratio is not None:
            image = _with_ratio(image, *steps.ratio)
        if steps.clip is not None:
            image = replace(image, raster=image.raster.with_pixels(np.clip(image.raster.pixels, *steps.clip)))
        for plan in plans:
            image = with_geometry(image, plan)
        return filled(normalised(image, steps.normaliser))

    def pixel_steps(self, name: str, image: Image) -> PixelSteps:
        """Return what is done to values, see `eo_data.preprocess.steps.DeclaresSteps`."""
        ratio = None
        if name in self.ratio:
            ratio = _polarisations(name, image.bands)
            image = replace(image, bands=(*image.bands, RATIO))
        clip = (0.0, 1.0) if self.clip and image.unit is InputUnit.REFLECTANCE else None
        return PixelSteps(self._normaliser(name, image), ratio=ratio, clip=clip)

    def _normaliser(self, name: str, image: Image | None = None) -> Normaliser:
        chosen = self.normalization
        if isinstance(chosen, Mapping):
            if name not in chosen:
                msg = f"normalization has no entry for {name!r}; it has {list(chosen)}."
                raise SampleError(msg)
            chosen = chosen[name]
        if chosen != "dataset":
            return normaliser(chosen, DIALECT)
        if self._dataset is None or image is None:
            msg = "normalization: dataset is for samples; arrays without bands have none."
            raise ValueError(msg)
        return self._dataset.zscore(name, image)

    def prepare_array(self, pixels: np.ndarray, *, keep_frames: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Prepare Sentinel-2 digital numbers without dates as rs-embed's adapter does.

        Parameters
        ----------
        pixels : ndarray
            ``(10, H, W)``, repeated for every frame, or ``(T, 10, H, W)``, whose last frame is repeated or left out
            until there are ``frames``. Digital numbers 0..10000; NaN and infinite values count as 0.
        keep_frames : bool
            Keep the T of a series, as rs-embed 0.3.1 does.

        Returns
        -------
        ndarray, ndarray
            Float32 ``(T, 10, h, w)`` and the day of the year ``(T,)`` int64 of the middle of each equal part of the
            window from ``start`` to ``end``.

        Raises
        ------
        ValueError
            For another number of bands or dimensions.
        """
        series = np.asarray(pixels, dtype=np.float32)
        if series.ndim not in (3, 4) or series.shape[-3] != 10:
            msg = f"Expected 10 bands as (10, H, W) or (T, 10, H, W), got shape {series.shape}."
            raise ValueError(msg)
        n = len(series) if keep_frames and series.ndim == 4 else self.frames
        series = np.clip(np.nan_to_num(series, nan=0.0, posinf=0.0, neginf=0.0), 0, 10000)
        raster = Raster(resample_frames(series, n), np.ones((n, *series.shape[-2:]), dtype=bool), None, None)
        if self.image_size is not None:
            height, width = series.shape[-2:]
            plan = plan_square(height, width, 1, self.image_size, self.non_square, "error")
            raster = apply_before(plan, raster)
        chosen = str(self.normalization)
        scaled = raster.pixels / np.float32(1e4) if normaliser(chosen, DIALECT).name == "unit_scale" else raster.pixels
        window = bins(parse_date(self.start), parse_date(self.end), n)
        days = np.array([day_of_year(midpoint(*part)) for part in window], dtype=np.int64)
        return np.nan_to_num(self._normaliser("s2")(scaled)), days


def _centre_plan(height: int, width: int, side: int) -> GeometryPlan:
    """Keep the central square."""
    crop = Crop((height - side) // 2, (width - side) // 2, side, side)
    steps = (crop,) if (height, width) != (side, side) else ()
    record = {"geometry_steps": tuple(map(repr, steps)), "final_hw": (side, side)}
    square = plan_square(side, side, side)
    return replace(square, input_hw=(height, width), before=steps, reason="crop", record=tuple(record.items()))


def _check_whole_patches(image: Image, patch_size: int) -> None:
    height, width = image.ground_cover
    if height != width or height % patch_size:
        msg = (
            f"{height:g} x {width:g} m do not split into patches of {patch_size} m. Crop the images, choose another "
            "patch_size, or set indivisible: crop."
        )
        raise ValueError(msg)


def _polarisations(name: str, bands: Sequence[str]) -> tuple[int, int]:
    """Return the positions of VV and VH."""
    plain = [band.upper().removeprefix("IW_") for band in bands]
    if "VV" not in plain or "VH" not in plain:
        msg = f"The ratio of {name!r} needs the bands VV and VH, got {list(bands)}."
        raise SampleError(msg)
    return plain.index("VV"), plain.index("VH")


def _with_ratio(image: Image, first: int, second: int) -> Image:
    """Append VV / VH, with the published guard against division by zero."""
    pixels = image.raster.pixels
    vv, vh = (pixels[..., band, :, :] for band in (first, second))
    ratio = (vv / (vh + np.float32(1e-10)))[..., None, :, :]
    together = np.concatenate([pixels, ratio], axis=-3)
    return replace(image, raster=image.raster.with_pixels(together), bands=(*image.bands, RATIO))
