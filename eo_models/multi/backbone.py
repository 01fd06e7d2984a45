"""Several backbones as one: each gets its bands, images and dates by name, and their features are merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import nn

from eo_models.backbone import FreezableBackbone
from eo_models.contract import BandsByImage, ChecksValues, SensorsByImage
from eo_models.multi.band_names import parse_sensors, tables_of
from eo_models.multi.batch import UNNAMED, Bands, Batch, read_batch
from eo_models.multi.entries import as_bands, build_encoder, parse_entries, parse_necks
from eo_models.multi.merging import Merge, merge_features, merged_channels, parse_merge, parse_rescale
from eo_models.multi.route import Route
from eo_models.multi.routing import Declared, make_route
from eo_models.registry import registry_factory


class MultiBackboneWrapper(FreezableBackbone):
    """Backbones side by side on one batch.

    Parameters
    ----------
    encoders : sequence of mapping
        One entry per backbone: ``{name: {argument: value}}``, or ``{backbone: name, argument: value}``; arguments may
        carry the prefix ``backbone_``. What is not listed here goes to the backbone.

        ``model_bands``
            Channels that it reads, by name; they are cut out of the input, and it is told them.
        ``bands``
            The same for backbones that know nothing of band names, such as timm's (which want ``in_chans`` if there
            are not three): a list only chooses the channels, unless the backbone has an argument ``bands``. A mapping
            of image to such a list goes to the backbone.
        ``images``
            Names of the images that it gets of an input with several, together with ``<name>_dates`` and
            ``<name>_mask``. By default those that the backbone names itself (``model_bands``, ``bands`` or
            ``modalities`` as a mapping). One image of another name than the backbone's goes to it under its name.
        ``as_tensor``
            ``auto``: a backbone that declares its bands gets a dict if it names images; others get a tensor if there
            is one image.
        ``necks``
            Necks of TerraTorch for the features of this backbone.
        ``freeze_backbone``
            Do not train it; it stays in eval mode.
    bands : sequence of str or Enum, or mapping of str to sequence, optional
        Name of each channel of the input, by image if there are several: what the data module returns. Spellings
        (``B02``, ``blue``) do not matter. A channel ``DATE`` (dates as a plane) goes to the entries that name it only.
        Without it, encoders get whole images.
    sensors : str, sequence of str, or mapping, optional
        What the names in ``bands`` mean: a key of `eo_data.sensors.tables.SENSORS` such as ``landsat7``, several for
        an image with bands of several sensors, or a mapping with the images. ``B2`` is blue on Sentinel-2 and green on
        Landsat 7; without ``sensors``, a name that would lead to different channels is refused.
    necks : sequence of mapping, optional
        Necks for the merged features.
    merge_features : {'concat', 'sum', 'mean', 'flatten'}
        Level by level: channels side by side, sum, mean. ``flatten``: all levels of the first encoder, then those of
        the second; their numbers may differ.
    rescale_features : {None, 'up', 'down'}, int, or sequence, optional
        Size of each level before merging: the largest, the smallest, that of one encoder by its index, or a list with
        one size or ``[height, width]`` per level. Bilinear, ``align_corners=False``.
    **defaults
        Arguments for every entry that does not set them itself, such as ``pretrained``.

    Attributes
    ----------
    out_channels : list of int
        Channels of each returned feature, after all necks.

    Raises
    ------
    ValueError
        For arguments that make no sense; the message names the valid ones.
    """

    #: It hands ``pretrained`` on to its encoders, and some of them ask for weights unless they are told not to.
    pretrained_by_default: ClassVar[bool] = True
    #: Band checks ask this module, not the encoders in it: each reads only a part of the data.
    input_bands_include_children = True

    def __init__(
        self,
        encoders: Sequence[Mapping[str, Any]],
        bands: Sequence[object] | Mapping[str, Sequence[object]] | None = None,
        necks: Sequence[Mapping[str, Any]] | None = None,
        merge_features: Merge = "concat",
        rescale_features: str | int | Sequence[Any] | None = None,
        sensors: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
        **defaults: Any,  # noqa: ANN401
    ) -> None:
        super().__init__()
        defaults.pop("padding", None)  # TerraTorch's factory reads it and passes it on.
        entries = parse_entries(encoders, defaults)
        own_necks = parse_necks("necks", necks)
        self.bands: Bands = {} if bands is None else as_bands("bands", bands)
        self.sensors = parse_sensors(sensors, self.bands)
        self.merge = parse_merge(merge_features)
        self.rescale = parse_rescale(rescale_features, len(entries))
        self.names = [entry.where for entry in entries]
        self.encoders = nn.ModuleList(build_encoder(entry) for entry in entries)
        self.routes = [
            make_route(entry, encoder, self.bands, tables_of(self.sensors))
            for entry, encoder in zip(entries, self.encoders, strict=True)
        ]
        self._input_bands = self.bands or _common_bands(self.encoders, self.routes)
        self.encoder_necks = nn.ModuleList()
        self.encoder_channels: list[list[int]] = []
        for entry, encoder in zip(entries, self.encoders, strict=True):
            announced: Any = encoder.out_channels
            neck, channels = _necks(f"{entry.where}: necks", entry.necks, announced)
            self.encoder_necks.append(neck)
            self.encoder_channels.append(channels)
        merged = merged_channels(self.merge, self.rescale, self.encoder_channels, self.names)
        self.necks, self.out_channels = _necks("necks", own_necks, merged)
        for entry, encoder in zip(entries, self.encoders, strict=True):
            if entry.freeze:
                encoder.requires_grad_(False)
        self.train(self.training)

    @property
    def input_bands(self) -> BandsByImage:
        """Bands of the input by image, ``None`` for a plain tensor."""
        return {name or None: bands for name, bands in self._input_bands.items()}

    @property
    def band_sensors(self) -> SensorsByImage:
        """Sensors of the images, where they are stated."""
        return {name or None: sensors for name, sensors in tables_of(self.sensors).items()}

    @property
    def derived_bands(self) -> frozenset[str]:
        """Channels that the preprocessing of one of the encoders makes."""
        return frozenset().union(*(getattr(encoder, "derived_bands", ()) for encoder in self.encoders))

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002
        """Set the mode; encoders of which nothing trains stay in eval mode, whoever wrote them."""
        super().train(mode)
        for encoder in self.encoders:
            if not any(parameter.requires_grad for parameter in encoder.parameters()):
                encoder.eval()
        return self

    def forward(self, x: torch.Tensor | Mapping[str, torch.Tensor], **batch: Any) -> list[torch.Tensor]:  # noqa: ANN401
        """Encode a batch with all backbones.

        Parameters
        ----------
        x : Tensor or mapping of str to Tensor
            Normalised ``(B, C, H, W)`` or ``(B, C, T, H, W)``, or one of these per image with ``<image>_dates`` and
            ``<image>_mask`` beside them.
        **batch
            Other keys of the batch. A backbone gets those that its forward pass has arguments for; what begins with
            the name of an image goes only to the backbones that get this image.

        Returns
        -------
        list of Tensor
            The merged features; ``out_channels`` are their channels.

        Raises
        ------
        ValueError
            For missing images, wrong numbers of channels, and features that cannot be merged.
        """
        given = self._read(x, batch)
        features = []
        parts = zip(self.encoders, self.encoder_necks, self.routes, self.encoder_channels, strict=True)
        for encoder, neck, route, channels in parts:
            image, keywords = route.select(given)
            size = _size(image)
            own = neck(encoder(image, **keywords), image_size=size)
            advice = getattr(encoder, "output_advice", "")
            features.append(_checked(own, channels, route.where, advice))
        merged = merge_features(self.merge, self.rescale, features, self.names)
        return _checked(self.necks(merged, image_size=given.size), self.out_channels, "MultiBackboneWrapper")

    def check_values(self, x: torch.Tensor | Mapping[str, torch.Tensor], **batch: Any) -> None:  # noqa: ANN401
        """Refuse values that one of the backbones would refuse; arguments and errors as in `forward`."""
        given = self._read(x, batch)
        for encoder, route in zip(self.encoders, self.routes, strict=True):
            if isinstance(encoder, ChecksValues):
                image, keywords = route.select(given)
                encoder.check_values(image, **keywords)

    def _read(self, x: torch.Tensor | Mapping[str, torch.Tensor], batch: Mapping[str, Any]) -> Batch:
        sources = [name for route in self.routes for name in route.sources]
        targets = [name for route in self.routes for name in route.targets]
        return read_batch(x, batch, self.bands, sources, targets)


def _common_bands(encoders: nn.ModuleList, routes: Sequence[Route]) -> Bands:
    """Bands of whole images, on which all encoders that get one must agree.

    Raises
    ------
    ValueError
        If they do not.
    """
    common: dict[str, tuple[str, ...]] = {}
    meant: dict[str, list[str]] = {}
    for encoder, route in zip(encoders, routes, strict=True):
        declared = Declared.by(encoder)
        source_of = {pick.target: pick.source for pick in route.named_picks}
        for name, bands in declared.bands.items():
            source = source_of.get(name, name)
            before = common.setdefault(source, bands)
            if meant.setdefault(source, declared.meanings(name)) != declared.meanings(name):
                what = "the input" if source == UNNAMED else f"the image {source!r}"
                msg = (
                    f"{route.where} takes the channels of {what} for {', '.join(bands)}, another encoder for "
                    f"{', '.join(before)}. Name the channels of the input (backbone_bands), so that each gets its own."
                )
                raise ValueError(msg)
    return common


def _necks(argument: str, necks: Sequence[Mapping[str, Any]], channels: Sequence[int]) -> tuple[nn.Module, list[int]]:
    """Build necks, and return the channels that leave them."""
    from terratorch.models.necks import NeckSequential, build_neck_list  # noqa: PLC0415
    from terratorch.registry import NECK_REGISTRY  # noqa: PLC0415

    for neck in necks:
        if neck["name"] not in NECK_REGISTRY:
            msg = f"{argument}: there is no neck {neck['name']!r}. Valid: {', '.join(sorted(NECK_REGISTRY))}."
            raise ValueError(msg)
    try:
        # A backbone's list may be of a type of its own, which tells its necks more than channels; it must stay one.
        built, after = build_neck_list(list(necks), channels if isinstance(channels, list) else list(channels))
    except (TypeError, ValueError, IndexError) as error:
        msg = f"{argument}: {error} (channels of the features: {list(channels)})."
        raise ValueError(msg) from error
    return NeckSequential(*built), list(after)


def _size(image: torch.Tensor | Mapping[str, Any]) -> tuple[int, int]:
    first = image if isinstance(image, torch.Tensor) else next(iter(image.values()))
    return int(first.shape[-2]), int(first.shape[-1])


def _checked(features: object, channels: Sequence[int], where: str, advice: str = "") -> list[torch.Tensor]:
    """Refuse features that are not what ``out_channels`` announces."""
    if not isinstance(features, list | tuple) or not all(isinstance(feature, torch.Tensor) for feature in features):
        msg = f"{where} must return a list of tensors, got {type(features).__name__}. {advice}".rstrip()
        raise ValueError(msg)
    actual = [feature.shape[1] if feature.ndim > 3 else feature.shape[-1] for feature in features]
    maps = [feature.ndim > 3 for feature in features]
    if len(actual) != len(channels) or any(m and a != c for m, a, c in zip(maps, actual, channels, strict=True)):
        msg = (
            f"{where} announces features with {list(channels)} channels, but returned shapes "
            f"{[tuple(feature.shape) for feature in features]}. Maps are (B, D, h, w); if channels come last, add the "
            "neck PermuteDims(new_order=[0, 3, 1, 2])."
        )
        raise ValueError(msg)
    return list(features)


def register() -> None:
    """Enter the wrapper in TerraTorch's registry (imports TerraTorch)."""
    from terratorch.registry import TERRATORCH_BACKBONE_REGISTRY  # noqa: PLC0415

    doc = "Several backbones as one; arguments as for `eo_models.multi.backbone.MultiBackboneWrapper`."
    factory = registry_factory("MultiBackboneWrapper", doc, MultiBackboneWrapper, MultiBackboneWrapper)
    TERRATORCH_BACKBONE_REGISTRY.register(factory)
