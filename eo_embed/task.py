"""``terratorch predict`` that writes embeddings: georeferenced, resumable, reproducible."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from eo_core.config import config_text
from eo_core.fingerprint import sha256_of_file
from eo_data.dataset.batch import METADATA_KEYS
from eo_data.dataset.facts import describe_data
from eo_data.dataset.sample_grid import SampleGrid, sample_grids
from eo_embed.export.failures import Failures
from eo_embed.export.fine_tuned import check_same_inputs_as_training
from eo_embed.export.ledger import Ledger, open_export
from eo_embed.export.manifest import Manifest
from eo_embed.export.summary import ProgressLines, summary_table
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.formats import GRID_FORMATS, grid_writer
from eo_embed.writers.geoparquet import PartWriter, merge
from eo_embed.writers.layout import POOLED
from eo_embed.writers.mosaic import mosaics
from eo_embed.writers.quantise import Encoding
from eo_models.checkpoints import sha256_of_weights
from eo_models.features import OUTPUTS, POOLINGS, FeatureExtractor, Features

if TYPE_CHECKING:
    from torchgeo.trainers import BaseTask
else:
    try:
        from torchgeo.tasks import BaseTask
    except ModuleNotFoundError:  # its name before torchgeo 0.10
        from torchgeo.trainers import BaseTask

#: Entries of a batch that are ours or TerraTorch's, and not for the backbone.
_NOT_FOR_BACKBONE = frozenset(("image", "mask", "label", "filename", *METADATA_KEYS))
_PACKAGES = ("terratorch", "torch", "timm", "lightning", "torchgeo", "numpy", "rasterio", "thor-anysat-terratorch")


class EmbeddingTask(BaseTask):
    """Export embeddings of a frozen backbone.

    Parameters
    ----------
    backbone : str
        Name in TerraTorch's registry: ``thor_v1_base``, ``anysat_base``, ``timm_...``, ``prithvi_...``.
    backbone_args : mapping, optional
        Its arguments (bands, patch size, ``ckpt``, ``pretrained`` ...).
    out : str
        Folder of the export.
    layers : sequence of int
        Features to export; for THOR, blocks.
    output : {'pooled', 'grid', 'both'}
        One vector per sample, a map of vectors, or both.
    pooling : {'mean', 'max', 'cls'}
        Over patch tokens, without the class token; or the class token.
    group_merge : {'mean', 'sum', 'concat'}
        How THOR's band groups become one grid.
    l2_normalise : bool
        Scale every vector to length one.
    grid_format : {'geotiff', 'zarr', 'netcdf', 'npz'}
        Of grids.
    dtype : {'float32', 'float16', 'int8', 'int8_alphaearth'}
        Of grids in GeoTIFF; pooled vectors are float32.
    overwrite : bool
        Start again in a folder that holds another export.
    on_error : {'raise', 'skip'}
        What to do with samples that the data module had to leave out (``on_error: skip`` there): list them and end
        with an error, or just list them.
    compile : bool
        Use ``torch.compile``.

    Raises
    ------
    ValueError
        For an argument that makes no sense.
    """

    def __init__(
        self,
        backbone: str,
        backbone_args: dict[str, Any] | None = None,
        out: str = "output/embeddings",
        layers: Sequence[int] = (-1,),
        output: str = "pooled",
        pooling: str = "mean",
        group_merge: str = "mean",
        l2_normalise: bool = False,  # noqa: FBT001, FBT002
        grid_format: str = "geotiff",
        dtype: str = "float32",
        overwrite: bool = False,  # noqa: FBT001, FBT002
        on_error: str = "raise",
        compile: bool = False,  # noqa: A002, FBT001, FBT002
    ) -> None:
        for name, value, valid in (
            ("output", output, OUTPUTS),
            ("pooling", pooling, POOLINGS),
            ("grid_format", grid_format, GRID_FORMATS),
            ("on_error", on_error, ("raise", "skip")),
        ):
            if value not in valid:
                msg = f"{name} must be one of {', '.join(valid)}, got {value!r}."
                raise ValueError(msg)
        if not layers:
            msg = "layers is empty. Name at least one, such as [-1]."
            raise ValueError(msg)
        self.encoding = Encoding(dtype)
        self.out = Path(out)
        self._export: tuple[Manifest, Ledger] | None = None
        self._counts = {"done": 0, "skipped": 0, "failed": 0, "cells": 0}
        self._area, self._started, self._dimensions, self._gsd = 0.0, 0.0, 0, 0.0
        super().__init__()

    def configure_models(self) -> None:
        """Build the backbone, frozen and in eval mode."""
        given = self.hparams
        extractor = FeatureExtractor(
            given["backbone"], given["backbone_args"] or {}, given["layers"], given["group_merge"]
        )
        extractor.requires_grad_(requires_grad=False).eval()
        self.model = torch.compile(extractor) if given["compile"] else extractor

    def configure_optimizers(self) -> None:
        """Nothing is trained."""
        return

    def training_step(self, *_: Any) -> None:  # noqa: ANN401
        """Refuse to train.

        Raises
        ------
        ValueError
            Always.
        """
        msg = "EmbeddingTask exports embeddings: run `terratorch predict`. To train, use one of TerraTorch's tasks."
        raise ValueError(msg)

    def setup(self, stage: str) -> None:
        """Point TerraTorch's own writer somewhere: without a folder it fails, though it gets nothing to write."""
        if stage == "predict" and getattr(self.trainer, "predict_output_dir", None) is None:
            self.trainer.predict_output_dir = str(self.out)  # type: ignore[attr-defined]

    def on_predict_start(self) -> None:
        """Compare with the training of a fine-tuned checkpoint, and open the export: new, resumed, or refused.

        Raises
        ------
        ValueError
            If the data module makes other numbers than those that ``ckpt`` was trained on.
        """
        checkpoint = (self.hparams["backbone_args"] or {}).get("ckpt")
        if checkpoint:
            blocks = getattr(self._extractor().backbone, "out_indices", None)
            check_same_inputs_as_training(checkpoint, blocks, self._data_module())
        if self.global_rank == 0:
            self._open()
        self.trainer.strategy.barrier()
        if self.global_rank != 0:
            self._open()
        ledger = self._opened()[1]
        self._finished = set(ledger.finished())
        self._grids = grid_writer(self.hparams["grid_format"], self.out, self.encoding)
        self._parts: PartWriter | None = None
        self._failures = Failures(self.out, self.global_rank)
        if self.global_rank == 0:
            for _, sample, reason in getattr(self._data_module(), "skipped", ()):
                self._failures.add(sample, reason)
        self._lines = ProgressLines(int(sum(self.trainer.num_predict_batches)))
        self._started = time.perf_counter()

    def _open(self) -> None:
        self._export = open_export(
            self.out,
            self.facts(),
            overwrite=self.hparams["overwrite"],
            rank=self.global_rank,
            provenance=self.provenance(),
        )

    def _opened(self) -> tuple[Manifest, Ledger]:
        if self._export is None:
            msg = "The export is not open: run EmbeddingTask with `terratorch predict` or Trainer.predict."
            raise ValueError(msg)
        return self._export

    def facts(self) -> dict[str, Any]:
        """Everything that changes the numbers."""
        kept = ("out", "overwrite", "on_error", "compile")
        given = {key: value for key, value in self.hparams.items() if key not in kept and not key.startswith("_")}
        given["backbone_args"] = {k: v for k, v in (given["backbone_args"] or {}).items() if k != "ckpt"}
        return {
            "task": given,
            "weights_sha256": self.weights_sha256(),
            "precision": str(self.trainer.precision),
            "data": describe_data(self._data_module()),
        }

    def provenance(self) -> dict[str, Any]:
        """What a reader wants to know besides, and what may differ between two runs of one export."""
        checkpoint = (self.hparams["backbone_args"] or {}).get("ckpt")
        return {
            "checkpoint": str(checkpoint) if checkpoint else None,
            "checkpoint_sha256": sha256_of_file(checkpoint) if checkpoint and Path(checkpoint).is_file() else None,
            "software": {name: _version(name) for name in _PACKAGES},
            "config": config_text(self.trainer),
            "root": str(getattr(self._data_module(), "root", "")),
        }

    def weights_sha256(self) -> str:
        """SHA-256 of the backbone's names and values: random weights differ from run to run, and this shows it."""
        return sha256_of_weights(self._extractor().backbone)

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int = 0, dataloader_idx: int = 0) -> None:
        """Encode a batch and write it, unless all of it has been written before."""
        image = batch["image"]
        size = _image_size(image)
        located = sample_grids(batch, size, getattr(self._data_module(), "root", None))
        names = self._layer_names()
        if all((place.id, name) in self._finished for place in located for name in names):
            self._counts["skipped"] += len(located)
            return
        manifest, ledger = self._opened()
        if manifest.is_complete and self.global_rank == 0:
            manifest.resume(self.provenance())
        extras = {key: value for key, value in batch.items() if key not in _NOT_FOR_BACKBONE}
        features = self.model(image, **extras)
        ledger.record(list(self._write(features, located, names)))
        self._counts["done"] += len(located)
        self._area += sum(place.area for place in located)
        self._lines.update(batch_idx + 1, self._counts["done"], self._area)

    def on_predict_end(self) -> None:
        """Merge what all processes wrote, complete the manifest, and print the summary."""
        self._failures.write()
        keys = list(self._counts)
        mine = torch.tensor([*(self._counts[key] for key in keys), self._area], dtype=torch.float64)
        total = self.trainer.strategy.reduce(mine.to(self.device), reduce_op="sum").tolist()
        self.trainer.strategy.barrier()
        if self.global_rank == 0:
            counts = {key: int(value) for key, value in zip(keys, total[:-1], strict=True)}
            self._finish(counts, total[-1])
        self.trainer.strategy.barrier()
        self._failures.raise_if_any(self.hparams["on_error"])

    def _finish(self, counts: dict[str, int], area: float) -> None:
        manifest, ledger = self._opened()
        if self.hparams["output"] != "grid":
            merge(self.out, self.out / POOLED)
        inputs = ledger.inputs()
        made = mosaics(self.out, inputs) if self.hparams["grid_format"] == "geotiff" else []
        failures = self._failures.merge()
        counts["failed"] = len(failures)
        files = {file for entry in inputs for file in entry["files"]} | set(made)
        counts["bytes"] = sum((self.out / file).stat().st_size for file in files if (self.out / file).is_file())
        known = manifest.is_complete and ledger.is_covered_by(manifest)
        if not known or failures != manifest.content["failures"]:
            manifest.complete(counts, inputs, failures, self._stac())
        ledger.close()
        print(summary_table(counts, time.perf_counter() - self._started, area, self.out))  # noqa: T201

    def _stac(self) -> dict[str, Any]:
        """Fields of the STAC embedding extension that describe this export."""
        given = self.hparams
        stac: dict[str, Any] = {
            "emb:type": "chip" if given["output"] == "pooled" else "pixel",
            "data_type": "float32" if given["output"] == "pooled" else self.encoding.storage,
            "emb:runtime_parameters": {key: given[key] for key in ("layers", "pooling", "group_merge", "l2_normalise")},
        }
        if self._dimensions:
            stac["emb:dimensions"] = self._dimensions
        if self._gsd:
            stac["gsd"] = round(self._gsd, 3)
        if given["dtype"].startswith("int8") and given["output"] != "pooled":
            method = "sqrt_scale" if given["dtype"] == "int8_alphaearth" else "linear"
            stac["emb:quantization"] = {"method": method, "original_dtype": "float32", "quantized_dtype": "int8"}
        return stac

    def _write(
        self, features: Sequence[Features], located: Sequence[SampleGrid], names: Sequence[str]
    ) -> Iterator[dict[str, Any]]:
        output = self.hparams["output"]
        pooled_items: list[Embedding] = []
        records = []
        for name, feature in zip(names, features, strict=True):
            if output != "pooled" and feature.grid is None:
                msg = (
                    f"The backbone's tokens {tuple(feature.tokens.shape)} form no grid. Export output: pooled, or use "
                    "an input whose size its patches divide."
                )
                raise ValueError(msg)
            vectors = _as_numpy(feature.pooled(self.hparams["pooling"])) if output != "grid" else None
            grids = _as_numpy(feature.grid) if feature.grid is not None else None
            for i, place in enumerate(located):
                vector = None if vectors is None else vectors[i]
                self._dimensions = feature.tokens.shape[-1] if grids is None else grids.shape[1]
                item = self._embedding(place, name, vector, None if grids is None else grids[i])
                files = [self._grids.write(item)] if output != "pooled" else []
                if item.pooled is not None:
                    pooled_items.append(item)
                if item.grid is not None:
                    self._counts["cells"] += int(np.prod(item.shape))
                records.append((item, files, place))
        part = self._part_writer(pooled_items[0].pooled).write(pooled_items) if pooled_items else None
        for item, files, place in records:
            own = [path.relative_to(self.out).as_posix() for path in (*files, *([part] if part else ()))]
            yield {
                "id": item.id,
                "layer": item.layer,
                "files": own,
                "sources": list(item.sources),
                "dates": [day.isoformat() for day in item.dates],
                "valid_fraction": item.valid_fraction,
                "raster_id": place.raster_id,
                "image_hw": list(place.valid.shape),
                "grid_hw": list(item.shape),
                "area_m2": round(place.area, 1),
            }

    def _embedding(
        self, place: SampleGrid, layer: str, pooled: np.ndarray | None, grid: np.ndarray | None
    ) -> Embedding:
        whole = grid.shape[1:] if grid is not None else (1, 1)
        rows, columns = place.cells(whole)
        cells = (rows.stop - rows.start) * (columns.stop - columns.start)
        self._gsd = (place.area / cells) ** 0.5 if grid is not None else 0.0
        share = place.valid_share(whole)[rows, columns]
        if self.hparams["l2_normalise"]:
            pooled = None if pooled is None else pooled / max(float(np.linalg.norm(pooled)), 1e-12)
            grid = None if grid is None else grid / np.maximum(np.linalg.norm(grid, axis=0), 1e-12)
        wanted = grid[:, rows, columns] if grid is not None and self.hparams["output"] != "pooled" else None
        if wanted is not None:
            wanted = np.where(share > 0, wanted, np.float32(np.nan)).astype(np.float32)
        return Embedding(
            place.id,
            layer,
            None if pooled is None else pooled.astype(np.float32),
            wanted,
            share,
            place.of_cells(whole, (rows.start, columns.start)),
            place.crs,
            share.shape,
            place.dates,
            place.sources,
            float(place.valid.mean()),
        )

    def _part_writer(self, pooled: np.ndarray | None) -> PartWriter:
        if self._parts is None:
            self._parts = PartWriter(self.out, self.global_rank, len(cast("np.ndarray", pooled)))
        return self._parts

    def _layer_names(self) -> list[str]:
        layers = self.hparams["layers"]
        return [""] if len(layers) == 1 else [f"layer_{layer}" for layer in layers]

    def _extractor(self) -> FeatureExtractor:
        return cast("FeatureExtractor", getattr(self.model, "_orig_mod", self.model))

    def _data_module(self) -> Any:  # noqa: ANN401
        return getattr(self.trainer, "datamodule", None)


def _image_size(image: torch.Tensor | Mapping[str, torch.Tensor]) -> tuple[int, int]:
    if isinstance(image, Mapping):
        image = next(value for value in image.values() if value.ndim >= 4)
    return int(image.shape[-2]), int(image.shape[-1])


def _as_numpy(values: torch.Tensor) -> np.ndarray:
    return values.detach().float().cpu().numpy()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
