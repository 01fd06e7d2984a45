"""From the files of a sample to images: bands by name, physical units, dates, frames, validity and georeference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np

from eo_data.calendar_date import parse_date
from eo_data.catalogue import Record
from eo_data.dates import DatedAs, resolve_date
from eo_data.frames import Frames, all_acquisitions, composites, nearest
from eo_data.quality import clear_mask
from eo_data.raster import Raster
from eo_data.readers import Reading, read_bands, read_file
from eo_data.sample import Image, SampleError
from eo_data.sources import ImageSource
from eo_data.units import PHYSICAL_UNITS, InputUnit, UnitConversion, check_range, sentinel2_offset, to_physical


@dataclass(frozen=True)
class FramePolicy:
    """How the acquisitions of a series become frames.

    Parameters
    ----------
    mode : {'all', 'composites', 'nearest'}
        ``all``: every acquisition, padded to ``frames`` by frames that are masked. ``composites``: one per equal part
        of the window from ``start`` to ``end``. ``nearest``: the acquisition nearest to each of ``dates``.
    frames : int, optional
        Number of frames T. With ``all`` it may be left out; batches then need samples of equal length.
    start, end : str, optional
        Window of the composites, ISO dates, the end excluded.
    method : {'median', 'mean', 'least_cloudy'}
        What a composite is.
    empty : {'mask', 'whole_window'}
        Composite of a part without acquisitions: a masked frame, or the composite of the whole window (recorded).
    dates : sequence of str
        Wanted dates of ``nearest``.
    max_days : int, optional
        ``nearest``: farthest acquisition that still counts.
    keep : {'first', 'least_cloudy'}, optional
        ``all``: which of more than ``frames`` acquisitions to keep; an error otherwise.
    """

    mode: str = "all"
    frames: int | None = None
    start: str | None = None
    end: str | None = None
    method: str = "median"
    empty: str = "mask"
    dates: Sequence[str] = ()
    max_days: int | None = None
    keep: str | None = None

    def __post_init__(self) -> None:
        """Check what belongs together."""
        if self.mode not in ("all", "composites", "nearest"):
            msg = f"mode must be all, composites or nearest, got {self.mode!r}."
            raise ValueError(msg)
        needs = {"composites": ("frames", "start", "end"), "nearest": ("dates",)}.get(self.mode, ())
        lacking = [name for name in needs if not getattr(self, name)]
        if lacking:
            msg = f"Frames by {self.mode!r} need {', '.join(needs)}; {', '.join(lacking)} is not set."
            raise ValueError(msg)

    def apply(self, pixels: np.ndarray, dates: Sequence[date], clear: np.ndarray | None) -> Frames:
        """Turn acquisitions ``(T, C, H, W)`` into frames."""
        if self.mode == "composites":
            window = parse_date(self.start), parse_date(self.end)
            return composites(
                pixels, dates, *window, int(self.frames or 0), method=self.method, clear=clear, empty=self.empty
            )
        if clear is not None:
            pixels = np.where(clear[:, None], pixels, np.float32(np.nan))
        if self.mode == "nearest":
            return nearest(pixels, dates, [parse_date(day) for day in self.dates], self.max_days)
        return all_acquisitions(pixels, dates, self.frames, keep=self.keep)


@dataclass(frozen=True)
class ImageReader:
    """Reads one modality.

    Parameters
    ----------
    name : str
        Modality.
    source : ImageSource
        Where and what it is.
    frames : FramePolicy or None
        For series; ``None`` reads single images.
    index : mapping of str to date or sequence of date
        Dates by sample.
    """

    name: str
    source: ImageSource
    frames: FramePolicy | None = None
    index: Mapping[str, date | Sequence[date]] = field(default_factory=dict)

    def read(self, record: Record) -> Image:
        """Read, convert and date one modality of a sample.

        Raises
        ------
        SampleError
            If a file cannot be read, the frames do not fit together, values contradict their unit, all are missing,
            or there is no date where one is needed.
        """
        paths = record.files[self.name]
        source = self._with_cloud_band()
        readings = self._readings(record, paths, source)
        pixels = _stack(readings, paths)
        dated = self._dates(record, paths, readings, len(pixels))
        converted, conversion_note = self._convert(pixels, readings, paths)
        if self.frames is not None:
            return self._series(converted, dated, readings[0], paths, conversion_note)
        if len(converted) != 1:
            msg = (
                f"{record.id}: {self.name!r} has {len(converted)} frames ({', '.join(p.name for p in paths[:3])}). "
                "Read series with TimeSeriesDataModule, or narrow the pattern to one file."
            )
            raise SampleError(msg)
        return self._image(converted[0], dated, np.ones(1, dtype=bool), readings[0], paths, conversion_note)

    def _with_cloud_band(self) -> ImageSource:
        band = self.source.cloud_band if self.frames else None
        if band is None or band in self.source.bands:
            return self.source
        return replace(self.source, bands=[*self.source.bands, band])

    def _readings(self, record: Record, paths: Sequence[Path], source: ImageSource) -> list[Reading]:
        if self.name in record.bands:
            return [read_bands(paths, record.bands[self.name], source)]
        return [read_file(path, source) for path in paths]

    def _dates(
        self, record: Record, paths: Sequence[Path], readings: Sequence[Reading], n_frames: int
    ) -> list[DatedAs]:
        """One date per frame; none if nobody needs them."""
        if not self.source.dated and self.frames is None:
            return []
        stated = record.dates.get(self.name) or readings[0].frame_dates
        if stated:
            if len(stated) != n_frames:
                msg = f"{record.id}: {self.name!r} has {n_frames} frames but {len(stated)} dates."
                raise SampleError(msg)
            return [DatedAs(day, "index" if self.name in record.dates else "time axis") for day in stated]
        names = list(readings[0].frame_names) or [path.name for path in paths]
        try:
            # The dates of a lone series have no id.
            entry = self.index.get(record.id, self.index.get("dates"))
        except ValueError as error:
            raise SampleError(str(error)) from error
        if isinstance(entry, Sequence) and len(entry) != n_frames:
            msg = f"{record.id}: {self.name!r} has {n_frames} frames but {len(entry)} dates in the index."
            raise SampleError(msg)
        if self.name in record.bands:
            names = names[:1]
        if len(names) != n_frames:
            msg = (
                f"{record.id}: {self.name!r} has {n_frames} frames and {len(names)} names to take dates from. State "
                "the dates in an index."
            )
            raise SampleError(msg)
        found = []
        for i, name in enumerate(names):
            own = entry[i] if isinstance(entry, Sequence) else entry
            tags = readings[i].tags if len(readings) == n_frames else readings[0].tags
            try:
                found.append(self._date(name, own, tags))
            except ValueError as error:
                msg = f"{record.id}: {self.name!r}: {error}"
                raise SampleError(msg) from error
        return found

    def _date(self, name: str, stated: date | None, tags: Mapping[str, str]) -> DatedAs:
        source = self.source
        return resolve_date(
            name,
            tags=tags,
            index=None if stated is None else {name: stated},
            pattern=source.date_pattern,
            date_format=source.date_format,
            fallback=None if source.fallback_date is None else parse_date(source.fallback_date),
        )

    def target_unit(self) -> InputUnit:
        """Unit of the values that are handed on.

        Raises
        ------
        SampleError
            If the bands have several.
        """
        source = self.source
        if source.target_unit is not None:
            return InputUnit(source.target_unit)
        unit = InputUnit(source.unit)
        if unit is InputUnit.NATIVE or source.table is None:
            return InputUnit.REFLECTANCE if unit is InputUnit.DIGITAL_NUMBER else unit
        known = {name.upper(): band for band in source.table.bands for name in (band.name, *band.aliases)}
        units = {known[band.upper()].unit for band in source.bands if band.upper() in known}
        if len(units) > 1:
            msg = (
                f"{self.name!r} mixes bands of different units ({', '.join(sorted(units))}). Make them modalities of "
                "their own, or declare unit: native."
            )
            raise SampleError(msg)
        return PHYSICAL_UNITS[units.pop()] if units else unit

    def _convert(
        self, pixels: np.ndarray, readings: Sequence[Reading], paths: Sequence[Path]
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Stored numbers to physical values, once."""
        source, unit = self.source, InputUnit(self.source.unit)
        where = f"{self.name} ({paths[0]})"
        n_bands = len(source.bands)
        offset, notes = self._offset(readings, paths)
        conversion = UnitConversion(unit, source.scale, offset, source.formula)
        try:
            check_range(pixels[:, :n_bands], unit, where)
            converted = to_physical(pixels[:, :n_bands], conversion, self.target_unit())
        except ValueError as error:
            if isinstance(error, SampleError):
                raise
            raise SampleError(str(error)) from error
        if pixels.shape[1] > n_bands:
            converted = np.concatenate([converted, pixels[:, n_bands:]], axis=1)
        return converted, notes

    def _offset(self, readings: Sequence[Reading], paths: Sequence[Path]) -> tuple[float, tuple[str, ...]]:
        given = self.source.offset
        if not isinstance(given, str):
            return float(given), ()
        offsets = {
            sentinel2_offset(product_name=str(path), metadata=reading.tags)
            for path, reading in zip(paths, readings, strict=len(paths) == len(readings))
        }
        if len(offsets) != 1 or None in offsets:
            fault = "differ between frames" if len(offsets) > 1 else "cannot be told from its name or metadata"
            msg = (
                f"{self.name!r}: the digital number offset of {paths[0]} {fault}. State offset: -1000 (processing "
                "baseline 04.00 and later, from 25 January 2022) or offset: 0."
            )
            raise SampleError(msg)
        offset = float(offsets.pop() or 0.0)
        return offset, (f"digital number offset {offset:g} from the product",)

    def _series(
        self,
        pixels: np.ndarray,
        dated: Sequence[DatedAs],
        reading: Reading,
        paths: Sequence[Path],
        notes: tuple[str, ...],
    ) -> Image:
        policy = self.frames or FramePolicy()
        n_bands = len(self.source.bands)
        clear = None
        band = self.source.cloud_band
        if band is not None:
            layer = self.source.bands.index(band) if band in self.source.bands else n_bands
            clear = clear_mask(np.nan_to_num(pixels[:, layer], nan=0.0), self.source.cloud_kind)
        try:
            frames = policy.apply(pixels[:, :n_bands], [entry.date for entry in dated], clear)
        except ValueError as error:
            msg = f"{self.name!r} ({paths[0]}): {error}"
            raise SampleError(msg) from error
        by_date = {entry.date: entry.source for entry in dated}
        kept = [DatedAs(day, by_date.get(day, policy.mode)) for day in frames.dates]
        return self._image(frames.pixels, kept, frames.observed, reading, paths, (*notes, *frames.note))

    def _image(
        self,
        pixels: np.ndarray,
        dated: Sequence[DatedAs],
        observed: np.ndarray,
        reading: Reading,
        paths: Sequence[Path],
        notes: tuple[str, ...],
    ) -> Image:
        # As GDAL's mask of a data set: a pixel is missing when all of its bands are.
        valid = np.isfinite(pixels[..., 0, :, :])
        for band in range(1, pixels.shape[-3]):
            if valid.all():
                break
            valid |= np.isfinite(pixels[..., band, :, :])
        if not valid.any():
            msg = f"{self.name!r} ({paths[0]}) has no valid pixel: all are no-data or NaN."
            raise SampleError(msg)
        observed = observed & valid.reshape(len(observed), -1).any(axis=1)
        swaps = tuple(f"{band} replaced by {other}" for band, other in self.source.substitutes.items())
        return Image(
            Raster(pixels, valid, reading.transform, reading.crs),
            tuple(self.source.bands),
            self.target_unit(),
            self.nominal_pixel_size(),
            tuple(entry.date for entry in dated),
            tuple(entry.source for entry in dated),
            observed,
            tuple(paths),
            (*notes, *swaps),
        )

    def nominal_pixel_size(self) -> float:
        """Pixel size in metres that the encoder takes for granted.

        Raises
        ------
        SampleError
            If neither the config nor the sensor's table tells.
        """
        if self.source.pixel_size is not None:
            return float(self.source.pixel_size)
        if self.source.table is not None:
            known = {name.upper(): band for band in self.source.table.bands for name in (band.name, *band.aliases)}
            sizes = [known[band.upper()].gsd for band in self.source.bands if band.upper() in known]
            if sizes:
                return float(min(sizes))
        msg = f"The pixel size of {self.name!r} is not known. Set pixel_size (metres) or sensor."
        raise SampleError(msg)


def _stack(readings: Sequence[Reading], paths: Sequence[Path]) -> np.ndarray:
    """Frames ``(T, C, H, W)`` of files that lie on one grid."""
    first = readings[0]
    if len(readings) == 1:
        return first.pixels if first.pixels.ndim == 4 else first.pixels[None]
    for reading, path in zip(readings, paths, strict=True):
        same = (reading.transform, reading.crs) == (first.transform, first.crs)
        if reading.pixels.shape != first.pixels.shape or not same:
            msg = (
                f"{path} {reading.pixels.shape} lies on another grid than {paths[0]} {first.pixels.shape} (size, "
                "transform or CRS). All frames of a series need one grid; warp them first."
            )
            raise SampleError(msg)
    if first.pixels.ndim == 4:
        msg = (
            f"{paths[0]} is a cube of {len(first.pixels)} frames; expected one cube per sample, got {len(paths)} files."
        )
        raise SampleError(msg)
    return np.stack([reading.pixels for reading in readings])
