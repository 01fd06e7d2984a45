"""Measure training with FrozenFeatureCache against training without it: seconds per epoch, and the losses.

    python benchmarks/feature_cache.py --variant base --decoders linear,fcn32 --out result.json
    python benchmarks/feature_cache.py --one-plain --decoders fcn128,fcn128:fused,fcn128:last,quick128,quick128:bf16

THOR with random weights, frozen, on Sentinel-2 chips that it makes: the recipe of config/sen1floods11_thor_S2.yaml with
decoders of several sizes. An epoch is all training steps and a validation. Both runs draw the same samples, turns and
dropout, so that their losses can be compared step by step. Behind a colon stands what else is changed for a decoder;
with ``--one-plain`` all are compared with the first one without the cache, so that each change shows what it gains
alone, and how far its losses are from those of the first. The decoder and the metrics of TerraTorch's task are
computed either way: with a large decoder they are what an epoch takes, and no cache can help. CPU seconds do not count
the time when another process had the core.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import rasterio
import torch
from lightning.pytorch import Callback, Trainer

from eo_data.catalog.sources import ImageSource, LabelSource
from eo_data.datamodules import ChipDataModule
from eo_finetune import FrozenFeatureCache, MatmulPrecision, SeedByEpoch
from eo_models.precision.hardware import has_bf16
from thor_terratorch_ext import ThorPreprocess

BANDS = [
    *("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2"),
    *("RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"),
]
#: The recipe has fcn128, quick128 is the same in fewer products; linear is one 1 x 1 convolution, as in the probes.
DECODERS: dict[str, dict[str, Any]] = {
    "linear": {"decoder": "IdentityDecoder"},
    **{
        f"{name}{channels}": {"decoder": decoder, "decoder_channels": channels, "decoder_num_convs": 3}
        for name, decoder in (("fcn", "FCNDecoder"), ("quick", "QuickFCNDecoder"))
        for channels in (16, 32, 64, 128)
    },
}
#: What can be changed beside the decoder: PyTorch's fused AdamW, mixed precision, weights with the channels last.
CHANGES = ("fused", "bf16", "last")


HELP = f"comma-separated: {', '.join(DECODERS)}; each with :{', :'.join(CHANGES)} behind it if wanted"


class Clock(Callback):
    """Wall and CPU seconds of every epoch, and the loss of every step."""

    def __init__(self) -> None:
        self.epochs: list[tuple[float, float]] = []
        self.losses: list[float] = []

    def on_train_epoch_start(self, *_: object) -> None:
        """Start the clock."""
        self._start = time.perf_counter(), time.process_time()

    def on_train_batch_end(self, trainer: Trainer, pl_module: object, outputs: Any, *_: object) -> None:  # noqa: ANN401
        """Keep the loss."""
        self.losses.append(float(outputs["loss"].detach()))

    def on_train_epoch_end(self, *_: object) -> None:
        """Stop the clock; the validation of the epoch is over."""
        self.epochs.append((time.perf_counter() - self._start[0], time.process_time() - self._start[1]))


def write_chips(root: Path, count: int, side: int) -> None:
    """Write chips of smooth noise with a label that follows from them."""
    rng = np.random.default_rng(0)
    for folder in ("image", "label"):
        (root / folder).mkdir()
    for i in range(count):
        coarse = rng.normal(2000, 600, (len(BANDS), side // 16, side // 16))
        pixels = np.clip(np.kron(coarse, np.ones((16, 16))) + rng.normal(0, 40, (len(BANDS), side, side)), 1, 9999)
        profile = {"driver": "GTiff", "height": side, "width": side, "dtype": "int16", "crs": "EPSG:32630"}
        profile["transform"] = rasterio.transform.from_origin(500_000 + 10 * side * i, 4_000_000, 10, 10)
        with rasterio.open(root / "image" / f"{i}.tif", "w", count=len(BANDS), **profile) as file:
            file.write(pixels.astype(np.int16))
        with rasterio.open(root / "label" / f"{i}.tif", "w", count=1, **profile) as file:
            file.write((pixels[:1] > 2000).astype(np.int16))
    (root / "train.txt").write_text("\n".join(str(i) for i in range(count - count // 4)))
    (root / "val.txt").write_text("\n".join(str(i) for i in range(count - count // 4, count)))


def make_data(root: Path, options: argparse.Namespace) -> ChipDataModule:
    """Make the data module."""
    import albumentations

    sides = {"max_native_side": options.side, "max_native_tokens": 20_000}
    return ChipDataModule(
        str(root),
        {"S2": ImageSource("image/{id}.tif", BANDS, "sentinel2_l1c", file_bands=BANDS, unit="digital_number")},
        ThorPreprocess(patch_size=8, **sides),
        LabelSource("label/{id}.tif", classes=2),
        train_split="train.txt",
        val_split="val.txt",
        batch_size=options.batch_size,
        num_workers=options.workers,
        dates_as="none",
        train_transform=[albumentations.D4()] if options.d4 else None,
    )


def make_task(case: str, options: argparse.Namespace) -> Any:  # noqa: ANN401
    """Make TerraTorch's task."""
    decoder, *changes = case.split(":")
    from terratorch.tasks import SemanticSegmentationTask

    task = SemanticSegmentationTask(
        model_factory="EncoderDecoderFactory",
        model_args={
            "backbone": f"thor_v1_{options.variant}",
            "backbone_pretrained": False,
            "backbone_model_bands": BANDS,
            "backbone_input_gsd": 10,
            "backbone_input_params": {"flexivit_patch_size_seqs": [8]},
            "backbone_merge_method": "concat",
            "backbone_out_indices": [11],
            "num_classes": 2,
            **DECODERS[decoder],
        },
        loss="ce",
        ignore_index=-1,
        class_names=["land", "water"],
        optimizer="AdamW",
        optimizer_hparams={"fused": True} if "fused" in changes else None,
        lr=1e-4,
        freeze_backbone=True,
        plot_on_val=False,
    )
    if "last" in changes:
        task.model.decoder.to(memory_format=torch.channels_last)
    return task


