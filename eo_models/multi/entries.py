"""The encoder entries of a multi-backbone config, checked: which backbone, which channels, which necks."""

from __future__ import annotations

import copy
import difflib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from eo_core.arguments import as_bool, from_text
from eo_data.sensors.tables import spelling
from eo_models.multi.batch import UNNAMED, Bands
from eo_models.multi.route import Form
from eo_models.registry import find_builder, find_source

_PREFIX = "backbone_"
_NAME_KEYS = ("backbone", "name")
_BAND_KEYS = ("model_bands", "bands")
#: Keys of an entry that are not handed to its backbone.
OWN_KEYS = ("images", "as_tensor", "necks", "freeze_backbone")


@dataclass(frozen=True)
class EncoderEntry:
    """One entry of ``encoders``.

    Parameters
    ----------
    where : str
        Position and backbone, for messages.
    backbone : str
        Name in TerraTorch's registry.
    arguments : mapping
        For the backbone.
    bands : mapping
        Names of its channels by image; empty if the entry names none.
    band_key : str
        ``model_bands`` or ``bands``: the key that they came under.
    images : tuple of str or None
        Images of the input that it gets; ``None`` if the entry does not say.
    form : {'auto', 'tensor', 'dict'}
        As what it gets its images; ``auto`` leaves that to the backbone.
    necks : tuple of mapping
        Of this encoder.
    freeze : bool
        Whether it does not train.
    """

    where: str
    backbone: str
    arguments: Mapping[str, Any]
    bands: Bands
    band_key: str
    images: tuple[str, ...] | None
    form: Form
    necks: tuple[Mapping[str, Any], ...]
    freeze: bool

    @property
    def chooses_channels(self) -> bool:
        """Whether it has a plain list under ``bands``: it chooses channels, and its backbone is not told of them."""
        return self.band_key == "bands" and UNNAMED in self.bands


def parse_entries(encoders: object, defaults: Mapping[str, Any]) -> list[EncoderEntry]:
    """Check the list of encoders.

    Parameters
    ----------
    encoders : sequence of mapping
        ``{name: {argument: value}}``, or ``{backbone: name, argument: value}``; arguments may carry ``backbone_``.
    defaults : mapping
        Arguments of every entry that does not set them itself.

    Raises
    ------
    ValueError
        For anything else; the message shows an entry as it should be.
    """
    given = from_text(encoders)
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence) or not given:
        msg = f"encoders must be a list of at least one entry such as {_EXAMPLE}, got {encoders!r}."
        raise ValueError(msg)
    return [_parse(i, entry, defaults) for i, entry in enumerate(given)]


_EXAMPLE = "{timm_resnet18: {bands: [RED, GREEN, BLUE]}} or {backbone: timm_resnet18, bands: [RED, GREEN, BLUE]}"


def _parse(index: int, entry: object, defaults: Mapping[str, Any]) -> EncoderEntry:
    name, given = _named(index, entry)
    where = f"encoders[{index}] ({name})"
    own = _without_prefix(where, given)
    if all(key in own for key in _BAND_KEYS):
        msg = (
            f"{where} has both model_bands and bands. Give one: model_bands goes to the backbone too, bands only "
            "chooses the channels."
        )
        raise ValueError(msg)
    # Bands of the entry replace default bands under the other key.
    others = {key: v for key, v in defaults.items() if key not in _BAND_KEYS or not any(k in own for k in _BAND_KEYS)}
    settings = copy.deepcopy(others | own)  # the registry and the backbones may change what they get
    key = next((key for key in _BAND_KEYS if settings.get(key) is not None), "")
    bands = as_bands(f"{where}: {key}", settings[key]) if key else {}
    return EncoderEntry(
        where,
        name,
        {k: v for k, v in settings.items() if k not in OWN_KEYS and not (k == "bands" and v is None)},
        bands,
        key,
        _images(where, from_text(settings.get("images"))),
        _form(where, settings.get("as_tensor", "auto")),
        parse_necks(f"{where}: necks", settings.get("necks")),
        as_bool(f"{where}: freeze_backbone", settings.get("freeze_backbone", False)),
    )


def _named(index: int, entry: object) -> tuple[str, Mapping[str, Any]]:
    """Name and arguments of either form of an entry."""
    if not isinstance(entry, Mapping):
        msg = f"encoders[{index}] must be a mapping such as {_EXAMPLE}, got {entry!r}."
        raise ValueError(msg)
    keys = [key for key in _NAME_KEYS if key in entry]
    if len(keys) == 1 and isinstance(entry[keys[0]], str):
        return entry[keys[0]], {key: value for key, value in entry.items() if key != keys[0]}
    if not keys and len(entry) == 1:
        ((name, given),) = entry.items()
        if given is None or isinstance(given, Mapping):
            return str(name), given or {}
    fault = f"both {keys[0]} and {keys[1]}" if len(keys) == 2 else "no name of a backbone"
    msg = f"encoders[{index}] has {fault}: {entry!r}. Write it as {_EXAMPLE}."
    raise ValueError(msg)


def _without_prefix(where: str, given: Mapping[str, Any]) -> dict[str, Any]:
    own: dict[str, Any] = {}
    for key, value in given.items():
        bare = str(key).removeprefix(_PREFIX)
        if bare in own:
            msg = f"{where} has both {bare!r} and {_PREFIX + bare!r}, which are the same. Leave one out."
            raise ValueError(msg)
        own[bare] = value
    return own


