"""How the driver and every actor build the same run: from a config, or from a data module and a task."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.data import DataLoader

from eo_core.config import read_config
from eo_data.dataset.dataset import EoDataset
from eo_embed.export.exporter import Exporter

#: Each actor is a process with one device, whatever the config says of several.
_ONE_DEVICE: Mapping[str, Any] = {"devices": 1, "num_nodes": 1, "strategy": "auto"}


class ExportTask(Protocol):
    """What is needed of `eo_embed.EmbeddingTask`."""

    def exporter(self, rank: int) -> Exporter:
        """Return an exporter of this task that is not open yet."""
        ...

    def computing(self) -> AbstractContextManager[None]:
        """Return what a block runs in that calls the encoder."""
        ...


class Recipe(Protocol):
    """Builds a run in the process that asks."""

    def parts(self, trainer: Mapping[str, Any]) -> tuple[Trainer, LightningModule, LightningDataModule]:
        """Return trainer, task and data module; ``trainer`` are arguments that replace those of the recipe."""
        ...


@dataclass(frozen=True)
class ConfigRecipe:
    """A config of ``terratorch predict``.

    Parameters
    ----------
    config : Path
        The file.
    arguments : sequence of str
        What else stands on the command line, such as ``--data.init_args.batch_size=8``.
    """

    config: Path
    arguments: Sequence[str] = ()

    def parts(self, trainer: Mapping[str, Any]) -> tuple[Trainer, LightningModule, LightningDataModule]:
        """Return trainer, task and data module, as TerraTorch's command line makes them.

        Raises
        ------
        ValueError
            If there is no config, or it is no YAML.
        """
        from lightning.pytorch.cli import SaveConfigCallback  # noqa: PLC0415  (seconds that --help need not wait)
        from terratorch.cli_tools import build_lightning_cli, import_custom_modules  # noqa: PLC0415

        import_custom_modules(read_config(self.config).get("custom_modules_path"))
        replaced = [f"--trainer.{name}={value}" for name, value in trainer.items()]
        cli = build_lightning_cli(["--config", str(self.config), *self.arguments, *replaced], run=False)
        # In a run of Lightning's own, it is here that the text of the config is found.
        cli.trainer.callbacks.append(SaveConfigCallback(cli.parser, cli.config))
        return cli.trainer, cli.model, cli.datamodule


@dataclass(frozen=True)
class ObjectRecipe:
    """A data module that is not set up yet, and a task: both are copied to the actors, the weights with it.

    Parameters
    ----------
    data : LightningDataModule
        One of `eo_data.datamodules`.
    task : LightningModule
        `eo_embed.EmbeddingTask`.
    trainer : mapping
        Arguments of Lightning's trainer that count here: ``accelerator``, ``precision``.
    """

    data: LightningDataModule
    task: LightningModule
    trainer: Mapping[str, Any] = field(default_factory=dict)

    def parts(self, trainer: Mapping[str, Any]) -> tuple[Trainer, LightningModule, LightningDataModule]:
        """Return trainer, task and data module."""
        quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
        with _quiet():
            return Trainer(**{**quiet, **self.trainer, **trainer}), self.task, self.data


@dataclass(frozen=True)
class Built:
    """A run whose samples are found and whose encoder is on its device.

    Parameters
    ----------
    trainer : Trainer
        Knows device and precision; its loops, callbacks and loggers are not used.
    task : ExportTask
        Of the export.
    data : LightningDataModule
        Set up.
    dataset : EoDataset
        The samples to predict.
    loader : DataLoader
        Which of them make a batch.
    """

    trainer: Trainer
    task: ExportTask
    data: LightningDataModule
    dataset: EoDataset
    loader: DataLoader[dict[str, Any]]

    def read(self, indices: Sequence[int]) -> dict[str, Any]:
        """Return a batch."""
        batch: dict[str, Any] = self.loader.collate_fn(self.dataset.__getitems__(indices))
        return batch

    @contextlib.contextmanager
    def on_device(self, batch: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Give a batch on the device of the encoder and in its precision, for a block that runs in that precision."""
        strategy = self.trainer.strategy
        moved = move_data_to_device(strategy.precision_plugin.convert_input(batch), strategy.root_device)
        half = strategy.precision_plugin.predict_step_context()
        with torch.inference_mode(), half, self.task.computing():
            yield cast("Mapping[str, Any]", moved)


def build(recipe: Recipe, accelerator: str | None = None) -> Built:
    """Build a run in this process.

    Parameters
    ----------
    recipe : Recipe
        Of what.
    accelerator : str, optional
        Replaces that of the recipe.

    Raises
    ------
    ValueError
        If the task exports no embeddings, or the data module is none of `eo_data.datamodules`.
    """
    replaced = {**_ONE_DEVICE, **({"accelerator": accelerator} if accelerator else {})}
    with _quiet(), warnings.catch_warnings():
        # Arguments that are given beside those of this process are what is wanted here.
        warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
        trainer, task, data = recipe.parts(replaced)
    if not hasattr(task, "exporter"):
        msg = f"Exports on Ray need the task eo_embed.EmbeddingTask, got {type(task).__name__}."
        raise ValueError(msg)
    task.trainer, data.trainer, trainer.datamodule = trainer, trainer, data  # type: ignore[attr-defined]
    trainer.state.fn = TrainerFn.PREDICTING
    trainer.strategy.connect(task)
    data.setup("predict")
    dataset = getattr(data, "predict_dataset", None)
    if not isinstance(dataset, EoDataset):
        msg = (
            "Exports on Ray need a data module of eo_data.datamodules, whose samples have ids; got "
            f"{type(data).__name__}. Use terratorch predict for others."
        )
        raise ValueError(msg)
    trainer.strategy.setup_environment()
    trainer.strategy.setup(trainer)
    task.eval()
    return Built(trainer, cast("ExportTask", task), data, dataset, data.predict_dataloader())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Lightning's trainer says of devices out of the log: every actor would say it."""
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
