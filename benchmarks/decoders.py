"""Measure a training step of the recipe's decoder on cached features, by what is changed of it, beside the encoder.

    python benchmarks/decoders.py --variant base --out decoders.json

A step is the forward pass, the loss, the backward pass and the optimizer's step on a batch of features of 288 px: what
`eo_finetune.FrozenFeatureCache` leaves of a training step (benchmarks/feature_cache.py has whole epochs). The encoder,
without gradients, is what it takes away. Cases alternate, and medians over rounds of CPU seconds of one thread are
shown, which do not count the time when another process had the core.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from eo_models.decoders.fcn import QuickFCNDecoder
from eo_models.precision.matmul import matmul_precision
from thor_terratorch_ext.backbone import build_thor
from thor_terratorch_ext.model.encoder import VARIANTS

S2 = (
    *("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3"),
    *("NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"),
)
SIDE, PATCH, GROUPS = 288, 8, 2


def training_step(decoder: type, options: argparse.Namespace, *changes: str) -> Callable[[], float]:
    """Return a function that makes one step and returns the loss."""
    from terratorch.models.heads import SegmentationHead

    torch.manual_seed(0)
    width, side = GROUPS * VARIANTS[options.variant].embed_dim, options.side // PATCH
    model = torch.nn.Sequential(decoder([width], options.channels, 3), SegmentationHead(options.channels, 2))
    if "last" in changes:
        model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused="fused" in changes)
    features = torch.randn(options.batch, side, side, width).permute(0, 3, 1, 2)
    label = torch.randint(0, 2, (options.batch, options.side, options.side))

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled="bf16" in changes):
            loss = torch.nn.functional.cross_entropy(model([features.clone()]), label)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step


def encoding(options: argparse.Namespace, *, bf16: bool) -> Callable[[], float]:
    """Return a function that encodes a batch."""
    params = {"flexivit_patch_size_seqs": [PATCH]}
    encoder = build_thor(
        options.variant,
        pretrained=False,
        model_bands=list(S2),
        input_gsd=10,
        input_params=params,
        merge_method="concat",
        out_indices=[11],
    ).eval()
    image = torch.randn(options.batch, len(S2), options.side, options.side)

    def encode() -> float:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            encoder(image)
        return 0.0

    return encode


def cases(options: argparse.Namespace) -> dict[str, Callable[[], float]]:
    """Return what is measured."""
    from terratorch.models.decoders import FCNDecoder

    every = ((), ("fused",), ("last",), ("bf16",), ("bf16", "last"))
    fcn = {" ".join(("fcn", *changes)): training_step(FCNDecoder, options, *changes) for changes in every}
    quick = {
        " ".join(("quick", *changes)): training_step(QuickFCNDecoder, options, *changes) for changes in ((), ("bf16",))
    }
    return fcn | quick | {"encoder": encoding(options, bf16=False), "encoder bf16": encoding(options, bf16=True)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="base", choices=tuple(VARIANTS))
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    measured = cases(options)
    rows: dict[str, dict[str, Any]] = {name: {"seconds": [], "losses": []} for name in measured}
    with matmul_precision("highest"):
        for _ in range(1 + options.rounds):  # the first one warms up
            for name, step in measured.items():
                begun = time.process_time()
                rows[name]["losses"].append(step())
                rows[name]["seconds"].append(time.process_time() - begun)
    for name, row in rows.items():
        row["median"] = statistics.median(row["seconds"][1:])
        print(f"{name:16} {row['median']:7.2f} CPU s, losses {row['losses'][0]:.6f} to {row['losses'][-1]:.6f}")
    if options.out:
        given = {key: value for key, value in vars(options).items() if key != "out"}
        found = {"torch": torch.__version__, "options": given, "rows": rows}
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