def as_bands(argument: str, given: object) -> Bands:
    """Return band names by image, `UNNAMED` for a plain list.

    Raises
    ------
    ValueError
        For anything but lists of names, an empty list, or a name that comes twice.
    """
    value = from_text(given) if isinstance(given, str) and given.strip()[:1] in ("[", "{") else given
    by_image: Mapping[Any, object] = value if isinstance(value, Mapping) else {UNNAMED: value}
    bands: dict[str, tuple[str, ...]] = {}
    for image, names in by_image.items():
        if isinstance(names, str) or not isinstance(names, Sequence) or not names:
            msg = (
                f"{argument} must be a list of band names such as [BLUE, GREEN], or one list per image, got {given!r}."
            )
            raise ValueError(msg)
        try:
            spelt = tuple(spelling(name) for name in names)
        except TypeError as error:
            msg = f"{argument}: {error}"
            raise ValueError(msg) from error
        upper = [name.strip().upper() for name in spelt]
        repeated = sorted({name for name in upper if upper.count(name) > 1})
        if repeated:
            msg = f"{argument} names {', '.join(repeated)} twice. Name each channel once, in the order of the input."
            raise ValueError(msg)
        bands[UNNAMED if image is None else str(image)] = spelt
    if not bands:
        msg = f"{argument} is empty. Name the channels of each image, such as {{S2: [BLUE, GREEN]}}."
        raise ValueError(msg)
    return bands


def _images(where: str, given: object) -> tuple[str, ...] | None:
    if given is None:
        return None
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, Sequence) or not names or not all(isinstance(name, str) for name in names):
        msg = f"{where}: images must be a list of names of the data's modalities such as [S2], got {given!r}."
        raise ValueError(msg)
    if len(set(names)) != len(names):
        msg = f"{where}: images names one image twice: {list(names)}. Name each once."
        raise ValueError(msg)
    return tuple(names)


def _form(where: str, given: object) -> Form:
    if given is None or given == "auto":
        return "auto"
    try:
        return "tensor" if as_bool(f"{where}: as_tensor", given) else "dict"
    except ValueError as error:
        msg = f"{where}: as_tensor must be auto, true or false, got {given!r}."
        raise ValueError(msg) from error


def parse_necks(argument: str, given: object) -> tuple[Mapping[str, Any], ...]:
    """Check a list of necks.

    Raises
    ------
    ValueError
        If it is no list of mappings with a ``name``.
    """
    necks = from_text(given)
    if necks is None:
        return ()
    if not isinstance(necks, Sequence) or not all(
        isinstance(n, Mapping) and isinstance(n.get("name"), str) for n in necks
    ):
        msg = f"{argument} must be a list such as [{{name: ReshapeTokensToImage}}], got {given!r}."
        raise ValueError(msg)
    return tuple(copy.deepcopy(dict(neck)) for neck in necks)


def build_encoder(entry: EncoderEntry) -> nn.Module:
    """Build the backbone of an entry (imports TerraTorch).

    Raises
    ------
    ValueError
        If the registry has no such backbone, or it refuses its arguments; the message says which entry.
    """
    from terratorch.registry import BACKBONE_REGISTRY  # noqa: PLC0415
    from terratorch.utils import InvalidModelError  # noqa: PLC0415

    # Without the source in front, TerraTorch tries all of them and hides why the right one failed.
    name = _name_with_source(entry)
    try:
        encoder: nn.Module = BACKBONE_REGISTRY.build(name, **_arguments(entry, name))
    except InvalidModelError as error:
        msg = f"{entry.where} could not be built: {error.__context__ or error!r}."
        raise ValueError(msg) from error
    except (TypeError, ValueError) as error:
        msg = f"{entry.where}: {error}"
        raise ValueError(msg) from error
    if not isinstance(getattr(encoder, "out_channels", None), list | tuple):
        msg = f"{entry.where} has no list out_channels, so it is no backbone for a decoder."
        raise ValueError(msg)
    return encoder


def _name_with_source(entry: EncoderEntry) -> str:
    from terratorch.registry import BACKBONE_REGISTRY  # noqa: PLC0415

    if (found := find_source(entry.backbone)) is not None:
        return "_".join(found)
    names = {name.partition("_")[2] for name in BACKBONE_REGISTRY} | set(BACKBONE_REGISTRY)
    near = difflib.get_close_matches(entry.backbone, sorted(names), n=3)
    hint = f" Nearest: {', '.join(near)}." if near else ""
    msg = (
        f"{entry.where}: TerraTorch's registry has no such backbone.{hint} A backbone from another package enters it "
        "when that package is imported: let the config name a class of it, such as its callback RegisterBackbones."
    )
    raise ValueError(msg)


def _arguments(entry: EncoderEntry, name: str) -> dict[str, Any]:
    """What the backbone gets: a plain list under ``bands`` only if it has an argument of that name."""
    arguments = dict(entry.arguments)
    if entry.chooses_channels:
        builder = find_builder(name)
        if builder is None or "bands" not in inspect.signature(builder).parameters:
            del arguments["bands"]
    return arguments
