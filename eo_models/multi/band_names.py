"""What the names of bands mean, so that ``B02``, ``S2:Blue`` and ``BLUE`` are one band, and ``B2`` of Landsat 7 is not.

The sensor of an image decides. Where nobody states it, every sensor that could have such channels is asked, and names
that these sensors understand differently are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from eo_core.arguments import from_text
from eo_data.sensors.tables import SENSORS, Sensor
from eo_models.multi.batch import UNNAMED, Bands

#: Sensors by image, empty where nobody states one.
Sensors = Mapping[str, tuple[Sensor, ...]]


@dataclass(frozen=True)
class WantedBand:
    """A band that an encoder reads.

    Parameters
    ----------
    spellings : tuple of str
        Its name in the entry, and its name for the encoder where that is another one.
    sensors : tuple of Sensor
        Whose names they are; empty for those of the image, whatever it is.
    """

    spellings: tuple[str, ...]
    sensors: tuple[Sensor, ...] = ()

    def channels(self, available: Sequence[str], sensors: tuple[Sensor, ...]) -> tuple[int, ...]:
        """Return the channels that hold it, if the image comes from these sensors."""
        meant = [meaning(name, sensors) for name in available]
        for spelt in self.spellings:
            wanted = meaning(spelt, self.sensors or sensors)
            if wanted in meant:
                return tuple(i for i, name in enumerate(meant) if name == wanted)
        return ()


def parse_sensors(given: object, bands: Bands) -> dict[str, tuple[str, ...]]:
    """Check the argument ``sensors``, and return keys of `eo_data.sensors.tables.SENSORS` by image.

    Parameters
    ----------
    given : str, sequence of str, mapping, or None
        A key of `eo_data.sensors.tables.SENSORS`, or several for an image with bands of several sensors; by image
        where they differ.
    bands : mapping
        Channels of the input by image; empty if the config does not name them.

    Raises
    ------
    ValueError
        For an unknown key, an image that ``bands`` does not name, or sensors of channels without names.
    """
    value = from_text(given)
    if value is None:
        return {}
    if not bands:
        msg = (
            f"sensors={given!r} says what the names of channels mean, but bands does not name any. Add bands "
            "(backbone_bands), or leave sensors out."
        )
        raise ValueError(msg)
    by_image: Mapping[object, object] = value if isinstance(value, Mapping) else dict.fromkeys(bands, value)
    unknown = [name for name in by_image if name not in bands]
    if unknown:
        images = "is a list: the input is one image" if UNNAMED in bands else f"names {', '.join(bands)}"
        msg = f"sensors names the images {unknown}, but bands {images}. Write sensors: landsat7, or the same names."
        raise ValueError(msg)
    return {str(name): _keys(keys) for name, keys in by_image.items()}


def _keys(keys: object) -> tuple[str, ...]:
    names = [keys] if isinstance(keys, str) else keys
    if not isinstance(names, Sequence) or not names or any(name not in SENSORS for name in names):
        msg = f"sensors must name sensors of the input, got {keys!r}. Valid: {', '.join(SENSORS)}."
        raise ValueError(msg)
    return tuple(names)


def tables_of(keys: Mapping[str, Sequence[str]]) -> Sensors:
    """Return the sensors behind the keys of each image."""
    return {image: tuple(SENSORS[key] for key in own) for image, own in keys.items()}


def meaning(band: str, sensors: Iterable[Sensor]) -> str:
    """Return one name for all spellings of a band that the sensors know; other names in upper case."""
    known = (sensor.canonical(band) for sensor in sensors)
    return next((name for name in known if name is not None), literal(band))


def literal(band: str) -> str:
    """Return a name without regard to case and to spaces around it."""
    return band.strip().upper()


def find_channels(
    where: str, wanted: Sequence[WantedBand], available: Sequence[str], sensors: tuple[Sensor, ...]
) -> tuple[int, ...]:
    """Return the channel of each wanted band: by its very name, else by what the name means.

    Parameters
    ----------
    where : str
        Entry, for messages.
    wanted : sequence of WantedBand
        Bands of an encoder, in its order.
    available : sequence of str
        Names of the channels of the image.
    sensors : tuple of Sensor
        Of the image; empty if nobody states them.

    Raises
    ------
    ValueError
        If a band is not there, or its name could mean several channels.
    """
    literals = [literal(name) for name in available]
    by_name = [
        next((literals.index(s) for s in map(literal, band.spellings) if s in literals), None) for band in wanted
    ]
    other = [band for band, channel in zip(wanted, by_name, strict=True) if channel is None]
    readings = [sensors] if sensors else _possible_readings(available)
    complete = [reading for reading in readings if all(band.channels(available, reading) for band in other)]
    return tuple(
        _one_channel(where, band, available, complete or readings) if channel is None else channel
        for band, channel in zip(wanted, by_name, strict=True)
    )


def _possible_readings(available: Sequence[str]) -> list[tuple[Sensor, ...]]:
    """Sensors that an image with these channels could come from: none that knows fewer of them than another does."""
    known = {key: {name for name in available if sensor.canonical(name) is not None} for key, sensor in SENSORS.items()}
    return [
        (SENSORS[key],) for key, names in known.items() if names and not any(names < more for more in known.values())
    ]


def _one_channel(where: str, band: WantedBand, available: Sequence[str], readings: Sequence[tuple[Sensor, ...]]) -> int:
    name = band.spellings[0]
    answers: dict[tuple[int, ...], list[Sensor]] = {}
    for reading in readings:
        if channels := band.channels(available, reading):
            answers.setdefault(channels, []).extend(reading)
    if not answers:
        msg = (
            f"{where} reads the band {name!r}, which is not among the channels of the input: {', '.join(available)}. "
            "Add it to bands and to the data, or leave it out of the entry."
        )
        raise ValueError(msg)
    if len(answers) > 1:
        meant = "; ".join(
            f"{_listed(available, channels)} of {', '.join(sensor.name for sensor in answer)}"
            for channels, answer in answers.items()
        )
        msg = (
            f"{where}: the band {name!r} could be {meant}. Say what the input is: sensors: {_key(answers)} "
            f"(backbone_sensors; valid: {', '.join(SENSORS)}), or write the names in bands as the entry has them."
        )
        raise ValueError(msg)
    (channels,) = answers
    if len(channels) > 1:
        msg = f"{where}: the band {name!r} could be {_listed(available, channels)}. Name one of these."
        raise ValueError(msg)
    return channels[0]


def _listed(available: Sequence[str], channels: Iterable[int]) -> str:
    return ", ".join(available[i] for i in channels)


def _key(answers: Mapping[tuple[int, ...], Sequence[Sensor]]) -> str:
    """The key of one of the sensors, for an example."""
    first = next(iter(answers.values()))[0]
    return next(key for key, sensor in SENSORS.items() if sensor is first)
