"""Files that give dates to samples."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from eo_core.text import composed, read_text, table_errors
from eo_data.catalog.sources import ImageSource
from eo_data.temporal.calendar_date import parse_date

#: Suffixes of files that hold JSON; all others are tables of text.
_JSON = (".json", ".geojson")
_NAME_COLUMNS = ("id", "filename", "file", "file_id", "name", "path", "chip", "sample")
_DATE_COLUMNS = ("date", "datetime", "acquisition_date", "date_acquired", "sensing_time")


@dataclass(frozen=True)
class DateRequest:
    """For which samples a file of dates is read.

    Parameters
    ----------
    file : Path
        The file, for messages.
    ids : sequence of str
        Ids of the samples.
    radar : bool
        Whether the dates of the radar images are wanted, where a file has them beside those of optical images.
    skip_unknown : bool
        Leave out samples that the file does not know; else they are an error.
    """

    file: Path
    ids: Sequence[str]
    radar: bool = False
    skip_unknown: bool = False


@dataclass(frozen=True)
class KnownDates:
    """A published file of dates that is not a table of names and dates.

    Parameters
    ----------
    name : str
        Name of the data set.
    columns : frozenset of str
        The properties by which its features are recognised.
    read : callable
        Returns the date of each sample, given the properties of all features. Raises ``ValueError`` for a feature or
        sample that it cannot use.
    """

    name: str
    columns: frozenset[str]
    read: Callable[[Sequence[Mapping[str, object]], DateRequest], Mapping[str, date]]

    def fits(self, features: Iterable[Mapping[str, object]]) -> bool:
        """Whether features have all of these properties."""
        return self.columns <= {name for properties in features for name in properties}


def dates_from_index(path: str | Path) -> dict[str, date | list[date]]:
    """Read dates by sample name from a file.

    Parameters
    ----------
    path : str or Path
        ``.json``: a mapping of name to a date or a list of dates; a list of records; or one series, as a list of dates
        or as a mapping with such a list under ``dates``, which is returned under the name ``dates`` (what else such a
        mapping holds is a remark).
        ``.geojson``: a feature per name, with a date or a list of dates among its properties; the name is a property
        (``id``, ``filename``, ...) or the id of the feature.
        Anything else is CSV: one row per acquisition, with a column for the name (``id``, ``filename``, ...) and one
        for the date (``date``, ``datetime``, ...); the separator may be a comma, a semicolon or a tab.

    Returns
    -------
    dict
        By name in Unicode's composed form; a list where a name has several dates, in the order of the file.

    Raises
    ------
    ValueError
        If the file is missing, empty or of another form, an entry is no date, or two names differ only in how Unicode
        writes them.
    """
    file = Path(path)
    with table_errors("The date index", file):
        return _dates_by_name(_content(file), file)


def dates_of_samples(
    source: ImageSource,
    root: Path,
    ids: Sequence[str],
    *,
    known_forms: Sequence[KnownDates] = (),
    skip_unknown: bool = False,
) -> Mapping[str, date | Sequence[date]]:
    """Return the dates that the date index of a modality gives to samples or files.

    Parameters
    ----------
    source : ImageSource
        The modality; without a ``date_index`` there are none.
    root : Path
        Folder of the data set.
    ids : sequence of str
        Of all samples. A file of a known data set may date them by a part of their name.
    known_forms : sequence of KnownDates
        Forms of their own that such a file may have, see `eo_data.catalog.known.tables.KNOWN_DATES`.
    skip_unknown : bool
        Whether such a file may miss samples; else they are an error.

    Raises
    ------
    ValueError
        As `dates_from_index`, and if the file of a known data set does not know a sample.
    """
    if source.date_index is None:
        return {}
    file = root / source.date_index
    with table_errors("The date index", file):
        content = _content(file)
        features = _features(content)
        known = next((known for known in known_forms if known.fits(features or ())), None)
        if known is not None and features is not None:
            return known.read(features, DateRequest(file, ids, source.is_radar, skip_unknown))
        return _dates_by_name(content, file)


def _content(file: Path) -> object:
    if not file.is_file():
        msg = (
            f"The date index {str(file)!r} does not exist or is no file. Add it, or, for an encoder that reads no "
            "dates, set date_index: null and dated: false."
        )
        raise ValueError(msg)
    text = read_text("The date index", file)
    try:
        return json.loads(text) if file.suffix.lower() in _JSON else _csv_records(text)
    except (json.JSONDecodeError, RecursionError, csv.Error) as error:
        msg = f"The date index {str(file)!r} cannot be read: {error}. Expected JSON, or CSV in UTF-8."
        raise ValueError(msg) from error


def _features(content: object) -> list[dict[str, object]] | None:
    """Properties of the features of a GeoJSON, with the id of a feature whose properties do not name it."""
    features = content.get("features") if isinstance(content, Mapping) else None
    if not isinstance(features, list) or not all(isinstance(feature, Mapping) for feature in features):
        return None
    found = []
    for feature in features:
        properties = feature.get("properties")
        named = {str(key): value for key, value in properties.items()} if isinstance(properties, Mapping) else {}
        has_name = any(key.strip().lower() in _NAME_COLUMNS for key in named)
        found.append(named if has_name or "id" not in feature else {"id": feature["id"]} | named)
    return found


def _dates_by_name(content: object, file: Path) -> dict[str, date | list[date]]:
    index: dict[str, list[date]] = {}
    several: set[str] = set()
    spellings: dict[str, str] = {}
    for written, value in _entries(content, file):
        name = composed(written)
        if spellings.setdefault(name, written) != written:
            msg = (
                f"The date index {str(file)!r} has {name!r} in two spellings of Unicode (composed and decomposed: "
                f"{spellings[name]!a}, {written!a}), which are one sample. Keep one of them."
            )
            raise ValueError(msg)
        if isinstance(value, list):
            several.add(name)
        for item in value if isinstance(value, list) else [value]:
            index.setdefault(name, []).append(_indexed_date(item, name, file))
    if not index:
        msg = f"The date index {str(file)!r} holds no dates. Expected names with dates, got {str(content)[:60]!r}."
        raise ValueError(msg)
    return {name: days if name in several or len(days) > 1 else days[0] for name, days in index.items()}


def _entries(content: object, file: Path) -> list[tuple[str, object]]:
    """Return names with what should be their dates."""
    features = _features(content)
    content = content if features is None else features
    if isinstance(content, Mapping) and isinstance(content.get("dates"), list):
        content = content["dates"]
    if isinstance(content, list) and content and all(isinstance(item, Mapping) for item in content):
        return _pairs(content, file)
    if isinstance(content, list):
        return [("dates", content)]
    return list(content.items()) if isinstance(content, Mapping) else []


def _csv_records(text: str) -> list[dict[str, str]]:
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    return list(csv.DictReader(text.splitlines(), delimiter=separator))


def _pairs(records: Sequence[Mapping[str, object]], file: Path) -> list[tuple[str, object]]:
    """Return name and date of each record, from columns of known names."""
    names = {str(key).strip().lower(): key for key in records[0]}
    name = next((names[key] for key in _NAME_COLUMNS if key in names), None)
    day = next((names[key] for key in _DATE_COLUMNS if key in names), None)
    if name is None or day is None:
        msg = (
            f"The date index {str(file)!r} needs a column for the name ({', '.join(_NAME_COLUMNS)}) and one for the "
            f"date ({', '.join(_DATE_COLUMNS)}), got {', '.join(map(str, records[0])) or 'none'}."
        )
        raise ValueError(msg)
    return [(str(record.get(name)), record.get(day)) for record in records]


def _indexed_date(value: object, name: str, file: Path) -> date:
    try:
        return parse_date(value)
    except ValueError as error:
        msg = f"The date index {str(file)!r} has no usable date for {name!r}. {error}"
        raise ValueError(msg) from error
