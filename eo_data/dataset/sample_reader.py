"""Reads samples in physical units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from eo_data.catalog.records import Record
from eo_data.catalog.sources import LabelSource, Task
from eo_data.raster.georeference import check_georeference
from eo_data.raster.raster import Raster
from eo_data.raster.sample import Sample, SampleError
from eo_data.readers.formats.limits import USUAL, Limits
from eo_data.readers.images import ImageReader
from eo_data.readers.labels import read_label


@dataclass(frozen=True)
class SampleReader:
    """Reads samples in physical units.

    Parameters
    ----------
    images : mapping of str to ImageReader
        By modality, in the order of the batch.
    label : LabelSource or None
        Labels; ``None`` for prediction.
    task : {'segmentation', 'regression', 'classification'}
        See `eo_data.readers.labels.read_label`.
    limits : Limits
        What reading a label may touch, and how much memory it may take.
    """

    images: Mapping[str, ImageReader]
    label: LabelSource | None
    task: Task
    limits: Limits = USUAL

    def read(self, record: Record) -> Sample:
        """Read a sample.

        Raises
        ------
        SampleError
            If files are missing, cannot be read or do not show the same ground, or the sample has no label.
        """
        missing = [n for n, reader in self.images.items() if n not in record.files and not reader.source.optional]
        if missing or not record.files:
            msg = f"{record.id} has no files of {', '.join(missing) or 'any modality'}."
            raise SampleError(msg)
        images = {name: reader.read(record) for name, reader in self.images.items() if name in record.files}
        sample = Sample(record.id, images)
        check_georeference(sample)
        if self.label is None:
            return sample
        label = read_label(record, self.label, self.task, sample.reference, self.limits)
        if label is None:
            msg = f"{record.id} has no label. Add it, leave the sample out of the split, or predict without labels."
            raise SampleError(msg)
        return replace(sample, label=label)

    def size(self, record: Record) -> tuple[int, int]:
        """Return height and width in pixels of the first modality that a sample has; pixels are not read.

        Raises
        ------
        SampleError
            If a file cannot be opened, or has other bands.
        """
        name = next(name for name in self.images if name in record.files)
        return self.images[name].size(record)

    def label_values(self, record: Record) -> np.ndarray | float | int:
        """Return the class or value of a sample, or its labelled pixels ``(n,)``.

        Raises
        ------
        SampleError
            If it has none, or it does not suit the task.
        """
        label = None if self.label is None else read_label(record, self.label, self.task, None, self.limits)
        if label is None:
            msg = f"{record.id} has no label. Add it, or leave the sample out of the split."
            raise SampleError(msg)
        return label.pixels[0][label.valid] if isinstance(label, Raster) else label
