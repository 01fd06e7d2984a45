"""Samples out of a batch: which ones to draw, what the model predicts for them, and their labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer

from eo_data.dataset.contract import NOT_FOR_MODEL
from eo_finetune.panels.drawable import MapSample, SceneSample
from eo_finetune.panels.views import View

#: Titles and pictures ``(h, w, 3)`` in 0..1.
type Pictures = tuple[tuple[str, np.ndarray], ...]

#: A class of a multi-label task counts as predicted from here on, as in its metrics.
_PRESENT = 0.5


class NotDrawableError(ValueError):
    """A sample is not of a kind that can be drawn."""


def share_of_batch(samples: int, index: int, batches: int | float) -> int:
    """Return how many samples are to be taken up to and including a batch, so that they spread over all batches."""
    if not math.isfinite(batches):
        return samples
    return sum(1 for i in range(samples) if i * int(batches) // samples <= index)


def batch_size(batch: Mapping[str, Any]) -> int:
    """Return the number of samples of a batch; 0 if no entry has one for each."""
    for key in ("mask", "label", "image", "filename"):
        entry = batch.get(key)
        for part in entry.values() if isinstance(entry, Mapping) else (entry,):
            if isinstance(part, torch.Tensor) and part.ndim:
                return len(part)
            if isinstance(part, list | tuple):
                return len(part)
    return 0


def first_of_batch(entry: Any, count: int, size: int) -> Any:  # noqa: ANN401
    """Return the first samples of a batch, or of a part of it, without changing it.

    Tensors and lists with an entry per sample are cut; so are tensors in a list that have one (features by level).
    What belongs to the whole batch stays.
    """
    if isinstance(entry, Mapping):
        return {key: first_of_batch(value, count, size) for key, value in entry.items()}
    if isinstance(entry, torch.Tensor):
        return entry[:count] if entry.ndim and len(entry) == size else entry
    if isinstance(entry, list | tuple):
        if entry and all(isinstance(part, torch.Tensor) and part.ndim > 1 and len(part) == size for part in entry):
            return [part[:count] for part in entry]
        return entry[:count] if len(entry) == size else entry
    return entry


def predicted(trainer: Trainer, module: LightningModule, batch: Mapping[str, Any]) -> torch.Tensor:
    """Return a task's output as its validation or test step gets it: by tiles if they do, in the run's precision.

    ``predict_step`` would use tiles wherever they are configured, also where the metrics are made without them. It is
    the way for modules that are no tasks of TerraTorch.
    """
    cuda = [module.device] if module.device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(cuda), trainer.precision_plugin.forward_context():
        evaluate = getattr(module, "handle_full_or_tiled_inference", None)
        if evaluate is None:
            output = module.predict_step(dict(batch), 0)
        else:
            tiled = f"tiled_inference_on_{'testing' if trainer.testing else 'validation'}"
            rest = {key: value for key, value in batch.items() if key not in NOT_FOR_MODEL}
            output = evaluate(batch["image"], getattr(module, tiled, False), **rest)
    while isinstance(output, list | tuple) and output:  # with file names, and with the name of the kind of output
        output = output[0]
    return getattr(output, "output", output)


def sample_of(
    module: LightningModule, batch: Mapping[str, Any], output: torch.Tensor, i: int, name: str, views: Sequence[View]
) -> MapSample | SceneSample:
    """Return the pictures, label and prediction of the ``i``-th sample of a batch.

    Parameters
    ----------
    module : LightningModule
        The task, with the names of classes and the ignore index among its hyper-parameters.
    batch : mapping
        With ``mask`` ``(B, H, W)`` or ``label`` ``(B,)`` or ``(B, classes)``.
    output : Tensor
        Output of the model: scores ``(B, classes, H, W)`` or ``(B, classes)``, or classes or values without that axis.
    i : int
        Which sample.
    name : str
        Its name.
    views : sequence of View
        The pictures to make of its images.

    Raises
    ------
    NotDrawableError
        If label and output are of a kind for which there is no picture.
    """
    if not isinstance(output, torch.Tensor) or not output.ndim or i >= len(output):
        msg = f"the model's output is no tensor with an entry per sample, but {type(output).__name__}."
        raise NotDrawableError(msg)
    valid = batch.get("valid")
    observed = valid[i].cpu().numpy() if isinstance(valid, torch.Tensor) else None
    image = batch.get("image")
    own = {key: part[i] for key, part in image.items()} if isinstance(image, Mapping) else image
    own = own if isinstance(own, Mapping) or own is None else own[i]
    pictures = tuple(picture for picture in (view.of(own, observed) for view in views) if picture)
    if isinstance(batch.get("mask"), torch.Tensor):
        return _map_sample(module, batch["mask"][i], output[i], name, pictures)
    if isinstance(batch.get("label"), torch.Tensor):
        return _scene_sample(module, batch["label"][i], output[i], name, pictures)
    msg = f"the batch has neither mask nor label, but {', '.join(batch)}."
    raise NotDrawableError(msg)


def _map_sample(
    module: LightningModule,
    mask: torch.Tensor,
    output: torch.Tensor,
    name: str,
    pictures: Pictures,
) -> MapSample:
    label = mask.squeeze(0) if mask.ndim == 3 else mask
    regression = getattr(module, "task", None) == "regression" or (
        label.is_floating_point() and getattr(module, "task", None) != "segmentation"
    )
    if regression:
        output = output.squeeze(0) if output.ndim == 3 else output
        output = output.float()
    elif output.ndim == 3:
        output = output.argmax(dim=0)
    if label.ndim != 2 or output.shape != label.shape:
        msg = f"label {tuple(mask.shape)} and prediction {tuple(output.shape)} are not one map (H, W) each."
        raise NotDrawableError(msg)
    if regression and not bool(output.isfinite().all()):
        msg = "the prediction is not finite."
        raise NotDrawableError(msg)
    true = label.float().cpu().numpy() if regression else label.long().cpu().numpy()
    ignore = _argument(module, "ignore_index")
    ignored = ~np.isfinite(true) if regression else true < 0
    if ignore is not None:
        ignored |= true == ignore
    said = output.cpu().numpy() if regression else output.long().cpu().numpy()
    return MapSample(name, pictures, true, said, ignored)


def _scene_sample(
    module: LightningModule,
    label: torch.Tensor,
    output: torch.Tensor,
    name: str,
    pictures: Pictures,
) -> SceneSample:
    picture = pictures[0][1] if pictures else None
    if (label.is_floating_point() and label.ndim == 0) or getattr(module, "task", None) == "scalar_regression":
        said = ", ".join(f"{value:.4g}" for value in output.flatten().tolist())
        return SceneSample(name, picture, ", ".join(f"{v:.4g}" for v in label.flatten().tolist()), said, None, None)
    names = class_names(module, output.shape[-1] if output.ndim else 0)
    if label.ndim == 1 and output.shape == label.shape:
        chance = torch.sigmoid(output.float())
        true, found = label > 0, chance >= _PRESENT
        given, said = (
            ", ".join(names[c] for c in torch.nonzero(w).flatten().tolist()) or "none" for w in (true, found)
        )
        return SceneSample(name, picture, given, said, None, bool((true == found).all()))
    if label.ndim or output.ndim > 1:
        msg = f"label {tuple(label.shape)} and output {tuple(output.shape)} are no class and no scores of classes."
        raise NotDrawableError(msg)
    true_class = int(label)
    best = int(output.argmax()) if output.ndim else int(output)
    probability = float(torch.softmax(output.float(), 0)[best]) if output.ndim else None
    names = class_names(module, max(len(names), true_class + 1, best + 1))
    judged = None if true_class in (_argument(module, "ignore_index"), -1) else true_class == best
    written = "none" if judged is None else names[true_class]
    return SceneSample(name, picture, written, names[best], probability, judged)


def _argument(module: LightningModule, name: str) -> Any:  # noqa: ANN401
    return module.hparams.get(name)


def class_names(module: LightningModule, count: int) -> list[str]:
    """Return the task's names of classes, at least ``count`` of them; ``class 3`` where it names none."""
    stated = _argument(module, "class_names") or []
    arguments = _argument(module, "model_args")
    declared = arguments.get("num_classes") if isinstance(arguments, Mapping) else None
    length = max(count, len(stated), int(declared or 0))
    return [str(stated[c]) if c < len(stated) else f"class {c}" for c in range(length)]


def sample_name(batch: Mapping[str, Any], i: int, number: int, root: str | Path | None) -> str:
    """Return the path of a sample below the root of the data set, or its number where there is no path."""
    names = batch.get("filename")
    names = next(iter(names.values()), None) if isinstance(names, Mapping) else names
    if not isinstance(names, list | tuple) or i >= len(names):
        return f"sample {number + 1}"
    path = Path(str(names[i]))
    if root is not None and path.is_relative_to(root):
        path = path.relative_to(root)
    return path.as_posix()
