"""What a deployed file takes: the images of each sensor, their bands, unit and size, and dates."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eo_data.preprocess.steps import PixelSteps
from eo_data.sensors.tables import SENSORS
from eo_data.sensors.units import PHYSICAL_UNITS, InputUnit, UnitConversion, as_unit
from eo_models.preset import ImageFacts, ImageKind, Recipe

#: Name of the input of dates: that of the images, and this.
DATES = "_dates"


@dataclass(frozen=True)
class DeployedInput:
    """The images of one sensor as a file takes them.

    Parameters
    ----------
    name : str
        What the encoder calls them; the name of the input.
    sensor : str
        Key of `eo_data.sensors.tables.SENSORS`.
    bands : tuple of str
        In the order of the channels.
    stored : UnitConversion
        What the numbers are that the file takes, and what makes physical ones of them.
    unit : InputUnit
        What the preprocessing takes.
    pixel_size : float
        Metres.
    side : int
        Pixels.
    frames : int or None
        Of a series; ``None`` for single images.
    dated : bool
        Whether there is an input of dates beside it.
    steps : PixelSteps
        What normalises values.
    """

    name: str
    sensor: str
    bands: tuple[str, ...]
    stored: UnitConversion
    unit: InputUnit
    pixel_size: float
    side: int
    frames: int | None
    dated: bool
    steps: PixelSteps

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes of the pixels."""
        return ("batch", *(() if self.frames is None else ("frame",)), "band", "row", "column")

    def shape(self, batch: int) -> tuple[int, ...]:
        """Return the shape of the pixels for a number of samples."""
        frames = () if self.frames is None else (self.frames,)
        return (batch, *frames, len(self.bands), self.side, self.side)


