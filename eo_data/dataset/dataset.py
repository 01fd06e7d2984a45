"""A data set that yields what TerraTorch's tasks and writers want, and which of its samples can be used."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Dataset

from eo_core.addresses import without_credentials
from eo_core.file_state import Verify
from eo_core.files import write_text
from eo_data.catalog.records import Record
from eo_data.dataset.batch import (
    countable,
    filename,
    image_tensors,
    input_place,
    metadata,
    region_metadata,
    target,
    tile_metadata,
)
from eo_data.dataset.sample_reader import Inputs, SampleReader
from eo_data.dataset.sampler import SeededIndex, index_of
from eo_data.preprocess.augmentation import Augmentation
from eo_data.preprocess.steps import Preprocess
from eo_data.raster.raster import Raster, scaled
from eo_data.raster.sample import Image, Sample, SampleError
from eo_data.readers.images import ImageReader

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Split, id and reason of a sample that was left out.
type Skipped = tuple[str, str, str]

DATES_AS = ("dict", "plane", "none")
#: Date of the masked frames of a missing modality, where nothing else in the sample has a date.
_NO_DATE = date(2000, 1, 1)


class EoDataset(Dataset[dict[str, Any]]):
    """Samples as dictionaries of tensors (`eo_data.dataset.contract`).

    Parameters
    ----------
    records : sequence of Record
        The samples.
    reader : SampleReader
        Reads a sample's files in physical units.
    preprocess : Preprocess
        That of the encoder.
    augmentation : Augmentation, optional
        Applied to physical values before ``preprocess``.
    dates_as : {'dict', 'plane', 'none'}
        ``dict``: ``<modality>_dates`` and ``<modality>_mask`` ``(T,)`` beside the images. ``plane``: one more channel
        per frame with the day of the year, -1 for a frame to leave out; survives tiled inference.
    as_dict : bool
        Whether ``image`` is a dictionary even for a single modality without dates.
    georeference : bool
        Whether entries say where a sample lies and what it was made of (`SampleMetadata`).
    fill_missing : bool
        Whether a modality that is missing in a sample becomes zeros that are marked as not observed.
    rgb : sequence of str
        Bands that a quick-look shows as red, green and blue; chosen by wavelength without.

    Attributes
    ----------
    finished : collection of str
        Ids of samples that an export has already. A batch of nothing else is not read: it has only ``id``.
    faults_pass : bool
        Whether samples that cannot be used are handed on as ``id`` and ``fault``, for an export that lists them.
    verify : {'stat', 'content'}
        How thoroughly ``inputs`` of a sample tells the state of large files.
    """

    def __init__(
        self,
        records: Sequence[Record],
        reader: SampleReader,
        preprocess: Preprocess,
        augmentation: Augmentation | None = None,
        *,
        dates_as: str = "dict",
        as_dict: bool = False,
        georeference: bool = False,
        fill_missing: bool = False,
        rgb: Sequence[str] = (),
    ) -> None:
        if dates_as not in DATES_AS:
            msg = f"dates_as must be one of {', '.join(DATES_AS)}, got {dates_as!r}."
            raise ValueError(msg)
        self.records = list(records)
        self.reader = reader
        self.preprocess = preprocess
        self.augmentation = augmentation
        self.dates_as = dates_as
        self.as_dict = as_dict
        self.georeference = georeference
        self.fill_missing = fill_missing
        self.rgb = tuple(rgb)
        self.verify: Verify = "stat"
        self.finished: Collection[str] = frozenset()
        self.faults_pass = False

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.records)

    def __getitem__(self, index: int | SeededIndex) -> dict[str, Any]:
        """Return a sample; a `SeededIndex` brings the seed of its random transforms.

        Returns
        -------
        dict
            The keys of `eo_data.dataset.contract.SampleEntry`; those of `SampleMetadata` only with ``georeference``.

        Raises
        ------
        SampleError
            If the sample cannot be used.
        """
        index, seed = index if isinstance(index, SeededIndex) else (index, None)
        # Before anything is read, so that a file that is replaced meanwhile does not pass for the one that was read.
        state = self.state(index) if self.georeference else ""
        sample = self.read(index)
        if self.augmentation is not None:
            sample = self.augmentation(sample, seed)
        entry = self.entry(sample, self.records[index])
        return entry | {"inputs": state} if state else entry

    def __getitems__(self, indices: Sequence[int | SeededIndex]) -> list[dict[str, Any]]:
        """Return the samples of a batch, as PyTorch's loaders ask for them."""
        ids = [self.records[index_of(index)].id for index in indices]
        if self.finished and all(name in self.finished for name in ids):
            return [{"id": name} for name in ids]
        return [self._passed(index) if self.faults_pass else self[index] for index in indices]

    def _passed(self, index: int | SeededIndex) -> dict[str, Any]:
        """Return a sample, or why it cannot be used."""
        try:
            return self[index]
        except SampleError as error:
            return {"id": self.records[index_of(index)].id, "fault": without_credentials(str(error))}

    def inputs(self, index: int) -> Inputs:
        """Return which files and stated dates a sample is made of; nothing is opened."""
        return self.reader.inputs(self.records[index])

    def state(self, index: int) -> str:
        """Return what tells the inputs of a sample, as they are now, from others: JSON."""
        return json.dumps(self.inputs(index).state(self.verify))

    def entry(self, sample: Sample, record: Record) -> dict[str, Any]:
        """Preprocess a sample that is in physical units, and make it a dictionary of tensors."""
        if not self.georeference:
            prepared = self.preprocess(sample)
            return self._entry(prepared) | tile_metadata(record, sample, prepared)
        counted = countable(sample)
        prepared = self.preprocess(counted)
        place = input_place(counted, prepared)
        if counted is not sample:
            prepared = _without_transforms(prepared)
        return self._entry(prepared) | place | tile_metadata(record, sample, prepared) | region_metadata(record)

    def read(self, index: int) -> Sample:
        """Return a sample in physical units, before augmentation and preprocessing."""
        sample = self.reader.read(self.records[index])
        missing = [name for name in self.reader.images if name not in sample.images]
        if not self.fill_missing or not missing:
            return sample
        filled = dict(sample.images) | {name: _stand_in(sample, self.reader.images[name]) for name in missing}
        return replace(sample, images={name: filled[name] for name in self.reader.images})

    def check(self, index: int) -> None:
        """Read and preprocess a sample without augmentation.

        Raises
        ------
        SampleError
            If it cannot be used.
        """
        self._entry(self.preprocess(self.read(index)))

    def plot(self, sample: Mapping[str, Any], suptitle: str | None = None) -> Figure:
        """Draw a quick-look beside label and prediction, as TerraTorch's tasks ask for during validation."""
        from eo_data.dataset.plots import plot_sample  # noqa: PLC0415

        images = sample.get("image", sample)
        there = [name for name in self.reader.images if not isinstance(images, Mapping) or name in images]
        if not there:
            msg = f"The sample has no image of {', '.join(self.reader.images)}; it has {', '.join(sample)}."
            raise ValueError(msg)
        source = self.reader.images[there[0]].source
        bands, rgb = (
            [(source.table.canonical(band) if source.table else None) or band for band in names]
            for names in (source.bands, self.rgb)
        )
        return plot_sample(sample, there[0], bands, rgb, self._n_classes(), suptitle)

    def _n_classes(self) -> int | None:
        return self.reader.label.classes if self.reader.label and self.reader.task == "segmentation" else None

    def _entry(self, sample: Sample) -> dict[str, Any]:
        images = image_tensors(sample, self.dates_as)
        single = len(images) == 1 and not self.as_dict
        entry: dict[str, Any] = {"image": next(iter(images.values())) if single else images}
        entry["filename"] = filename(sample)
        if self.reader.label is not None:
            entry |= target(sample, self.reader.task)
        if self.georeference:
            entry |= metadata(sample)
        return entry


