"""The samples of a data set: which files, dates and label belong together, and who can tell."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Literal, Protocol, get_args

from eo_core.paths import equal_but_for_case, fault_of_name
from eo_core.text import composed
from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource, LabelSource
from eo_data.raster.georeference import PixelGrid
from eo_data.sensors.beside import Sidecar

Split = Literal["train", "val", "test", "predict"]
SPLITS: tuple[Split, ...] = get_args(Split)


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
    reach : int
        How far it is blended with the tiles around, beyond its core and into theirs; 0 where cores lie side by side.
    plane : int
        One of four: tiles of one plane are blended with none of the same.
    """

    top: int
    left: int
    side: int
    core: tuple[int, int, int, int]
    of: tuple[int, int]
    reach: int = 0
    plane: int = 0

    @property
    def inside(self) -> tuple[int, int, int, int]:
        """Top, left, height and width of the part within the raster."""
        height, width = self.of
        return self.top, self.left, min(self.side, height - self.top), min(self.side, width - self.left)

    @property
    def core_in_raster(self) -> tuple[int, int, int, int]:
        """Top, left, bottom and right of the core from the corner of the raster."""
        top, left, bottom, right = self.core
        return self.top + top, self.left + left, self.top + bottom, self.left + right

    @property
    def blended(self) -> tuple[int, int, int, int]:
        """Top, left, bottom and right of the core and what is blended around it, from its own corner.

        There is nothing around the core at the ends of the raster.
        """
        (top, left, bottom, right), (height, width) = self.core, self.of
        top, left = max(top - self.reach, -self.top), max(left - self.reach, -self.left)
        bottom, right = min(bottom + self.reach, height - self.top), min(right + self.reach, width - self.left)
        return top, left, bottom, right