def bands_by_sensor(
    encoder: str, kinds: Mapping[str, ImageKind], sensors: Sequence[str], bands: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the bands that a file takes, by sensor, with their canonical names.

    Parameters
    ----------
    encoder : str
        For messages.
    kinds : mapping of str to ImageKind
        What it reads, by sensor.
    sensors : sequence of str
        Those that are asked for; may be empty where the bands belong to the images of one kind.
    bands : sequence of str
        Those that are asked for, in any spelling; may be empty where the encoder needs all of a sensor.

    Raises
    ------
    ValueError
        For sensors or bands that the encoder does not read, that are asked for twice, or of which it is not clear
        which are meant.
    """
    _check_sensors(encoder, kinds, sensors)
    found: dict[str, list[str]] = {sensor: [] for sensor in sensors}
    for band in bands:
        sensor, name = _sensor_of(encoder, kinds, sensors, band)
        found.setdefault(sensor, []).append(name)
    for sensor, named in found.items():
        kind = kinds[sensor]
        if repeated := sorted({name for name in named if named.count(name) > 1}):
            msg = f"bands names {', '.join(repeated)} of {sensor} twice. Name each band once."
            raise ValueError(msg)
        missing = [name for name in kind.bands if name not in named]
        if (named and kind.all_needed and missing) or (not named and not kind.all_needed):
            what = f"all of {sensor}'s" if kind.all_needed else f"some of {sensor}'s"
            msg = (
                f"{encoder} needs {what} bands {', '.join((*kind.bands, *kind.optional))}; bands names "
                f"{', '.join(named) or 'none'} of them. Add them to bands"
                f"{', or leave bands out' if kind.all_needed else ''}."
            )
            raise ValueError(msg)
    return {sensor: tuple(named) or kinds[sensor].bands for sensor, named in found.items()}


def _check_sensors(encoder: str, kinds: Mapping[str, ImageKind], sensors: Sequence[str]) -> None:
    for sensor in sensors:
        if sensor not in kinds:
            alike = [name for name in kinds if name.startswith(str(sensor))]
            near = alike or difflib.get_close_matches(str(sensor), list(kinds), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            msg = f"{encoder} reads no images of {sensor!r}.{hint} Valid: {', '.join(kinds)}."
            raise ValueError(msg)
    modalities = [kinds[sensor].modality for sensor in sensors]
    if len(set(modalities)) < len(modalities):
        msg = f"The sensors {', '.join(sensors)} are the same images to {encoder}. Name one of them."
        raise ValueError(msg)


def _sensor_of(encoder: str, kinds: Mapping[str, ImageKind], sensors: Sequence[str], band: str) -> tuple[str, str]:
    """Return the sensor of a band, and its canonical name."""
    among = sensors or list(kinds)
    known = {sensor: name for sensor in among if (name := SENSORS[sensor].canonical(band)) is not None}
    read = {s: name for s, name in known.items() if name in (*kinds[s].bands, *kinds[s].optional)}
    if not read:
        valid = "; ".join(f"{s}: {', '.join((*kinds[s].bands, *kinds[s].optional))}" for s in known or among)
        msg = f"{encoder} reads no band {band!r} of {' or '.join(among)}. Valid: {valid}."
        raise ValueError(msg)
    if len({kinds[sensor].modality for sensor in read}) > 1:
        msg = (
            f"The band {band!r} may be of {' or '.join(read)}. Name the sensor; if it is not clear then, leave bands "
            "out: of these images all bands are needed."
        )
        raise ValueError(msg)
    return next(iter(read.items()))


def facts_of(
    kinds: Mapping[str, ImageKind], bands: Mapping[str, Sequence[str]], pixel_size: float | None
) -> dict[str, ImageFacts]:
    """Return what the encoder is told of the images, by modality.

    Parameters
    ----------
    kinds : mapping of str to ImageKind
        By sensor.
    bands : mapping of str to sequence of str
        By sensor.
    pixel_size : float, optional
        Metres, of sensors of which the encoder takes any; by default that of the finest band.

    Raises
    ------
    ValueError
        If the encoder takes another pixel size.
    """
    facts = {}
    for sensor, names in bands.items():
        kind, table = kinds[sensor], SENSORS[sensor].by_name
        own = kind.pixel_size or pixel_size or min(table[name].gsd for name in names)
        if pixel_size is not None and len(bands) == 1 and own != pixel_size:
            msg = f"pixel_size is {pixel_size:g}, but of {sensor} pixels of {own:g} m are read. Leave it out."
            raise ValueError(msg)
        facts[kind.modality] = ImageFacts(sensor, tuple(names), own)
    return facts


def sides_of(facts: Mapping[str, ImageFacts], side: int, patch_metres: float) -> dict[str, int]:
    """Return the side in pixels of each image; all show the same ground.

    Parameters
    ----------
    facts : mapping of str to ImageFacts
        By modality.
    side : int
        Pixels of the first.
    patch_metres : float
        What must divide the ground cover.

    Raises
    ------
    ValueError
        If it does not; the message names the nearest sides that fit.
    """
    size = next(iter(facts.values())).pixel_size
    ground = side * size
    if side < 1 or not _is_whole(ground / patch_metres):
        unit = patch_metres / size
        near = sorted({max(1, int(side // unit) + more) * unit for more in (0, 1)})
        valid = " or ".join(f"{value:g}" for value in near if _is_whole(value))
        msg = (
            f"A side of {side} px covers {ground:g} m, which patches of {patch_metres:g} m do not divide. "
            f"Nearest sides: {valid or 'none'}; or choose another patch."
        )
        raise ValueError(msg)
    sides = {name: ground / fact.pixel_size for name, fact in facts.items()}
    for name, value in sides.items():
        if not _is_whole(value):
            msg = (
                f"{ground:g} m are {value:g} pixels of {facts[name].pixel_size:g} m ({name}). Choose a side whose "
                "ground is a whole number of pixels of every image."
            )
            raise ValueError(msg)
    return {name: round(value) for name, value in sides.items()}


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) < 1e-6 and round(value) >= 1


def frames_of(facts: Mapping[str, ImageFacts], kinds: Mapping[str, ImageKind], frames: int | None) -> dict[str, int]:
    """Return the number of frames of each image that is a series, by modality.

    Raises
    ------
    ValueError
        If frames are asked for and there are no series, or less than one.
    """
    series = {name: kinds[fact.sensor].frames for name, fact in facts.items() if kinds[fact.sensor].series}
    if frames is not None and (frames < 1 or not series):
        msg = f"frames={frames}: {'at least 1 is needed' if series else 'this encoder reads single images here'}."
        raise ValueError(msg)
    unknown = [name for name, usual in series.items() if frames is None and usual is None]
    if unknown:
        msg = f"Say how many frames {', '.join(unknown)} has: frames=8."
        raise ValueError(msg)
    return {name: int(frames or usual or 1) for name, usual in series.items()}


def unit_of(fact: ImageFacts, recipe: Recipe, modality: str) -> InputUnit:
    """Return the unit that the preprocessing takes of a modality: that of its bands, unless it asks for another."""
    if modality in recipe.target_units:
        return as_unit(recipe.target_units[modality])
    table = SENSORS[fact.sensor].by_name
    return PHYSICAL_UNITS[table[fact.bands[0]].unit]


def conversion_of(
    sensor: str, unit: InputUnit, stated: str | None, scale: float | None, offset: float | None
) -> UnitConversion:
    """Return what makes the numbers that a file takes physical ones.

    Parameters
    ----------
    sensor : str
        For messages.
    unit : InputUnit
        What the preprocessing takes.
    stated : str, optional
        What the file is to take; ``unit`` by default.
    scale, offset : float, optional
        Of digital numbers: ``(number + offset) * scale``.

    Raises
    ------
    ValueError
        For a unit that is not converted, or a scale of anything but digital numbers.
    """
    own = unit if stated is None else as_unit(stated)
    both = {own, unit}
    convertible = both in ({InputUnit.LINEAR_POWER, InputUnit.DECIBEL}, {unit})
    if not convertible and own is InputUnit.DIGITAL_NUMBER and unit is not InputUnit.NATIVE:
        if scale is None:
            msg = (
                f"Digital numbers of {sensor} need a scale: {sensor}=0.0001 for Sentinel-2, beside an offset of -1000 "
                "for its products since 2022 as they are shipped, 0 for harmonised ones."
            )
            raise ValueError(msg)
        return UnitConversion(own, scale, offset or 0.0)
    if not convertible:
        valid = [unit] if unit is InputUnit.NATIVE else [unit, InputUnit.DIGITAL_NUMBER]
        msg = f"{own} of {sensor} cannot become {unit} in the file. Valid: {', '.join(valid)}."
        raise ValueError(msg)
    if scale is not None or offset is not None:
        msg = (
            f"scale and offset are for digital numbers, and {sensor} comes in {own}. Leave them out, or state the unit."
        )
        raise ValueError(msg)
    return UnitConversion(own)
