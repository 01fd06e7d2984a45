"""Data modules for TerraTorch's command line, by class path."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader, SequentialSampler

from eo_data.catalog.date_index import dates_from_index
from eo_data.catalog.index_table import from_index
from eo_data.catalog.known.sen1floods11 import dates_by_chip, event_dates
from eo_data.catalog.patterns import FilePattern
from eo_data.catalog.records import SPLITS, Record, check_complete, check_labelled, from_folders, without_label
from eo_data.catalog.sources import ImageSource, LabelSource
from eo_data.catalog.splits import draw_fraction, records_of_split
from eo_data.catalog.tiles import tile_windows, tiled
from eo_data.dataset.batch import collate
from eo_data.dataset.consistency import accepts_extra_keywords, check_adapters, check_bands, check_classes, check_inputs
from eo_data.dataset.dataset import EoDataset
from eo_data.dataset.facts import describe_inputs
from eo_data.dataset.sample_reader import SampleReader
from eo_data.dataset.sampler import SameModalitiesBatchSampler, ShuffleByEpoch
from eo_data.dataset.skipped import Skipped, usable_records, write_skipped
from eo_data.preprocess.augmentation import Augmentation
from eo_data.preprocess.steps import Preprocess
from eo_data.readers.images import FramePolicy, ImageReader
from eo_data.readers.labels import TASKS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ChipDataModule(LightningDataModule):
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
        Of the encoder: ``thor_terratorch_ext.ThorPreprocess``, ``anysat_ext.AnySatPreprocess``, or
        ``eo_data.preprocess.DatasetNormalise`` for others.
    label : LabelSource, optional
        The labels; not needed to predict.
    task : {'segmentation', 'regression', 'classification'}
        What is learned.
    index : str, optional
        CSV, JSON or GeoParquet below ``root`` with one row per sample, see `eo_data.catalog.index_table.from_index`.
    train_split, val_split, test_split, predict_split : str, optional
        Files below ``root`` that name the samples of a split. Without: the column ``split`` of the index; to predict,
        the test split or else all samples.
    batch_size, num_workers : int
        As for a data loader.
    train_transform, val_transform : sequence, optional
        Geometric transforms of Albumentations, before ``preprocess``.
    dates_as : {'auto', 'dict', 'plane', 'none'}
        How dates go along: as an entry of the image dictionary, or as one more channel per frame, named ``DATE`` in
        the backbone's bands. ``auto`` takes the channel when the task infers by tiles, which keeps dates in no other
        form.
    missing_modality : {'omit', 'zeros'}
        Samples without an optional modality: batches hold only samples with the same modalities, or zeros (the mean)
        stand in, marked in the mask of frames where the modality is dated.
    georeference : {'auto', 'predict', 'always', 'never'}
        When ``crs``, ``bounds``, ``valid``, ``acquired`` and ``id`` are in the batch. TerraTorch hands them to the
        backbone, and some backbones of others take no further entries: ``auto`` is ``predict`` unless the model is
        such a one, and `eo_finetune.LabelMapWriter` does not take them out before.
    on_error : {'raise', 'skip'}
        ``skip`` reads every sample once before the run, leaves out those that cannot be used, and lists them with
        the reason in ``skipped`` and in ``skipped_file``.
    skipped_file : str
        Where that list goes, CSV.
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
    train_fraction : float
        Share of the training samples to learn from, stratified by their labels (`eo_data.catalog.splits`). Drawing it
        reads all training labels once.
    fraction_seed : int
        Of that draw.
    allow_other_preprocess : bool
        Whether a checkpoint may be used that was trained with other bands or another preprocessing than this one.

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
        task: str = "segmentation",
        index: str | None = None,
        train_split: str | None = None,
        val_split: str | None = None,
        test_split: str | None = None,
        predict_split: str | None = None,
        batch_size: int = 8,
        num_workers: int = 2,
        train_transform: list[Any] | None = None,
        val_transform: list[Any] | None = None,
        dates_as: str = "auto",
        missing_modality: str = "omit",
        georeference: str = "auto",
        on_error: str = "raise",
        skipped_file: str = "skipped.csv",
        rgb: Sequence[str] = (),
        drop_last: bool = False,  # noqa: FBT001, FBT002
        tile: int | None = None,
        tile_align: int = 16,
        train_fraction: float = 1.0,
        fraction_seed: int = 0,
        allow_other_preprocess: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        super().__init__()
        _one_of("task", task, TASKS)
        _one_of("dates_as", dates_as, ("auto", "dict", "plane", "none"))
        _one_of("missing_modality", missing_modality, ("omit", "zeros"))
        _one_of("georeference", georeference, ("auto", "predict", "always", "never"))
        _one_of("on_error", on_error, ("raise", "skip"))
        if not modalities:
            msg = "modalities is empty. Name at least one, such as {S2: {files: ..., bands: [...]}}."
            raise ValueError(msg)
        if batch_size < 1:
            msg = f"batch_size must be at least 1, got {batch_size}."
            raise ValueError(msg)
        self.root = Path(root)
        self.modalities = dict(modalities)
        self.preprocess = preprocess
        self.label = label
        self.task = task
        self.index = index
        self.splits = {"train": train_split, "val": val_split, "test": test_split, "predict": predict_split}
        self.batch_size, self.num_workers, self.drop_last = batch_size, num_workers, drop_last
        self.transforms = {"train": train_transform, "val": val_transform}
        self.dates_as, self.missing_modality, self.georeference = dates_as, missing_modality, georeference
        self.tile, self.tile_align = tile, tile_align
        self.train_fraction, self.fraction_seed = train_fraction, fraction_seed
        self.allow_other_preprocess = allow_other_preprocess
        if not 0 < train_fraction <= 1:
            msg = f"train_fraction must be above 0 and at most 1, got {train_fraction}. 0.1 is 10 % of the samples."
            raise ValueError(msg)
        if tile is not None:
            list(tile_windows(1, 1, tile, tile_align))  # checks them
        self.on_error, self.skipped_file = on_error, Path(skipped_file)
        self.rgb = tuple(rgb)
        self.skipped: list[Skipped] = []
        self._seed: int | None = None
        self.train_dataset: EoDataset | None = None
        self.val_dataset: EoDataset | None = None
        self.test_dataset: EoDataset | None = None
        self.predict_dataset: EoDataset | None = None

    def setup(self, stage: str | None = None) -> None:
        """Find the samples of the splits that a stage needs.

        Raises
        ------
        ValueError
            If a folder, file or split is missing or empty, samples are doubled or incomplete, a backbone of this
            project expects other bands, or the model other classes.
        """
        module = getattr(self.trainer, "lightning_module", None) if self.trainer is not None else None
        if module is not None:
            check_bands(module, self.modalities)
            if self.label is not None and self.task != "regression":
                check_classes(module, self.label.classes)
        if module is not None and stage == "fit":
            check_adapters(module)
        needed = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("predict",)}
        splits = needed.get(stage or "", SPLITS)
        records = self._records(labelled=splits != ("predict",))
        for split in splits:
            setattr(self, f"{split}_dataset", self.dataset(split, records))

    def dataset(self, split: str, records: Sequence[Record] | None = None) -> EoDataset:
        """Make the data set of one split.

        Parameters
        ----------
        split : {'train', 'val', 'test', 'predict'}
            Which.
        records : sequence of Record, optional
            All samples, if they are known already.
        """
        _one_of("split", split, SPLITS)
        known = self._records(labelled=split != "predict") if records is None else records
        chosen = records_of_split(split, known, self.splits, self.root)
        if self.on_error == "raise":
            check_complete(chosen, self.modalities)
        label = None if split == "predict" else self.label
        if split != "predict" and label is None:
            msg = f"The split {split!r} needs labels: set label (files, classes), or use predict."
            raise ValueError(msg)
        if split != "predict" and self.on_error == "raise":
            check_labelled(chosen)
        reader = SampleReader(self._readers(chosen), label, self.task)
        transforms = self.transforms.get(split)
        if split == "predict":
            chosen = without_label(chosen)
            chosen = tiled(chosen, self.tile, self.tile_align) if self.tile else chosen
        dataset = EoDataset(
            chosen,
            reader,
            self.preprocess,
            Augmentation(transforms) if transforms else None,
            dates_as=self._dates_as(),
            as_dict=len(self.modalities) > 1,
            georeference=self._is_located(split),
            fill_missing=self.missing_modality == "zeros",
            rgb=self.rgb,
        )
        dataset = self._usable(dataset, split) if self.on_error == "skip" else dataset
        if split == "train" and self.train_fraction < 1:
            given = (reader.label_values, self.task, self.train_fraction, self.fraction_seed)
            whole, dataset.records = len(dataset), draw_fraction(dataset.records, *given)
            drawn = (len(dataset), whole, self.train_fraction, self.fraction_seed)
            rank_zero_info("train: %d of %d samples (train_fraction %g, fraction_seed %d)", *drawn)
        return dataset

    def _is_located(self, split: str) -> bool:
        """Whether the georeference goes along."""
        if self.georeference != "auto":
            return self.georeference == "always" or (self.georeference == "predict" and split == "predict")
        module = getattr(self.trainer, "lightning_module", None) if self.trainer is not None else None
        callbacks = getattr(self.trainer, "callbacks", None) or ()
        kept = any(getattr(callback, "keeps_georeference", False) for callback in callbacks)
        return split == "predict" and (kept or accepts_extra_keywords(module))

    def _records(self, *, labelled: bool) -> list[Record]:
        if self.index is not None:
            incomplete = self.on_error == "skip"
            return from_index(self.root / self.index, self.root, self.modalities, incomplete=incomplete)
        label = self.label
        if label and label.files and not labelled and not FilePattern(label.files).folder(self.root).is_dir():
            label = None  # a config for training also predicts where there are no labels
        return from_folders(self.root, self.modalities, label)

    def _readers(self, records: Sequence[Record]) -> dict[str, ImageReader]:
        return {
            name: ImageReader(
                name, source, None if source.static else self.frames, self._date_index(source, records), self.root
            )
            for name, source in self.modalities.items()
        }

    def _date_index(self, source: ImageSource, records: Sequence[Record]) -> Mapping[str, date | Sequence[date]]:
        if source.date_index is None:
            return {}
        path = self.root / source.date_index
        if path.suffix != ".geojson":
            return dates_from_index(path)
        radar = (source.sensor or "").startswith("sentinel1")
        return dates_by_chip(
            [r.id for r in records], event_dates(path), radar=radar, skip_unknown=self.on_error == "skip"
        )

    def _dates_as(self) -> str:
        if self.dates_as != "auto":
            return self.dates_as
        module = getattr(self.trainer, "lightning_module", None) if self.trainer is not None else None
        return "plane" if getattr(module, "tiled_inference_parameters", None) else "dict"

    def _usable(self, dataset: EoDataset, split: str) -> EoDataset:
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
        if not dataset.records:
            msg = f"No sample of the split {split!r} can be used. First reason: {lost[0][2]}"
            raise ValueError(msg)
        return dataset

    def _loader(self, split: str) -> DataLoader[dict[str, Any]]:
        dataset: EoDataset | None = getattr(self, f"{split}_dataset")
        if dataset is None:
            msg = f"Call setup before the data loader of {split!r}."
            raise ValueError(msg)
        options: dict[str, Any] = {
            "num_workers": self.num_workers,
            "collate_fn": collate,
            "persistent_workers": self.num_workers > 0 and split in ("train", "val"),
        }
        shuffle, drop_last = split == "train", split == "train" and self.drop_last
        if self.missing_modality == "omit" and any(source.optional for source in self.modalities.values()):
            if split != "predict" and self.trainer is not None and self.trainer.world_size > 1:
                msg = (
                    "With several processes, the number of batches of equal modalities would differ between them and "
                    "the run would hang. Set missing_modality: zeros, or use one device."
                )
                raise ValueError(msg)
            groups = [tuple(record.files) for record in dataset.records]
            order = self._shuffled(dataset) if shuffle else SequentialSampler(dataset)
            return DataLoader(
                dataset, batch_sampler=SameModalitiesBatchSampler(order, self.batch_size, drop_last, groups), **options
            )
        sampler = self._shuffled(dataset) if shuffle else None
        return DataLoader(dataset, batch_size=self.batch_size, sampler=sampler, drop_last=drop_last, **options)

    def _shuffled(self, dataset: EoDataset) -> ShuffleByEpoch:
        """The order of training: by the seed of the run (``seed_everything``) and the epoch, also after a restart."""
        # As Lightning sets it; when a run goes on, current_epoch is still that of before.
        progress: Any = None if self.trainer is None else self.trainer.fit_loop.epoch_progress.current
        epoch = 0 if progress is None else progress.processed
        if self._seed is None:  # loaders that are made later in a run must not take the seed of a step for it
            self._seed = torch.initial_seed()
        return ShuffleByEpoch(len(dataset), self._seed, epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint should know of the data: bands, preprocessing, statistics and frames."""
        return {"facts": describe_inputs(self)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Compare with the data that a checkpoint was trained on.

        Raises
        ------
        ValueError
            If bands or preprocessing differ, unless ``allow_other_preprocess``.
        """
        check_inputs(state_dict.get("facts", {}), describe_inputs(self), allowed=self.allow_other_preprocess)

    def plot(self, sample: Mapping[str, Any], split: str = "val") -> Figure:
        """Draw a quick-look of a sample, as TerraTorch's tasks ask for where ``plot_on_val`` is not false.

        Raises
        ------
        ValueError
            Before `setup`.
        """
        datasets = (getattr(self, f"{name}_dataset") for name in (split, *SPLITS))
        for dataset in datasets:
            if dataset is not None:
                figure: Figure = dataset.plot(sample)
                return figure
        msg = "There is no data set to plot a sample of: run setup first."
        raise ValueError(msg)

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return the loader of the training samples, shuffled."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return the loader of the validation samples."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return the loader of the test samples."""
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return the loader of the samples to predict."""
        return self._loader("predict")


class TimeSeriesDataModule(ChipDataModule):
    """Series: several dated files per sample, a NetCDF or Zarr cube, or an HDF5 series.

    Parameters
    ----------
    frames : FramePolicy, optional
        How acquisitions become frames; all of them by default.
    **arguments
        As for `ChipDataModule`. All modalities that are not ``static`` are dated, whatever ``dated`` says.
    """

    def __init__(self, frames: FramePolicy | None = None, **arguments: Any) -> None:  # noqa: ANN401
        super().__init__(**arguments)
        self.frames = frames or FramePolicy()
        self.modalities = {
            name: source if source.static else replace(source, dated=True) for name, source in self.modalities.items()
        }


def _one_of(name: str, value: str, valid: Sequence[str]) -> None:
    if value not in valid:
        msg = f"{name} must be one of {', '.join(valid)}, got {value!r}."
        raise ValueError(msg)
