"""Frozen features from disk: every image is encoded once, and the decoder trains on what was stored."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from eo_core.fingerprint import fingerprint, plain_values, sha256_of_file
from eo_data.catalog.sources import ImageSource, LabelSource
from eo_data.dataset.batch import collate
from eo_data.dataset.contract import NOT_FOR_MODEL
from eo_data.dataset.dataset import EoDataset
from eo_data.dataset.facts import describe_data
from eo_finetune.cache.axes import AxisOrder, as_computed, with_batch
from eo_finetune.cache.dataset import CachedDataset, Uncached, Variant
from eo_finetune.cache.variants import variants_of
from eo_models.precision.matmul import chosen_matmul
from eo_models.weights.checkpoints import sha256_of_weights

#: What features can be stored as.
StoredAs = Literal["float32", "float16", "bfloat16"]
DTYPES: Mapping[StoredAs, torch.dtype] = MappingProxyType(
    {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
)


class FrozenFeatureCache(Callback):
    """Encode the training and validation samples once before the first epoch, then train the decoder from disk.

    For tasks of TerraTorch with ``freeze_backbone: true`` and data modules of `eo_data`. The only random transforms
    may be the eight flips and rotations of a square (``D4`` and its parts): every sample is encoded in each variant
    that they can make, because an encoder's features of a turned image are not the turned features. The variant of
    each step is the one that a run without the cache would draw, so that the losses are the same.

    A folder below ``folder`` is named by the fingerprint of everything that changes features: data, preprocessing,
    weights, arguments of the backbone, precision and matmul. Another run with the same settings finds its files there,
    and an interrupted run goes on. Old folders are never removed.

    Validation is read from the cache, too, unless it runs by tiles (``tiled_inference_on_validation``).

    Parameters
    ----------
    folder : str
        Folder that features are stored below.
    dtype : {'float32', 'float16', 'bfloat16'}
        Type of the stored numbers. The two of 16 bits need half of the disk and change the losses a little.
    batch_size : int, optional
        Images that are encoded at once; the batch size of the data module by default.

    Raises
    ------
    ValueError
        For an unknown dtype.
    """

    def __init__(
        self, folder: str = "output/feature_cache", dtype: StoredAs = "float32", batch_size: int | None = None
    ) -> None:
        if dtype not in DTYPES:
            msg = f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}."
            raise ValueError(msg)
        self.folder = Path(folder)
        self.dtype = dtype
        self.batch_size = batch_size
        self._stored: _Stored | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Encode the images that are not stored yet, and replace the data sets by the stored samples.

        This cannot happen earlier: a run that goes on from a checkpoint has its weights only now.

        Raises
        ------
        ValueError
            If the backbone is not frozen or has no arguments, the data module is not one of `eo_data`, transforms do
            more than flips and rotations, or the disk is too small.
        """
        encoder = _frozen_encoder(pl_module)
        module: Any = getattr(trainer, "datamodule", None)
        splits = ["train"] if getattr(pl_module, "tiled_inference_on_validation", False) else ["train", "val"]
        for split in splits:
            if not isinstance(getattr(module, f"{split}_dataset", None), EoDataset):
                msg = (
                    f"The feature cache needs a data module of eo_data (ChipDataModule, TimeSeriesDataModule), got "
                    f"{type(module).__name__}. Leave FrozenFeatureCache out, or describe the data for ChipDataModule."
                )
                raise ValueError(msg)
        folder = self.folder / fingerprint(self.facts(trainer, pl_module, encoder))[:16]
        orders: list[AxisOrder] = []
        for split in splits:
            dataset: EoDataset = getattr(module, f"{split}_dataset")
            cached = CachedDataset(
                dataset, folder / split, variants_of(dataset.augmentation), keep_images=split != "train"
            )
            self._fill(trainer, pl_module, cached, split)
            orders = orders or cached.first_orders()
            cached.orders = orders
            setattr(module, f"{split}_dataset", cached)
        self._stored = _Stored(orders)

    def facts(self, trainer: Trainer, pl_module: LightningModule, encoder: nn.Module) -> dict[str, Any]:
        """Return everything that changes the features of a sample."""
        arguments: Mapping[str, Any] = pl_module.hparams.get("model_args") or {}
        backbone = {k: _plain(v) for k, v in arguments.items() if k.startswith("backbone")}
        if not backbone:
            msg = (
                "The feature cache names its files by the arguments of the backbone, but the task has none in "
                "model_args. Let it build its model (model_factory, model_args), or leave FrozenFeatureCache out."
            )
            raise ValueError(msg)
        model = pl_module.model
        module = _data_module(trainer)
        indices = [module.root / s.date_index for s in module.modalities.values() if s.date_index is not None]
        entries = {name: getattr(module.train_dataset, name) for name in ("dates_as", "georeference", "as_dict")}
        return {
            "data": describe_data(module) | entries,
            "dates_sha256": [sha256_of_file(path) for path in indices],
            "label": [module.task, str(module.label)],
            "backbone": backbone,
            "weights_sha256": sha256_of_weights(encoder),
            "padding": [str(getattr(model, name, None)) for name in ("patch_size", "padding")],
            "precision": str(trainer.precision),
            # Encoders of ours compute in what a run chose, others in what the process is set to.
            "matmul": chosen_matmul() or torch.get_float32_matmul_precision(),
            "dtype": self.dtype,
        }

    def _fill(self, trainer: Trainer, pl_module: LightningModule, cached: CachedDataset, split: str) -> None:
        missing = list(cached.missing())
        trainer.strategy.barrier()  # every process has to divide the same list
        mine = missing[trainer.global_rank :: trainer.world_size]
        there = len(cached) * len(cached.variants) - len(missing)
        rank_zero_info("Feature cache %s: %d images stored, %d to encode", cached.folder, there, len(missing))
        if mine:
            module = _data_module(trainer)
            loader = DataLoader(
                Uncached(cached, mine),
                batch_size=self.batch_size or module.batch_size,
                num_workers=module.num_workers,
                collate_fn=_both,
            )
            cached.folder.mkdir(parents=True, exist_ok=True)
            with torch.random.fork_rng(), _encoding(trainer, pl_module):
                self._encode(trainer, pl_module, cached, loader, mine)
        trainer.strategy.barrier()

    def _encode(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        cached: CachedDataset,
        loader: DataLoader[Any],
        wanted: list[Variant],
    ) -> None:
        kept: list[Any] = []
        model: Any = pl_module.model
        hook = _frozen_encoder(pl_module).register_forward_hook(lambda *call: kept.append(_levels(call[-1])))
        bar = tqdm(total=len(wanted), desc="Encoding", unit="image", disable=not trainer.is_global_zero)
        done = 0
        try:
            for entries, batch in loader:
                moved: Any = pl_module.transfer_batch_to_device(batch, trainer.strategy.root_device, 0)
                with trainer.strategy.precision_plugin.val_step_context():
                    # The whole model, because it pads images itself.
                    model(moved["image"], **{k: v for k, v in moved.items() if k not in NOT_FOR_MODEL})
                features = [level.to("cpu", DTYPES[self.dtype]) for level in kept.pop()]
                for i, entry in enumerate(entries):
                    _check_numbers([level[i] for level in features], cached.records[wanted[done + i].sample].id)
                    cached.store(wanted[done + i], [level[i] for level in features], entry)
                    if done + i == 0:
                        _check_disk(cached.file(wanted[0]), len(wanted) - 1)
                done += len(entries)
                bar.update(len(entries))
        finally:
            hook.remove()
            bar.close()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Mapping[str, Any], batch_idx: int
    ) -> None:
        """Put the stored features of the batch in the place of the encoder."""
        self._pass_stored(pl_module, batch)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Put the encoder back, so that a checkpoint holds it."""
        self._put_back(pl_module)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Mapping[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Put the stored features of the batch in the place of the encoder."""
        self._pass_stored(pl_module, batch)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Put the encoder back."""
        self._put_back(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Put the encoder back, as the batch may not have ended."""
        self._put_back(pl_module)

    def _pass_stored(self, pl_module: LightningModule, batch: Mapping[str, Any]) -> None:
        stored, model = self._stored, _model(pl_module)
        if stored is not None and model.encoder is not stored and "features" in batch:
            stored.encoder, model.encoder = model.encoder, stored

    def _put_back(self, pl_module: LightningModule) -> None:
        if (stored := self._stored) is not None and stored.encoder is not None:
            _model(pl_module).encoder, stored.encoder = stored.encoder, None


