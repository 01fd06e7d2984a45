"""The metrics of a test as a table, overall and by class, to keep and to print."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torchmetrics import ClasswiseWrapper, MetricCollection
from torchmetrics.classification import MultilabelStatScores

from eo_core.files import write_text

#: Columns of the table by class, in this order.
SCORES = ("IoU", "accuracy", "F1", "precision", "recall")


@dataclass(frozen=True)
class ClassCounts:
    """What a confusion matrix tells of each class, int64 ``(classes,)``; pixels without a label are not in it.

    Parameters
    ----------
    hit : Tensor
        True positives.
    false : Tensor
        False positives: predicted as this class, but of another.
    missed : Tensor
        False negatives: of this class, but predicted as another.
    rest : Tensor
        True negatives.
    multilabel : bool
        Whether a sample may have several classes. Then the accuracy of a class counts its true negatives too, as
        torchmetrics does; otherwise it is its recall.
    """

    hit: torch.Tensor
    false: torch.Tensor
    missed: torch.Tensor
    rest: torch.Tensor
    multilabel: bool = False

    def scores(self, c: int) -> dict[str, float]:
        """Return the scores of a class; NaN if it is neither in the labels nor predicted, as macro means leave it out.

        Precision is 0 for a class that is never predicted, recall for one that no label has, as in torchmetrics.
        """
        hit, false, missed, rest = (int(part[c]) for part in (self.hit, self.false, self.missed, self.rest))
        if not hit + false + missed:
            return dict.fromkeys(SCORES, math.nan)
        recall = _ratio(hit, hit + missed)
        return {
            "IoU": _ratio(hit, hit + false + missed),
            "accuracy": _ratio(hit + rest, hit + false + missed + rest) if self.multilabel else recall,
            "F1": _ratio(2 * hit, 2 * hit + false + missed),
            "precision": _ratio(hit, hit + false),
            "recall": recall,
        }

    def support(self, c: int) -> int:
        """Return the number of pixels (or samples) whose label is the class."""
        return int(self.hit[c] + self.missed[c])


@dataclass(frozen=True)
class Section:
    """The results on one data loader.

    Parameters
    ----------
    name : str
        ``test``, or with the name of the data loader.
    overall : mapping of str to float
        Metrics as the task logged them.
    facts : mapping of str to int or None
        Numbers of samples and pixels, ignore index.
    classes : mapping of str to mapping
        Scores and support by class.
    """

    name: str
    overall: Mapping[str, float]
    facts: Mapping[str, int | None]
    classes: Mapping[str, Mapping[str, float]]


@dataclass
class _Tally:
    samples: int = 0
    pixels: int = 0
    ignored: int = 0
    maps: bool = False


class MetricsTable(Callback):
    """Writes the metrics of ``test`` (and of ``validate``) as ``test_metrics.csv`` and ``test_metrics.md``.

    Overall metrics are those that the task logs. The table by class comes from the counts that the task's own metrics
    hold, so that ignored pixels and several processes are treated alike. Both files have a section for each data
    loader. Works with TerraTorch's tasks; of other modules, the logged metrics are written.

    Parameters
    ----------
    folder : str, optional
        Where the files go; the trainer's ``default_root_dir`` by default.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._tallies: dict[int, _Tally] = {}
        self._counts: dict[int, ClassCounts | None] = {}

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self._tallies, self._counts = {}, {}

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self._tallies, self._counts = {}, {}

    # Before the step, which may take the batch apart.

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count samples and pixels."""
        self._count(batch, pl_module, dataloader_idx)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count samples and pixels."""
        if trainer.state.fn == "validate":
            self._count(batch, pl_module, dataloader_idx)

    # Callbacks come before the task at the end of an epoch, when its metrics still hold what they have counted.

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the counts."""
        self._read(trainer, _collections(pl_module, "test"))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the counts."""
        if trainer.state.fn == "validate":
            self._read(trainer, _collections(pl_module, "val"))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the files."""
        self._write(trainer, pl_module, "test")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the files."""
        if trainer.state.fn == "validate":
            self._write(trainer, pl_module, "val")

    def _count(self, batch: Any, module: LightningModule, loader: int) -> None:  # noqa: ANN401
        target = batch.get("mask", batch.get("label")) if isinstance(batch, Mapping) else None
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
        """Add the counts of all processes up."""

        def total(part: torch.Tensor) -> torch.Tensor:
            return torch.as_tensor(trainer.strategy.reduce(part.detach().clone(), reduce_op="sum")).cpu()

        for loader in range(max(len(collections), *(i + 1 for i in self._tallies), 1)):
            tally = self._tallies.setdefault(loader, _Tally())
            mine = torch.tensor([tally.samples, tally.pixels, tally.ignored], device=trainer.strategy.root_device)
            tally.samples, tally.pixels, tally.ignored = (int(value) for value in total(mine))
            found = _stat_scores(collections[loader]) if loader < len(collections) else None
            if found is not None:
                tp, fp, fn, tn = (total(getattr(found, state)) for state in ("tp", "fp", "fn", "tn"))
                counted = int((tp + fn).sum())
                labelled = tally.pixels - tally.ignored
                # With `path_to_record_metrics`, TerraTorch's test step adds each batch to its metrics twice.
                times = counted // labelled if labelled and counted % labelled == 0 else 1
                hit, false, missed, rest = (part // max(times, 1) for part in (tp, fp, fn, tn))
                several = isinstance(found, MultilabelStatScores)
                self._counts[loader] = ClassCounts(hit, false, missed, rest, several)

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


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _collections(module: LightningModule, stage: str) -> list[MetricCollection]:
    metrics: Any = getattr(module, f"{stage}_metrics", None)
    found = [metrics] if isinstance(metrics, MetricCollection) else list(metrics or ())
    return [collection for collection in found if isinstance(collection, MetricCollection)]


def _stat_scores(collection: MetricCollection) -> Any:  # noqa: ANN401
    """Return a metric that counts true and false positives and negatives by class, such as an accuracy."""
    for metric in collection.values(copy_state=False):
        inner: Any = metric.metric if isinstance(metric, ClasswiseWrapper) else metric
        states = [getattr(inner, state, None) for state in ("tp", "fp", "fn", "tn")]
        if all(isinstance(state, torch.Tensor) and state.ndim == 1 and len(state) > 1 for state in states):
            return inner
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


def _means(classes: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Means over the classes that have a value."""
    means = {}
    for score in SCORES:
        values = [row[score] for row in classes.values() if not math.isnan(row[score])]
        means[score] = sum(values) / len(values) if values else math.nan
    return means


def as_csv(sections: Sequence[Section]) -> str:
    """Return rows of section, class (empty for overall ones), metric, value; no value where it is undefined."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("section", "class", "metric", "value"))
    for section in sections:
        for metric, value in (*section.facts.items(), *section.overall.items()):
            writer.writerow((section.name, "", metric, _cell(value, "")))
        for name, row in section.classes.items():
            for metric, value in row.items():
                writer.writerow((section.name, name, metric, _cell(value, "")))
    return text.getvalue()


def _cell(value: float | int | None, undefined: str, digits: int = 9) -> str:
    if value is None:
        return "none"
    if isinstance(value, int):
        return str(value)
    return undefined if math.isnan(value) else f"{value:.{digits}g}"


def as_markdown(sections: Sequence[Section]) -> str:
    """Return aligned tables, readable as they are."""
    lines: list[str] = []
    for section in sections:
        lines += [f"# {section.name}", "", *_said(section), ""]
        overall = [(name, _fixed(value)) for name, value in section.overall.items()]
        lines += [*_table(("metric", "value"), overall), ""] if overall else []
        if section.classes:
            rows = [
                (name, *(_fixed(row[score]) for score in SCORES), f"{int(row['support'])}")
                for name, row in section.classes.items()
            ]
            means = _means(section.classes)
            total = sum(int(row["support"]) for row in section.classes.values())
            rows.append(("mean of classes", *(_fixed(means[score]) for score in SCORES), str(total)))
            unit = "pixels" if "pixels" in section.facts else "samples"
            lines += [*_table(("class", *SCORES, f"support ({unit})"), rows), ""]
            lines += ["`-`: neither in the labels nor predicted; not in the means.", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _said(section: Section) -> Iterator[str]:
    for name, value in section.facts.items():
        yield f"- {name}: {'none' if value is None else value}"


def _fixed(value: float) -> str:
    """Four decimals, fewer of large numbers, and four significant digits of small ones."""
    if math.isnan(value):
        return "-"
    if 1e3 <= abs(value) < 1e6:
        return f"{value:.1f}"
    return f"{value:.4f}" if value == 0 or 1e-2 <= abs(value) < 1e3 else f"{value:.4g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        first = row[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        return f"| {' | '.join([first, *rest])} |"

    rule = "|".join(["", "-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:]), ""])
    return [line(cells[0]), rule, *(line(row) for row in cells[1:])]
