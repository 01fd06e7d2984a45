"""What every encoder's preprocessing shares: a pure step from a sample in physical units to normalised pixels.

The same object is used by fit and by predict, so that a frozen embedding and a fine-tuning input are the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from eo_data.preprocess.normalisation import ZScore
from eo_data.preprocess.statistics import DatasetStatistics, read_statistics
from eo_data.preprocess.steps import filled, normalised
from eo_data.raster.sample import Image, Sample, SampleError
from eo_data.sensors.tables import SENSORS, Sensor

#: A number for each band, by name or in the order of the bands.
PerBand = Mapping[str, float] | Sequence[float]


@dataclass(frozen=True)
class DatasetNormalise:
    """Z-score with the statistics of a data set, for encoders without a preset of their own or as a part of one.

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
        missing = [band for band in bands if band not in values]
        if missing:
            msg = f"{argument} has no value for the bands {missing}; it has {list(values)}."
            raise ValueError(msg)
        return [float(values[band]) for band in bands]
    if len(values) != len(bands):
        msg = f"{argument} has {len(values)} values for the {len(bands)} bands {', '.join(bands)}."
        raise ValueError(msg)
    return [float(value) for value in values]
