"""Which date each frame of a modality has, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from eo_data.catalog.records import Record
from eo_data.catalog.sources import ImageSource
from eo_data.raster.sample import SampleError
from eo_data.readers.formats.file_raster import FileRaster
from eo_data.temporal.calendar_date import parse_date
from eo_data.temporal.dates import DateWithSource, date_from_name, resolve_date

#: What a date index says of one sample or file.
type Dates = date | Sequence[date]


@dataclass(frozen=True)
class FrameDates:
    """Dates the frames of one modality.

    In this order: what the record states, the time axis of the file, the date index for the whole sample, and per
    frame what `eo_data.temporal.dates.resolve_date` finds for the name of its file or product.

    Parameters
    ----------
    modality : str
        Name of the modality.
    source : ImageSource
        Pattern, format and fallback of dates.
    index : mapping of str to date or sequence of date
        Dates by sample, or by file.
    root : Path, optional
        Folder of the data set: what a ``date_pattern`` sees of a path is the part below it.
    """

    modality: str
    source: ImageSource
    index: Mapping[str, Dates] = field(default_factory=dict)
    root: Path | None = None

    def find(self, record: Record, readings: Sequence[FileRaster], count: int) -> list[DateWithSource]:
        """Return one date per frame.

        Parameters
        ----------
        record : Record
            The sample.
        readings : sequence of FileRaster
            What was read from its files.
        count : int
            Number of frames.

        Raises
        ------
        SampleError
            If a frame has no date, dates contradict each other, or there are more or fewer of them than frames.
        """
        stated = record.dates.get(self.modality)
        of_files = [day for reading in readings for day in reading.frame_dates]
        if stated or of_files:
            origin = "index" if stated else "time axis"
            return self._stated(record, stated or of_files, origin, count)
        names = self._names(record, readings)
        # The dates of a lone series have no id.
        entry = self.index.get(record.raster_id or record.id, self.index.get("dates"))
        if isinstance(entry, Sequence):
            return self._in_order(record, names, entry, count)
        if self.modality in record.bands:
            names = names[:1]  # the files of all bands show one frame
        if len(names) != count:
            msg = (
                f"{record.id}: {self.modality!r} has {count} frames and {len(names)} names to take dates from. State "
                "the dates in an index."
            )
            raise SampleError(msg)
        tags = [reading.tags for reading in readings] if len(readings) == count else [readings[0].tags] * count
        return [self._resolved(record, name, entry, own) for name, own in zip(names, tags, strict=True)]

    def stated(self, record: Record) -> list[date]:
        """Return the dates that the record and the date index state, whether or not they are used in the end."""
        entries = [self.index.get(record.raster_id or record.id), self.index.get("dates")]
        for href in record.files.get(self.modality, ()):
            entries += (self._of_file(href.below(self.root)) or {}).values()
        found = list(record.dates.get(self.modality, ()))
        for entry in entries:
            found += entry if isinstance(entry, Sequence) else [] if entry is None else [entry]
        return found

    def _stated(self, record: Record, days: Sequence[date], origin: str, count: int) -> list[DateWithSource]:
        if len(days) != count:
            msg = f"{record.id}: {self.modality!r} has {count} frames but {len(days)} dates."
            raise SampleError(msg)
        return [DateWithSource(day, origin) for day in days]

    def _names(self, record: Record, readings: Sequence[FileRaster]) -> list[str]:
        """Names of the frames' products, or of the files below the root."""
        return list(readings[0].frame_names) or [href.below(self.root) for href in record.files[self.modality]]

    def _in_order(self, record: Record, names: Sequence[str], days: Sequence[date], count: int) -> list[DateWithSource]:
        """Dates that an index lists for a whole sample, one per frame in the order of the frames."""
        if len(days) != count:
            msg = f"{record.id}: {self.modality!r} has {count} frames but {len(days)} dates in the index."
            raise SampleError(msg)
        for name, day in zip(names, days, strict=False):
            try:
                own = date_from_name(name) if len(names) == count else None
            except ValueError:
                continue  # the name holds no clear date
            if own not in (None, day):
                msg = (
                    f"{record.id}: the index gives {day} to {name!r}, whose name says {own}. List dates in the order "
                    "of the files, or by the name of the file."
                )
                raise SampleError(msg)
        return [DateWithSource(day, "index") for day in days]

    def _resolved(self, record: Record, name: str, stated: date | None, tags: Mapping[str, str]) -> DateWithSource:
        source = self.source
        try:
            return resolve_date(
                name,
                tags=tags,
                index=self._of_file(name) if stated is None else {name: stated},
                pattern=source.date_pattern,
                date_format=source.date_format,
                fallback=None if source.fallback_date is None else parse_date(source.fallback_date),
            )
        except ValueError as error:
            msg = f"{record.id}: {self.modality!r}: {error}"
            raise SampleError(msg) from error

    def _of_file(self, name: str) -> dict[str, date | list[date]] | None:
        """Entries of the index for a file instead of a sample."""
        keys = (name, Path(name).name, Path(name).stem)
        found = {key: self.index[key] for key in keys if key in self.index}
        return {key: list(day) if isinstance(day, Sequence) else day for key, day in found.items()} or None
