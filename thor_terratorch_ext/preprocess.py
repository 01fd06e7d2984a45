"""THOR's preprocessing: geometry, units and statistics, the same for fine-tuning and for frozen embeddings.

Rules and defaults are those of rs-embed's THOR adapter (0.3.1), as constructor arguments; but an image that is not
square is padded where the adapter stretches it (``non_square``).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from eo_core.arguments import one_of
from eo_core.fingerprint import LATER
from eo_data.preprocess.dataset_normalise import DatasetNormalise, PerBand
from eo_data.preprocess.normalisation import (
    IDENTITY_NAMES,
    LOGARITHM_NAMES,
    TILE_NAMES,
    UNIT_SCALE_NAMES,
    Dialect,
    Log1pPercentile,
    Normaliser,
    ZScore,
    named,
    normaliser,
)
from eo_data.preprocess.steps import PixelSteps, filled, label_with_geometry, normalised, resized, with_geometry
from eo_data.raster.georeference import same_grid
from eo_data.raster.plan import GeometryPlan
from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image, Sample, SampleError
from eo_data.sensors.units import InputUnit, UnitConversion, to_physical
from thor_terratorch_ext.geometry import (
    InputPrep,
    NonSquare,
    ResizeMode,
    ShapeAdjust,
    SnapPolicy,
    limit_advice,
    plan_input,
)
from thor_terratorch_ext.model.channels import select_bands
from thor_terratorch_ext.statistics import statistics_for

#: Unit that the statistics of each sensor belong to.
_UNITS: Mapping[str, InputUnit] = MappingProxyType(
    {"S1": InputUnit.DECIBEL, "S2": InputUnit.REFLECTANCE, "S3": InputUnit.REFLECTANCE}
)
NAMES = ("thor_stats", "log1p_p99", "unit_scale", "none")

_STATISTICS = ("thor_stats", "thor_zscore", "zscore")
#: What the names of normalisations mean for bands of each sensor. In one place this is not rs-embed, which gives the
#: name ``thor_stats`` of Sentinel-1 to the logarithm, though it uses none of THOR's statistics. Say ``log1p_p99``.
DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        # dB, as THOR was trained; the logarithm is of linear power.
        "S1": Dialect(
            "thor_s1",
            {
                **named(ZScore, *_STATISTICS),
                **LOGARITHM_NAMES,
                **named(Log1pPercentile, "default", "auto"),
                **IDENTITY_NAMES,
            },
        ),
        # Reflectance limited to 0..1; rs-embed clips digital numbers to 0..10000 and divides by 10000.
        "S2": Dialect(
            "thor_s2",
            {**named(partial(ZScore, clip=(0.0, 1.0)), *_STATISTICS), **UNIT_SCALE_NAMES, **IDENTITY_NAMES},
        ),
        "S3": Dialect(
            "thor_s3",
            {
                **named(ZScore, *_STATISTICS),
                **LOGARITHM_NAMES,
                **UNIT_SCALE_NAMES,
                **IDENTITY_NAMES,
                **TILE_NAMES,
            },
        ),
    }
)
#: What THOR base keeps per token while it runs, as a rule of thumb: the output of 12 blocks of width 768 in float32.
BYTES_PER_TOKEN = 4 * 768 * 12


@dataclass(frozen=True)
class ThorPreprocess:
    """Samples in physical units to THOR's input.

    Parameters
    ----------
    normalization : str, or mapping of str to str
        ``thor_stats``: z-score with the statistics of THOR's pre-training, Sentinel-2 as reflectance limited to 0..1,
        Sentinel-1 in dB. ``log1p_p99``: rs-embed's rule for Sentinel-1 in linear power, which THOR was not trained
        on. ``unit_scale``: reflectance limited to 0..1. ``none``. By modality where they differ.
    patch_size : int
        Pixels of a patch at the finest GSD. The backbone's ``flexivit_patch_size_seqs`` must be the same.
    image_size : int
        Side in pixels of the ``fixed`` rule.
    resize_mode : {'native_snap', 'fixed'}
        Crop or pad to the nearest side that patches divide, or resample to ``image_size``.
    shape_adjust : {'crop', 'pad'}
        How a nearly square image becomes square.
    shape_tol_px : int
        Difference of the sides in pixels that still counts as nearly square; beyond it, see ``non_square``.
    max_native_side, max_native_tokens : int
        Limits of ``native_snap`` in pixels and tokens; beyond them, ``fixed``.
    input_prep : {'resize', 'tile'}
        ``tile`` forces the fixed rule, so that the grids of neighbouring tiles stay aligned.
    fill_value : float
        What a padded border holds, in the physical unit (reflectance 0, as digital number 0).
    missing : {'mean', 'zero'}
        What stands in for missing pixels: the mean of a normalised band, or, as in rs-embed, the number 0 before
        normalisation. The validity mask tells either way.
    means, stds, statistics : optional
        Statistics of a data set instead of THOR's own, see `eo_data.preprocess.DatasetNormalise`.
    non_square : {'pad', 'stretch'}
        What becomes of an image that is not square where it cannot be snapped as it is: a border that repeats its edge
        and is not valid makes it square, and the rules hold for the square; or, as in rs-embed, both sides become
        ``image_size``, which changes the shape of everything on the ground.

    Raises
    ------
    ValueError
        For a setting out of range or an unknown name.
    """

    normalization: str | Mapping[str, str] = "thor_stats"
    patch_size: int = 8
    image_size: int = 288
    resize_mode: ResizeMode = "native_snap"
    shape_adjust: ShapeAdjust = "crop"
    shape_tol_px: int = 8
    max_native_side: int = 384
    max_native_tokens: int = 3000
    input_prep: InputPrep = "resize"
    fill_value: float = 0.0
    missing: Literal["mean", "zero"] = "mean"
    means: Mapping[str, PerBand] | None = None
    stds: Mapping[str, PerBand] | None = None
    statistics: str | Mapping[str, str] | None = None
    non_square: NonSquare = field(default="pad", metadata=LATER)
    _dataset: DatasetNormalise | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        """Check the settings."""
        _ = self.policy
        one_of("missing", self.missing, ("mean", "zero"))
        one_of("non_square", self.non_square, get_args(NonSquare))
        if self.means is not None or self.stds is not None or self.statistics is not None:
            object.__setattr__(self, "_dataset", DatasetNormalise(self.means, self.stds, self.statistics))
        given = self.normalization
        for name in given.values() if isinstance(given, Mapping) else [given]:
            dialect = DIALECTS["S1" if name.startswith(("log", "s1_")) else "S2"]
            normaliser(name, dialect, **({"mean": [0], "std": [1]} if name not in _WITHOUT_STATISTICS else {}))

    @property
    def policy(self) -> SnapPolicy:
        """The geometry rules of rs-embed."""
        return SnapPolicy(
            self.patch_size,
            self.image_size,
            self.resize_mode,
            self.shape_adjust,
            self.shape_tol_px,
            self.max_native_side,
            self.max_native_tokens,
            self.input_prep,
            self.fill_value,
        )

    def __call__(self, sample: Sample) -> Sample:
        """Snap, normalise, fill and, by the ``fixed`` rule, resample all images and the label alike.

        Parameters
        ----------
        sample : Sample
            Single-date images on one grid, in the units of `eo_data.sensors.units`.

        Returns
        -------
        Sample
            Normalised float32 images without NaN; masks, transforms and the label follow.

        Raises
        ------
        SampleError
            For a series, images on different grids, a unit that the normalisation is not for, or a size that no
            patch fits.
        """
        reference = same_grid(sample)
        bands = [band for image in sample.images.values() for band in image.bands]
        try:
            plan = self._plan(reference, bands)
        except ValueError as error:
            msg = f"{sample.id}: {error}"
            raise SampleError(msg) from error
        self._warn_of_resampling(plan, reference.pixel_size, bands)
        images = {name: self._prepared(name, image, plan) for name, image in sample.images.items()}
        return replace(sample, images=images, label=label_with_geometry(sample.label, plan))

    def plan(self, sample: Sample) -> GeometryPlan:
        """Return the geometry plan of a sample."""
        bands = [band for image in sample.images.values() for band in image.bands]
        return self._plan(same_grid(sample), bands)

    def describe(self, image: Image) -> dict[str, object]:
        """Return what would be done to an image: geometry as rs-embed records it, normalisation, tokens per GSD.

        The memory is that of THOR base for one image.
        """
        plan = self._plan(image, image.bands)
        selection = select_bands(image.bands)
        gsds = sorted({selection.gsd(channel) for channel in selection.channels})
        cover = plan.ground_cover_m or 0
        tokens = {f"{gsd} m": round(cover / (self.patch_size * gsd)) ** 2 for gsd in gsds}
        count = sum(tokens.values())
        return {
            "preprocess": "ThorPreprocess",
            **plan.describe(),
            "true_ground_cover_m": plan.true_ground_cover_m,
            "resampled": plan.resampled,
            "normalization": self._normaliser("", image).describe() if isinstance(self.normalization, str) else None,
            "tokens": tokens,
            "estimated_memory": (
                f"{count * BYTES_PER_TOKEN / 2**20:.0f} MiB for {count} tokens (base, float32, batch of 1)"
            ),
        }

    def pixel_steps(self, name: str, image: Image) -> PixelSteps:
        """Return what is done to values, see `eo_data.preprocess.steps.DeclaresSteps`."""
        return PixelSteps(self._normaliser(name, image), zero_missing=self.missing == "zero")

    def statistics_of(self, bands: Sequence[object]) -> dict[str, dict[str, float]] | None:
        """Return THOR's mean and standard deviation of bands as they are applied, for a manifest.

        ``None`` where the normalisation uses none, or those of a data set, which the settings hold.
        """
        chosen = self.normalization if isinstance(self.normalization, str) else "thor_stats"
        if chosen in _WITHOUT_STATISTICS or self._dataset is not None:
            return None
        known = zip(bands, statistics_for(bands), strict=True)
        return {str(band): {"mean": entry.mean, "std": entry.std} for band, entry in known}

    def _plan(self, image: Image, bands: Sequence[object], non_square: NonSquare | None = None) -> GeometryPlan:
        size = (image.raster.height, image.raster.width)
        return plan_input(*size, image.pixel_size, gsds_of(bands), self.policy, non_square or self.non_square)

    def _prepared(self, name: str, image: Image, plan: GeometryPlan) -> Image:
        if image.is_series:
            msg = (
                f"{name!r} is a series of {len(image.raster.pixels)} frames; THOR reads single dates. Make one frame "
                "of it: frames: {mode: composites, frames: 1, start: ..., end: ...} in the data module, and this "
                "preprocessing within class_path: eo_data.preprocess.OneFrame. Or read one file a sample with "
                "ChipDataModule."
            )
            raise SampleError(msg)
        steps = self.pixel_steps(name, image)
        if steps.zero_missing:
            zeros = np.nan_to_num(image.raster.pixels, nan=0.0, posinf=0.0, neginf=0.0)
            image = replace(image, raster=image.raster.with_pixels(zeros))
        return resized(filled(normalised(with_geometry(image, plan), steps.normaliser)), plan)

    def _warn_of_resampling(self, plan: GeometryPlan, pixel_size: float, bands: Sequence[object]) -> None:
        true = plan.true_ground_cover_m
        if not plan.resampled or true is None or true == (plan.ground_cover_m, plan.ground_cover_m):
            return
        ground = " x ".join(f"{side * pixel_size:g}" for side in plan.input_hw)
        msg = (
            f"THOR's rule resamples {plan.input_hw[0]} x {plan.input_hw[1]} px ({ground} m) to {plan.final_hw[0]} px "
            f"and takes them for {plan.ground_cover_m:g} m ({plan.reason}). "
            f"{limit_advice(plan, pixel_size, gsds_of(bands), self.policy)}"
        )
        warnings.warn(msg, stacklevel=3)

    def _normaliser(self, name: str, image: Image) -> Normaliser:
        chosen = self.normalization
        if isinstance(chosen, Mapping):
            if name not in chosen:
                msg = f"normalization has no entry for {name!r}; it has {list(chosen)}."
                raise SampleError(msg)
            chosen = chosen[name]
        sensor = _sensor(image.bands)
        dialect = DIALECTS[sensor]
        if chosen in _WITHOUT_STATISTICS:
            _check_unit(name, image, chosen, sensor)
            return normaliser(chosen, dialect)
        _check_unit(name, image, "thor_stats", sensor)
        if self._dataset is not None:
            return self._dataset.zscore(name, image)
        known = statistics_for(image.bands)
        mean, std = [entry.mean for entry in known], [entry.std for entry in known]
        return normaliser(chosen, dialect, mean=mean, std=std, provenance="THOR 1.0 pre-training")

    def prepare_array(
        self, pixels: np.ndarray, bands: Sequence[object], pixel_size: int = 10
    ) -> tuple[np.ndarray, GeometryPlan]:
        """Prepare an array as rs-embed's adapter does (also ``non_square``); for comparison, and without files.

        Parameters
        ----------
        pixels : ndarray
            ``(C, H, W)``: Sentinel-2 as digital numbers 0..10000, Sentinel-1 in dB, or in linear power for
            ``log1p_p99``. NaN and infinite values count as 0.
        bands : sequence of str
            Name of each channel.
        pixel_size : int
            Metres.

        Returns
        -------
        ndarray, GeometryPlan
            Float32 ``(C, h, w)``, and what was done.

        Raises
        ------
        SampleError, ValueError
            As when called with a sample.
        """
        clean = np.nan_to_num(np.asarray(pixels, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        names = tuple(str(band) for band in bands)
        if _sensor(names) == "S2":
            clean = to_physical(np.clip(clean, 0, 10000), UnitConversion(InputUnit.DIGITAL_NUMBER), _UNITS["S2"])
            unit = InputUnit.REFLECTANCE
        else:
            unit = InputUnit.LINEAR_POWER if self.normalization in LOGARITHMS else InputUnit.DECIBEL
        raster = Raster(clean, np.ones(clean.shape[1:], dtype=bool), None, None)
        image = Image(raster, names, unit, float(pixel_size))
        plan = self._plan(image, names, "stretch")
        self._warn_of_resampling(plan, image.pixel_size, names)
        return self._prepared("array", image, plan).raster.pixels, plan


#: Names of normalisations that take radar as linear power.
LOGARITHMS = ("log1p_p99", "log1p", "s1_log_normalize", "log_normalize", "default", "auto")
_WITHOUT_STATISTICS = (*LOGARITHMS, "unit_scale", "unit", "reflectance", "none", "raw", "off")


def gsds_of(bands: Sequence[object]) -> set[int]:
    """Return the pixel sizes in metres at which THOR reads bands."""
    selection = select_bands(bands)
    return {selection.gsd(channel) for channel in selection.channels}


def _sensor(bands: Sequence[object]) -> str:
    """``S1``, ``S2`` or ``S3``; bands of one image come from one of them.

    Raises
    ------
    SampleError
        If they come from several.
    """
    sensors = {channel.split(":")[0] for channel in select_bands(bands).channels}
    if len(sensors) > 1:
        msg = f"The bands {list(bands)} belong to several sensors ({', '.join(sorted(sensors))}). Make them modalities."
        raise SampleError(msg)
    return sensors.pop()


def _check_unit(name: str, image: Image, chosen: str, sensor: str) -> None:
    """Refuse units that a normalisation is not for."""
    if chosen in ("none", "raw", "off") or image.unit is InputUnit.NATIVE:
        return
    expected = {_UNITS[sensor]}
    if chosen in LOGARITHMS:
        expected = {InputUnit.LINEAR_POWER}
    elif sensor == "S3":
        expected |= {InputUnit.KELVIN}
    if image.unit not in expected:
        listed = " or ".join(sorted(expected))
        msg = (
            f"The normalisation {chosen!r} of {name!r} is for {listed}, but its values are {image.unit}. Set "
            f"target_unit: {sorted(expected)[0]} for this modality, or choose another normalization."
        )
        raise SampleError(msg)
