"""``terratorch predict`` that writes embeddings: georeferenced, resumable, reproducible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from lightning.pytorch import Callback

from eo_core.config import config_text
from eo_core.file_state import Verify
from eo_data.catalog.shards import Shard, shard_of
from eo_data.dataset.contract import extras_of
from eo_embed.export.exporter import Exporter
from eo_embed.export.facts import check_same_inputs_as_training, export_facts, run_provenance
from eo_embed.export.flow.summary import Counts
from eo_embed.export.record.failures import OnError
from eo_embed.export.settings import ExportSettings, GroupMerge, Output, Pooling
from eo_embed.guard import EndOfRun, GroundInBar
from eo_embed.writers.formats import GridFormat
from eo_embed.writers.quantise import DType
from eo_models.engines.chosen import Engine, arithmetic_of_pytorch, check_engine, described, encoder_by
from eo_models.engines.compiled import CompiledEncoder
from eo_models.features import FeatureExtractor
from eo_models.precision.callback import MatmulPrecision
from eo_models.precision.matmul import Matmul, check_matmul
from eo_models.precision.numbers import Arithmetic, Numbers, Precision, check_precision
from eo_models.weights.checkpoints import sha256_of_weights

if TYPE_CHECKING:
    from torchgeo.trainers import BaseTask
else:
    try:
        from torchgeo.tasks import BaseTask
    except ModuleNotFoundError:  # its name before torchgeo 0.10
        from torchgeo.trainers import BaseTask

#: Arguments that do not change the numbers.
_NO_FACTS = frozenset(
    (
        *("out", "overwrite", "on_error", "verify", "absolute_paths", "take_over", "shard"),
        *("compile", "precision", "matmul", "engine"),
    )
)


class EmbeddingTask(BaseTask):
    """Export embeddings of a frozen backbone.

    The work is done by `eo_embed.export.exporter.Exporter`; this class lets Lightning drive it.

    Parameters
    ----------
    backbone : str
        Name in TerraTorch's registry: ``timm_...``, ``prithvi_...``, or one that ``RegisterBackbones`` has entered.
    backbone_args : mapping, optional
        Its arguments (bands, patch size, ``ckpt``, ``pretrained`` ...).
    out : str
        Folder of the export.
    layers : sequence of int
        Features to export: blocks of the backbone, or positions in the list that it returns; -1 is the last.
    output : {'pooled', 'grid', 'both'}
        One vector per sample, a map of vectors, or both.
    pooling : {'mean', 'max', 'cls'}
        Over patch tokens, without the class token; or the class token.
    group_merge : {'mean', 'sum', 'concat'}
        How the grids of several groups of bands become one, for backbones with such groups.
    l2_normalise : bool
        Scale every vector to length one.
    grid_format : {'geotiff', 'zarr', 'netcdf', 'npz'}
        File format of grids.
    dtype : {'float32', 'float16', 'int8', 'int8_alphaearth'}
        Encoding of grids; all but float32 need GeoTIFF. Pooled vectors are float32.
    overwrite : bool
        Start again in a folder that holds another export.
    on_error : {'raise', 'skip'}
        What to do with samples that the data module had to leave out (``on_error: skip`` there): list them and end
        with an error, or just list them.
    compile : bool
        Use PyTorch's compiler, which pays on GPUs (`docs/precision.md`). The first batch is compared with the encoder.
    engine : {'pytorch', 'openvino'}
        What computes the features: ``openvino`` (extra ``openvino``) is quicker on Intel's CPUs (`docs/precision.md`).
        The first batch is compared with the encoder.
    precision : {'auto', '32', 'bf16', 'int8'}
        In which numbers the encoder computes, see `eo_models.precision.numbers.Arithmetic`; ``auto`` is bf16 where the
        hardware multiplies it faster. Instead, Lightning's ``trainer.precision: bf16-mixed`` or ``16-mixed`` goes, too.
    matmul : {'highest', 'high', 'medium'}
        In which precision products of float32 matrices are computed: ``highest`` is float32 on every machine,
        whatever libraries have set for the process; see `eo_models.precision.matmul`.
    verify : {'stat', 'content'}
        How a rerun tells that files are what they were: by size and times, and small ones by a digest where times
        differ; or all by a digest of their content, which reads them.
    absolute_paths : bool
        Name files by their whole path. By default they are named from the root of the data on, so that nothing is told
        of the machine.
    take_over : bool
        Go on in a folder that a run on another machine has locked and left.
    shard : Shard, optional
        Export only this part of the samples, such as ``{index: 0, of: 3}``, to ``out/shards/0-of-3``. Data modules of
        `eo_data` may state it instead, or as well; others know no shards. ``python -m eo_embed.merge out`` makes the
        whole.

    Raises
    ------
    ValueError
        For an unknown choice, no layer, a dtype that the format cannot hold; when the run begins, for a precision that
        the hardware lacks, or two that are stated.
    """

    def __init__(
        self,
        backbone: str,
        backbone_args: dict[str, Any] | None = None,
        out: str = "output/embeddings",
        layers: Sequence[int] = (-1,),
        output: Output = "pooled",
        pooling: Pooling = "mean",
        group_merge: GroupMerge = "mean",
        l2_normalise: bool = False,  # noqa: FBT001, FBT002
        grid_format: GridFormat = "geotiff",
        dtype: DType = "float32",
        overwrite: bool = False,  # noqa: FBT001, FBT002
        on_error: OnError = "raise",
        compile: bool = False,  # noqa: A002, FBT001, FBT002
        verify: Verify = "stat",
        absolute_paths: bool = False,  # noqa: FBT001, FBT002
        take_over: bool = False,  # noqa: FBT001, FBT002
        shard: Shard | None = None,
        precision: Precision | int = "32",
        matmul: Matmul = "highest",
        engine: Engine = "pytorch",
    ) -> None:
        stored = (tuple(layers), output, pooling, group_merge, l2_normalise, grid_format, dtype)
        self.settings = ExportSettings(*stored, overwrite, on_error, verify, absolute_paths, take_over)
        self.out, self.shard = Path(out), shard
        self.precision, self.matmul = check_precision(precision), check_matmul(matmul)
        self.engine = check_engine(engine, compile=compile)
        self._exporter: Exporter | None = None
        self._encoder: CompiledEncoder | FeatureExtractor | None = None
        #: Of the weights before they became bf16 or int8; empty while they are what was loaded.
        self._loaded_sha256 = ""
        super().__init__()

    def configure_models(self) -> None:
        """Build the backbone, frozen and in eval mode."""
        given = self.hparams
        extractor = FeatureExtractor(
            given["backbone"], given["backbone_args"] or {}, given["layers"], given["group_merge"]
        )
        extractor.requires_grad_(requires_grad=False).eval()
        self.model = extractor

    @property
    def lists_faults(self) -> bool:
        """Whether samples that cannot be read may come in a batch as their id and the reason."""
        return True

    def configure_optimizers(self) -> None:
        """Nothing is trained."""
        return

    def training_step(self, *_: object) -> None:
        """Refuse to train.

        Raises
        ------
        ValueError
            Always.
        """
        msg = "EmbeddingTask exports embeddings: run `terratorch predict`. To train, use one of TerraTorch's tasks."
        raise ValueError(msg)

    def configure_callbacks(self) -> list[Callback]:
        """Stop cleanly whatever ends the run, say in its bar how much ground is done, and set ``matmul``."""
        return [EndOfRun(), GroundInBar(), MatmulPrecision(self.matmul)]

    @property
    def ground(self) -> str:
        """What a bar says of the ground that is written so far; empty if that is unknown."""
        return "" if self._exporter is None else self._exporter.ground

    def setup(self, stage: str) -> None:
        """Open the export before anything is read, so that what is finished need not be.

        Raises
        ------
        ValueError
            If the data module makes other numbers than those that ``ckpt`` was trained on, or the folder holds
            another export, or another run writes there.
        """
        if stage != "predict":
            return
        # TerraTorch's own writer gets nothing to write, but fails without a folder.
        if getattr(self.trainer, "predict_output_dir", None) is None:
            self.trainer.predict_output_dir = str(self.out)  # type: ignore[attr-defined]
        self._exporter = None
        if self.trainer.ckpt_path is None:  # its weights, by which exports are told apart, come after this
            self._open()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights for an encoder whose numbers are no longer those of files.

        Raises
        ------
        ValueError
            If an export by this task has turned them into bf16 or int8.
        """
        if self._loaded_sha256:
            msg = f"This task has turned its weights into {self.precision} already. Build a new one for other weights."
            raise ValueError(msg)

    def on_predict_start(self) -> None:
        """Open the export if that could not be done before.

        Raises
        ------
        ValueError
            As `setup`.
        """
        if self._exporter is None:
            self._open()
        self._opened().expect(int(sum(self.trainer.num_predict_batches)))

    def _open(self) -> None:
        exporter, data = self.exporter(self.global_rank), self._data_module()
        dataset = getattr(data, "predict_dataset", None)
        known = dataset if hasattr(dataset, "inputs") else None
        if self.global_rank == 0:
            exporter.open(None, getattr(data, "skipped", ()), known, alone=self.trainer.world_size == 1)
        self.trainer.strategy.barrier()
        if self.global_rank != 0:
            exporter.open(None, (), known)
        # Nothing may be written before all processes have seen what is finished.
        self.trainer.strategy.barrier()
        self._exporter = exporter

    def exporter(self, rank: int) -> Exporter:
        """Return an exporter of this task that is not open yet; trainer and data module must be set up.

        The encoder has the numbers of ``precision`` from here on.

        Parameters
        ----------
        rank : int
            Of the process that is to write with it.

        Raises
        ------
        ValueError
            If the data module makes other numbers than those that ``ckpt`` was trained on.
        """
        checkpoint, data = self._checkpoint(), self._data_module()
        if checkpoint:
            blocks = getattr(self._extractor().backbone, "out_indices", None)
            check_same_inputs_as_training(checkpoint, blocks, data)
        own, facts = arithmetic_of_pytorch(self.engine, self.arithmetic), (self.facts(), self.provenance())
        if own.changes_weights and not self._loaded_sha256:
            self._loaded_sha256 = self.weights_sha256()
            own.prepare(self._extractor())
        self._encoder = encoder_by(self.engine, self._extractor(), self.arithmetic, compile=self.hparams["compile"])
        made = (self.out, self._encoder, self.settings, *facts)
        return Exporter(*made, rank=rank, root=getattr(data, "root", None), shard=shard_of(data, self.shard))

    @property
    def arithmetic(self) -> Arithmetic:
        """In which numbers the encoder computes in this run.

        Raises
        ------
        ValueError
            If the hardware lacks the precision, or the trainer states another one.
        """
        device, stated = self.trainer.strategy.root_device, str(self.trainer.precision)
        if stated == "32-true":
            return Arithmetic.of(self.precision, self.matmul, device)
        if self.precision not in ("32", "32-true", stated):
            msg = f"The task states precision: {self.precision}, and the trainer {stated}. Leave one of them out."
            raise ValueError(msg)
        return Arithmetic(cast("Numbers", stated), self.matmul, device)

    def computing(self) -> AbstractContextManager[None]:
        """Return what a block runs in that calls the encoder."""
        return arithmetic_of_pytorch(self.engine, self.arithmetic).computing()

    def facts(self) -> dict[str, Any]:
        """Everything that changes the numbers."""
        own = {k: v for k, v in self.hparams.items() if k not in _NO_FACTS and not k.startswith("_")}
        own["backbone_args"] = {k: v for k, v in (own["backbone_args"] or {}).items() if k != "ckpt"}
        if self.engine != "pytorch":
            own["engine"] = self.engine
        return export_facts(own, self.weights_sha256(), self.arithmetic.numbers, self._data_module(), self.matmul)

    def provenance(self) -> dict[str, Any]:
        """What a reader wants to know besides, and what may differ between two runs of one export."""
        data = self._data_module()
        named, records = self.settings.absolute_paths, getattr(getattr(data, "predict_dataset", None), "records", ())
        root, config = getattr(data, "root", ""), config_text(self.trainer)
        options: dict[str, Any] = {
            "absolute_paths": named,
            "records": records,
            "numbers": described(self.engine, self.arithmetic),
        }
        return run_provenance(self._checkpoint(), config, root, **options)

    def weights_sha256(self) -> str:
        """SHA-256 of the backbone's names and values: random weights differ from run to run, and this shows it.

        Of the weights as they were loaded, before ``precision`` turned them into other numbers.
        """
        return self._loaded_sha256 or sha256_of_weights(self._extractor().backbone)

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int = 0, dataloader_idx: int = 0) -> None:
        """Encode a batch and write it, unless all of it has been written before."""
        with self.computing():
            self._opened().add(batch)

    def encode(self, batch: Mapping[str, Any]) -> object:
        """Encode a batch as `predict_step` does, and write nothing: data modules measure what memory that takes."""
        precision = self.trainer.precision_plugin
        moved = self.trainer.strategy.batch_to_device(precision.convert_input(batch))
        with precision.predict_step_context(), self.computing():
            return (self._encoder or self._extractor())(moved["image"], **extras_of(moved))

    def on_predict_end(self) -> None:
        """Merge what all processes wrote, complete the manifest, and print the summary.

        Raises
        ------
        ValueError
            If items failed under ``on_error: raise``.
        """
        exporter = self._opened()
        own = torch.tensor(exporter.close().numbers(), dtype=torch.float64)
        total = self.trainer.strategy.reduce(own.to(self.device), reduce_op="sum").tolist()
        self.trainer.strategy.barrier()
        if self.global_rank == 0:
            print(exporter.complete(Counts.of(total)))  # noqa: T201
        self.trainer.strategy.barrier()
        exporter.raise_if_failed()

    def teardown(self, stage: str) -> None:
        """End the export of a shard without samples: Lightning calls nothing else where there are no batches.

        Raises
        ------
        ValueError
            As `on_predict_end`.
        """
        of_shard = getattr(self._data_module(), "shard", None) is not None
        if stage == "predict" and of_shard and not sum(self.trainer.num_predict_batches):
            self.on_predict_start()
            self.on_predict_end()

    def release(self) -> None:
        """Let other runs write to the folder."""
        if self._exporter is not None:
            self._exporter.release()

    def _opened(self) -> Exporter:
        if self._exporter is None:
            msg = "The export is not open: run EmbeddingTask with `terratorch predict` or Trainer.predict."
            raise ValueError(msg)
        return self._exporter

    def _checkpoint(self) -> str | None:
        """Path of the weights, if the config names one."""
        return (self.hparams["backbone_args"] or {}).get("ckpt")

    def _extractor(self) -> FeatureExtractor:
        return cast("FeatureExtractor", self.model)

    def _data_module(self) -> object:
        return getattr(self.trainer, "datamodule", None)
