"""Whether a data module and a task mean the same: bands, classes, and what a checkpoint was trained on.

Both sections of a config state them, and nothing else in TerraTorch compares the two: a swapped order would run.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence, Set
from typing import Any

from torch import nn

from eo_core.fingerprint import differences
from eo_data.catalog.sources import ImageSource
from eo_data.sensors.tables import Sensor

#: Channel that our data modules add to an image (`dates_as: plane`); no file has it.
_DATE_PLANE = "DATE"


def check_bands(model: nn.Module, modalities: Mapping[str, ImageSource]) -> None:
    """Compare the bands of the data with those that the backbones in a model expect.

    A backbone says what it expects (``input_bands`` of `eo_models.contract.Encoder`), and which of these channels its
    preprocessing makes (``derived_bands``); those of others say nothing. Names that the sensor's table does not know
    are not compared. A module with ``input_bands_include_children``, such as several backbones that share the channels
    of an image, answers for all modules in it.

    Parameters
    ----------
    model : Module
        Any module; all that it holds are searched.
    modalities : mapping of str to ImageSource
        Of the data module.

    Raises
    ------
    ValueError
        If a channel holds another band than the backbone takes it for, or there are more or fewer of them.
    """
    expected = getattr(model, "input_bands", None)
    if isinstance(expected, Mapping):
        derived = {_DATE_PLANE, *getattr(model, "derived_bands", ())}
        for name, bands in expected.items():
            own = next(iter(modalities)) if name is None and len(modalities) == 1 else name
            if own in modalities:
                _compare(str(own), modalities[str(own)], bands, derived)
    if not getattr(model, "input_bands_include_children", False):
        for child in model.children():
            check_bands(child, modalities)


def check_dates(model: nn.Module, modalities: Mapping[str, ImageSource], dates_as: str) -> None:
    """Refuse dates in the input of a backbone that says that it takes none (``takes_dates``).

    Dates of images that it picks by name (``input_bands`` with names) do no harm as entries beside them, and a module
    with ``input_bands_include_children`` hands its own modules what they take.

    Parameters
    ----------
    model : Module
        Any module; all that it holds are searched.
    modalities : mapping of str to ImageSource
        Of the data module.
    dates_as : {'dict', 'plane', 'none'}
        How the data module hands dates on.

    Raises
    ------
    ValueError
        If there are some; the message names the setting.
    """
    dated = [name for name, source in modalities.items() if source.dated]
    bands = getattr(model, "input_bands", None)
    if dated and dates_as != "none" and isinstance(bands, Mapping) and not getattr(model, "takes_dates", True):
        read = [name for name in dated if name in bands or (None in bands and len(modalities) == 1)]
        if read and (dates_as == "plane" or None in bands):
            how = "one more channel" if dates_as == "plane" else "entries beside the image"
            msg = (
                f"{', '.join(map(repr, read))} is dated, and its dates would go to the encoder "
                f"({type(model).__name__}) as {how}, but it reads none. Set dates_as: none in the data section; the "
                "dates are still found, and exports record them."
            )
            raise ValueError(msg)
    if not getattr(model, "input_bands_include_children", False):
        for child in model.children():
            check_dates(child, modalities, dates_as)


def check_classes(task: nn.Module, classes: int | None) -> None:
    """Compare the number of classes in the labels with those of a task of TerraTorch.

    A class too many would be one that never occurs, and that counts in a mean over classes.

    Parameters
    ----------
    task : Module
        With ``hparams``: ``model_args.num_classes`` and ``class_names``.
    classes : int or None
        Of the labels.

    Raises
    ------
    ValueError
        If there are others.
    """
    arguments: Any = getattr(task, "hparams", {})
    model, names = arguments.get("model_args"), arguments.get("class_names")
    counts = {
        "label.classes of the data": classes,
        "num_classes of the model": model.get("num_classes") if isinstance(model, Mapping) else None,
        "class_names of the task": len(names) if names is not None else None,
    }
    stated = {name: count for name, count in counts.items() if isinstance(count, int)}
    if len(set(stated.values())) > 1:
        msg = (
            f"The numbers of classes do not agree: {', '.join(f'{name} {n}' for name, n in stated.items())}. Make them "
            "the same; classes that are not to be learned are named under label.ignore or joined by label.remap."
        )
        raise ValueError(msg)


def check_adapters(task: nn.Module) -> None:
    """Refuse to train adapters (LoRA) that are frozen.

    Raises
    ------
    ValueError
        If none of them trains.
    """
    adapters = [parameter for name, parameter in task.named_parameters() if "lora_" in name]
    if adapters and not any(parameter.requires_grad for parameter in adapters):
        msg = (
            f"The backbone has {len(adapters)} adapters of LoRA and all of them are frozen, so that they would stay as "
            "they are. Leave freeze_backbone out: peft_config freezes everything but the adapters by itself."
        )
        raise ValueError(msg)


def accepts_extra_keywords(task: nn.Module | None) -> bool:
    """Whether the model of a task takes entries of a batch that it does not know, which TerraTorch hands to it."""
    model = getattr(task, "model", None)
    parts = [part for part in (model, getattr(model, "encoder", None)) if isinstance(part, nn.Module)]
    return all(
        any(given.kind is given.VAR_KEYWORD for given in inspect.signature(part.forward).parameters.values())
        for part in parts
    )


def check_inputs(trained_on: Mapping[str, Any], now: Mapping[str, Any], *, allowed: bool) -> None:
    """Compare what a checkpoint was trained on (`eo_data.dataset.facts.describe_inputs`) with what a data module makes.

    Raises
    ------
    ValueError
        If bands or preprocessing differ and that is not ``allowed``; then it is a warning.
    """
    other = differences(trained_on, now) if trained_on else []
    if not other:
        return
    msg = (
        f"The checkpoint was trained on other numbers than this data module makes: {'; '.join(other)}. Use the data "
        "section of its config (`python -m eo_finetune.config CHECKPOINT` prints it), or set "
        "allow_other_preprocess: true if this is intended."
    )
    if not allowed:
        raise ValueError(msg)
    warnings.warn(msg, stacklevel=3)


def _compare(name: str, source: ImageSource, bands: Sequence[str], derived: Set[str]) -> None:
    given = [band for band in source.bands if band.upper() not in derived]
    wanted = [band for band in bands if band.upper() not in derived]
    known = [(_canonical(a, source.table), _canonical(b, source.table)) for a, b in zip(given, wanted, strict=False)]
    wrong = [i for i, (a, b) in enumerate(known) if a and b and a != b]
    if not wrong and len(given) == len(wanted):
        return
    where = (
        f"channel {wrong[0]} is {given[wrong[0]]} in the data and {wanted[wrong[0]]} in the backbone"
        if wrong
        else (f"the data has {len(given)} and the backbone expects {len(wanted)}")
    )
    msg = (
        f"The bands of {name!r} do not agree: {where}. Data: {', '.join(given)}; backbone: {', '.join(wanted)}. Make "
        "both lists the same, in the same order."
    )
    raise ValueError(msg)


def _canonical(band: str, table: Sensor | None) -> str | None:
    return None if table is None else table.canonical(band)
