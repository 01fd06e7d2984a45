"""What every encoder's preprocessing shares: a pure step from a sample in physical units to normalised pixels.

The same object is used by fit and by predict, so that a frozen embedding and a fine-tuning input are the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from eo_data.normalisation import Normaliser, ZScore, fill_missing
from eo_data.plan import GeometryPlan, apply_before
from eo_data.raster import Raster
from eo_data.sample import Image, Sample, SampleError

#: Label of pixels that do not count.
IGNORED = -1.0


class Preprocess(Protocol):
    """Pixels in physical units to what an encoder was trained on."""

    def __call__(self, sample: Sample) -> Sample:
        """Return the sample with normalised images without NaN on their final grid; masks and georeference follow.

        Raises
        ------
        SampleError
            If the sample does not suit the encoder.
        """
        ...

    def describe(self, image: Image) -> dict[str, object]:
        """Return what would be done to an image, without any weights: geometry, normalisation, tokens."""
        ...


@dataclass(frozen=True)
class DatasetNormalise:
    """Z-score with the statistics of a data set, for encoders without a preset of their own.

    Parameters
    ----------
    means, stds : sequence of float, or mapping of str to sequence of float
        Per band, by modality where there are several; in the physical unit of the images. The command
        ``python -m eo_data.statistics`` computes them.

    Raises
    ------
    ValueError
        If means and stds do not fit together.
    """

    means: Sequence[float] | Mapping[str, Sequence[float]]
    stds: Sequence[float] | Mapping[str, Sequence[float]]

    def __post_init__(self) -> None:
        """Check that both are of one form."""
        if isinstance(self.means, Mapping) != isinstance(self.stds, Mapping):
            msg = "means and stds must both be lists, or both mappings of modality to list."
            raise ValueError(msg)

    def __call__(self, sample: Sample) -> Sample:
        """Normalise and fill; the geometry stays."""
        images = {name: normalised(image, self._scaling(name)) for name, image in sample.images.items()}
        return replace(sample, images={name: filled(image) for name, image in images.items()})

    def _scaling(self, name: str) -> ZScore:
        pair = []
        for argument, values in (("means", self.means), ("stds", self.stds)):
            if isinstance(values, Mapping):
                if name not in values:
                    msg = f"{argument} has no entry for {name!r}; it has {list(values)}."
                    raise ValueError(msg)
                values = values[name]  # noqa: PLW2901
            pair.append(tuple(float(value) for value in values))
        return ZScore(pair[0], pair[1], provenance="config")

    def describe(self, image: Image) -> dict[str, object]:
        """Return the normalisation."""
        height, width = image.raster.height, image.raster.width
        return {"preprocess": "DatasetNormalise", "raw_input_hw": [height, width], "final_hw": [height, width]}


def normalised(image: Image, normalise: Normaliser) -> Image:
    """Normalise the pixels of an image; NaN stays NaN.

    Raises
    ------
    SampleError
        If the normalisation refuses the values or the number of bands.
    """
    try:
        pixels = normalise(image.raster.pixels)
    except ValueError as error:
        msg = f"{_where(image)}: {error}"
        raise SampleError(msg) from error
    return replace(image, raster=image.raster.with_pixels(pixels))


def filled(image: Image) -> Image:
    """Replace what is missing after normalisation by 0, the mean of a normalised band; the mask still tells."""
    return replace(image, raster=image.raster.with_pixels(fill_missing(image.raster.pixels)))


def moved(image: Image, plan: GeometryPlan) -> Image:
    """Apply the steps of a plan that come before normalisation."""
    return replace(image, raster=apply_before(plan, image.raster))


def resized(image: Image, plan: GeometryPlan) -> Image:
    """Apply the resampling of a plan that comes after normalisation; the nominal pixel size follows."""
    if plan.resize is None:
        return image
    size = image.pixel_size * image.raster.height / plan.resize[0]
    return replace(image, raster=image.raster.resize(*plan.resize), pixel_size=size)


def moved_label(label: Raster | float | None, plan: GeometryPlan) -> Raster | float | None:
    """Send a label raster the same way; borders are ignored, nothing is interpolated."""
    if not isinstance(label, Raster):
        return label
    raster = apply_before(plan, label)
    pixels = np.where(raster.valid, raster.pixels, np.float32(IGNORED))
    raster = raster.with_pixels(pixels.astype(np.float32, copy=False))
    return raster if plan.resize is None else raster.resize(*plan.resize, resampling="nearest")


def same_grid(sample: Sample) -> Image:
    """Return the reference image of a sample whose images all lie on one grid.

    Raises
    ------
    SampleError
        If sizes, CRS or transforms differ.
    """
    first = sample.reference
    for name, image in sample.images.items():
        ours, theirs = first.raster, image.raster
        if (ours.height, ours.width) != (theirs.height, theirs.width) or image.pixel_size != first.pixel_size:
            msg = (
                f"{sample.id}: {name!r} has {theirs.height} x {theirs.width} pixels of {image.pixel_size:g} m, the "
                f"first modality {ours.height} x {ours.width} of {first.pixel_size:g} m. Bring them to one grid "
                "(resample_to) first."
            )
            raise SampleError(msg)
    check_georeference(sample)
    return first


def check_georeference(sample: Sample) -> None:
    """Refuse images that do not show the same ground.

    Raises
    ------
    SampleError
        If CRS differ, or extents by more than one pixel of the coarser image.
    """
    located = [(name, image.raster) for name, image in sample.images.items() if image.raster.transform is not None]
    for name, raster in located[1:]:
        first_name, first = located[0]
        if raster.crs != first.crs and not _same_crs(raster.crs, first.crs):
            msg = f"{sample.id}: {first_name!r} and {name!r} have different CRS. Warp them to one."
            raise SampleError(msg)
        tolerance = max(*raster.pixel_size, *first.pixel_size)
        if max(abs(a - b) for a, b in zip(raster.bounds, first.bounds, strict=True)) > tolerance:
            msg = (
                f"{sample.id}: {first_name!r} covers {first.bounds} and {name!r} {raster.bounds} (left, bottom, right, "
                "top); they must show the same ground. Crop or warp them to one extent."
            )
            raise SampleError(msg)


def _same_crs(one: str | None, other: str | None) -> bool:
    """Whether two WKT mean one CRS, however it is written."""
    if one is None or other is None:
        return True
    from pyproj import CRS  # noqa: PLC0415

    return bool(CRS.from_wkt(one).equals(CRS.from_wkt(other), ignore_axis_order=True))


def _where(image: Image) -> str:
    return str(image.paths[0]) if image.paths else f"image of {', '.join(image.bands)}"
