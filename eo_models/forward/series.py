"""From TerraTorch's batch to AnySat's dictionary: modalities, bands by name, time axis and dates.

All but the contents of date planes follows from names and shapes. In a trace by `torch.export` or `torch.compile` the
planes are read without a look at whether they are planes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch

from anysat_ext.model.modalities import MODALITIES, Modality, select_modalities
from eo_data.sensors.tables import AERIAL, LANDSAT7, LANDSAT8, SENTINEL1, SENTINEL2, Sensor, find_band, spelling

DATE = "DATE"
#: Value of the date plane of a frame that is not to be used, as `eo_data.dataset.dataset` writes it.
UNUSED_FRAME = -1.0


@dataclass(frozen=True)
class Channels:
    """How the channels of one image become AnySat's.

    Parameters
    ----------
    source : str
        Name of the image in the data.
    modality : Modality
        What it is for AnySat.
    bands : tuple of str
        Band of each input channel, as the user wrote it, the date plane among them.
    order : tuple of int
        Input channel of each band of the modality.
    date_plane : int or None
        Input channel that holds the day of the year.
    default_day : int or None
        Day of the year for samples without dates.
    """

    source: str
    modality: Modality
    bands: tuple[str, ...]
    order: tuple[int, ...]
    date_plane: int | None
    default_day: int | None


@dataclass(frozen=True)
class SeriesSpec:
    """What the backbone knows about its input.

    Parameters
    ----------
    images : tuple of Channels
        One for each image.
    allow_missing : bool
        Whether a batch may come without some of the images.
    """

    images: tuple[Channels, ...]
    allow_missing: bool = False

    @classmethod
    def parse(
        cls, modalities: object, bands: object, default_days: object, *, allow_missing: bool = False
    ) -> SeriesSpec:
        """Check the arguments of the backbone.

        Raises
        ------
        ValueError
            For unknown modalities or bands; the message names the valid ones.
        """
        sources = _sources(modalities)
        by_source = _by_source("bands", bands, sources)
        days = default_days if isinstance(default_days, Mapping) else dict.fromkeys(sources, default_days)
        day_of = _by_source("default_date", days, sources)
        return cls(
            tuple(
                _channels(source, MODALITIES[name], by_source.get(source), day_of.get(source))
                for source, name in sources.items()
            ),
            allow_missing,
        )

    @property
    def modality_names(self) -> list[str]:
        """AnySat's names of the modalities, in the order of the input."""
        return [image.modality.name for image in self.images]

    def resolve(self, name: str) -> str:
        """Return AnySat's name of a modality given under either name.

        Raises
        ------
        ValueError
            If it is none of the input.
        """
        for image in self.images:
            if name in (image.source, image.modality.name):
                return image.modality.name
        msg = f"output_modality must be one of {', '.join(self.modality_names)}, got {name!r}."
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
            name = image.modality.name
            if not image.modality.is_series:
                data[name] = series[:, list(image.order), 0]
                continue
            data[name] = series[:, list(image.order)].transpose(1, 2)
            mask = extras.get(f"{image.source}_mask", extras.get(f"{name}_mask"))
            if image.date_plane is None:
                data[f"{name}_dates"] = self._dates(series, image, extras)
            else:
                data[f"{name}_dates"], seen = _read_plane(series[:, image.date_plane], image.source)
                mask = seen if mask is None else mask
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
                "there, say so: modalities={name in the data: AnySat modality}. If batches may come without some, set "
                "allow_missing."
            )
            raise ValueError(msg)
        return x

    def _dates(self, series: torch.Tensor, image: Channels, extras: Mapping[str, object]) -> torch.Tensor:
        batch, frames = series.shape[0], series.shape[2]
        names = [f"{image.source}_dates", f"{image.modality.name}_dates"]
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
        msg = (
            f"{image.source!r} came without dates, and AnySat's features depend on them. Give the day of the year "
            f"(1 January = 0) of each frame, shape (B, T) = ({batch}, {frames}), as {names[0]!r} in the image dict or "
            f"the batch, or as a constant plane named {DATE!r} in `bands` (with "
            "eo_data's data modules: dated: true); or set default_date."
        )
        raise ValueError(msg)


def _sources(modalities: object) -> dict[str, str]:
    """Map the name in the data to AnySat's name."""
    if isinstance(modalities, Mapping):
        sources = {str(source): str(name) for source, name in modalities.items()}
    elif isinstance(modalities, str):
        sources = {modalities: modalities}
    elif isinstance(modalities, Sequence):
        select_modalities(str(name) for name in modalities)  # refuses a name given twice
        sources = {str(name): str(name) for name in modalities}
    else:
        msg = f"modalities must be a list such as ['s2'], got {modalities!r}. Valid: {', '.join(MODALITIES)}."
        raise ValueError(msg)
    select_modalities(sources.values())
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


#: Sensors whose canonical names of bands count, too.
_TABLES: Mapping[str, Sensor] = MappingProxyType({"l7": LANDSAT7, "l8": LANDSAT8, "aerial": AERIAL})


def _canonical(modality: Modality, name: str) -> str:
    """Name of a band in AnySat's table."""
    if modality.name == "s2":
        return next(a for a in find_band(name, [SENTINEL2]).aliases if a.startswith("B") and not a.startswith("B0"))
    upper = name.strip().upper()
    if modality.name in ("s1", "s1-asc") and "/" not in upper:
        return find_band(name, [SENTINEL1]).name.removeprefix("IW_")
    literal = next((band for band in modality.bands if band.upper() == upper), None)
    table = _TABLES.get(modality.name)
    if literal is not None or table is None or (known := table.canonical(name)) is None:
        return literal or name
    return next((band for band in modality.bands if table.canonical(band) == known), name)


def _channels(source: str, modality: Modality, bands: object, default_day: object) -> Channels:
    if bands is None:
        bands = modality.bands
    if isinstance(bands, str) or not isinstance(bands, Sequence):
        msg = f"bands of {source!r} must be a list of names such as {list(modality.bands)}, got {bands!r}."
        raise ValueError(msg)
    names = tuple(spelling(band) for band in bands)
    canonical = [DATE if name.strip().upper() == DATE else _canonical(modality, name) for name in names]
    missing = [band for band in modality.bands if band not in canonical]
    surplus = [n for n, band in zip(names, canonical, strict=True) if band != DATE and band not in modality.bands]
    repeated = sorted({band for band in canonical if canonical.count(band) > 1})
    if missing or surplus or repeated:
        faults = (("missing", missing), ("not read by AnySat", surplus), ("named twice", repeated))
        fault = "; ".join(f"{what}: {', '.join(found)}" for what, found in faults if found)
        msg = (
            f"bands of {source!r} must be those of AnySat's {modality.name!r}, each once, in the order of the input "
            f"channels: {', '.join(modality.bands)}. {fault[0].upper()}{fault[1:]}."
        )
        raise ValueError(msg)
    order = tuple(canonical.index(band) for band in modality.bands)
    plane = canonical.index(DATE) if DATE in canonical else None
    return Channels(source, modality, names, order, plane, default_day if isinstance(default_day, int) else None)


def _as_series(image: torch.Tensor, channels: Channels) -> torch.Tensor:
    """Check an image and give it a time axis: ``(B, C, T, H, W)``."""
    name, expected = channels.source, len(channels.bands)
    series = image.unsqueeze(2) if image.ndim == 4 else image
    if series.ndim != 5 or series.shape[1] != expected or (not channels.modality.is_series and series.shape[2] != 1):
        axes = "(B, C, T, H, W) or (B, C, H, W)" if channels.modality.is_series else "(B, C, H, W)"
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
