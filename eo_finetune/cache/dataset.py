"""Samples whose features are on disk, one file for each sample and variant."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.utils.data import Dataset

from eo_core.files import atomic_path
from eo_data.catalog.records import Record
from eo_data.dataset.dataset import EoDataset
from eo_data.dataset.sampler import SeededIndex
from eo_finetune.cache.axes import AxisOrder, as_in_memory, memory_order, orders_from_json, reordered
from eo_finetune.cache.variants import Turn, orientation_of, with_even_chances

_FEATURE = "feature"
_IMAGE = "image"
_CHECKSUM = "checksum"


class Variant(NamedTuple):
    """A sample, turned."""

    sample: int
    turn: Turn


class CachedDataset(Dataset[dict[str, Any]]):
    """Yields ``features`` (a list of tensors, one for each level of the encoder) and all else that a data set yields.

    The axes of features have the order of the encoder's memory (`eo_finetune.cache.axes`): a decoder that gets them in
    another one computes other last digits, and draws another dropout.

    Parameters
    ----------
    dataset : EoDataset
        The samples.
    folder : Path
        Folder of the files.
    variants : mapping of turn to int or None
        See `eo_finetune.cache.variants.variants_of`.
    keep_images : bool
        Whether images are stored too, for pictures. If not, ``image`` is one channel of zeros, whose size is that of
        the image.
    """

    def __init__(
        self, dataset: EoDataset, folder: Path, variants: Mapping[Turn, int | None], *, keep_images: bool
    ) -> None:
        self.dataset, self.folder, self.variants, self.keep_images = dataset, folder, dict(variants), keep_images
        #: Order in memory of the axes of each level, for all samples; that of each file if it is not set.
        self.orders: list[AxisOrder] | None = None
        self._names = [_name(dataset, index) for index in range(len(dataset.records))]

    @property
    def records(self) -> list[Record]:
        """The samples."""
        return self.dataset.records

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.dataset)

    def plot(self, sample: Mapping[str, Any], suptitle: str | None = None) -> Figure:
        """Draw a quick-look, as the data set does."""
        return self.dataset.plot(sample, suptitle)

    def missing(self) -> Iterator[Variant]:
        """Yield every variant of a sample that has no file yet."""
        for sample in range(len(self)):
            for turn in self.variants:
                if not self.file(variant := Variant(sample, turn)).is_file():
                    yield variant

    def uncached(self, variant: Variant) -> dict[str, Any]:
        """Return a variant of a sample with its image, preprocessed for the encoder."""
        sample = self.dataset.read(variant.sample)
        seed = self.variants[variant.turn]
        if self.dataset.augmentation is not None and seed is not None:
            sample = with_even_chances(self.dataset.augmentation)(sample, seed)
        return self.dataset.entry(sample, self.records[variant.sample])

    def file(self, variant: Variant) -> Path:
        """Return the file of a variant."""
        turn = "".join(str(corner) for corner in variant.turn)
        return self.folder / f"{self._names[variant.sample]}-{turn}.safetensors"

    def store(self, variant: Variant, features: Sequence[torch.Tensor], entry: Mapping[str, Any]) -> None:
        """Write the features of a variant in the order of their memory, with all that its entry holds."""
        orders = [memory_order(level) for level in features]
        levels = enumerate(zip(features, orders, strict=True))
        tensors = {f"{_FEATURE}.{i}": as_in_memory(level, order) for i, (level, order) in levels}
        image = entry["image"]
        images = image if isinstance(image, Mapping) else {"": image}
        if self.keep_images:
            tensors |= {f"{_IMAGE}.{name}": value.contiguous() for name, value in images.items()}
        rest = {key: value for key, value in entry.items() if key != "image"}
        tensors |= {key: value.contiguous() for key, value in rest.items() if isinstance(value, torch.Tensor)}
        texts = {key: value for key, value in rest.items() if not isinstance(value, torch.Tensor)}
        size = next(value.shape[-2:] for value in images.values() if value.ndim >= 3)
        notes = _as_text(entries=texts, size=list(size), orders=orders)
        with atomic_path(self.file(variant), _read) as partial:
            save_file(tensors, partial, notes | {_CHECKSUM: _checksum(tensors, notes)})

    def first_orders(self) -> list[AxisOrder]:
        """Return the order of axes in memory of each level of the first sample."""
        _, notes = self._entry(Variant(0, next(iter(self.variants))))
        return orders_from_json(json.loads(notes["orders"]))

    def _entry(self, variant: Variant) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """Return what is stored of a variant; if that is damaged, remove all that is, so that it is encoded again.

        Raises
        ------
        ValueError
            If its file is gone or damaged.
        """
        file = self.file(variant)
        try:
            return _read(file)
        except ValueError as error:
            removed = self._remove_damaged() if file.is_file() else 0
            more = f" {removed} damaged files were removed." if removed else ""
            msg = (
                f"The feature cache has lost {file} of sample {self.records[variant.sample].id}.{more} Start the run "
                "again: it encodes what is missing."
            )
            raise ValueError(msg) from error

    def _remove_damaged(self) -> int:
        removed = 0
        for file in (self.file(Variant(sample, turn)) for sample in range(len(self)) for turn in self.variants):
            if not file.is_file():
                continue
            try:
                _read(file)
            except ValueError:
                file.unlink(missing_ok=True)
                removed += 1
        return removed

    def __getitem__(self, index: int | SeededIndex) -> dict[str, Any]:
        """Return a sample in the variant that its transforms would have made.

        Raises
        ------
        ValueError
            If its file is gone or damaged.
        """
        sample, seed = index if isinstance(index, SeededIndex) else (index, None)
        tensors, notes = self._entry(Variant(sample, orientation_of(self.dataset.augmentation, seed)))
        levels = sorted((k for k in tensors if k.startswith(f"{_FEATURE}.")), key=lambda key: int(key.split(".")[1]))
        given = orders_from_json(json.loads(notes["orders"]))
        wanted = given if self.orders is None else self.orders
        features = [
            reordered(tensors.pop(key), *orders).float() for key, *orders in zip(levels, given, wanted, strict=True)
        ]
        entry: dict[str, Any] = json.loads(notes["entries"]) | {"features": features}
        images = {k.removeprefix(f"{_IMAGE}."): tensors.pop(k) for k in list(tensors) if k.startswith(f"{_IMAGE}.")}
        entry["image"] = torch.zeros(1, *json.loads(notes["size"])) if not images else images.get("", images)
        return entry | tensors


def _as_text(**notes: object) -> dict[str, str]:
    return {name: json.dumps(note) for name, note in notes.items()}


class Uncached(Dataset[dict[str, Any]]):
    """The variants that are still to be encoded, with their images.

    Parameters
    ----------
    cached : CachedDataset
        The data set that will hold them.
    variants : sequence of Variant
        Samples and turns to encode, in this order.
    """

    def __init__(self, cached: CachedDataset, variants: Sequence[Variant]) -> None:
        self.cached, self.variants = cached, list(variants)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.variants)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return an image, preprocessed for the encoder."""
        return self.cached.uncached(self.variants[index])