class _EncoderDecoder(Protocol):
    """A model of TerraTorch's encoder-decoder factory."""

    encoder: nn.Module | None


class _DataModule(Protocol):
    """What the cache uses of a data module of `eo_data`."""

    root: Path
    modalities: Mapping[str, ImageSource]
    task: str
    label: LabelSource | None
    batch_size: int
    num_workers: int
    train_dataset: EoDataset


def _model(pl_module: LightningModule) -> _EncoderDecoder:
    return cast("_EncoderDecoder", pl_module.model)


def _data_module(trainer: Trainer) -> _DataModule:
    """Return the data module, of which `FrozenFeatureCache.on_fit_start` has checked the kind."""
    return cast("_DataModule", trainer.datamodule)  # type: ignore[attr-defined]


def _plain(value: object) -> object:
    """Describe an argument; a module is described by its text, as its weights are hashed anyway."""
    return str(value) if isinstance(value, nn.Module) else plain_values(value)


class _Stored(nn.Module):
    """Takes the place of the encoder, and returns the features of the batch in the encoder's memory layout.

    It holds the encoder meanwhile: ``strategy: ddp`` goes on sharing the same buffers between processes.
    """

    def __init__(self, orders: list[AxisOrder]) -> None:
        super().__init__()
        self.encoder: nn.Module | None = None
        self.orders = [with_batch(order) for order in orders]

    def forward(self, _image: object, *, features: list[torch.Tensor], **_: object) -> list[torch.Tensor]:
        """Return the stored features; the image gives only the size of the output."""
        return [as_computed(level, order) for level, order in zip(features, self.orders, strict=True)]


