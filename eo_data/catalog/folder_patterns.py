"""Samples by file patterns: images and labels are joined by name, never by sort order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from eo_data.catalog.hrefs import Href
from eo_data.catalog.patterns import FilePattern
from eo_data.catalog.records import Record, SampleRequest
from eo_data.catalog.sources import ImageSource, LabelSource


class FolderPatterns:
    """A `eo_data.catalog.records.SampleSource` that finds files by the patterns of the modalities and the label."""

    def records(self, request: SampleRequest) -> list[Record]:
        """Return the samples in the order of their ids.

        To predict, a folder of labels that does not exist does no harm: a config for training serves too.

        Raises
        ------
        ValueError
            As `from_folders`.
        """
        label = request.label
        if label and label.files and not request.labelled:
            label = label if FilePattern(label.files).folder(request.root).is_dir() else None
        return from_folders(request.root, request.modalities, label)


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
        In the order of their ids, which are the paths of the files without what the patterns fix. Samples may be
        without a modality, see `eo_data.catalog.records.check_complete`.

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
    return [
        _record(sample, {name: files[sample] for name, files in found.items() if sample in files}, labels, sources)
        for sample in ids
    ]


def _record(
    sample: str,
    own: Mapping[str, Sequence[tuple[str | None, Path]]],
    labels: Mapping[str, Sequence[tuple[str | None, Path]]],
    sources: Mapping[str, ImageSource],
) -> Record:
    _check_single(sample, own, sources)
    own_label = labels.get(sample)
    return Record(
        sample,
        {name: tuple(Href(str(path)) for _, path in pairs) for name, pairs in own.items()},
        {name: tuple(str(band) for band, _ in pairs) for name, pairs in own.items() if pairs[0][0]},
        label=_one_label(sample, own_label) if own_label else None,
    )


def _by_id(root: Path, pattern: FilePattern, bands: Iterable[str] = ()) -> dict[str, list[tuple[str | None, Path]]]:
    """Files (with their bands) by sample."""
    files: dict[str, list[tuple[str | None, Path]]] = {}
    for match, path in pattern.find(root, bands):
        groups = match.groupdict()
        files.setdefault(groups.get("id") or root.resolve().name, []).append((groups.get("band"), path))
    return files


def _check_single(
    sample: str, own: Mapping[str, Sequence[tuple[str | None, Path]]], sources: Mapping[str, ImageSource]
) -> None:
    """Bands in files of their own must differ."""
    for name, pairs in own.items():
        if FilePattern(sources[name].files).by_band:
            repeated = [str(band) for band, n in Counter(band for band, _ in pairs).items() if n > 1]
            if repeated:
                paths = ", ".join(path.name for band, path in pairs if band in repeated)
                msg = f"{sample!r} has several files for the bands {repeated} of {name!r}: {paths}."
                raise ValueError(msg)


def _one_label(sample: str, pairs: Sequence[tuple[str | None, Path]]) -> Href:
    if len(pairs) > 1:
        msg = f"{sample!r} has {len(pairs)} label files: {', '.join(str(path) for _, path in pairs)}. Expected one."
        raise ValueError(msg)
    return Href(str(pairs[0][1]))
