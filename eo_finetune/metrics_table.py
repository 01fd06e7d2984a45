"""The metrics of a test as a table, overall and by class, to keep and to print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torchmetrics import ClasswiseWrapper, MetricCollection
from torchmetrics.classification import MultilabelStatScores

from eo_core.files import write_text
from eo_finetune.class_scores import ClassCounts
from eo_finetune.metrics_text import Section, as_csv, as_markdown


class _StatScores(Protocol):
    """A metric of torchmetrics that holds true and false positives and negatives, int64 ``(classes,)``."""

    tp: torch.Tensor
    fp: torch.Tensor
    fn: torch.Tensor
    tn: torch.Tensor


@dataclass
class _Tally:
    """What a data loader has yielded so far."""

    samples: int = 0
    pixels: int = 0
    ignored: int = 0
    maps: bool = False


class MetricsTable(Callback):
    """Writes the metrics of ``test`` (and of ``validate``) as ``test_metrics.csv`` and ``test_metrics.md``.

    Overall metrics are those that the task logs. The table by class comes from the counts that the task's own metrics
    hold, so that ignored pixels and several processes are treated as the task treats them. Both files have a section
    for each data loader. For modules that are no tasks of TerraTorch, only the logged metrics are written.

    Parameters
    ----------
    folder : str, optional
        Folder of both files; the trainer's ``default_root_dir`` by default.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._tallies: dict[int, _Tally] = {}
        self._counts: dict[int, ClassCounts | None] = {}

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting from zero."""
        self._tallies, self._counts = {}, {}

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting from zero."""
        self._tallies, self._counts = {}, {}

    # Before the step, which may take the batch apart.

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count samples and pixels."""
        self._count(batch, pl_module, dataloader_idx)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count samples and pixels."""
        if trainer.state.fn == "validate":
            self._count(batch, pl_module, dataloader_idx)

    # Callbacks come before the task at the end of an epoch, when its metrics still hold what they have counted.

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the counts from the task's metrics."""
        self._read(trainer, _collections(pl_module, "test"))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the counts from the task's metrics."""
        if trainer.state.fn == "validate":
            self._read(trainer, _collections(pl_module, "val"))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the files."""
        self._write(trainer, pl_module, "test")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the files."""
        if trainer.state.fn == "validate":
            self._write(trainer, pl_module, "val")

    def _count(self, batch: object, module: LightningModule, loader: int) -> None:
        if not isinstance(batch, Mapping):
            return
        target = batch.get("mask", batch.get("label"))
        if not isinstance(target, torch.Tensor) or not target.ndim:
            return
        ignore = module.hparams.get("ignore_index")
        ignored = torch.zeros_like(target, dtype=torch.bool) if ignore is None else target == ignore
        if target.is_floating_point():
            ignored |= target.isnan()
        tally = self._tallies.setdefault(loader, _Tally())
        tally.samples += len(target)
        tally.pixels += target.numel()
        tally.ignored += int(ignored.sum())
        tally.maps |= "mask" in batch

    def _read(self, trainer: Trainer, collections: Sequence[MetricCollection]) -> None:
        """Add up the counts of all processes, for each data loader."""
        for loader in range(max(len(collections), *(i + 1 for i in self._tallies), 1)):
            tally = self._tallies.setdefault(loader, _Tally())
            mine = torch.tensor([tally.samples, tally.pixels, tally.ignored], device=trainer.strategy.root_device)
            tally.samples, tally.pixels, tally.ignored = _sum_of_processes(trainer, mine).tolist()
            found = _stat_scores(collections[loader]) if loader < len(collections) else None
            if found is not None:
                self._counts[loader] = _class_counts(trainer, found, tally.pixels - tally.ignored)

    def _write(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        if not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False):
            return
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        prefixes = [str(collection.prefix or "") for collection in _collections(module, stage)] or [f"{stage}/"]
        sections = []
        for loader, prefix in enumerate(prefixes):
            own = {name: value for name, value in logged.items() if _owner(name, prefixes) == prefix}
            own = {name.removeprefix(prefix): value for name, value in own.items()}
            counts = self._counts.get(loader)
            classes = {} if counts is None else _by_class(counts, module)
            facts = _facts(self._tallies.get(loader, _Tally()), module)
            named = set(classes) | {str(c) for c in range(len(counts.hit) if counts else 0)}
            overall = {name: value for name, value in own.items() if not _is_by_class(name, named)}
            sections.append(Section(prefix.rstrip("/") or stage, overall, facts, classes))
        folder = self.folder or Path(trainer.default_root_dir)
        write_text(folder / f"{stage}_metrics.csv", as_csv(sections))
        write_text(folder / f"{stage}_metrics.md", as_markdown(sections))
        rank_zero_info(f"Metrics are in {folder / f'{stage}_metrics.md'} and .csv")