def _name(dataset: EoDataset, index: int) -> str:
    """A name that changes with all that a sample is made of: the state of its files, its dates and its label."""
    record = dataset.records[index]
    stamp = [record.id, str(record.window), str(record.label), dataset.state(index)]
    return hashlib.sha256(json.dumps(stamp).encode()).hexdigest()[:32]


def _checksum(tensors: Mapping[str, torch.Tensor], notes: Mapping[str, str]) -> str:
    """Checksum of all that a file holds, names and shapes included."""
    total = 0
    for name, value in sorted(tensors.items()):
        total = zlib.crc32(f"{name} {value.dtype} {tuple(value.shape)}".encode(), total)
        total = zlib.crc32(value.reshape(-1).view(torch.uint8).numpy(), total)
    return str(zlib.crc32(json.dumps(notes, sort_keys=True).encode(), total))


def _read(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return what a file holds.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    try:
        with safe_open(file, "pt") as stored:
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 (no mapping)
            notes: dict[str, str] = stored.metadata() or {}
    except (SafetensorError, OSError) as error:
        msg = f"{file} cannot be read: {error}"
        raise ValueError(msg) from error
    if notes.pop(_CHECKSUM, None) != _checksum(tensors, notes):
        msg = f"{file} does not hold what was stored"
        raise ValueError(msg)
    return tensors, notes