def _frozen_encoder(pl_module: LightningModule) -> nn.Module:
    encoder = getattr(getattr(pl_module, "model", None), "encoder", None)
    if not isinstance(encoder, nn.Module):
        msg = (
            f"The feature cache needs a model with an encoder and a decoder (EncoderDecoderFactory), got "
            f"{type(pl_module).__name__} without model.encoder."
        )
        raise ValueError(msg)
    training = [name for name, parameter in encoder.named_parameters() if parameter.requires_grad]
    if training:
        msg = (
            f"The feature cache needs a frozen backbone, but {len(training)} of its parameters train ({training[0]} "
            "...). Set freeze_backbone: true, or leave FrozenFeatureCache out."
        )
        raise ValueError(msg)
    return encoder


def _levels(features: object) -> list[torch.Tensor]:
    if isinstance(features, list) and features and all(isinstance(level, torch.Tensor) for level in features):
        return list(features)  # necks may change the one that they get
    msg = (
        f"The feature cache stores a list of tensors, but the backbone returns {type(features).__name__}. Choose "
        "arguments with which it returns only tensors; where it has them: a backbone_merge_method, and no "
        "backbone_return_channel_params."
    )
    raise ValueError(msg)


@contextmanager
def _encoding(trainer: Trainer, pl_module: LightningModule) -> Iterator[None]:
    """Without gradients, in eval mode, on the device of the run."""
    modes = {module: module.training for module in pl_module.model.modules()}  # type: ignore[union-attr]
    pl_module.model.to(trainer.strategy.root_device)
    pl_module.model.eval()  # type: ignore[union-attr]
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def _both(entries: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Samples one by one, to store them, and as a batch, to encode them."""
    return entries, collate(entries)


def _check_numbers(features: list[torch.Tensor], sample: str) -> None:
    """Refuse to store what every epoch would stumble over.

    Raises
    ------
    ValueError
        If a feature is NaN or infinite.
    """
    if not all(level.isfinite().all() for level in features):
        msg = (
            f"The features of sample {sample} are NaN or infinite as {features[0].dtype}. Look at its image (python -m "
            "eo_data.inspect); store them as dtype: float32 or bfloat16, where float16 ends at 65504."
        )
        raise ValueError(msg)


def _check_disk(first: Path, count: int) -> None:
    """Refuse to fill a disk.

    Raises
    ------
    ValueError
        If ``count`` more files of the size of the first one do not fit.
    """
    own = first.stat().st_size
    free = shutil.disk_usage(first.parent).free
    if own * count > free:
        msg = (
            f"The feature cache would need {own * count / 1e9:.1f} GB more in {first.parent}, where {free / 1e9:.1f} "
            f"GB are free ({count} images of {own / 1e6:.1f} MB). Take fewer out_indices, merge groups by mean, "
            "store dtype: float16, leave D4 out, or choose another folder."
        )
        raise ValueError(msg)
