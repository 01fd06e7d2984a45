"""From the data section of a config to one data set per split, without Lightning, which takes seconds to load.

`eo_data.datamodules` makes data modules of these classes; the commands that only look at samples use them as they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from eo_core.arguments import one_of
from eo_core.memory import as_bytes
from eo_core.paths import Roots, as_folders
from eo_data.catalog.date_index import dates_of_samples
from eo_data.catalog.index_table import choose_source
from eo_data.catalog.known.tables import KNOWN_DATES
from eo_data.catalog.records import (
    SPLITS,
    Record,
    SampleRequest,
    SampleSource,
    Split,
    check_complete,
    check_ids,
    check_labelled,
    without_label,
)
from eo_data.catalog.shards import Shard, in_shard
from eo_data.catalog.sources import ImageSource, LabelSource, Task
from eo_data.catalog.splits import absent_classes, draw_fraction, records_of_split
from eo_data.catalog.tiles import Blend, tiled, tiling_of
from eo_data.dataset.dataset import EoDataset, Skipped, usable_records, write_skipped
from eo_data.dataset.sample_reader import SampleReader
from eo_data.preprocess.augmentation import Augmentation
from eo_data.preprocess.steps import Preprocess
from eo_data.readers.formats.limits import Limits
from eo_data.readers.images import ImageReader
from eo_data.temporal.frame_policy import FramePolicy

DatesAs = Literal["auto", "dict", "plane", "none"]
MissingModality = Literal["omit", "zeros"]
Georeference = Literal["auto", "predict", "always", "never"]
OnError = Literal["raise", "skip"]


class ChipSplits:
    """Chips: one image per modality and sample.

    Samples are found by file patterns or listed in an index; images, labels and dates are joined by name. What the
    encoder sees is made by ``preprocess``, in training and in prediction alike.

    Parameters
    ----------
    root : str
        Folder of the data set.
    modalities : mapping of str to ImageSource
        Modalities in the order of the batch, under the names that the backbone knows.
    preprocess : Preprocess
        That of the encoder's package, or ``eo_data.preprocess.DatasetNormalise`` for other encoders.
    label : LabelSource, optional
        The labels; not needed to predict.
    task : {'segmentation', 'regression', 'classification'}
        What the labels are, and what is learned.
    index : str, optional
        CSV, JSON or GeoParquet below ``root`` with one row per sample, see `eo_data.catalog.index_table.from_index`.
        Without it, samples are found by the ``files`` of the modalities.
    train_split, val_split, test_split, predict_split : str, optional
        Files below ``root`` that name the samples of a split. Without a file the column ``split`` of the index counts;
        to predict, the test split or else all samples.
    batch_size : int
        Largest number of samples of a batch.
    num_workers : int
        Processes that read; 0 reads in this one.
    train_transform, val_transform : sequence, optional
        Geometric transforms of Albumentations, before ``preprocess``.
    dates_as : {'auto', 'dict', 'plane', 'none'}
        How dates go along: as an entry of the image dictionary, or as one more channel per frame, named ``DATE`` in
        the backbone's bands. ``auto`` takes the channel where the task infers by tiles, as dates in any other form are
        lost there. An encoder that reads no dates needs ``none``: they are recorded all the same.
    missing_modality : {'omit', 'zeros'}
        What becomes of samples without an optional modality. ``omit``: batches hold only samples with the same
        modalities. ``zeros``: the modality is zeros (the mean), and the mask of frames says so if it is dated.
    georeference : {'auto', 'predict', 'always', 'never'}
        When ``crs``, ``bounds``, ``valid``, ``acquired`` and ``id`` are in the batch. TerraTorch passes them on to the
        backbone, and not every backbone accepts entries that it does not know. ``auto`` is ``predict`` if the model
        accepts them or a callback such as `eo_finetune.LabelMapWriter` takes them out before, else ``never``.
    on_error : {'raise', 'skip'}
        ``skip`` reads every sample once before the run, leaves out those that cannot be used, and lists them with
        the reason in ``skipped`` and in ``skipped_file``.
    skipped_file : str
        CSV file that this list is written to.
    rgb : sequence of str
        Bands of the quick-look, by default red, green, blue.
    drop_last : bool
        Leave out the last incomplete batch of training.
    tile : int, optional
        To predict: cut every raster into tiles of this side in pixels, read by window, so that rasters of any size
        fit into memory. `eo_embed.EmbeddingTask` puts their grids together again.
    tile_align : int
        Tiles start at multiples of this; the side of a patch in pixels at the coarsest GSD (THOR with 20 m bands and
        patches of 8: 16).
    halo : int, optional
        Pixels that a tile sees on each side of the part that is kept of it, a multiple of ``tile_align``, so that no
        seams are left; a sixth of the tile by default. 0 lays tiles side by side.
    blend : {'core', 'feather'}
        Whether an export keeps the core of each tile alone, or blends tiles where they overlap; see `Tiling`.
    train_fraction : float
        Share of the training samples to learn from, stratified by their labels (`eo_data.catalog.splits`). Drawing it
        reads all training labels once.
    fraction_seed : int
        Seed by which that share is drawn.
    allow_other_preprocess : bool
        Whether a checkpoint may be used that was trained with other bands or another preprocessing than this one.
    samples : SampleSource, optional
        Anything else that tells the samples (`eo_data.catalog.records.SampleSource`), instead of ``index`` and
        ``files``.
    other_roots : sequence of str
        Further folders in which files may lie that an index or a VRT names, beside ``root``; and beginnings of
        addresses that a VRT may ask (``https://host/folder/``); an index may name files on any server. Links below
        these folders are followed wherever they lead; ``..`` and absolute paths that lead out of them are an error.
    max_memory : int or str, optional
        Memory that one image, label or block of a file may take (bytes, or a text such as ``4GB``): what says that it
        is larger is not read. A quarter of the machine's by default.
    remote_cache : str, optional
        Folder in which is kept what was fetched of files at ``http(s)://`` addresses (up to 20 GB, what was used
        longest ago goes first), so that a second run only asks whether they have changed. Without, nothing is kept.
    shard : Shard, optional
        To predict only this part of the samples, such as ``{index: 0, of: 3}``; `eo_embed.merge` makes the whole.
    batch_memory : int or str, optional
        Memory that the encoder may take for a batch of an export, such as ``2 GB`` (with ``auto``, most of what is free
        of a GPU): batches are as large as that lets them be, whatever ``batch_size`` says.

    Attributes
    ----------
    skipped : list of (str, str, str)
        Split, id and reason of samples that were left out.

    Raises
    ------
    ValueError
        For arguments that make no sense; the message names the valid ones.
    """

    #: Overridden where samples are series.
    frames: FramePolicy | None = None

    def __init__(
        self,
        root: str,
        modalities: dict[str, ImageSource],
        preprocess: Preprocess,
        label: LabelSource | None = None,
        task: Task = "segmentation",
        index: str | None = None,
        train_split: str | None = None,
        val_split: str | None = None,
        test_split: str | None = None,
        predict_split: str | None = None,
        batch_size: int = 8,
        num_workers: int = 2,
        train_transform: list[Any] | None = None,
        val_transform: list[Any] | None = None,
        dates_as: DatesAs = "auto",
        missing_modality: MissingModality = "omit",
        georeference: Georeference = "auto",
        on_error: OnError = "raise",
        skipped_file: str = "skipped.csv",
        rgb: Sequence[str] = (),
        drop_last: bool = False,  # noqa: FBT001, FBT002
        tile: int | None = None,
        tile_align: int = 16,
        halo: int | None = None,
        train_fraction: float = 1.0,
        fraction_seed: int = 0,
        allow_other_preprocess: bool = False,  # noqa: FBT001, FBT002
        samples: SampleSource | None = None,
        other_roots: Sequence[str] = (),
        max_memory: int | str | None = None,
        remote_cache: str | None = None,
        shard: Shard | None = None,
        batch_memory: int | str | None = None,
        blend: Blend = "core",
    ) -> None:
        super().__init__()
        one_of("task", task, get_args(Task))
        one_of("dates_as", dates_as, get_args(DatesAs))
        one_of("missing_modality", missing_modality, get_args(MissingModality))
        one_of("georeference", georeference, get_args(Georeference))
        one_of("on_error", on_error, get_args(OnError))
        _check_sizes(modalities, batch_size, train_fraction)
        self.batch_size, self.num_workers, self.drop_last = batch_size, num_workers, drop_last
        self.root = Path(root)
        self.other_roots = as_folders("other_roots", other_roots)
        self.limits = Limits(
            Roots((str(root), *self.other_roots)),
            None if max_memory is None else as_bytes("max_memory", max_memory),
            None if remote_cache is None else Path(remote_cache),
        )
        self.modalities = dict(modalities)
        self.preprocess = preprocess
        self.label = label
        self.task: Task = task
        self.samples = choose_source(index, samples)
        self.splits: dict[Split, str | None] = {
            "train": train_split,
            "val": val_split,
            "test": test_split,
            "predict": predict_split,
        }
        self.transforms = {"train": train_transform, "val": val_transform}
        self.dates_as, self.missing_modality, self.georeference = dates_as, missing_modality, georeference
        self.tile, self.tile_align, self.tiling = tile, tile_align, tiling_of(tile, tile_align, halo, blend)
        self.halo, self.blend = None if self.tiling is None else self.tiling.halo, blend
        self.train_fraction, self.fraction_seed = train_fraction, fraction_seed
        self.allow_other_preprocess = allow_other_preprocess
        self.same_modalities = missing_modality == "omit" and any(source.optional for source in modalities.values())
        self.on_error, self.skipped_file = on_error, Path(skipped_file)
        self.shard, self.batch_memory = shard, batch_memory
        if batch_memory not in (None, "auto"):
            as_bytes("batch_memory", batch_memory)
        self.rgb = tuple(rgb)
        self.skipped: list[Skipped] = []

    @property
    def infers_by_tiles(self) -> bool:
        """Whether the task of a run cuts images into tiles; there is no run here."""
        return False

    @property
    def takes_georeference(self) -> bool:
        """Whether the model of a run gets entries that it does not know, or does not mind; there is no run here."""
        return True

    @property
    def lists_faults(self) -> bool:
        """Whether the task of a run lists samples that cannot be read; there is no run here."""
        return False

    def dataset(self, split: Split, records: Sequence[Record] | None = None) -> EoDataset:
        """Make the data set of one split.

        Parameters
        ----------
        split : {'train', 'val', 'test', 'predict'}
            The split.
        records : sequence of Record, optional
            All samples, if they are known already.

        Raises
        ------
        ValueError
            If a folder, file or split is missing or empty, or samples are duplicate or incomplete.
        """
        one_of("split", split, SPLITS)
        known = self._records(labelled=split != "predict") if records is None else records
        chosen = self._chosen(split, known)
        label = None if split == "predict" else self.label
        reader = SampleReader(self._readers(chosen), label, self.task, self.limits, self.root)
        transforms = self.transforms.get(split)
        if split == "predict" and self.tiling is not None:
            chosen = tiled(chosen, self.tiling, reader.size, skip=self.on_error == "skip")
        dataset = EoDataset(
            in_shard(self.shard, chosen) if split == "predict" else chosen,
            reader,
            self.preprocess,
            Augmentation(transforms) if transforms else None,
            dates_as=self._dates_as(),
            as_dict=len(self.modalities) > 1,
            georeference=self._has_georeference(split),
            fill_missing=self.missing_modality == "zeros",
            rgb=self.rgb,
        )
        if self.on_error == "skip":
            self._leave_out_unusable(dataset, split)
        if split == "train":
            self._warn_of_absent_classes(dataset.records, reader)
        if split == "train" and self.train_fraction < 1:
            given = (reader.label_values, self.task, self.train_fraction, self.fraction_seed)
            whole, dataset.records = len(dataset), draw_fraction(dataset.records, *given)
            drawn = (len(dataset), whole, self.train_fraction, self.fraction_seed)
            # Here, because it loads Lightning, which those who only look at samples need not wait for.
            from lightning.pytorch.utilities import rank_zero_info  # noqa: PLC0415

            rank_zero_info("train: %d of %d samples (train_fraction %g, fraction_seed %d)", *drawn)
        return dataset

    def _records(self, *, labelled: bool) -> list[Record]:
        return self.samples.records(self._request(labelled=labelled))

    def _request(self, *, labelled: bool) -> SampleRequest:
        how = {"labelled": labelled, "incomplete": self.on_error == "skip"}
        return SampleRequest(self.root, self.modalities, self.label, other_roots=self.other_roots, **how)

    def _chosen(self, split: Split, records: Sequence[Record]) -> list[Record]:
        """Return the samples of a split, checked before anything is read."""
        chosen = list(records_of_split(split, records, self.splits, self.root))
        check_ids(chosen, named_files=split in ("test", "predict"))
        if self.on_error == "raise":
            check_complete(chosen, self.modalities)
        if split == "predict":
            return without_label(chosen)
        if self.label is None:
            msg = f"The split {split!r} needs labels: set label (files, classes), or use predict."
            raise ValueError(msg)
        if self.on_error == "raise":
            check_labelled(chosen)
        return chosen

    def _readers(self, records: Sequence[Record]) -> dict[str, ImageReader]:
        ids = [record.id for record in records]
        skip = self.on_error == "skip"
        readers = {}
        for name, source in self.modalities.items():
            index = dates_of_samples(source, self.root, ids, known_forms=KNOWN_DATES, skip_unknown=skip)
            readers[name] = ImageReader(
                name, source, None if source.static else self.frames, index, self.root, self.limits
            )
        return readers

    def _warn_of_absent_classes(self, records: Sequence[Record], reader: SampleReader) -> None:
        """Say which classes will not be learned, because no label has them."""
        if self.task == "regression" or self.label is None or self.label.classes is None or not records:
            return
        absent, count = absent_classes(records, reader.label_values, self.label.classes)
        if absent and count:
            warnings.warn(
                f"No training label holds the classes {', '.join(map(str, absent))} of 0..{self.label.classes - 1} "
                f"({count} of {len(records)} labels were looked at), so that they cannot be learned. Check classes, "
                "remap and ignore of the label source, and whether the files state a class as no-data.",
                stacklevel=4,
            )

    def _has_georeference(self, split: Split) -> bool:
        if self.georeference == "auto":
            return split == "predict" and self.takes_georeference
        return self.georeference == "always" or (self.georeference == "predict" and split == "predict")

    def _dates_as(self) -> str:
        if self.dates_as != "auto":
            return self.dates_as
        return "plane" if self.infers_by_tiles else "dict"

    def _leave_out_unusable(self, dataset: EoDataset, split: Split) -> None:
        """Leave out what cannot be used, and say so."""
        total = len(dataset)
        dataset.records, lost = usable_records(dataset, split)
        self.skipped = [entry for entry in self.skipped if entry[0] != split] + lost
        if lost:
            write_skipped(self.skipped_file, self.skipped)
            warnings.warn(
                f"{len(lost)} of {total} samples of {split!r} are left out (list: {self.skipped_file}); first: "
                f"{lost[0][1]}: {lost[0][2]}",
                stacklevel=3,
            )
        if not dataset.records and self.shard is None:
            msg = f"No sample of the split {split!r} can be used. First reason: {lost[0][2]}"
            raise ValueError(msg)


class SeriesSplits(ChipSplits):
    """Series: several dated files per sample, a NetCDF or Zarr cube, or an HDF5 series.

    Parameters
    ----------
    frames : FramePolicy, optional
        How acquisitions become frames; all of them by default.
    **arguments
        As for `ChipSplits`. All modalities that are not ``static`` are dated, whatever ``dated`` says.
    """

    def __init__(self, frames: FramePolicy | None = None, **arguments: Any) -> None:  # noqa: ANN401
        super().__init__(**arguments)
        self.frames = frames or FramePolicy()
        self.modalities = {
            name: source if source.static else replace(source, dated=True) for name, source in self.modalities.items()
        }


def _check_sizes(modalities: Mapping[str, ImageSource], batch_size: int, train_fraction: float) -> None:
    if not modalities:
        msg = "modalities is empty. Name at least one, such as {S2: {files: ..., bands: [...]}}."
        raise ValueError(msg)
    if batch_size < 1:
        msg = f"batch_size must be at least 1, got {batch_size}."
        raise ValueError(msg)
    if not 0 < train_fraction <= 1:
        msg = f"train_fraction must be above 0 and at most 1, got {train_fraction}. 0.1 is 10 % of the samples."
        raise ValueError(msg)
