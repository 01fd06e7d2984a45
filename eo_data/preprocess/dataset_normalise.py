"""What every encoder's preprocessing shares: a pure step from a sample in physical units to normalised pixels.

The same object is used by fit and by predict, so that a frozen embedding and a fine-tuning input are the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from eo_data.preprocess.normalisation import Normaliser, ZScore, fill_missing
from eo_data.raster.plan import GeometryPlan, apply_before
from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image, Sample, SampleError
from eo_data.sensors.tables import SENSORS, Sensor
from eo_data.statistics import DatasetStatistics, read_statistics

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


#: A number per band, by name or in the order of the bands.
PerBand = Mapping[str, float] | Sequence[float]


@dataclass(frozen=True)
class DatasetNormalise:
    """Z-score with the statistics of a data set: for encoders without a preset, and within those that have one.

    Parameters
    ----------
    means, stds : mapping of str to mapping of str to float, optional
        By modality, then by band; in the physical unit of the images. A list has the order of the bands.
    statistics : str, or mapping of str to str, optional
        Instead: files that ``python -m eo_data.statistics`` wrote, by modality where there are several.

    Raises
    ------
    ValueError
        If there are neither or both, or a file cannot be read.
    """

    means: Mapping[str, PerBand] | None = None
    stds: Mapping[str, PerBand] | None = None
    statistics: str | Mapping[str, str] | None = None
    _read: Mapping[str, DatasetStatistics] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the arguments and read the files."""
        given = (self.means is not None, self.stds is not None, self.statistics is not None)
        if given not in ((True, True, False), (False, False, True)):
            msg = "Give means and stds, or statistics (a file that `python -m eo_data.statistics` wrote)."
            raise ValueError(msg)
        paths = {"": self.statistics} if isinstance(self.statistics, str) else dict(self.statistics or {})
        object.__setattr__(self, "_read", {name: read_statistics(path) for name, path in paths.items()})

    def __call__(self, sample: Sample) -> Sample:
        """Normalise and fill; the geometry stays."""
        images = {name: normalised(image, self.zscore(name, image)) for name, image in sample.images.items()}
        return replace(sample, images={name: filled(image) for name, image in images.items()})

    def zscore(self, name: str, image: Image) -> ZScore:
        """Return the normalisation of a modality.

        Raises
        ------
        SampleError
            If there are no statistics of the modality, a band or the unit.
        """
        try:
            if self.statistics is not None:
                statistics = self._read.get("") or self._of(name, self._read, "statistics")
                return statistics.zscore(image.bands, image.unit, _table(image))
            means = _per_band(self._of(name, self.means or {}, "means"), image, "means")
            stds = _per_band(self._of(name, self.stds or {}, "stds"), image, "stds")
        except ValueError as error:
            msg = f"The statistics of {name!r} do not fit: {error}"
            raise SampleError(msg) from error
        return ZScore(means, stds, provenance="config")

    @staticmethod
    def _of[T](name: str, entries: Mapping[str, T], argument: str) -> T:
        if name not in entries:
            msg = f"{argument} has no entry for this modality; it has {list(entries)}."
            raise ValueError(msg)
        return entries[name]

    def describe(self, image: Image) -> dict[str, object]:
        """Return the geometry, which stays."""
        height, width = image.raster.height, image.raster.width
        return {"preprocess": "DatasetNormalise", "raw_input_hw": (height, width), "final_hw": (height, width)}


def _table(image: Image) -> Sensor | None:
    return None if image.sensor is None else SENSORS[image.sensor]


def _per_band(values: PerBand, image: Image, argument: str) -> list[float]:
    bands, table = image.bands, _table(image)
    if isinstance(values, Mapping):
        if table is not None:
            bands = tuple(table.canonical(band) or band for band in bands)
            values = {table.canonical(band) or band: value for band, value in values.items()}
        lacking = [band for band in bands if band not in values]
        if lacking:
            msg = f"{argument} has no value for the bands {lacking}; it has {list(values)}."
            raise ValueError(msg)
        return [float(values[band]) for band in bands]
    if len(values) != len(bands):
        msg = f"{argument} has {len(values)} values for the {len(bands)} bands {', '.join(bands)}."
        raise ValueError(msg)
    return [float(value) for value in values]


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
        if not same_crs(raster.crs, first.crs):
            msg = f"{sample.id}: {first_name!r} and {name!r} have different CRS. Warp them to one."
            raise SampleError(msg)
        if not same_directions(raster, first):
            msg = (
                f"{sample.id}: the rows or columns of {first_name!r} and {name!r} run in opposite directions. Warp "
                "them to one grid, north up."
            )
            raise SampleError(msg)
        tolerance = max(*raster.pixel_size, *first.pixel_size)
        if max(abs(a - b) for a, b in zip(raster.bounds, first.bounds, strict=True)) > tolerance:
            msg = (
                f"{sample.id}: {first_name!r} covers {first.bounds} and {name!r} {raster.bounds} (left, bottom, right, "
                "top); they must show the same ground. Crop or warp them to one extent."
            )
            raise SampleError(msg)


def same_directions(one: Raster, other: Raster) -> bool:
    """Whether rows run the same way on the map, and columns do; bounds would not tell."""
    if one.transform is None or other.transform is None:
        return True
    return one.transform.a * other.transform.a >= 0 and one.transform.e * other.transform.e >= 0


def same_crs(one: str | None, other: str | None) -> bool:
    """Whether two WKT mean one CRS, however it is written."""
    if one is None or other is None or one == other:
        return True
    from pyproj import CRS  # noqa: PLC0415

    return bool(CRS.from_wkt(one).equals(CRS.from_wkt(other), ignore_axis_order=True))


def _where(image: Image) -> str:
    return str(image.paths[0]) if image.paths else f"image of {', '.join(image.bands)}"
