"""Statistics of a data set by band, and the file that holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from eo_core.files import write_text
from eo_core.text import read_text
from eo_data.preprocess.normalisation import ZScore
from eo_data.sensors.bands import select_bands
from eo_data.sensors.tables import Sensor
from eo_data.sensors.units import InputUnit, as_unit


class BandStatistics:
    """Mean, standard deviation, range and number of values per band, from any number of blocks.

    Parameters
    ----------
    bands : sequence of str
        Names, in the order of the channels.
    unit : InputUnit or str
        Of the values.

    Raises
    ------
    ValueError
        For no bands, a band that is named twice, or an unknown unit.
    """

    def __init__(self, bands: Sequence[str], unit: InputUnit | str) -> None:
        self.bands = tuple(bands)
        if not self.bands or len(set(self.bands)) != len(self.bands):
            msg = f"bands must name every channel once, got {list(self.bands)}."
            raise ValueError(msg)
        self.unit = as_unit(unit)
        self.count = np.zeros(len(self.bands), dtype=np.int64)
        self.missing = np.zeros(len(self.bands), dtype=np.int64)
        self.mean = np.zeros(len(self.bands))
        self.minimum = np.full(len(self.bands), np.inf)
        self.maximum = np.full(len(self.bands), -np.inf)
        self._squares = np.zeros(len(self.bands))

    @property
    def std(self) -> np.ndarray:
        """Population standard deviation per band; 0 where there is no value."""
        return np.sqrt(self._squares / np.maximum(self.count, 1))

    def update(self, pixels: np.ndarray) -> None:
        """Add a block ``(..., C, H, W)``; what is not finite counts as missing.

        Raises
        ------
        ValueError
            If the block has another number of bands.
        """
        block = np.asarray(pixels)
        if block.ndim < 3 or block.shape[-3] != len(self.bands):
            msg = f"Expected a block (..., {len(self.bands)}, H, W) for {list(self.bands)}, got shape {block.shape}."
            raise ValueError(msg)
        for band in range(len(self.bands)):
            layer = block[..., band, :, :]
            values = layer[np.isfinite(layer)].astype(np.float64)
            self.missing[band] += layer.size - values.size
            if values.size:
                self._merge(band, values)

    def _merge(self, band: int, values: np.ndarray) -> None:
        mean = values.mean()
        before, new = int(self.count[band]), values.size
        apart = mean - self.mean[band]
        self.count[band] = before + new
        self.mean[band] += apart * new / (before + new)
        self._squares[band] += np.square(values - mean).sum() + apart**2 * before * new / (before + new)
        self.minimum[band] = min(self.minimum[band], values.min())
        self.maximum[band] = max(self.maximum[band], values.max())

    def write_yaml(self, path: str | Path, provenance: Mapping[str, Any] | None = None) -> None:
        """Write the statistics to a file that `read_statistics` reads; the file appears complete or not at all.

        Parameters
        ----------
        path : str or Path
            Its folder is created.
        provenance : mapping, optional
            Plain values on where the statistics come from.

        Raises
        ------
        ValueError
            If a band has no value.
        """
        empty = [name for name, count in zip(self.bands, self.count, strict=True) if count == 0]
        if empty:
            msg = f"No valid value in band {', '.join(empty)}: all is no-data. Check the files and their no-data value."
            raise ValueError(msg)
        content = {
            "bands": list(self.bands),
            "unit": str(self.unit),
            "means": self.mean.tolist(),
            "stds": self.std.tolist(),
            "minima": self.minimum.tolist(),
            "maxima": self.maximum.tolist(),
            "count": self.count.tolist(),
            "missing": self.missing.tolist(),
            "provenance": dict(provenance or {}),
        }
        write_text(Path(path), yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=120))


@dataclass(frozen=True)
class DatasetStatistics:
    """Statistics that were written by `BandStatistics.write_yaml`."""

    bands: tuple[str, ...]
    unit: InputUnit
    means: tuple[float, ...]
    stds: tuple[float, ...]
    source: str

    def zscore(self, bands: Sequence[str], unit: InputUnit | str, sensor: Sensor | None = None) -> ZScore:
        """Return the z-score of bands in their order, matched by name.

        Raises
        ------
        ValueError
            If a band is not there, or the pixels are in another unit.
        """
        if as_unit(unit) is not self.unit:
            msg = (
                f"{self.source} has statistics in {self.unit}, but the pixels are in {as_unit(unit)}. Compute new ones."
            )
            raise ValueError(msg)
        try:
            chosen = select_bands(self.bands, bands, sensor)
        except ValueError as error:
            msg = f"{self.source}: {error}"
            raise ValueError(msg) from error
        return ZScore([self.means[i] for i in chosen], [self.stds[i] for i in chosen], provenance=self.source)


def read_statistics(path: str | Path) -> DatasetStatistics:
    """Read statistics from a YAML file.

    Raises
    ------
    ValueError
        If the file or an entry is missing, or it is no YAML.
    """
    file = Path(path)
    try:
        content = yaml.safe_load(read_text("The file of statistics", file))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        msg = f"Statistics {str(file)!r} cannot be read: {error}. Compute them with `python -m eo_data.statistics`."
        raise ValueError(msg) from error
    lists = [content.get(key) if isinstance(content, Mapping) else None for key in ("bands", "means", "stds")]
    if not all(isinstance(entry, list) and len(entry) == len(lists[0] or ()) for entry in lists):
        msg = (
            f"Statistics {str(file)!r} must hold the lists bands, means and stds, one entry per band, and a unit. "
            "Compute them with `python -m eo_data.statistics`."
        )
        raise ValueError(msg)
    bands = tuple(str(name) for name in lists[0] or ())
    try:
        means, stds = (tuple(float(value) for value in entry or ()) for entry in lists[1:])
        return DatasetStatistics(bands, as_unit(content.get("unit")), means, stds, str(file))
    except (TypeError, ValueError) as error:
        msg = f"Statistics {str(file)!r} must hold numbers and a unit: {error}. Compute them anew, or correct the file."
        raise ValueError(msg) from error
