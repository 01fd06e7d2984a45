"""From the files of a sample to images: bands by name, physical units, dates, frames, validity and georeference."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record, SceneFiles, TileWindow
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid
from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image, SampleError
from eo_data.readers.conversion import clear_pixels, convert_frames, target_unit
from eo_data.readers.formats.file_raster import FileRaster, reading_errors
from eo_data.readers.formats.limits import USUAL, Limits
from eo_data.readers.frame_dates import Dates, FrameDates
from eo_data.readers.grids.pixel_grid import check_pixel_size, nominal_pixel_size, stack_frames
from eo_data.readers.image_bands import grid_of, read_bands, read_file
from eo_data.sensors.units import InputUnit
from eo_data.temporal.dates import DateWithSource
from eo_data.temporal.frame_policy import FramePolicy
from eo_data.temporal.frames import listed


@dataclass(frozen=True, eq=False)
class _Frames:
    """What an image is made of: pixels ``(C, H, W)`` or ``(T, C, H, W)`` in physical units, and per frame its date."""

    pixels: np.ndarray
    dates: Sequence[DateWithSource]
    observed: np.ndarray
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Acquired:
    """What files hold: pixels ``(T, C, H, W)`` in physical units, where they show the ground, what was read first."""

    pixels: np.ndarray
    dates: Sequence[DateWithSource]
    clear: np.ndarray | None
    first: FileRaster
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ImageReader:
    """Reads one modality.

    Parameters
    ----------
    name : str
        Name of the modality.
    source : ImageSource
        Where its files are and what they hold.
    frames : FramePolicy or None
        For series; ``None`` reads single images.
    index : mapping of str to date or sequence of date
        Dates by sample, or by file.
    root : Path, optional
        Folder of the data set: what a ``date_pattern`` sees of a path is the part below it.
    limits : Limits
        What reading may touch, and how much memory an image may take.
    """

    name: str
    source: ImageSource
    frames: FramePolicy | None = None
    index: Mapping[str, Dates] = field(default_factory=dict)
    root: Path | None = None
    limits: Limits = USUAL

    def read(self, record: Record) -> Image:
        """Read, convert and date one modality of a sample.

        Raises
        ------
        SampleError
            If a file cannot be read, the frames do not fit together, values contradict their unit, all are missing,
            or there is no date where one is needed.
        """
        hrefs = record.files[self.name]
        try:
            with reading_errors(hrefs[0]):
                return self._read(record, hrefs)
        except SampleError as error:
            if any(href.name in str(error) for href in hrefs):
                raise
            msg = f"{error} ({hrefs[0]})"
            raise SampleError(msg) from error

    def _read(self, record: Record, hrefs: Sequence[Href]) -> Image:
        acquired = self._of_place(record) if self.name in record.grids else self._of_files(record, hrefs)
        if self.frames is None:
            frames = self._single(record, acquired)
        else:
            frames = self._series(self.frames, acquired, hrefs)
        check_pixel_size(self.name, self.source, acquired.first)
        image = self._image(frames, acquired.first, hrefs)
        return self._checked(image) if record.window is None else _filling(image, record.window)

    def _of_files(self, record: Record, hrefs: Sequence[Href]) -> _Acquired:
        """Read files on the grid that they have."""
        source = self._with_cloud_band()
        readings = self._readings(record, hrefs, source)
        stored = stack_frames(readings, hrefs)
        dates = self._dates(record, readings, len(stored))
        clear = clear_pixels(self.name, source, source.bands, stored)
        pixels, notes = convert_frames(self.name, self.source, stored, readings, hrefs)
        notes = (*dict.fromkeys(note for reading in readings for note in reading.notes), *notes)
        return _Acquired(pixels, dates, clear, readings[0], notes)

    def _of_place(self, record: Record) -> _Acquired:
        """Read scenes on the grid of a place: a frame of each group, in which the first scene with a value counts."""
        grid, source = record.grids[self.name], self._with_cloud_band()
        groups = record.frames.get(self.name) or tuple((scene,) for scene in self._scenes(record))
        part = grid if record.window is None else grid.window(*record.window.inside)
        shape = (len(groups), len(self.source.bands), part.height, part.width)
        self.limits.refuse_large(4 * 2 * math.prod(shape), f"reading {len(groups)} frames of {shape[1:]}")
        pixels = np.full(shape, np.nan, dtype=np.float32)
        readings: list[FileRaster] = []
        notes: list[str] = [*record.notes.get(self.name, ())]
        seen = np.zeros(len(groups), dtype=bool)
        for i, (frame, scenes) in enumerate(zip(pixels, groups, strict=True)):
            own: list[FileRaster] = []
            for scene in scenes:
                if own and np.isfinite(frame).all():
                    break
                reading, values, said = self._scene(scene, source, grid, record.window)
                own.append(reading)
                notes += said
                if values is not None:
                    seen[i] = True
                    np.copyto(frame, values, where=~np.isfinite(frame))
            readings.append(own[0])
        of_frames = replace(record, files={self.name: tuple(scenes[0].files[0] for scenes in groups)}, bands={})
        dates = self._dates(of_frames, readings, len(groups))
        first = readings[0]
        # Footprints are those of the files: at the edge of a swath, nothing of the place may be in them. Tiles of one
        # place need the same frames.
        if record.window is None and seen.any() and not seen.all() and dates:
            notes += listed("nothing of the place is in", [day.date for day, own in _pairs(dates, seen) if not own])
            pixels, dates = pixels[seen], [day for day, own in _pairs(dates, seen) if own]
        return _Acquired(pixels, dates, None, first, tuple(dict.fromkeys(notes)))

    def _scenes(self, record: Record) -> list[SceneFiles]:
        files, bands = record.files[self.name], record.bands.get(self.name)
        return [SceneFiles((href,)) for href in files] if bands is None else [SceneFiles(files, bands)]

    def _scene(
        self, scene: SceneFiles, source: ImageSource, grid: PixelGrid, window: TileWindow | None
    ) -> tuple[FileRaster, np.ndarray | None, Sequence[str]]:
        """Read a scene on a grid, ``(C, H, W)`` in physical units without clouds, and what is to be known of it.

        ``None`` stands for pixels of a scene that shows nothing there, not even clouds.

        Scenes are converted one by one, before they are merged: each may have its own scale, offset and no-data.
        """
        if scene.bands:
            reading = read_bands(scene.files, scene.bands, source, window, self.limits, grid, scene.said)
        else:
            reading = read_file(scene.files[0], source, window, self.limits, grid)
        count = len(self.source.bands)
        stored = reading.pixels[None] if reading.pixels.ndim == 3 else reading.pixels
        if len(stored) != 1:
            msg = (
                f"{scene.files[0]} is a cube of {len(stored)} dates; scenes of a place have one. Write a file for each "
                "date, or read the cube without a place."
            )
            raise SampleError(msg)
        if not np.isfinite(stored[:, :count]).any():
            return reading, None, ()
        clear = clear_pixels(self.name, source, source.bands, stored)
        pixels, notes = convert_frames(self.name, self.source, stored, [reading], scene.files)
        if clear is not None:
            np.copyto(pixels, np.float32(np.nan), where=~clear[:, None])
            notes += (f"{self.source.cloud_band} of {scene.files[0].name}: {int((~clear).sum())} pixels are hidden",)
        return reading, pixels[0], (*reading.notes, *notes)

    def grid(self, record: Record) -> PixelGrid:
        """Return the grid of what is read of a sample, of a tile that of its raster; pixels are not read.

        Raises
        ------
        SampleError
            If a file cannot be opened, or has other bands.
        """
        bands = record.bands.get(self.name)
        return record.grids.get(self.name) or grid_of(record.files[self.name], bands, self.source, self.limits)

    def target_unit(self) -> InputUnit:
        """Return the unit of the values that are handed on; see `eo_data.readers.conversion.target_unit`."""
        return target_unit(self.name, self.source)

    def nominal_pixel_size(self) -> float:
        """Return the pixel size in metres that the encoder takes for granted.

        See `eo_data.readers.grids.pixel_grid.nominal_pixel_size`.
        """
        return nominal_pixel_size(self.name, self.source)

    def _with_cloud_band(self) -> ImageSource:
        """Return the source with the cloud band among its bands, last if it is not wanted itself."""
        band = self.source.cloud_band
        if band is None or band in self.source.bands:
            return self.source
        return replace(self.source, bands=[*self.source.bands, band])

    def _readings(self, record: Record, hrefs: Sequence[Href], source: ImageSource) -> list[FileRaster]:
        if self.name in record.bands:
            return [read_bands(hrefs, record.bands[self.name], source, record.window, self.limits)]
        readings: list[FileRaster] = []
        for href in hrefs:
            readings.append(read_file(href, source, record.window, self.limits))
            # Once as they are read, and once as one series.
            taken = 2 * sum(reading.pixels.nbytes for reading in readings) if len(hrefs) > 1 else 0
            self.limits.refuse_large(taken, f"reading {len(readings)} of {len(hrefs)} frames")
        return readings

    def stated_dates(self, record: Record) -> list[date]:
        """Return the dates that the record and the date index state; none where nobody needs them."""
        return self._frame_dates().stated(record) if self._needs_dates else []

    @property
    def _needs_dates(self) -> bool:
        return self.source.dated or self.frames is not None

    def _frame_dates(self) -> FrameDates:
        return FrameDates(self.name, self.source, self.index, self.root)

    def _dates(self, record: Record, readings: Sequence[FileRaster], count: int) -> list[DateWithSource]:
        """One date per frame; none if nobody needs them."""
        return self._frame_dates().find(record, readings, count) if self._needs_dates else []

    def _single(self, record: Record, acquired: _Acquired) -> _Frames:
        pixels, notes, clear = acquired.pixels, acquired.notes, acquired.clear
        if len(pixels) != 1:
            names = ", ".join(href.name for href in record.files[self.name][:3])
            msg = (
                f"{record.id}: {self.name!r} has {len(pixels)} frames ({names}). Read series with "
                "TimeSeriesDataModule, or narrow the pattern to one file."
            )
            raise SampleError(msg)
        if clear is not None:
            np.copyto(pixels, np.float32(np.nan), where=~clear[:, None])
            notes = (*notes, f"{self.source.cloud_band}: {int((~clear).sum())} pixels do not show the ground")
        return _Frames(pixels[0], acquired.dates, np.ones(1, dtype=bool), notes)

    def _series(self, policy: FramePolicy, acquired: _Acquired, hrefs: Sequence[Href]) -> _Frames:
        dates = acquired.dates
        try:
            frames = policy.apply(acquired.pixels, [entry.date for entry in dates], acquired.clear)
        except ValueError as error:
            msg = f"{self.name!r} ({hrefs[0]}): {error}"
            raise SampleError(msg) from error
        by_date = {entry.date: entry.source for entry in dates}
        kept = [DateWithSource(day, by_date.get(day, policy.mode)) for day in frames.dates]
        return _Frames(frames.pixels, kept, frames.observed, (*acquired.notes, *frames.note))

    def _image(self, frames: _Frames, reading: FileRaster, hrefs: Sequence[Href]) -> Image:
        valid = _any_band(frames.pixels)
        _warn_of_empty_bands(f"{self.name!r} ({hrefs[0]})", frames.pixels, self.source.bands, valid)
        swaps = tuple(f"{band} replaced by {other}" for band, other in self.source.substitutes.items())
        return Image(
            Raster(frames.pixels, valid, reading.transform, reading.crs),
            tuple(self.source.bands),
            self.target_unit(),
            self.nominal_pixel_size(),
            tuple(entry.date for entry in frames.dates),
            tuple(entry.source for entry in frames.dates),
            frames.observed & valid.reshape(len(frames.observed), -1).any(axis=1),
            tuple(str(href) for href in hrefs),
            (*frames.notes, *swaps),
            self.source.sensor,
        )

    def _checked(self, image: Image) -> Image:
        if image.raster.valid.any():
            return image
        msg = f"{self.name!r} ({image.paths[0]}) has no valid pixel: all are no-data, NaN or infinite."
        raise SampleError(msg)


def _pairs(dates: Sequence[DateWithSource], seen: np.ndarray) -> Iterator[tuple[DateWithSource, bool]]:
    return zip(dates, seen.tolist(), strict=True)


def _any_band(pixels: np.ndarray) -> np.ndarray:
    """Where any band has a value, as GDAL's mask of a data set has it."""
    valid = np.isfinite(pixels[..., 0, :, :])
    for band in range(1, pixels.shape[-3]):
        if valid.all():
            break
        valid |= np.isfinite(pixels[..., band, :, :])
    return valid


