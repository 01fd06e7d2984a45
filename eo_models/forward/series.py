"""From TerraTorch's batch to an encoder's dictionary: modalities, bands by name, time axis and dates.

All but the contents of date planes follows from names and shapes. In a trace by `torch.export` or `torch.compile` the
planes are read without a look at whether they are planes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from eo_data.sensors.tables import Sensor, find_band, spelling

DATE = "DATE"
#: Value of the date plane of a frame that is not to be used, as `eo_data.dataset.dataset` writes it.
UNUSED_FRAME = -1.0


@dataclass(frozen=True)
class SeriesKind:
    """What the reader must know of a modality.

    Parameters
    ----------
    name : str
        What the encoder calls it.
    bands : tuple of str
        In the order that the encoder expects.
    sensor : Sensor or None
        Whose names of bands count, too.
    times : {'series', 'image', 'either'}
        Whether it is a dated series, a single image, or either: a single frame needs no date then.
    all_bands : bool
        Whether all bands must be there, or any of them will do.
    """

    name: str
    bands: tuple[str, ...]
    sensor: Sensor | None = None
    times: Literal["series", "image", "either"] = "series"
    all_bands: bool = True

    def canonical(self, name: str) -> str:
        """Return the name of a band in ``bands``, or the name itself if the sensor has it and the encoder has not.

        Raises
        ------
        ValueError
            For a name that the sensor does not know either.
        """
        upper = name.strip().upper()
        literal = next((band for band in self.bands if band.upper() == upper), None)
        if literal is not None or self.sensor is None:
            return literal or name
        known = find_band(name, [self.sensor]).name
        return next((band for band in self.bands if self.sensor.canonical(band) == known), name)


@dataclass(frozen=True)
class SeriesTable:
    """The modalities of an encoder.

    Parameters
    ----------
    model : str
        Its name, for messages.
    kinds : mapping of str to SeriesKind
        By name.
    """

    model: str
    kinds: Mapping[str, SeriesKind]

    def check(self, names: Sequence[str]) -> None:
        """Refuse unknown and repeated names, and none at all.

        Raises
        ------
        ValueError
            With the valid names.
        """
        unknown = [name for name in names if name not in self.kinds]
        if unknown or not names or len(set(names)) != len(names):
            fault = f"unknown: {', '.join(map(repr, unknown))}" if unknown else f"got {list(names)!r}"
            msg = (
                f"modalities must name some of the modalities of {self.model}, each once ({fault}). Valid: "
                f"{', '.join(self.kinds)}."
            )
            raise ValueError(msg)


@dataclass(frozen=True)
class Channels:
    """How the channels of one image become the encoder's.

    Parameters
    ----------
    source : str
        Name of the image in the data.
    kind : SeriesKind
        What it is for the encoder.
    bands : tuple of str
        Band of each input channel, as the user wrote it, the date plane among them.
    chosen : tuple of str
        Bands of the modality that are there, in its order.
    order : tuple of int
        Input channel of each of them.
    date_plane : int or None
        Input channel that holds the day of the year.
    default_day : int or None
        Day of the year for samples without dates.
    """

    source: str
    kind: SeriesKind
    bands: tuple[str, ...]
    chosen: tuple[str, ...]
    order: tuple[int, ...]
    date_plane: int | None
    default_day: int | None


@dataclass(frozen=True)
class SeriesSpec:
    """What the backbone knows about its input.

    Parameters
    ----------
    model : str
        Name of the encoder, for messages.
    images : tuple of Channels
        One for each image.
    allow_missing : bool
        Whether a batch may come without some of the images.
    """

    model: str
    images: tuple[Channels, ...]
    allow_missing: bool = False

    @classmethod
    def parse(
        cls, table: SeriesTable, modalities: object, bands: object, default_days: object, *, allow_missing: bool = False
    ) -> SeriesSpec:
        """Check the arguments of the backbone.

        Parameters
        ----------
        table : SeriesTable
            The modalities of the encoder.
        modalities : str, sequence of str, or mapping of str to str
            Those of the input; a mapping gives the encoder's name by the name in the data.
        bands : mapping of str to sequence of str, or sequence of str
            Band of each channel by modality, under either name.
        default_days : int or mapping of str to int, optional
            Day of the year for samples without dates.
        allow_missing : bool
            Whether a batch may come without some of the images.

        Raises
        ------
        ValueError
            For unknown modalities or bands; the message names the valid ones.
        """
        sources = _sources(table, modalities)
        by_source = _by_source("bands", bands, sources)
        days = default_days if isinstance(default_days, Mapping) else dict.fromkeys(sources, default_days)
        day_of = _by_source("default_date", days, sources)
        images = [
            _channels(table.model, source, table.kinds[name], by_source.get(source), day_of.get(source))
            for source, name in sources.items()
        ]
        return cls(table.model, tuple(images), allow_missing)

    @property
    def modality_names(self) -> list[str]:
        """The encoder's names of the modalities, in the order of the input."""
        return [image.kind.name for image in self.images]

    def resolve(self, argument: str, name: str) -> str:
        """Return the encoder's name of a modality given under either name.

        Raises
        ------
        ValueError
            If it is none of the input.
        """
        for image in self.images:
            if name in (image.source, image.kind.name):
                return image.kind.name
        msg = f"{argument} must be one of {', '.join(self.modality_names)}, got {name!r}."
        raise ValueError(msg)

    def match(
        self, x: torch.Tensor | Mapping[str, torch.Tensor], batch: Mapping[str, object]
    ) -> dict[str, torch.Tensor]:
        """Make the published dictionary.

        Parameters
        ----------
        x : Tensor or mapping of str to Tensor
            Input of the forward pass.
        batch : mapping of str to object
            Other keys of the batch, among which dates may be.

        Raises
        ------
        ValueError
            If an image is missing, has other channels than named, or has no dates.
        """
        images = self._images(x)
        extras = dict(batch) | (dict(x) if isinstance(x, Mapping) else {})
        data: dict[str, torch.Tensor] = {}
        for image in self.images:
            if image.source not in images:
                continue
            series = _as_series(images[image.source], image)
            name = image.kind.name
            mask = extras.get(f"{image.source}_mask", extras.get(f"{name}_mask"))
            dates: torch.Tensor | None = None
            if image.date_plane is not None and image.kind.times != "image":
                dates, seen = _read_plane(series[:, image.date_plane], image.source)
                mask = seen if mask is None else mask
            elif image.kind.times != "image":
                dates = self._dates(series, image, extras)
            pixels = series[:, list(image.order)]
            if dates is None:
                data[name] = pixels[:, :, 0]
                continue
            data[name], data[f"{name}_dates"] = pixels.transpose(1, 2), dates
            if isinstance(mask, torch.Tensor):
                data[f"{name}_mask"] = mask
        return data

    def _images(self, x: torch.Tensor | Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        names = [image.source for image in self.images]
        if isinstance(x, torch.Tensor):
            if len(names) == 1:
                return {names[0]: x}
            msg = f"Expected a dict with the images {names}, got one tensor of shape {tuple(x.shape)}."
            raise ValueError(msg)
        missing = [name for name in names if name not in x]
        if missing and not (self.allow_missing and len(missing) < len(names)):
            msg = (
                f"The images {missing} are missing from the input, which has {list(x)}. If they have other names "
                f"there, say so: modalities={{name in the data: {self.model} modality}}. If batches may come without "
                "some, set allow_missing."
            )
            raise ValueError(msg)
        return x

    def _dates(self, series: torch.Tensor, image: Channels, extras: Mapping[str, object]) -> torch.Tensor | None:
        batch, frames = series.shape[0], series.shape[2]
        names = [f"{image.source}_dates", f"{image.kind.name}_dates"]
        if len(self.images) == 1:
            names.append("dates")
        for name in names:
            given = extras.get(name)
            if given is None:
                continue
            dates = torch.as_tensor(given, device=series.device)
            if dates.shape != (batch, frames):
                msg = (
                    f"{name!r} must have one day of the year per frame, shape (B, T) = ({batch}, {frames}), got "
                    f"{tuple(dates.shape)}. Tiled inference does not split dates by window: hand them over as a "
                    f"constant plane per frame, named {DATE!r} in `bands`."
                )
                raise ValueError(msg)
            return dates
        if image.default_day is not None:
            return torch.full((batch, frames), image.default_day, device=series.device)
        if image.kind.times == "either" and frames == 1:
            return None
        msg = (
            f"{image.source!r} came without dates, and {self.model}'s features depend on them. Give the day of the "
            f"year (1 January = 0) of each frame, shape (B, T) = ({batch}, {frames}), as {names[0]!r} in the image "
            f"dict or the batch, or as a constant plane named {DATE!r} in `bands` (with "
            "eo_data's data modules: dated: true); or set default_date."
        )
        raise ValueError(msg)


def _sources(table: SeriesTable, modalities: object) -> dict[str, str]:
    """Map the name in the data to the encoder's name."""
    if isinstance(modalities, Mapping):
        sources = {str(source): str(name) for source, name in modalities.items()}
    elif isinstance(modalities, str):
        sources = {modalities: modalities}
    elif isinstance(modalities, Sequence):
        table.check([str(name) for name in modalities])  # refuses a name given twice
        sources = {str(name): str(name) for name in modalities}
    else:
        msg = f"modalities must be a list such as ['s2'], got {modalities!r}. Valid: {', '.join(table.kinds)}."
        raise ValueError(msg)
    table.check(list(sources.values()))
    return sources


def _by_source(argument: str, given: object, sources: Mapping[str, str]) -> dict[str, object]:
    """Key a mapping that uses either name by the name in the data."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        if len(sources) == 1:
            return {next(iter(sources)): given}
        msg = f"{argument} must be a mapping with the modalities {list(sources)}, got {given!r}."
        raise ValueError(msg)
    either = {name: source for source, name in sources.items()} | {source: source for source in sources}
    unknown = [name for name in given if name not in either]
    if unknown:
        msg = f"{argument} names {unknown}, but the modalities are {list(sources)}."
        raise ValueError(msg)
    return {either[name]: value for name, value in given.items()}


def _channels(model: str, source: str, kind: SeriesKind, bands: object, default_day: object) -> Channels:
    if bands is None:
        bands = kind.bands
    if isinstance(bands, str) or not isinstance(bands, Sequence):
        msg = f"bands of {source!r} must be a list of names such as {list(kind.bands)}, got {bands!r}."
        raise ValueError(msg)
    names = tuple(spelling(band) for band in bands)
    canonical = [DATE if name.strip().upper() == DATE else kind.canonical(name) for name in names]
    chosen = tuple(band for band in kind.bands if band in canonical)
    missing = [band for band in kind.bands if band not in canonical] if kind.all_bands or not chosen else []
    surplus = [n for n, band in zip(names, canonical, strict=True) if band != DATE and band not in kind.bands]
    repeated = sorted({band for band in canonical if canonical.count(band) > 1})
    if missing or surplus or repeated:
        faults = (("missing", missing), (f"not read by {model}", surplus), ("named twice", repeated))
        fault = "; ".join(f"{what}: {', '.join(found)}" for what, found in faults if found)
        those = "those of" if kind.all_bands else "some of those of"
        msg = (
            f"bands of {source!r} must be {those} {model}'s {kind.name!r}, each once, in the order of the input "
            f"channels: {', '.join(kind.bands)}. {fault[0].upper()}{fault[1:]}."
        )
        raise ValueError(msg)
    order = tuple(canonical.index(band) for band in chosen)
    plane = canonical.index(DATE) if DATE in canonical else None
    return Channels(source, kind, names, chosen, order, plane, default_day if isinstance(default_day, int) else None)


def _as_series(image: torch.Tensor, channels: Channels) -> torch.Tensor:
    """Check an image and give it a time axis: ``(B, C, T, H, W)``."""
    name, expected = channels.source, len(channels.bands)
    series = image.unsqueeze(2) if image.ndim == 4 else image
    if series.ndim != 5 or series.shape[1] != expected or (channels.kind.times == "image" and series.shape[2] != 1):
        axes = "(B, C, H, W)" if channels.kind.times == "image" else "(B, C, T, H, W) or (B, C, H, W)"
        msg = (
            f"Expected {name!r} as {axes} with C = {expected} channels ({', '.join(channels.bands)}), got shape "
            f"{tuple(image.shape)}. Make the data module's output bands and `bands` the same list"
        )
        plane_not_named = channels.date_plane is None and series.ndim == 5 and series.shape[1] == expected + 1
        hint = f"; the extra channel may be the plane of dates (dates_as: plane), which `bands` names by {DATE}"
        msg += f"{hint if plane_not_named else ''}."
        raise ValueError(msg)
    return series


def _read_plane(plane: torch.Tensor, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Day of the year per frame, and whether to use it, from planes ``(B, T, H, W)``.

    Planes are constant but for zeros of augmentations. A frame to leave out has -1.

    Raises
    ------
    ValueError
        If a plane holds something else. A trace does not look.
    """
    unused = plane.amin(dim=(-2, -1)) == UNUSED_FRAME
    days = torch.where(unused, UNUSED_FRAME, plane.amax(dim=(-2, -1)))
    if not torch.compiler.is_compiling():
        _check_plane(plane, days, name)
    return days.clamp(min=0), ~unused


def _check_plane(plane: torch.Tensor, days: torch.Tensor, name: str) -> None:
    strange = (plane != 0) & (plane != days[..., None, None])
    if bool(strange.any()) or not bool(torch.isfinite(days).all()):
        msg = (
            f"The {DATE} plane of {name!r} must hold one day of the year per frame, the same in every pixel. Keep it "
            "out of normalisation (mean 0, standard deviation 1) and out of interpolating augmentations."
        )
        raise ValueError(msg)
