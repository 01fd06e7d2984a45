"""Samples by file patterns: images and labels are joined by name, never by sort order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from eo_core.text import composed
from eo_data.catalog.hrefs import Href
from eo_data.catalog.patterns.file_pattern import FilePattern
from eo_data.catalog.records import Record, SampleRequest
from eo_data.catalog.sources import ImageSource, LabelSource

#: A pixel size in metres as a part of a name: ``R10m/``, ``10m/``, ``..._10m.jp2``.
_SIZE = re.compile(r"(?:^|(?<=[_/.-]))[Rr]?(\d+)m(?=$|[_/.-])")


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
    labels = labels_by_id(root, label)
    return [
        _record(sample, {name: files[sample] for name, files in found.items() if sample in files}, labels, sources)
        for sample in ids
    ]


def _record(
    sample: str,
    own: Mapping[str, Sequence[tuple[str | None, Path]]],
    labels: Mapping[str, Sequence[Path]],
    sources: Mapping[str, ImageSource],
) -> Record:
    own = {name: _one_per_band(sample, name, pairs, sources[name]) for name, pairs in own.items()}
    return Record(
        sample,
        {name: tuple(Href(str(path)) for _, path in pairs) for name, pairs in own.items()},
        {name: tuple(str(band) for band, _ in pairs) for name, pairs in own.items() if pairs[0][0]},
        label=one_label(sample, labels),
    )


def _by_id(root: Path, pattern: FilePattern, bands: Iterable[str] = ()) -> dict[str, list[tuple[str | None, Path]]]:
    """Files (with their bands) by sample."""
    files: dict[str, list[tuple[str | None, Path]]] = {}
    whole = composed(root.resolve().name)
    for match, path in pattern.find(root, bands):
        groups = match.groupdict()
        files.setdefault(groups.get("id") or whole, []).append((groups.get("band"), path))
    return files


def _one_per_band(
    sample: str, name: str, pairs: Sequence[tuple[str | None, Path]], source: ImageSource
) -> Sequence[tuple[str | None, Path]]:
    """Return one file per band where bands have files of their own: of copies of several pixel sizes the finest."""
    if not FilePattern(source.files).by_band or len({band for band, _ in pairs}) == len(pairs):
        return pairs
    of_band: dict[str | None, list[Path]] = {}
    for band, path in pairs:
        of_band.setdefault(band, []).append(path)
    finest = {band: _finest_copy(paths) for band, paths in of_band.items()}
    unclear = [band for band, path in finest.items() if path is None]
    if unclear:
        paths = ", ".join(path.name for band in unclear for path in of_band[band])
        msg = (
            f"{sample!r} has several files for the bands {unclear} of {name!r}: {paths}. Expected one, or copies "
            "whose paths differ in nothing but a pixel size (R10m/x_10m and R20m/x_20m), of which the finest is taken. "
            f"Narrow the pattern {source.files!r} to one, have {{id}} tell them apart, or list the files in an index."
        )
        raise ValueError(msg)
    return [(band, path) for band, path in finest.items() if path is not None]


def _finest_copy(paths: Sequence[Path]) -> Path | None:
    """Return the copy with the smallest pixels, by what the names of files and folders say.

    Parameters
    ----------
    paths : sequence of Path
        Files of one band.

    Returns
    -------
    Path or None
        ``None`` if they are no copies of each other, as their paths differ in more than a pixel size (another date or
        tile), or which is the finest is not clear: a path states no size, or contradicts itself.
    """
    if len(paths) == 1:
        return paths[0]
    texts = [path.as_posix() for path in paths]
    if len({_SIZE.sub("", text) for text in texts}) > 1:
        return None
    stated = [[int(size) for size in _SIZE.findall(text)] for text in texts]
    # What all of them state, such as a folder above, does not tell them apart.
    differing = {tuple(of_place) for of_place in zip(*stated, strict=True) if len(set(of_place)) > 1}
    if len(differing) != 1:
        return None
    (sizes,) = differing
    return min(zip(sizes, paths, strict=True))[1] if len(set(sizes)) == len(sizes) else None


def labels_by_id(root: Path, label: LabelSource | None) -> dict[str, list[Path]]:
    """Return the label files that a pattern finds, by the id of their sample; none without a pattern.

    Raises
    ------
    ValueError
        If the folder is missing, or files collide.
    """
    if label is None or not label.files:
        return {}
    return {name: [path for _, path in pairs] for name, pairs in _by_id(root, FilePattern(label.files)).items()}


def one_label(sample: str, labels: Mapping[str, Sequence[Path]]) -> Href | None:
    """Return the label file of a sample.

    Raises
    ------
    ValueError
        If there are several.
    """
    found = labels.get(sample, ())
    if len(found) > 1:
        msg = f"{sample!r} has {len(found)} label files: {', '.join(map(str, found))}. Expected one."
        raise ValueError(msg)
    return Href(str(found[0])) if found else None