def run(decoder: str, options: argparse.Namespace, root: Path, epochs: int, *callbacks: Callback) -> Clock:
    """Train and return what the clock says."""
    lightning.seed_everything(0, verbose=False)
    clock = Clock()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        precision="bf16-mixed" if "bf16" in decoder.split(":") else "32-true",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[MatmulPrecision("highest"), SeedByEpoch(), *callbacks, clock],
        default_root_dir=str(root),
    )
    trainer.fit(make_task(decoder, options), datamodule=make_data(root, options))
    return clock


def measure(decoder: str, options: argparse.Namespace, root: Path, plain: Clock) -> dict[str, Any]:
    """Compare training with the cache with a run without."""
    start = time.perf_counter()
    cached = run(decoder, options, root, options.epochs, FrozenFeatureCache(str(root / "cache")))
    whole = time.perf_counter() - start
    pairs = list(zip(plain.losses, cached.losses, strict=False))
    before, after = (tuple(map(statistics.median, zip(*clock.epochs, strict=True))) for clock in (plain, cached))
    return {
        "decoder": decoder,
        "d4": options.d4,
        "plain_s": before[0],
        "cached_s": after[0],
        "ratio": before[0] / after[0],
        "plain_cpu_s": before[1],
        "cached_cpu_s": after[1],
        "cpu_ratio": before[1] / after[1],
        "start_and_encoding_s": whole - sum(wall for wall, _ in cached.epochs),
        "steps": len(pairs),
        "largest_loss_difference": max(abs(one - other) for one, other in pairs),
    }


def as_text(row: dict[str, Any]) -> str:
    """One line for one decoder."""
    return (
        f"{row['decoder']}{' D4' if row['d4'] else ''}: {row['plain_s']:.2f} s per epoch, cached {row['cached_s']:.2f} "
        f"s, ratio {row['ratio']:.1f}; CPU {row['plain_cpu_s']:.2f} s, cached {row['cached_cpu_s']:.2f} s, ratio "
        f"{row['cpu_ratio']:.1f}; start and encoding {row['start_and_encoding_s']:.0f} s once; largest difference of "
        f"{row['steps']} losses {row['largest_loss_difference']:.1e}"
    )


def processor() -> str:
    """Name of the CPU, and whether it multiplies bfloat16."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    units = "bfloat16 units" if has_bf16(torch.device("cpu")) else "no bfloat16 units"
    return f"{names[0] if names else platform.processor()}, {units}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="base", help="tiny, small, base or large")
    parser.add_argument("--decoders", default="linear,fcn32,fcn128", help=HELP)
    parser.add_argument("--one-plain", action="store_true", help="compare all with the first without the cache")
    parser.add_argument("--d4", action="store_true", help="with the eight flips and rotations")
    parser.add_argument("--chips", type=int, default=8, help="a quarter of them validates")
    parser.add_argument("--side", type=int, default=288, help="of a chip in pixels")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--plain-epochs", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=4, help="with the cache")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    results = []
    with tempfile.TemporaryDirectory() as name:
        write_chips(Path(name), options.chips, options.side)
        plain = None
        for decoder in options.decoders.split(","):
            if plain is None or not options.one_plain:
                plain = run(decoder, options, Path(name), options.plain_epochs)
            results.append(measure(decoder, options, Path(name), plain))
            print(as_text(results[-1]), flush=True)
            if options.out:
                machine = {"cpu": processor(), "threads": options.threads, "torch": torch.__version__}
                given = {k: v for k, v in vars(options).items() if k != "out"}
                text = json.dumps({"machine": machine, "options": given, "results": results}, indent=1)
                options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
