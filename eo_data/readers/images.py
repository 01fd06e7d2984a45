"""From the files of a sample to images: bands by name, physical units, dates, frames, validity and georeference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np

from eo_data.catalog.records import Record
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid, compare_grids
from eo_data.raster.raster import Raster, ground_pixel_size
from eo_data.raster.sample import Image, SampleError
from eo_data.readers.files import FileRaster, cut, read_file
from eo_data.readers.geotiff import read_bands
from eo_data.sensors.quality import clear_mask
from eo_data.sensors.sentinel2 import sentinel2_offset
from eo_data.sensors.units import PHYSICAL_UNITS, InputUnit, UnitConversion, check_range, to_physical
from eo_data.temporal.calendar_date import parse_date
from eo_data.temporal.dates import DateWithSource, date_from_name, resolve_date
from eo_data.temporal.frame_policy import FramePolicy

__all__ = ["FramePolicy", "ImageReader"]

#: Ratio of measured to nominal pixel size that counts as the same (Web Mercator and degrees stretch pixels).
_NEARLY = 1.4


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
        Dates by sample, or by file.
    root : Path, optional
        Folder of the data set: what a ``date_pattern`` sees of a path is the part below it.
    """

    name: str
    source: ImageSource
    frames: FramePolicy | None = None
    index: Mapping[str, date | Sequence[date]] = field(default_factory=dict)
    root: Path | None = None

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
        clear = self._clear(pixels, source) if self.frames is not None else None
        converted, conversion_note = self._convert(pixels, readings, paths)
        if self.frames is not None:
            image = self._series(converted, clear, dated, readings[0], paths, conversion_note)
            return self._checked(image, record)
        if len(converted) != 1:
            msg = (
                f"{record.id}: {self.name!r} has {len(converted)} frames ({', '.join(p.name for p in paths[:3])}). "
                "Read series with TimeSeriesDataModule, or narrow the pattern to one file."
            )
            raise SampleError(msg)
        image = self._image(converted[0], dated, np.ones(1, dtype=bool), readings[0], paths, conversion_note)
        return self._checked(image, record)

    def _checked(self, image: Image, record: Record) -> Image:
        """Refuse an image without data; of a large raster, parts may have none, and may reach over its end."""
        if record.window is None:
            if image.raster.valid.any():
                return image
            msg = f"{self.name!r} ({image.paths[0]}) has no valid pixel: all are no-data or NaN."
            raise SampleError(msg)
        if not image.raster.valid.any():
            image = replace(image, observed=np.ones_like(image.observed))
        side, raster = record.window.side, image.raster
        if (raster.height, raster.width) != (side, side):
            raster = raster.pad(0, 0, side - raster.height, side - raster.width, mode="edge")
        return replace(image, raster=raster)

    def _with_cloud_band(self) -> ImageSource:
        band = self.source.cloud_band if self.frames else None
        if band is None or band in self.source.bands:
            return self.source
        return replace(self.source, bands=[*self.source.bands, band])

    def _readings(self, record: Record, paths: Sequence[Path], source: ImageSource) -> list[FileRaster]:
        if self.name in record.bands:
            return [cut(read_bands(paths, record.bands[self.name], source), record.window)]
        return [read_file(path, source, record.window) for path in paths]

    def _dates(
        self, record: Record, paths: Sequence[Path], readings: Sequence[FileRaster], n_frames: int
    ) -> list[DateWithSource]:
        """One date per frame; none if nobody needs them."""
        if not self.source.dated and self.frames is None:
            return []
        stated = record.dates.get(self.name) or readings[0].frame_dates
        if stated:
            if len(stated) != n_frames:
                msg = f"{record.id}: {self.name!r} has {n_frames} frames but {len(stated)} dates."
                raise SampleError(msg)
            return [DateWithSource(day, "index" if self.name in record.dates else "time axis") for day in stated]
        names = list(readings[0].frame_names) or [self._below_root(path) for path in paths]
        try:
            # The dates of a lone series have no id.
            entry = self.index.get(record.raster_id or record.id, self.index.get("dates"))
        except ValueError as error:
            raise SampleError(str(error)) from error
        if isinstance(entry, Sequence):
            return self._in_order(record, names, entry, n_frames)
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
            tags = readings[i].tags if len(readings) == n_frames else readings[0].tags
            try:
                found.append(self._date(name, entry, tags))
            except ValueError as error:
                msg = f"{record.id}: {self.name!r}: {error}"
                raise SampleError(msg) from error
        return found

    def _in_order(
        self, record: Record, names: Sequence[str], days: Sequence[date], n_frames: int
    ) -> list[DateWithSource]:
        """Dates that an index lists for a whole sample, one per frame in the order of the frames."""
        if len(days) != n_frames:
            msg = f"{record.id}: {self.name!r} has {n_frames} frames but {len(days)} dates in the index."
            raise SampleError(msg)
        for name, day in zip(names, days, strict=False):
            try:
                own = date_from_name(name) if len(names) == n_frames else None
            except ValueError:
                continue  # the name holds no clear date
            if own not in (None, day):
                msg = (
                    f"{record.id}: the index gives {day} to {name!r}, whose name says {own}. List dates in the order "
                    "of the files, or by the name of the file."
                )
                raise SampleError(msg)
        return [DateWithSource(day, "index") for day in days]

    def _date(self, name: str, stated: date | None, tags: Mapping[str, str]) -> DateWithSource:
        source = self.source
        return resolve_date(
            name,
            tags=tags,
            index=self._of_file(name) if stated is None else {name: stated},
            pattern=source.date_pattern,
            date_format=source.date_format,
            fallback=None if source.fallback_date is None else parse_date(source.fallback_date),
        )

    def _below_root(self, path: Path) -> str:
        below = self.root is not None and path.is_relative_to(self.root)
        return path.relative_to(self.root).as_posix() if below and self.root else path.name

    def _of_file(self, name: str) -> dict[str, date | list[date]] | None:
        """Entries of the index for a file instead of a sample."""
        keys = (name, Path(name).name, Path(name).stem)
        found = {key: self.index[key] for key in keys if key in self.index}
        return {key: list(day) if isinstance(day, Sequence) else day for key, day in found.items()} or None

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
        self, pixels: np.ndarray, readings: Sequence[FileRaster], paths: Sequence[Path]
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Stored numbers to physical values, once."""
        source, unit = self.source, InputUnit(self.source.unit)
        where = f"{self.name} ({paths[0]})"
        n_bands, target = len(source.bands), self.target_unit()
        try:
            offsets, notes = self._offsets(readings, paths)
            check_range(pixels[:, :n_bands], unit, where)
            # One offset for all frames, or one per frame: a series may span the change of January 2022.
            parts = [pixels] if len(set(offsets)) == 1 else list(pixels[:, None])
            converted = [
                to_physical(
                    part[:, :n_bands], UnitConversion(unit, source.scale, offset, source.formula), target, copy=False
                )
                for part, offset in zip(parts, offsets[: len(parts)], strict=True)
            ]
        except ValueError as error:
            if isinstance(error, SampleError):
                raise
            raise SampleError(str(error)) from error
        return (converted[0] if len(converted) == 1 else np.concatenate(converted)), notes

    def _refuse_forgotten_offset(self, readings: Sequence[FileRaster], paths: Sequence[Path]) -> None:
        if InputUnit(str(self.source.unit).lower()) is not InputUnit.DIGITAL_NUMBER or self.source.formula is not None:
            return
        for path, reading in zip(paths, readings, strict=len(paths) == len(readings)):
            known = sentinel2_offset(product_name=str(path), metadata=reading.tags)
            if known:
                msg = (
                    f"{self.name!r}: {path} is a product whose digital numbers have an offset of {known:g}. State "
                    "offset: auto, or offset: 0 if it has been taken off already."
                )
                raise SampleError(msg)

    def _offsets(self, readings: Sequence[FileRaster], paths: Sequence[Path]) -> tuple[list[float], tuple[str, ...]]:
        """One offset per reading."""
        given = self.source.offset
        if given is None:
            self._refuse_forgotten_offset(readings, paths)
        if not isinstance(given, str):
            return [float(given or 0)] * len(readings), ()
        offsets = []
        for path, reading in zip(paths, readings, strict=len(paths) == len(readings)):
            offset = sentinel2_offset(product_name=str(path), metadata=reading.tags)
            if offset is None:
                msg = (
                    f"{self.name!r}: the digital number offset of {path} cannot be told from its name or metadata. "
                    "State offset: -1000 (processing baseline 04.00 and later, from 25 January 2022) or offset: 0."
                )
                raise SampleError(msg)
            offsets.append(offset)
        listed = ", ".join(f"{offset:g}" for offset in sorted(set(offsets)))
        return offsets, (f"digital number offset {listed} from the product",)

    def _clear(self, pixels: np.ndarray, source: ImageSource) -> np.ndarray | None:
        """Where stored values show the ground; the classes of a quality layer must not be converted."""
        if source.cloud_band is None:
            return None
        layer = pixels[:, list(source.bands).index(source.cloud_band)]
        try:
            return clear_mask(np.nan_to_num(layer, nan=0.0), source.cloud_kind)
        except ValueError as error:
            msg = f"{self.name!r}: cloud band {source.cloud_band!r}: {error}"
            raise SampleError(msg) from error

    def _series(
        self,
        pixels: np.ndarray,
        clear: np.ndarray | None,
        dated: Sequence[DateWithSource],
        reading: FileRaster,
        paths: Sequence[Path],
        notes: tuple[str, ...],
    ) -> Image:
        policy = self.frames or FramePolicy()
        try:
            frames = policy.apply(pixels, [entry.date for entry in dated], clear)
        except ValueError as error:
            msg = f"{self.name!r} ({paths[0]}): {error}"
            raise SampleError(msg) from error
        by_date = {entry.date: entry.source for entry in dated}
        kept = [DateWithSource(day, by_date.get(day, policy.mode)) for day in frames.dates]
        return self._image(frames.pixels, kept, frames.observed, reading, paths, (*notes, *frames.note))

    def _image(
        self,
        pixels: np.ndarray,
        dated: Sequence[DateWithSource],
        observed: np.ndarray,
        reading: FileRaster,
        paths: Sequence[Path],
        notes: tuple[str, ...],
    ) -> Image:
        self._check_pixel_size(reading, pixels.shape[-2:])
        # As GDAL's mask of a data set: a pixel is missing when all of its bands are.
        valid = np.isfinite(pixels[..., 0, :, :])
        for band in range(1, pixels.shape[-3]):
            if valid.all():
                break
            valid |= np.isfinite(pixels[..., band, :, :])
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
            self.source.sensor,
        )

    def _check_pixel_size(self, reading: FileRaster, size: tuple[int, ...]) -> None:
        """Refuse pixels of another size than the encoder would take for granted, unless the config states one."""
        if self.source.pixel_size is not None or reading.transform is None or reading.crs is None:
            return
        try:
            # In degrees, pixels are narrower than high; the longer side is the one that products are named after.
            measured = max(ground_pixel_size(reading.transform, reading.crs, size[0], size[1]))
        except ValueError as error:
            msg = f"{self.name!r}: {error}"
            raise SampleError(msg) from error
        nominal = self.nominal_pixel_size()
        if not 1 / _NEARLY < measured / nominal < _NEARLY:
            msg = (
                f"{self.name!r} has pixels of {measured:.4g} m, but its bands have a GSD of {nominal:g} m, which the "
                f"encoder would be told. Set pixel_size: {measured:.4g} (metres) if the image is meant, or resample_to."
            )
            raise SampleError(msg)

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


def _grid(reading: FileRaster) -> PixelGrid:
    return PixelGrid(*reading.pixels.shape[-2:], reading.transform, reading.crs)


def _stack(readings: Sequence[FileRaster], paths: Sequence[Path]) -> np.ndarray:
    """Frames ``(T, C, H, W)`` of files that lie on one grid."""
    first = readings[0]
    if len(readings) == 1:
        return first.pixels if first.pixels.ndim == 4 else first.pixels[None]
    for reading, path in zip(readings, paths, strict=True):
        found = compare_grids(_grid(first), _grid(reading))
        if reading.pixels.shape != first.pixels.shape or not (found.same_grid() and found.same_knowledge):
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
