"""Whether a data module hands over the bands that a backbone was told it would get.

Both name their bands in one config, and nothing else in TerraTorch compares the two lists: a swapped order would run.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from eo_data.facts import differences
from eo_data.sensors import Sensor
from eo_data.sources import ImageSource

#: Channels that are made on the way: the date plane, and AnySat's ratio.
_DERIVED = frozenset(("DATE", "VV/VH"))


def check_bands(model: nn.Module, modalities: Mapping[str, ImageSource]) -> None:
    """Compare the bands of the data with those that the backbones in a model expect.

    Only backbones of this project say what they expect (``input_bands``); names that the sensor's table does not know
    are not compared. A module with ``speaks_for_children``, such as several backbones that share the channels of an
    image, answers for all modules in it.

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
        for name, bands in expected.items():
            own = next(iter(modalities)) if name is None and len(modalities) == 1 else name
            if own in modalities:
                _compare(str(own), modalities[str(own)], bands)
    if not getattr(model, "speaks_for_children", False):
        for child in model.children():
            check_bands(child, modalities)


def takes_further_entries(task: nn.Module | None) -> bool:
    """Whether the model of a task takes entries of a batch that it does not know, which TerraTorch hands to it."""
    model = getattr(task, "model", None)
    parts = [part for part in (model, getattr(model, "encoder", None)) if isinstance(part, nn.Module)]
    return all(
        any(given.kind is given.VAR_KEYWORD for given in inspect.signature(part.forward).parameters.values())
        for part in parts
    )


def check_inputs(trained_on: Mapping[str, Any], now: Mapping[str, Any], *, allowed: bool) -> None:
    """Compare what a checkpoint was trained on (`eo_data.facts.facts_of_inputs`) with what a data module makes.

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


def _compare(name: str, source: ImageSource, bands: Sequence[str]) -> None:
    given = [band for band in source.bands if band.upper() not in _DERIVED]
    wanted = [band for band in bands if band.upper() not in _DERIVED]
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
