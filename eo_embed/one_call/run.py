"""From prepared images to embeddings: the same steps as `terratorch predict`."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from eo_core.fingerprint import plain_values
from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record
from eo_data.catalog.shards import in_shard
from eo_data.dataset.batch import collate
from eo_data.dataset.contract import extras_of
from eo_data.dataset.dataset import EoDataset
from eo_data.dataset.sample_grid import SampleGrid, image_size, sample_grids
from eo_data.preprocess.one_frame import single
from eo_data.raster.sample import Image, Sample
from eo_embed.export.facts import encoder_facts, export_facts, run_provenance
from eo_embed.export.flow.transfer import compact, own_cells
from eo_embed.export.items import items_of
from eo_embed.export.record.failures import NOTHING_OBSERVED
from eo_embed.one_call.encoders import BuiltEncoder, encoder_for, recipe_of
from eo_embed.one_call.options import Request
from eo_embed.one_call.prepared import Prepared, patch_pixels
from eo_embed.one_call.result import Embedded
from eo_embed.one_call.saving import Encoded
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.quantise import of_length_one
from eo_embed.writers.tiles import stitched
from eo_models.contract import Features
from eo_models.preset import Recipe

#: Longest side in pixels of what is encoded as one image: 20 km at 10 m, where encoders were trained with 1 to 4 km.
_LONGEST = 2048


@dataclass(frozen=True, eq=False)
class _Part:
    """One record, encoded; a tile in which nothing was observed has no features."""

    batch: Mapping[str, Any]
    features: Sequence[Features]
    sample: Sample
    place: SampleGrid


class Run:
    """Prepared images, and the encoder for them.

    Parameters
    ----------
    prepared : Prepared
        What is read, and how.
    request : Request
        What is asked for.
    max_memory : int or str, optional
        As of `eo_data.datamodules.ChipDataModule`.
    remote_cache : Path, optional
        As of `eo_data.datamodules.ChipDataModule`.
    """

    def __init__(
        self,
        prepared: Prepared,
        request: Request,
        *,
        max_memory: int | str | None = None,
        remote_cache: Path | None = None,
    ) -> None:
        self.prepared, self.request = prepared, request
        self.recipe = recipe_of(request, prepared.facts)
        self.splits = prepared.splits(self.recipe, max_memory=max_memory, remote_cache=remote_cache)
        self.dataset: EoDataset = self.splits.dataset("predict")
        self.dataset.records = in_shard(request.shard, [_whole(record) for record in self.dataset.records])
        #: Numbers of the records of each embedding: one, or those of its tiles.
        self.wholes: dict[str, list[int]] = {}
        for number, record in enumerate(self.dataset.records):
            self.wholes.setdefault(record.raster_id or record.id, []).append(number)

    @functools.cached_property
    def encoder(self) -> BuiltEncoder:
        """The encoder, built when it is first needed: input that cannot be used is refused before."""
        return encoder_for(self.request, self.recipe)

    @functools.cached_property
    def provenance(self) -> dict[str, Any]:
        """What a reader wants to know besides: checkpoint, versions."""
        options: dict[str, Any] = {"records": self.dataset.records, "numbers": self.encoder.arithmetic.described}
        return run_provenance(self.request.encoder.ckpt, None, self.prepared.root, **options)

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """All that changes the numbers, as `eo_embed.EmbeddingTask` states it."""
        options = self.request.encoder
        arguments = {**self.recipe.arguments, **options.weights}
        task = encoder_facts(options.name, arguments, self.request.settings)
        numbers = self.encoder.arithmetic.numbers
        return export_facts(task, self.encoder.weights_sha256, numbers, self.splits, options.matmul)

    def __len__(self) -> int:
        """Return how many embeddings there are; the tiles of an image make one."""
        return len(self.wholes)

    @property
    def ids(self) -> tuple[str, ...]:
        """Their ids."""
        return tuple(self.wholes)

    def embedded(
        self, index: int, sources: tuple[str, ...] | None = None, shown: Mapping[str, Any] | None = None
    ) -> Embedded:
        """Read, prepare and encode one record, or all tiles of one.

        Parameters
        ----------
        index : int
            Which embedding.
        sources : tuple of str, optional
            What the input is called instead of its files.
        shown : mapping, optional
            What else the provenance says of the images.

        Raises
        ------
        ValueError
            If it cannot be used, or its embedding is not finite.
        """
        name = self.ids[index]
        parts = [self._part(number) for number in self.wholes[name]]
        seen = [part for part in parts if part.features]
        if not seen:
            msg = f"{name}: {NOTHING_OBSERVED}"
            raise ValueError(msg)
        tiles = [self._layers(part, seen[0]) for part in parts]
        facts, named = self.facts, sources or self._named(seen[0].place.sources)
        layers = {layer: replace(self._whole([own[layer] for own in tiles], name), sources=named) for layer in tiles[0]}
        made = (self.encoder, self.request, facts, self.prepared.root)
        encoded = tuple(Encoded(part.batch, part.features, *made) for part in seen)
        more = dict(shown or {}) | ({} if sources is None else {"files": list(sources)})
        return Embedded(layers, self._provenance(facts, seen[0].sample, more), encoded)

    def _whole(self, tiles: Sequence[Embedding], name: str) -> Embedding:
        """Return the embedding of an image from those of its tiles, or of itself.

        Raises
        ------
        ValueError
            If the tiles do not lie on one grid.
        """
        settings = self.request.settings
        whole = replace(tiles[0], id=name) if len(tiles) == 1 else stitched(tiles, name, settings.pooling)
        if not settings.l2_normalise:
            return whole
        vector, grid = (None if own is None else of_length_one(own) for own in (whole.pooled, whole.grid))
        return replace(whole, pooled=vector, grid=grid)

    def entry(self, number: int) -> dict[str, Any]:
        """Return a record as the encoder's batches have it.

        Raises
        ------
        ValueError
            If it cannot be used.
        """
        self._refuse_large(number)
        return self.dataset[number]

    def _refuse_large(self, number: int) -> None:
        """Refuse what is no single image, such as all of a product, unless somebody asks for that.

        Raises
        ------
        ValueError
            With what to ask for.
        """
        if self.request.tile is not None or "image_size" in self.request.encoder.own:
            return
        record = self.dataset.records[number]
        height, width = self.dataset.reader.size(record)
        if max(height, width) > _LONGEST:
            align = patch_pixels(self.request, self.prepared.facts)
            msg = (
                f"{record.id} has {height} x {width} pixels, which are too many for one image: they would be resampled "
                f"and taken for much less ground. Add tile=... to encode it by parts (a multiple of {align} pixels), "
                "embed a place of it (PointBuffer, time, source), or add image_size=... to have one image all the same."
            )
            raise ValueError(msg)

    def _part(self, number: int) -> _Part:
        """Encode one record, but for a tile in which nothing was observed.

        Raises
        ------
        ValueError
            As `embedded`.
        """
        dataset = self.dataset
        self._refuse_large(number)
        state = dataset.state(number)
        sample = dataset.read(number)
        batch = collate([dataset.entry(sample, dataset.records[number]) | {"inputs": state}])
        (place,) = sample_grids(batch, image_size(batch["image"]), self.prepared.root)
        if place.raster_id and place.is_blank:
            return _Part(_without_pixels(batch), (), sample, place)
        features = self.encoder(batch["image"], **extras_of(batch))
        small = [compact(own, self.request.settings.pooling) for own in features]
        return _Part(_without_pixels(batch), small, sample, place)

    def _layers(self, part: _Part, like: _Part) -> dict[str, Embedding]:
        """Return the embedding of each layer of a part: of a tile without data as many empty cells as of another one.

        Raises
        ------
        ValueError
            If one is not finite, or nothing of a whole image was observed.
        """
        settings = replace(self.request.settings, grid_format="npz", dtype="float32", l2_normalise=False)
        layers = {}
        for name, feature in zip(settings.layer_names, part.features or like.features, strict=True):
            (item,) = items_of(name, own_cells(feature, [part.place], settings.pooling), [part.place], settings)
            if item.fault and part.features:
                msg = f"{part.place.id}: {item.fault}"
                raise ValueError(msg)
            layers[name] = item.embedding
        return layers

    def _named(self, files: Iterable[str]) -> tuple[str, ...]:
        return tuple(Href(file).relative(self.prepared.root.absolute()) for file in files)

    def _provenance(self, facts: Mapping[str, Any], sample: Sample, more: Mapping[str, Any]) -> dict[str, Any]:
        report = self.encoder.extractor.backbone.load_report
        images = {}
        for name, image in sample.images.items():
            described = image if self.prepared.series else single(name, image)
            images[name] = {
                "files": list(self._named(image.paths)),
                "bands": list(image.bands),
                "unit": str(image.unit),
                "pixel_size": image.pixel_size,
                "dates": [day.isoformat() for day in image.dates],
                "dates_from": list(image.date_sources),
                "observed": float(image.raster.valid.mean()),
                "notes": list(image.notes),
                "preparation": plain_values(_described(self.recipe, described)),
                **more,
            }
        weights = "random" if report is None else Href(str(report.source)).name
        return {
            "images": images,
            "weights": weights,
            **facts,
            "checkpoint_sha256": self.provenance["checkpoint_sha256"],
            "software": self.provenance["software"],
            "numbers": self.provenance["numbers"],
        }


def _whole(record: Record) -> Record:
    """Return a tile that is larger than its image as the image itself, which is not cut."""
    window = record.window
    if window is None or max(window.of) > window.side:
        return record
    return replace(record, id=record.raster_id, raster_id="", window=None)


def _described(recipe: Recipe, image: Image) -> dict[str, object]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has warned when it prepared the image
        return recipe.preprocess.describe(image)


def _without_pixels(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a batch without its pixels, of which only the size counts from here on."""
    height, width = image_size(batch["image"])
    return {**batch, "image": torch.zeros(1).expand(1, 1, height, width)}
