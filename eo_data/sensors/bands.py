"""Which band is where: the band order of a file, and the selection of bands by name.

Never by position alone. A file whose order nobody states is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from eo_core.text import did_you_mean
from eo_data.sensors.tables import Sensor, spelling

#: Stands in a declared order for a band without a name, any number of times.
UNNAMED = "-"

#: What stands behind a band's name in a description: ``B2 (490 nm)``, ``B2, central wavelength 490 nm``, ``B02_10m``.
_BEHIND_NAME = re.compile(r"([\s,;:(\[]|_\d+m$).*$", re.DOTALL)


def select_bands(available: Sequence[object], wanted: Sequence[object], sensor: Sensor | None) -> list[int]:
    """Return where the wanted bands are.

    Parameters
    ----------
    available : sequence of str or Enum
        Bands of the file in their order. Names that the sensor does not know are allowed; they cannot be wanted.
    wanted : sequence of str or Enum
        Bands in the order in which they are wanted.
    sensor : Sensor or None
        Whose names and aliases count, without regard to case. With ``None`` names are compared literally.

    Returns
    -------
    list of int
        One index into ``available`` per wanted band.

    Raises
    ------
    ValueError
        For a missing, repeated or unknown band, or none at all; the message lists what is there.
    """
    names = _spellings("available", available)
    wishes = _spellings("wanted", wanted)
    there = ", ".join(names)
    position = _positions(names, sensor, f"among the available bands ({there})")
    _positions(wishes, sensor, f"among the wanted bands ({', '.join(wishes)})")
    keys = [sensor.canonical(wish) if sensor else wish for wish in wishes]
    for wish, key in zip(wishes, keys, strict=True):
        if key is None and sensor is not None:
            hint = did_you_mean(wish, sensor.band_names, cutoff=0.5)
            msg = (
                f"{sensor.name} has no band {wish!r}.{hint} Valid: {', '.join(sensor.band_names)}. Available: {there}."
            )
            raise ValueError(msg)
    missing = [wish for wish, key in zip(wishes, keys, strict=True) if key not in position]
    if missing:
        hint = did_you_mean(missing[0], names, cutoff=0.5)
        msg = (
            f"Wanted bands that are not there: {', '.join(missing)}.{hint} Available: {there}. "
            "Take them off the list of wanted bands, or correct the names of the bands of the file."
        )
        raise ValueError(msg)
    return [position[key] for key in keys if key is not None]


def band_order(
    n_bands: int,
    descriptions: Sequence[str | None],
    declared: Sequence[object] | None,
    source: str,
    sensor: Sensor | None,
) -> tuple[str, ...]:
    """Return the names of a file's bands in the order of the file.

    The order that the config declares counts, and must not contradict the descriptions in the file. Without it, the
    descriptions count if every band has one and the sensor knows at least one of them.

    Parameters
    ----------
    n_bands : int
        Number of bands in the file.
    descriptions : sequence of (str or None)
        Band descriptions of the file; what follows the name (``B2 (490 nm)``) is ignored if the sensor knows the
        name.
    declared : sequence of (str or Enum), optional
        Band order from the config: all bands of the file, also those that nobody wants (``-`` if without a name).
    source : str
        The file, for messages.
    sensor : Sensor or None
        Whose names and aliases count; with ``None`` names are taken literally.

    Returns
    -------
    tuple of str
        Canonical names; where the sensor does not know a band, its name in the config or file.

    Raises
    ------
    ValueError
        If the order is not stated, stated for another number of bands, names a band twice, or if config and file
        contradict each other.
    """
    texts = tuple(descriptions) or (None,) * n_bands
    if len(texts) != n_bands:
        msg = f"{source} has {n_bands} bands, but {len(texts)} band descriptions; expected one per band, or none."
        raise ValueError(msg)
    described = [_resolve(text, sensor) for text in texts]
    if declared is not None:
        names = _spellings("declared", declared)
        if len(names) != n_bands:
            msg = (
                f"{source} has {n_bands} bands, but the config declares {len(names)}: {', '.join(names)}. "
                "Declare every band of the file in its order, also those that are not wanted."
            )
            raise ValueError(msg)
        _positions(names, sensor, f"among the declared bands of {source} ({', '.join(names)})")
        order = tuple((sensor.canonical(name) if sensor else None) or name for name in names)
        _refuse_contradiction(order, described, source, sensor)
        return order
    return _described_order(texts, described, source, sensor)


def _described_order(
    descriptions: Sequence[str | None], described: Sequence[str | None], source: str, sensor: Sensor | None
) -> tuple[str, ...]:
    order = tuple(name for name in described if name)
    known = set(sensor.band_names) if sensor else set(order)
    shown = ", ".join(text or "(none)" for text in descriptions)
    remedy = "Declare the names of its bands, in the order of the file: file_bands: [...]."
    if len(order) != len(descriptions) or not known.intersection(order):
        whose = f" Not every band has one, or none is a band of {sensor.name}." if sensor and any(descriptions) else ""
        msg = (
            f"The band order of {source} ({len(descriptions)} bands) is unknown; descriptions: {shown}.{whose} {remedy}"
        )
        raise ValueError(msg)
    if len(set(order)) != len(order):
        msg = f"The band descriptions of {source} name a band twice: {shown}. {remedy}"
        raise ValueError(msg)
    return order


def _refuse_contradiction(
    order: Sequence[str], described: Sequence[str | None], source: str, sensor: Sensor | None
) -> None:
    """Refuse a declared order if the file names, in the same words, another band at some place."""
    words = {*order, *(sensor.band_names if sensor else ())}
    clashes = [
        f"band {i} is {said} in the file and {name} in the config"
        for i, (name, said) in enumerate(zip(order, described, strict=True), start=1)
        if said in words and said != name and UNNAMED not in (said, name)
    ]
    if clashes:
        msg = (
            f"The declared band order contradicts the band descriptions of {source}: {'; '.join(clashes)}. "
            "Correct the declared order, or leave it out to use the descriptions."
        )
        raise ValueError(msg)


def _resolve(description: str | None, sensor: Sensor | None) -> str | None:
    text = (description or "").strip()
    if sensor is None or not text:
        return text or None
    return sensor.canonical(text) or sensor.canonical(_BEHIND_NAME.sub("", text)) or text


def _spellings(what: str, names: Sequence[object]) -> list[str]:
    if isinstance(names, str) or not names:
        msg = f"The {what} bands must be a list of names such as ['BLUE', 'GREEN'], got {names!r}."
        raise ValueError(msg)
    return [spelling(name) for name in names]


def _positions(names: Sequence[str], sensor: Sensor | None, where: str) -> Mapping[str, int]:
    """Return the place of each band, and refuse two names of one band."""
    position: dict[str, int] = {}
    for i, name in enumerate(names):
        key = sensor.canonical(name) if sensor else name
        if key is None or key == UNNAMED:
            continue
        if key in position:
            both = " and ".join(dict.fromkeys((names[position[key]], name)))
            msg = f"Band {key} comes twice {where}: {both}. Name every band once."
            raise ValueError(msg)
        position[key] = i
    return position