def _warn_of_empty_bands(where: str, pixels: np.ndarray, bands: Sequence[str], valid: np.ndarray) -> None:
    """Report bands without a single value beside others that have some: the encoder sees their mean instead."""
    planes = [pixels[..., band, :, :] for band in range(pixels.shape[-3])]
    # A few pixels tell of most bands that they have values.
    seen = (np.isfinite(plane[..., ::8, ::8]).any() or np.isfinite(plane).any() for plane in planes)
    empty = [name for name, has_some in zip(bands, seen, strict=True) if not has_some]
    if empty and valid.any():
        warnings.warn(
            f"{where}: no value in the whole image: {', '.join(empty)}. All are no-data, infinite, or a number "
            "that stands for saturated or missing. The encoder gets their mean instead. Look at the file, or "
            "leave the band out.",
            stacklevel=3,
        )


def _filling(image: Image, window: TileWindow) -> Image:
    """Make a tile as large as its window, which may reach over the end of the raster; it may hold no data at all."""
    if not image.raster.valid.any():
        image = replace(image, observed=np.ones_like(image.observed))
    side, raster = window.side, image.raster
    if (raster.height, raster.width) != (side, side):
        raster = raster.pad(0, 0, side - raster.height, side - raster.width, mode="edge")
    return replace(image, raster=raster)