def _collections(module: LightningModule, stage: str) -> list[MetricCollection]:
    metrics: Any = getattr(module, f"{stage}_metrics", None)
    found = [metrics] if isinstance(metrics, MetricCollection) else list(metrics or ())
    return [collection for collection in found if isinstance(collection, MetricCollection)]


def _sum_of_processes(trainer: Trainer, part: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(trainer.strategy.reduce(part.detach().clone(), reduce_op="sum")).cpu()


def _class_counts(trainer: Trainer, metric: _StatScores, labelled: int) -> ClassCounts:
    """Read the counts of a metric over all processes; ``labelled`` pixels (or samples) were to be counted."""
    tp, fp, fn, tn = (_sum_of_processes(trainer, part) for part in (metric.tp, metric.fp, metric.fn, metric.tn))
    counted = int((tp + fn).sum())
    # With `path_to_record_metrics`, TerraTorch's test step adds each batch to its metrics twice.
    times = counted // labelled if labelled and counted % labelled == 0 else 1
    hit, false, missed, rest = (part // max(times, 1) for part in (tp, fp, fn, tn))
    return ClassCounts(hit, false, missed, rest, isinstance(metric, MultilabelStatScores))


def _stat_scores(collection: MetricCollection) -> _StatScores | None:
    """Return a metric that counts true and false positives and negatives by class, such as an accuracy."""
    for metric in collection.values(copy_state=False):
        inner: Any = metric.metric if isinstance(metric, ClasswiseWrapper) else metric
        states = [getattr(inner, state, None) for state in ("tp", "fp", "fn", "tn")]
        if all(isinstance(state, torch.Tensor) and state.ndim == 1 and len(state) > 1 for state in states):
            return cast("_StatScores", inner)
    return None


def _by_class(counts: ClassCounts, module: LightningModule) -> dict[str, dict[str, float]]:
    stated = module.hparams.get("class_names") or []
    ignore = module.hparams.get("ignore_index")
    kept = [c for c in range(len(counts.hit)) if counts.multilabel or c != ignore]
    names = {c: str(stated[c]) if c < len(stated) else str(c) for c in kept}
    if len(set(names.values())) < len(names):  # two classes of one name would become one row
        names = {c: f"{name} ({c})" for c, name in names.items()}
    return {names[c]: counts.scores(c) | {"support": counts.support(c)} for c in kept}


def _is_by_class(name: str, classes: set[str]) -> bool:
    """Whether a logged metric is one of the table by class (`IoU_water`, `Class_Accuracy_0`)."""
    return any(name == f"{metric}_{c}" for metric in ("IoU", "Class_Accuracy", "Class_F1") for c in classes)


def _owner(name: str, prefixes: Sequence[str]) -> str | None:
    """Return the longest prefix that a logged name starts with."""
    return max((prefix for prefix in prefixes if name.startswith(prefix)), key=len, default=None)


def _facts(tally: _Tally, module: LightningModule) -> dict[str, int | None]:
    facts: dict[str, int | None] = {"samples": tally.samples}
    if tally.maps:
        facts |= {"pixels": tally.pixels, "pixels without label": tally.ignored}
    return facts | {"ignore index": module.hparams.get("ignore_index")}