def _without_transforms(sample: Sample) -> Sample:
    """Return a sample whose transforms only counted pixels without them."""
    images = {
        name: replace(image, raster=replace(image.raster, transform=None)) for name, image in sample.images.items()
    }
    return replace(sample, images=images)


def _stand_in(sample: Sample, reader: ImageReader) -> Image:
    """An image of nothing but missing values over the ground of the sample."""
    reference = sample.reference
    size = reader.nominal_pixel_size()
    height, width = (round(metres / size) for metres in reference.ground_cover)
    frames = 0 if reader.frames is None else reader.frames.count or len(reference.observed)
    lead = (frames,) if frames else ()
    pixels = np.full((*lead, len(reader.source.bands), height, width), np.nan, dtype=np.float32)
    transform = scaled(reference.raster.transform, reference.raster.width / width, reference.raster.height / height)
    raster = Raster(pixels, np.zeros((*lead, height, width), dtype=bool), transform, reference.raster.crs)
    days = next((image.dates[-1:] for image in sample.images.values() if image.dates), (_NO_DATE,))
    dates = days * (frames or 1) if reader.source.dated else ()
    return Image(
        raster,
        tuple(reader.source.bands),
        reader.target_unit(),
        size,
        dates,
        ("missing",) * len(dates),
        np.zeros(frames or 1, dtype=bool),
        notes=("missing in this sample",),
        sensor=reader.source.sensor,
    )


def usable_records(dataset: EoDataset, split: str) -> tuple[list[Record], list[Skipped]]:
    """Read every sample once, and split them into those that can be used and those that cannot.

    Parameters
    ----------
    dataset : EoDataset
        The samples.
    split : str
        Name of their split, which the list states.

    Returns
    -------
    list of Record, list of Skipped
        Samples that can be used; samples that cannot, each with the reason, without credentials of addresses.
    """
    good: list[Record] = []
    lost: list[Skipped] = []
    for i, record in enumerate(dataset.records):
        try:
            dataset.check(i)
        except SampleError as error:
            lost.append((split, record.id, without_credentials(str(error))))
        else:
            good.append(record)
    return good, lost


def write_skipped(path: Path, skipped: Sequence[Skipped]) -> None:
    """Write the list of skipped samples as CSV, whole or not at all."""
    table = io.StringIO()
    csv.writer(table).writerows([("split", "id", "reason"), *skipped])
    write_text(path, table.getvalue())
