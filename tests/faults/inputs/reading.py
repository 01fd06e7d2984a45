"""One sample as a data module reads it: with the checks of setup, and limits of what reading may touch and take."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record, SampleRequest
from eo_data.catalog.sources import ImageSource
from eo_data.dataset.chip_splits import ChipSplits, SeriesSplits
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_data.raster.sample import Image

#: What reading one sample may take; the files here need a thousandth of it.
MEMORY = "400MB"


@dataclass(frozen=True)
class OneFile:
    """A data set of one sample of one file."""

    file: str

    def records(self, request: SampleRequest) -> list[Record]:
        return [Record("x", {"S2": (Href.from_root(self.file, request.root),)})]


def read_image(folder: Path, file: str, options: Mapping[str, Any], *, series: bool = False) -> tuple[Image, list[str]]:
    """Read a file of two bands of Sentinel-2 below a folder; return the image with the warnings."""
    given: dict[str, Any] = {
        "bands": ["B2", "B3"],
        "sensor": "sentinel2_l2a",
        "unit": "digital_number",
        "dated": series,
    }
    modalities = {"S2": ImageSource(**(given | dict(options)))}
    plain = DatasetNormalise({"S2": [0.0, 0.0]}, {"S2": [1.0, 1.0]})
    kind: Any = SeriesSplits if series else ChipSplits
    limit = {"max_memory": MEMORY} if "max_memory" in inspect.signature(ChipSplits.__init__).parameters else {}
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        data = kind(root=str(folder), modalities=modalities, preprocess=plain, samples=OneFile(file), **limit)
        sample = data.dataset("predict").read(0)
    return sample.images["S2"], [str(warning.message) for warning in seen]
