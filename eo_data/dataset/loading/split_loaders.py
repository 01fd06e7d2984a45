"""The part of a data module that hands out batches: one data set per split, their loaders, and the run they are for."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader, SequentialSampler

from eo_data.catalog.records import SPLITS, Split
from eo_data.dataset.batch import collate
from eo_data.dataset.consistency import accepts_extra_keywords
from eo_data.dataset.dataset import EoDataset
from eo_data.dataset.loading.batch_memory import budget_of, fitting_batch
from eo_data.dataset.loading.prefetch import PrefetchingLoader
from eo_data.dataset.sampler import SameModalitiesBatchSampler, ShuffleByEpoch
from eo_data.raster.sample import SampleError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: How PyTorch says that one of its processes did not end by itself.
_WORKER_GONE = re.compile(r"DataLoader worker .*(?:killed by signal|exited unexpectedly)")


def explain_lost_worker(error: BaseException, data: object) -> None:
    """Add the cause and the remedy to an error of PyTorch that a process that reads is gone; once.

    Parameters
    ----------
    error : BaseException
        Other errors stay as they are.
    data : object
        Any data module; what it has of ``num_workers`` and ``batch_size`` is told.
    """
    if not isinstance(error, RuntimeError) or not _WORKER_GONE.search(str(error)):
        return
    workers, batch = (
        f"data.{name} ({value})" if (value := getattr(data, name, None)) is not None else name
        for name in ("num_workers", "batch_size")
    )
    note = (
        "A process that reads the data was killed from outside, mostly by the system because memory ran out (dmesg "
        f"tells). Lower {workers} or {batch}, or give the job more memory. With num_workers: 0 the run itself reads."
    )
    if note not in getattr(error, "__notes__", []):
        error.add_note(note)


@dataclass(frozen=True)
class Run:
    """The run of a trainer.

    Parameters
    ----------
    trainer : Trainer or None
        ``None`` where a data module is used by itself.
    """

    trainer: Trainer | None

    @property
    def task(self) -> LightningModule | None:
        """The task that is run, if there is one."""
        return None if self.trainer is None else self.trainer.lightning_module

    @property
    def processes(self) -> int:
        """Number of processes that share the batches."""
        return 1 if self.trainer is None else int(self.trainer.world_size)

    @property
    def on_gpu(self) -> bool:
        """Whether the model is on a GPU of CUDA."""
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    @property
    def epoch(self) -> int:
        """Number of training epochs that lie behind."""
        if self.trainer is None:
            return 0
        # As Lightning sets it; when a run goes on, current_epoch is still that of before.
        progress: Any = self.trainer.fit_loop.epoch_progress.current
        return int(progress.processed)

    @property
    def infers_by_tiles(self) -> bool:
        """Whether TerraTorch's task cuts images into tiles, which drops all but tensors of the images' size."""
        return bool(getattr(self.task, "tiled_inference_parameters", None))

    @property
    def takes_georeference(self) -> bool:
        """Whether further entries of a batch do no harm: a callback takes them out, or the model accepts any."""
        callbacks = [] if self.trainer is None else self.trainer.callbacks  # type: ignore[attr-defined]
        kept = any(getattr(callback, "keeps_georeference", False) for callback in callbacks)
        return kept or accepts_extra_keywords(self.task)


class SplitLoaders(LightningDataModule):
    """A data module whose `setup` sets ``train_dataset``, ``val_dataset``, ``test_dataset`` and ``predict_dataset``.

    What makes the data sets, `eo_data.dataset.chip_splits`, stands before this class among the bases and sets these.

    Attributes
    ----------
    batch_size : int
        Largest number of samples of a batch.
    batch_memory : int, str or None
        To predict, what the batches may take instead, as of `eo_data.dataset.chip_splits.ChipSplits`.
    num_workers : int
        Processes that read; 0 reads in this one.
    drop_last : bool
        Leave out the last incomplete batch of training.
    same_modalities : bool
        Whether a batch holds only samples with the same modalities.
    """

    batch_size: int
    batch_memory: int | str | None
    num_workers: int
    drop_last: bool
    same_modalities: bool

    def __init__(self) -> None:
        super().__init__()
        self._seed: int | None = None
        self.train_dataset: EoDataset | None = None
        self.val_dataset: EoDataset | None = None
        self.test_dataset: EoDataset | None = None
        self.predict_dataset: EoDataset | None = None

    @property
    def run(self) -> Run:
        """The run that this data module is part of."""
        return Run(self.trainer)

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

    def on_exception(self, exception: BaseException) -> None:
        """Add the cause and the remedy to the error that PyTorch raises when a process that reads is gone."""
        explain_lost_worker(exception, self)

    def plot(self, sample: Mapping[str, Any], split: Split = "val") -> Figure:
        """Draw a quick-look of a sample, as TerraTorch's tasks ask for where ``plot_on_val`` is not false.

        Raises
        ------
        ValueError
            Before `setup`.
        """
        for name in (split, *SPLITS):
            dataset = self._dataset_of(name)
            if dataset is not None:
                return dataset.plot(sample)
        msg = "There is no data set to plot a sample of: run setup first."
        raise ValueError(msg)

    def _dataset_of(self, split: Split) -> EoDataset | None:
        datasets: dict[Split, EoDataset | None] = {
            "train": self.train_dataset,
            "val": self.val_dataset,
            "test": self.test_dataset,
            "predict": self.predict_dataset,
        }
        return datasets[split]

    def _loader(self, split: Split) -> DataLoader[dict[str, Any]]:
        dataset = self._dataset_of(split)
        if dataset is None:
            msg = f"Call setup before the data loader of {split!r}."
            raise ValueError(msg)
        if self.same_modalities and split != "predict" and self.run.processes > 1:
            msg = (
                "With several processes, the number of batches of equal modalities would differ between them and "
                "the run would hang. Set missing_modality: zeros, or use one device."
            )
            raise ValueError(msg)
        size = self._fitting(dataset) if split == "predict" and self.batch_memory is not None else self.batch_size
        order = self._shuffled(dataset) if split == "train" else None
        drop_last = split == "train" and self.drop_last
        options: dict[str, Any] = {
            "num_workers": self.num_workers,
            "collate_fn": collate,
            "persistent_workers": self.num_workers > 0 and split in ("train", "val"),
            # The copy to a GPU then need not be waited for.
            "pin_memory": split == "predict" and self.run.on_gpu,
        }
        # Random transforms of training draw from the generators of this process, which a thread would share.
        kind = PrefetchingLoader if split == "predict" else DataLoader
        if not self.same_modalities:
            return kind(dataset, batch_size=size, sampler=order, drop_last=drop_last, **options)
        groups = [tuple(record.files) for record in dataset.records]
        batches = SameModalitiesBatchSampler(order or SequentialSampler(dataset), size, drop_last, groups)
        return kind(dataset, batch_sampler=batches, **options)

    def _fitting(self, dataset: EoDataset) -> int:
        """Return the number of samples of a batch that ``batch_memory`` is enough for.

        Raises
        ------
        ValueError
            If it is not enough for one, or the task does not let its memory be measured.
        """
        encode: Any = getattr(self.run.task, "encode", None)
        if encode is None or self.batch_memory is None or self.trainer is None:
            msg = f"batch_memory ({self.batch_memory}) is for exports by eo_embed.EmbeddingTask: state batch_size."
            raise ValueError(msg)
        entry = _largest(dataset)
        if entry is None:
            return self.batch_size
        budget = budget_of(self.batch_memory, self.trainer.strategy.root_device)
        count, why = fitting_batch(encode, entry, budget, -(-len(dataset) // self.run.processes))
        rank_zero_info(why)
        return count

    def _shuffled(self, dataset: EoDataset) -> ShuffleByEpoch:
        """The order of training: by the seed of the run (``seed_everything``) and the epoch, also after a restart."""
        if self._seed is None:  # loaders that are made later in a run must not take the seed of a step for it
            self._seed = torch.initial_seed()
        return ShuffleByEpoch(len(dataset), self._seed, self.run.epoch)


def _largest(dataset: EoDataset) -> dict[str, Any] | None:
    """Return a sample of those with the most modalities; ``None`` if none of these can be read."""
    most = max((len(record.files) for record in dataset.records), default=0)
    for number, record in enumerate(dataset.records):
        if len(record.files) == most:
            with contextlib.suppress(SampleError):  # the run tells of it
                return dataset[number]
    return None