@dataclass(frozen=True)
class SceneFiles:
    """The files of one scene.

    Parameters
    ----------
    files : tuple of Href
        One file or product with all bands, or a file for each band.
    bands : tuple of str
        Where every band has its own file: the band of each.
    said : tuple of Sidecar
        Where every band has its own file, and a catalogue says what the numbers are: what it says of each file. The
        files tell which scene it is, so that this is not compared.
    """

    files: tuple[Href, ...]
    bands: tuple[str, ...] = ()
    said: tuple[Sidecar, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Record:
    """One sample before anything is read.

    Parameters
    ----------
    id : str
        Unique in the data set. It becomes Unicode's composed form (NFC), as do split files and date indices.
    files : mapping of str to tuple of Href
        Where the files of each modality are; a modality that the sample does not have is absent.
    bands : mapping of str to tuple of str
        Where every band has its own file: the band of each file.
    dates : mapping of str to tuple of date
        Dates of each modality, as far as the source states them.
    label : Href, float, int or None
        Where the label raster is, or the label itself.
    split : str or None
        ``train``, ``val``, ``test`` or ``predict``, if the source states it.
    window : TileWindow or None
        The part of its rasters that the sample is.
    raster_id : str
        Id of the whole, for a part.
    grids : mapping of str to PixelGrid
        By modality, the grid that its files are brought to, as of a place; the others are read on the grid that they
        have.
    frames : mapping of str to tuple of tuple of SceneFiles
        Of modalities with a grid: the scenes of each frame. The value of a pixel comes, band by band, from the first
        scene of the frame that has one. By default every file is a frame. ``files`` holds the files of all of them.
    region : str
        WKT of what of the grids is meant, in their CRS; all of it if empty.
    notes : mapping of str to tuple of str
        By modality, what a user must know of how its files were chosen; recorded with the images.
    fault : str
        Why the sample cannot be read, where its source knows that already.
    """

    id: str
    files: Mapping[str, tuple[Href, ...]]
    bands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dates: Mapping[str, tuple[date, ...]] = field(default_factory=dict)
    label: Href | float | int | None = None
    split: str | None = None
    window: TileWindow | None = None
    raster_id: str = ""
    grids: Mapping[str, PixelGrid] = field(default_factory=dict)
    frames: Mapping[str, tuple[tuple[SceneFiles, ...], ...]] = field(default_factory=dict)
    region: str = ""
    fault: str = ""
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Bring the ids to the one spelling by which they are compared."""
        object.__setattr__(self, "id", composed(self.id))
        object.__setattr__(self, "raster_id", composed(self.raster_id))


@dataclass(frozen=True)
class SampleRequest:
    """What a data module asks a `SampleSource` for.

    Parameters
    ----------
    root : Path
        Folder of the data set, from which relative paths start.
    modalities : mapping of str to ImageSource
        The modalities, with the bands that are wanted.
    label : LabelSource, optional
        The labels; samples without one get ``None``.
    labelled : bool
        Whether the labels will be used. They need not be there to predict.
    incomplete : bool
        Whether samples may pass whose files are missing; reading them will fail, with a reason.
    other_roots : tuple of str
        Further folders below which files may lie that a table names.
    """

    root: Path
    modalities: Mapping[str, ImageSource]
    label: LabelSource | None = None
    labelled: bool = True
    incomplete: bool = False
    other_roots: tuple[str, ...] = ()


class SampleSource(Protocol):
    """Who can tell the samples of a data set: file patterns, an index table, a catalogue.

    A data module takes any object with this method as ``samples``; a config names its class.

    Examples
    --------
    >>> class OneScene:
    ...     def records(self, request: SampleRequest) -> list[Record]:
    ...         name = next(iter(request.modalities))
    ...         return [Record("scene", {name: (Href.from_root("scene.tif", request.root),)})]
    """

    def records(self, request: SampleRequest) -> list[Record]:
        """Return the samples, each with an id of its own.

        Raises
        ------
        ValueError
            If there are none, or which files belong together is not clear.
        """
        ...


def check_complete(records: Sequence[Record], sources: Mapping[str, ImageSource]) -> None:
    """Refuse samples without a modality that all must have.

    Raises
    ------
    ValueError
        If a sample has no files of a modality that is not ``optional``.
    """
    for name, source in sources.items():
        without = [record.id for record in records if name not in record.files]
        if without and not source.optional:
            msg = (
                f"{len(without)} of {len(records)} samples have no {name!r} (first: {', '.join(without[:3])}; pattern "
                f"{source.files!r}). Add the files, name the complete samples in a split file, or declare the modality "
                "optional: true; or set on_error: skip."
            )
            raise ValueError(msg)


def check_labelled(records: Sequence[Record]) -> None:
    """Refuse samples without a label, before a run rather than in the middle of it.

    Raises
    ------
    ValueError
        If there are some.
    """
    without = [record.id for record in records if record.label is None]
    if without:
        msg = (
            f"{len(without)} of {len(records)} samples have no label (first: {', '.join(without[:3])}). Add them, name "
            "the labelled samples in a split file, or set on_error: skip."
        )
        raise ValueError(msg)


def check_ids(records: Sequence[Record], *, named_files: bool) -> None:
    """Refuse ids that are not one sample's own, and those that cannot name a file where files are made of them.

    Parameters
    ----------
    records : sequence of Record
        All samples of a split.
    named_files : bool
        Whether files are named by the ids, as to predict and to test. Ids that differ in nothing but case then make
        one file where a file system does not tell them apart, which is worth a warning.

    Raises
    ------
    ValueError
        For the first that is at fault; the message says what is wrong with it.
    """
    ids = [record.id for record in records]
    if len(set(ids)) < len(ids):
        twice = next(name for name, count in Counter(ids).items() if count > 1)
        msg = f"{ids.count(twice)} samples have the id {twice!r} (in Unicode's composed form). Each needs its own."
        raise ValueError(msg)
    if not named_files:
        return
    for name in ids:
        if fault := fault_of_name(name):
            shown = name if len(name) < 100 else f"{name[:97]}..."
            msg = (
                f"The id {shown!r} cannot name a file, as those of an export or of label maps: {fault}. Ids look like "
                "tile or region/tile. Correct the index, the pattern, or whatever else gives the ids."
            )
            raise ValueError(msg)
    if same := equal_but_for_case(ids):
        warnings.warn(
            f"The ids {same[0]!r} and {same[1]!r} differ only in case: on file systems of Windows and macOS their "
            "files are one. Rename one of them if the results may go there.",
            stacklevel=2,
        )


def without_label(records: Sequence[Record]) -> list[Record]:
    """Return the records as they are for prediction."""
    return [replace(record, label=None) for record in records]
