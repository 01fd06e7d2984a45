"""The samples of a data set: which files, dates and label belong together, joined by name, never by sort order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from eo_data.catalog.patterns import FilePattern
from eo_data.catalog.sources import ImageSource, LabelSource

SPLITS = ("train", "val", "test", "predict")


@dataclass(frozen=True)
class TileWindow:
    """Part of a raster; all in pixels.

    Parameters
    ----------
    top, left, side : int
        Where it starts, and its side. It may reach over the end of the raster.
    core : tuple of int
        Top, left, bottom and right of what this tile stands for, from its own corner.
    of : tuple of int
        Height and width of the raster.
    """

    top: int
    left: int
    side: int
    core: tuple[int, int, int, int]
    of: tuple[int, int]

    @property
    def inside(self) -> tuple[int, int, int, int]:
        """Top, left, height and width of the part within the raster."""
        height, width = self.of
        return self.top, self.left, min(self.side, height - self.top), min(self.side, width - self.left)


@dataclass(frozen=True)
class Record:
    """One sample before anything is read.

    Parameters
    ----------
    id : str
        Unique; the path of its files without what the pattern fixes.
    files : mapping of str to tuple of Path
        Files per modality; a modality that the sample lacks is absent.
    bands : mapping of str to tuple of str
        Where every band has its own file: the band of each file.
    dates : mapping of str to tuple of date
        Dates per modality as far as an index states them.
    label : Path, float, int or None
        File of a label raster, or the label itself.
    split : str or None
        ``train``, ``val``, ``test`` or ``predict`` as an index states it.
    window : TileWindow or None
        The part of its rasters that the sample is.
    raster_id : str
        Id of the whole, for a part.
    """

    id: str
    files: Mapping[str, tuple[Path, ...]]
    bands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dates: Mapping[str, tuple[date, ...]] = field(default_factory=dict)
    label: Path | float | int | None = None
    split: str | None = None
    window: TileWindow | None = None
    raster_id: str = ""


def from_folders(root: Path, sources: Mapping[str, ImageSource], label: LabelSource | None) -> list[Record]:
    """Find samples by the file patterns of the modalities.

    Parameters
    ----------
    root : Path
        Folder that patterns start from.
    sources : mapping of str to ImageSource
        The modalities.
    label : LabelSource, optional
        Labels; samples without one have ``None``.

    Returns
    -------
    list of Record
        In the order of their ids; see `check_complete` for those that lack a modality.

    Raises
    ------
    ValueError
        If a folder is missing, a pattern finds nothing, or files of a sample collide.
    """
    if not root.is_dir():
        msg = f"There is no folder {root}. Set root to the folder of the data set."
        raise ValueError(msg)
    found: dict[str, dict[str, list[tuple[str | None, Path]]]] = {}
    for name, source in sources.items():
        if not source.files:
            msg = f"The modality {name!r} has no file pattern. Set files, or give an index."
            raise ValueError(msg)
        found[name] = _by_id(root, FilePattern(source.files), source.spellings)
        if not found[name] and not source.optional:
            msg = f"No file below {root} matches the pattern {source.files!r} of {name!r}."
            raise ValueError(msg)
    ids = sorted({sample for files in found.values() for sample in files})
    labels = _by_id(root, FilePattern(label.files)) if label and label.files else {}
    records = []
    for sample in ids:
        own = {name: files[sample] for name, files in found.items() if sample in files}
        own_label = labels.get(sample)
        _check_single(sample, own, sources)
        records.append(
            Record(
                sample,
                {name: tuple(path for _, path in pairs) for name, pairs in own.items()},
                {name: tuple(str(band) for band, _ in pairs) for name, pairs in own.items() if pairs[0][0]},
                label=_one_label(sample, own_label) if own_label else None,
            )
        )
    return records


def _by_id(root: Path, pattern: FilePattern, bands: Iterable[str] = ()) -> dict[str, list[tuple[str | None, Path]]]:
    """Files (with their bands) by sample."""
    files: dict[str, list[tuple[str | None, Path]]] = {}
    for match, path in pattern.find(root, bands):
        groups = match.groupdict()
        files.setdefault(groups.get("id") or root.resolve().name, []).append((groups.get("band"), path))
    return files


def check_complete(records: Sequence[Record], sources: Mapping[str, ImageSource]) -> None:
    """Refuse samples that lack a modality.

    Raises
    ------
    ValueError
        If a sample has no files of a modality that is not ``optional``, or no files at all.
    """
    for name, source in sources.items():
        lacking = [record.id for record in records if name not in record.files]
        if lacking and not source.optional:
            msg = (
                f"{len(lacking)} of {len(records)} samples have no {name!r} (first: {', '.join(lacking[:3])}; pattern "
                f"{source.files!r}). Add the files, name the complete samples in a split file, or declare the modality "
                "optional: true; or set on_error: skip."
            )
            raise ValueError(msg)


def _check_single(
    sample: str, own: Mapping[str, Sequence[tuple[str | None, Path]]], sources: Mapping[str, ImageSource]
) -> None:
    """Bands in files of their own must differ."""
    for name, pairs in own.items():
        if FilePattern(sources[name].files).by_band:
            doubled = [str(band) for band, n in Counter(band for band, _ in pairs).items() if n > 1]
            if doubled:
                paths = ", ".join(path.name for band, path in pairs if band in doubled)
                msg = f"{sample!r} has several files for the bands {doubled} of {name!r}: {paths}."
                raise ValueError(msg)


def _one_label(sample: str, pairs: Sequence[tuple[str | None, Path]]) -> Path:
    if len(pairs) > 1:
        msg = f"{sample!r} has {len(pairs)} label files: {', '.join(str(path) for _, path in pairs)}. Expected one."
        raise ValueError(msg)
    return pairs[0][1]


def check_labelled(records: Sequence[Record]) -> None:
    """Refuse samples without a label, before a run rather than in the middle of it.

    Raises
    ------
    ValueError
        If there are some.
    """
    lacking = [record.id for record in records if record.label is None]
    if lacking:
        msg = (
            f"{len(lacking)} of {len(records)} samples have no label (first: {', '.join(lacking[:3])}). Add them, name "
            "the labelled samples in a split file, or set on_error: skip."
        )
        raise ValueError(msg)


def without_label(records: Sequence[Record]) -> list[Record]:
    """Records for prediction."""
    return [replace(record, label=None) for record in records]
