"""Data modules for TerraTorch's command line, by class path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eo_data.catalog.records import SPLITS, Split
from eo_data.catalog.scenes.catalogues.earth_engine.source import EarthEngine
from eo_data.catalog.scenes.catalogues.stac.source import StacCatalogue
from eo_data.catalog.shards import Shard, agreed
from eo_data.catalog.sources import ImageSource, LabelSource
from eo_data.dataset.chip_splits import ChipSplits, SeriesSplits
from eo_data.dataset.consistency import check_adapters, check_bands, check_classes, check_dates, check_inputs
from eo_data.dataset.facts import describe_inputs
from eo_data.dataset.loading.split_loaders import SplitLoaders
from eo_data.dataset.place_splits import PlaceSplits
from eo_data.readers.described.places import Places
from eo_data.temporal.frame_policy import FramePolicy

__all__ = [
    "ChipDataModule",
    "EarthEngine",
    "FramePolicy",
    "ImageSource",
    "LabelSource",
    "PlaceDataModule",
    "Places",
    "Shard",
    "StacCatalogue",
    "TimeSeriesDataModule",
]

#: Splits that a stage of Lightning needs; all of them without a stage.
_SPLITS_OF: Mapping[str, tuple[Split, ...]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("predict",),
}
#: TerraTorch's own writer of predictions, which names files after those of the input.
_STOCK_WRITER = "CustomWriter"


class ChipDataModule(ChipSplits, SplitLoaders):
    """Chips: one image per modality and sample.

    Samples are found by file patterns or listed in an index; images, labels and dates are joined by name. What the
    encoder sees is made by ``preprocess``, in training and in prediction alike.

    The parameters are those of `eo_data.dataset.chip_splits.ChipSplits`.

    Attributes
    ----------
    skipped : list of (str, str, str)
        Split, id and reason of samples that were left out.

    Raises
    ------
    ValueError
        For arguments that make no sense; the message names the valid ones.
    """

    def setup(self, stage: str | None = None) -> None:
        """Find the samples of the splits that a stage needs.

        Raises
        ------
        ValueError
            If nothing of the run can put tiles together, a folder, file or split is missing or empty, samples are
            duplicate or incomplete, a backbone of this project expects other bands or no dates, or the model other
            classes; or a shard is to be trained on.
        """
        task = self.run.task
        self.shard = agreed(self.shard, getattr(task, "shard", None))
        if self.shard is not None and stage in ("fit", "validate", "test"):
            msg = f"shard ({self.shard}) is a part of the samples to predict, and this is {stage}: leave it out."
            raise ValueError(msg)
        if task is not None:
            check_bands(task, self.modalities)
            check_dates(task, self.modalities, self._dates_as())
            if self.label is not None and self.task != "regression":
                check_classes(task, self.label.classes)
        if task is not None and stage == "fit":
            check_adapters(task)
        if stage == "predict" and self.tiling is not None and not self.lists_faults:
            self._check_writer()
        if task is not None and stage == "predict" and self.blend != "core" and not self.lists_faults:
            msg = (
                f"blend: {self.blend} is for exports by eo_embed.EmbeddingTask, and this is {type(task).__name__}: "
                "classes cannot be averaged. Leave it out: cores are then put side by side."
            )
            raise ValueError(msg)
        splits = _SPLITS_OF.get(stage or "", SPLITS)
        records = self._records(labelled=splits != ("predict",))
        for split in splits:
            setattr(self, f"{split}_dataset", self.dataset(split, records))

    def _check_writer(self) -> None:
        """Refuse tiles that each would be written to the one file that is named after their raster."""
        callbacks = [] if self.trainer is None else self.trainer.callbacks  # type: ignore[attr-defined]
        names = {type(callback).__name__ for callback in callbacks}
        if _STOCK_WRITER in names and not any(getattr(own, "keeps_georeference", False) for own in callbacks):
            msg = (
                f"tile ({self.tile}) cuts rasters, and TerraTorch's writer would write every tile of a raster to the "
                "same file. Add {class_path: eo_finetune.LabelMapWriter} to trainer.callbacks, which puts them "
                "together; or leave tile out."
            )
            raise ValueError(msg)

    @property
    def infers_by_tiles(self) -> bool:
        """Whether TerraTorch's task cuts images into tiles, which drops all but tensors of the images' size."""
        return self.run.infers_by_tiles

    @property
    def takes_georeference(self) -> bool:
        """Whether further entries of a batch do no harm in this run."""
        return self.run.takes_georeference

    @property
    def lists_faults(self) -> bool:
        """Whether the task lists samples that cannot be read."""
        return bool(getattr(self.run.task, "lists_faults", False))

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


class TimeSeriesDataModule(SeriesSplits, ChipDataModule):
    """Series: several dated files per sample, a NetCDF or Zarr cube, or an HDF5 series.

    Parameters
    ----------
    frames : FramePolicy, optional
        How acquisitions become frames; all of them by default.
    **arguments
        As for `ChipDataModule`. All modalities that are not ``static`` are dated, whatever ``dated`` says.
    """


class PlaceDataModule(PlaceSplits, ChipDataModule):
    """Places and times: each place is a sample, read from the scenes that a folder or a catalogue has of it.

    The parameters are those of `eo_data.dataset.place_splits.PlaceSplits` and of `ChipDataModule`.
    """
