"""Reads samples in physical units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from eo_core.file_state import FileState, Verify, file_state, is_unchanged
from eo_core.fingerprint import fingerprint
from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record
from eo_data.catalog.sources import LabelSource, Task
from eo_data.raster.footprint import crs_name
from eo_data.raster.georeference import PixelGrid, check_georeference
from eo_data.raster.raster import Raster
from eo_data.raster.sample import Sample, SampleError
from eo_data.readers.formats.beside import FilesBeside
from eo_data.readers.formats.limits import USUAL, Limits
from eo_data.readers.images import ImageReader
from eo_data.readers.labels import read_label


@dataclass(frozen=True)
class Inputs:
    """What a sample is made of, before anything is read.

    Parameters
    ----------
    files : mapping of str to Path or None
        Every file on this machine that is read for its images and its label, with masks and metadata beside them, by
        its path from the root of the data set on; ``None`` for what a server has.
    dates : mapping of str to list of str
        By modality, the dates that an index states.
    place : str
        Of what is read on the grid of a place: that grid, the place, and which files are a frame.
    """

    files: Mapping[str, Path | None]
    dates: Mapping[str, list[str]]
    place: str = ""

    def state(self, verify: Verify = "stat", *, digest: bool = True) -> dict[str, Any]:
        """Return what tells these inputs, as they are now, from others: plain JSON values.

        Parameters
        ----------
        verify : {'stat', 'content'}
            As in `eo_core.file_state.file_state`.
        digest : bool
            Whether files are read for it.
        """
        files = []
        for name, path in self.files.items():
            state = None if path is None else file_state(path, verify, digest=digest)
            files.append({"path": name} | (state.plain() if state else {}))
        place = {"place": self.place} if self.place else {}
        return {"files": files, "dates": dict(self.dates), **place}

    def unchanged_since(self, state: Mapping[str, Any], verify: Verify = "stat", *, moved: bool = False) -> bool:
        """Tell whether these are the inputs that they were.

        Parameters
        ----------
        state : mapping
            An earlier `state`.
        verify : {'stat', 'content'}
            As in `eo_core.file_state.is_unchanged`.
        moved : bool
            Whether the root of the data set was elsewhere then.
        """
        before = {file["path"]: FileState.of_plain(file) for file in state["files"]}
        same = (state["dates"], state.get("place", "")) == (self.dates, self.place)
        if before.keys() != self.files.keys() or not same:
            return False
        return all(_is_same(path, before[name], verify, moved=moved) for name, path in self.files.items())


def _is_same(path: Path | None, before: FileState | None, verify: Verify, *, moved: bool) -> bool:
    """Tell whether a file is what it was; of what a server has, nothing is known."""
    if path is None or before is None:
        return path is None and before is None
    return is_unchanged(path, before, verify, moved=moved)


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
    root : Path, optional
        Folder of the data set.
    """

    images: Mapping[str, ImageReader]
    label: LabelSource | None
    task: Task
    limits: Limits = USUAL
    root: Path | None = None
    _beside: FilesBeside = field(default_factory=FilesBeside, repr=False, compare=False)

    def read(self, record: Record) -> Sample:
        """Read a sample.

        Raises
        ------
        SampleError
            If files are missing, cannot be read or do not show the same ground, or the sample has no label.
        """
        if record.fault:
            raise SampleError(record.fault)
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

    def inputs(self, record: Record) -> Inputs:
        """Return which files and stated dates a sample is made of; nothing is opened."""
        hrefs = [href for name in self.images for href in record.files.get(name, ())]
        hrefs += [record.label] if self.label is not None and isinstance(record.label, Href) else []
        files: dict[str, Path | None] = {}
        for href in hrefs:
            found = self._beside.of(href)
            if not found:
                files[href.relative(self.root)] = None
            for path in found:
                files[_unused(Href(str(path)).relative(self.root), path, files)] = path
        stated = {name: reader.stated_dates(record) for name, reader in self.images.items() if name in record.files}
        dates = {name: [day.isoformat() for day in days] for name, days in stated.items() if days}
        return Inputs(files, dates, self._place(record))

    def _place(self, record: Record) -> str:
        """Digest of where a sample is read, if that is not the grid of its files."""
        grids = {
            name: (grid.height, grid.width, tuple(grid.transform or ())[:6], crs_name(grid.crs or ""))
            for name, grid in record.grids.items()
        }
        frames = {
            name: [[[href.relative(self.root) for href in scene.files] for scene in scenes] for scenes in groups]
            for name, groups in record.frames.items()
        }
        return fingerprint({"grids": grids, "frames": frames, "region": record.region}) if grids else ""

    def size(self, record: Record) -> tuple[int, int]:
        """Return height and width in pixels of `grid`."""
        grid = self.grid(record)
        return grid.height, grid.width

    def grid(self, record: Record) -> PixelGrid:
        """Return the grid of the first modality that a sample has, of a tile that of its raster; pixels are not read.

        Raises
        ------
        SampleError
            If a file cannot be opened, or has other bands.
        """
        if record.fault:
            raise SampleError(record.fault)
        name = next(name for name in self.images if name in record.files)
        return self.images[name].grid(record)

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


def _unused(name: str, path: Path, files: Mapping[str, Path | None]) -> str:
    """Return a name for a file that no other has: of files from elsewhere the last two parts may be the same."""
    number, own = 1, name
    while files.get(own, path) != path:
        number += 1
        own = f"{name}#{number}"
    return own
