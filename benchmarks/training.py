"""Measure what a training step of the recipes takes: seconds, CPU seconds and peak memory, as JSON and a table.

    python benchmarks/training.py ../shared/data --out training.json --table training.md
    python benchmarks/training.py ../shared/data --only "thor tiny" --steps 1 --batch 2 --crop 96    # does it run
    uv run --project tests/parity python benchmarks/training.py ../shared/data --only extension      # beside the peer

Each case is a recipe of config/ as ``terratorch fit`` runs it, on tiles cut out of the real chip of Sen1Floods11 with
Sentinel-2: frozen, with LoRA, with all weights, with gradient checkpointing, with mixed precision. Weights are random,
which changes no speed; there is no validation. A case runs in a process of its own, so that memory is its own; rounds
of all cases alternate, and medians over rounds are shown. A step is the time from the end of one step to the end of the
next, with the reading of its batch; the first step of a process, which makes what later ones use, is left out.

``extension`` is what the THOR extension's own config for Sentinel-2 (config/sen1floods11_thor_S2.yaml there, version
0.2.1) computes: THOR base, frozen, an FCN decoder of four steps and 256 channels with a head of 256, crops of 288 px
turned at random, TerraTorch's generic data module. It is not installable from a registry (it names its parts by git
addresses), so that the published encoder is the one that rs-embed carries, in the environment of tests/parity; its neck
is left to ``merge_method: concat``, which does the same. Its 16-mixed is for GPUs, here both are computed in float32.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import rasterio
import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from rasterio.windows import Window

from eo_core.config import read_config
from eo_models.precision.hardware import has_bf16

CONFIGS = Path(__file__).parent.parent / "config"
CHIP = "Spain_7370579"
FOLDERS = {"S1GRDHand": "_S1Hand.tif", "S2L1CHand": "_S2Hand.tif", "LabelHand": "_LabelHand.tif"}
#: Tiles are larger than crops, as in the recipes, and cut at every so many pixels.
TILE, STRIDE = 320, 64
GIB = 2**30
#: Layers that adapters stand beside, as README has them; a block of AnySat has ``wk`` and ``wv`` in place of ``qkv``.
TARGETS = {"thor": ["qkv", "proj", "fc1", "fc2"], "anysat": ["qkv", "wk", "wv", "proj", "fc1", "fc2"]}
Weights = Literal["frozen", "lora", "full"]


@dataclass(frozen=True)
class Case:
    """One recipe, and what is changed of it."""

    name: str
    config: str
    backbone: str
    weights: Weights
    changes: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """THOR or AnySat."""
        return self.backbone.partition("_")[0]


def _cases() -> list[Case]:
    found = []
    for size, weights in product(("tiny", "base"), ("frozen", "lora", "full")):
        config, backbone = "sen1floods11_thor_S2", f"thor_v1_{size}"
        changes: list[tuple[str, ...]] = [(), ("bf16",), ("quick",), ("quick", "bf16")]
        changes += [] if weights == "frozen" else [("checkpointing",), ("quick", "bf16", "checkpointing")]
        for change in changes:
            found.append(Case(" ".join(("thor", size, weights, *change)), config, backbone, weights, change))  # type: ignore[arg-type]
    for weights in ("frozen", "lora", "full"):
        changes = [(), ("bf16",)] + ([] if weights == "frozen" else [("checkpointing",)])
        for change in changes:
            name = " ".join(("anysat", "base", weights, *change))
            found.append(Case(name, "sen1floods11_anysat_S2", "anysat_base", weights, change))  # type: ignore[arg-type]
    for change in (("published",), (), ("quick",), ("quick", "bf16")):
        name = " ".join(("extension", "base", "frozen", *(change or ("ours",))))
        found.append(Case(name, "sen1floods11_thor_S2", "thor_v1_base", "frozen", ("extension", *change)))
    return found


CASES = {case.name: case for case in _cases()}


class StepClock(Callback):
    """Writes seconds of every step, and the memory of the process, to a file.

    Parameters
    ----------
    out : str
        JSON file.
    """

    def __init__(self, out: str) -> None:
        self.out = Path(out)
        self.steps: list[tuple[float, float]] = []
        self.losses: list[float] = []
        self.before = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.before = peak_memory(pl_module.device)
        self._last = time.perf_counter(), time.process_time()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: object) -> None:  # noqa: ANN401
        """Take the time since the last step; ``float`` waits for a GPU."""
        self.losses.append(float(outputs["loss"].detach()))
        now = time.perf_counter(), time.process_time()
        self.steps.append((now[0] - self._last[0], now[1] - self._last[1]))
        self._last = now

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what was found."""
        trained = sum(parameter.numel() for parameter in pl_module.parameters() if parameter.requires_grad)
        peak = peak_memory(pl_module.device)
        found = {"steps": self.steps, "losses": self.losses, "trained": trained, "before": self.before, "peak": peak}
        self.out.write_text(json.dumps(found))


def peak_memory(device: torch.device) -> float:
    """Peak of the process (of the GPU, if it trains there) in GiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


def cut_tiles(data: Path, root: Path) -> None:
    """Cut overlapping tiles out of the chip, with split files."""
    source = data / "sen1floods11_v1.1"
    ids = []
    for top, left in product(range(0, 512 - TILE + 1, STRIDE), repeat=2):
        ids.append(f"{CHIP}_r{top}_c{left}")
        for folder, end in FOLDERS.items():
            with rasterio.open(source / "data" / folder / f"{CHIP}{end}") as file:
                window = Window(left, top, TILE, TILE)
                profile = {"driver": "GTiff", "width": TILE, "height": TILE, "crs": file.crs, "nodata": file.nodata}
                profile |= {"count": file.count, "dtype": file.dtypes[0], "transform": file.window_transform(window)}
                out = root / "data" / folder / f"{ids[-1]}{end}"
                out.parent.mkdir(parents=True, exist_ok=True)
                with rasterio.open(out, "w", **profile) as written:
                    written.write(file.read(window=window))
    events = "Sen1Floods11_Metadata.geojson"
    (root / events).write_bytes((source / events).read_bytes())
    (root / "splits").mkdir()
    for split in ("train", "valid", "test"):
        (root / "splits" / f"flood_{split}_data.txt").write_text("\n".join(ids) + "\n")


def adapted(case: Case, root: Path, options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Return the config of a case."""
    config: dict[str, Any] = read_config(CONFIGS / f"{case.config}.yaml")
    model, arguments = config["model"]["init_args"], config["model"]["init_args"]["model_args"]
    arguments |= {"backbone": case.backbone, "backbone_pretrained": False}
    model["freeze_backbone"] = case.weights == "frozen"
    if case.weights == "lora":
        settings = {"target_modules": TARGETS[case.family], "r": 8, "lora_alpha": 16}
        arguments["peft_config"] = {"method": "LORA", "peft_config_kwargs": settings}
    if "extension" in case.changes:
        arguments |= {"decoder_channels": 256, "decoder_num_convs": 4}
        arguments |= {"head_dropout": 0.1, "head_channel_list": [256]}
    if "quick" in case.changes:
        arguments["decoder"] = "QuickFCNDecoder"
    if "checkpointing" in case.changes:
        arguments["backbone_gradient_checkpointing"] = True
    data = config["data"]["init_args"]
    data |= {"root": str(root), "num_workers": 0}
    data["batch_size"] = options.batch or data["batch_size"]
    if options.crop:
        data["train_transform"][0]["init_args"] = {"height": options.crop, "width": options.crop}
    if "published" in case.changes:
        publish(config, root, data)
    clock = {"class_path": f"{__name__}.StepClock", "init_args": {"out": str(out)}}
    config["trainer"] = {
        "accelerator": options.device,
        "devices": 1,
        "precision": "bf16-mixed" if "bf16" in case.changes else "32-true",
        "max_steps": 1 + options.steps,
        "limit_val_batches": 0,
        "num_sanity_val_steps": 0,
        "logger": False,
        "default_root_dir": str(root),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "callbacks": [{"class_path": "eo_finetune.MatmulPrecision", "init_args": {"matmul": "highest"}}, clock],
    }
    return config


def publish(config: dict[str, Any], root: Path, ours: dict[str, Any]) -> None:
    """Put the published encoder and TerraTorch's generic data module into a config."""
    from rs_embed.embedders._vendor.thor_vit import load_thor_model  # type: ignore[import-untyped]
    from terratorch.registry import TERRATORCH_BACKBONE_REGISTRY

    def published_thor(**arguments: Any) -> torch.nn.Module:  # noqa: ANN401
        arguments.pop("padding", None)
        module: torch.nn.Module = load_thor_model("thor_v1_base", **arguments)
        return module

    TERRATORCH_BACKBONE_REGISTRY.register(published_thor)
    arguments = config["model"]["init_args"]["model_args"]
    arguments["backbone"] = "published_thor"
    side = ours["train_transform"][0]["init_args"]["height"]
    arguments.pop("backbone_input_gsd")
    arguments["backbone_input_params"]["ground_covers"] = [side * 10]
    every = ["COASTAL_AEROSOL", *arguments["backbone_model_bands"]]
    every[9:9] = ["WATER_VAPOR", "CIRRUS"]
    places = {f"{split}_data_root": str(root / "data/S2L1CHand") for split in ("train", "val", "test")}
    places |= {f"{split}_label_data_root": str(root / "data/LabelHand") for split in ("train", "val", "test")}
    splits = zip(("train", "val", "test"), ("train", "valid", "test"), strict=True)
    places |= {f"{name}_split": str(root / f"splits/flood_{file}_data.txt") for name, file in splits}
    config["data"] = {
        "class_path": "terratorch.datamodules.GenericNonGeoSegmentationDataModule",
        "init_args": {
            **places,
            "batch_size": ours["batch_size"],
            "num_workers": 0,
            "dataset_bands": every,
            "output_bands": list(arguments["backbone_model_bands"]),  # one list in two places becomes an alias in YAML
            "rgb_indices": [2, 1, 0],
            "img_grep": "*_S2Hand.tif",
            "label_grep": "*_LabelHand.tif",
            "no_label_replace": -1,
            "no_data_replace": 0,
            "check_stackability": False,
            "means": [2000.0] * 10,
            "stds": [1000.0] * 10,
            "num_classes": 2,
            "train_transform": [*ours["train_transform"], {"class_path": "ToTensorV2"}],
        },
    }


def run_one(options: argparse.Namespace) -> None:
    """Run a case in this process."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    from terratorch.cli_tools import build_lightning_cli

    out = Path(options.worker)
    file = out.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(adapted(CASES[options.only], options.data, options, out), sort_keys=False))
    build_lightning_cli(["fit", "--config", str(file)])


def run_case(case: Case, options: argparse.Namespace, root: Path, out: Path) -> dict[str, Any]:
    """Run a case in a process of its own, and return what its clock wrote."""
    command = [sys.executable, __file__, str(root), "--only", case.name, "--worker", str(out)]
    for name in ("steps", "batch", "crop", "threads", "device"):
        command += [f"--{name}", str(getattr(options, name))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(CONFIGS.parent), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603
    if done.returncode:
        msg = f"{case.name} failed:\n{done.stderr[-3000:]}"
        raise RuntimeError(msg)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def summary(case: Case, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the row of a case."""
    steps = [step for found in rounds for step in found["steps"][1:]]
    return {
        **asdict(case),
        "seconds_a_step": statistics.median(wall for wall, _ in steps),
        "cpu_seconds_a_step": statistics.median(cpu for _, cpu in steps),
        "peak_gib": max(found["peak"] for found in rounds),
        "before_gib": max(found["before"] for found in rounds),
        "trained": rounds[0]["trained"],
        "first_loss": rounds[0]["losses"][0],
        "last_loss": rounds[0]["losses"][-1],
        "rounds": rounds,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as a table of Markdown; memory is that of the process, and of it before the first step."""
    lines = ["| case | s a step | CPU s | peak GiB | before | trained | loss |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        lines.append(
            f"| {row['name']} | {row['seconds_a_step']:.2f} | {row['cpu_seconds_a_step']:.2f} | {row['peak_gib']:.2f} "
            f"| {row['before_gib']:.2f} | {row['trained']:,} | {row['first_loss']:.3f} to {row['last_loss']:.3f} |"
        )
    return "\n".join(lines)


def processor() -> str:
    """Name of the CPU, and whether it multiplies bfloat16."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    units = "bfloat16 units" if has_bf16(torch.device("cpu")) else "no bfloat16 units"
    return f"{names[0] if names else platform.processor()}, {units}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with sen1floods11_v1.1")
    parser.add_argument("--only", default="", help=f"cases that begin so, comma-separated: {'; '.join(CASES)}")
    parser.add_argument("--steps", type=int, default=2, help="after the first one, in each round")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--batch", type=int, default=0, help="by default that of the recipe")
    parser.add_argument("--crop", type=int, default=0, help="side in pixels, by default that of the recipe")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--table", type=Path, help="Markdown file")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        run_one(options)
        return
    starts = tuple(start.strip() for start in options.only.split(","))
    cases = [case for case in CASES.values() if case.name.startswith(starts)]
    if importlib.util.find_spec("rs_embed") is None:
        cases = [case for case in cases if "published" not in case.changes]
        print("The published THOR (rs-embed) is not installed here: use the environment of tests/parity.")
    found: dict[str, list[dict[str, Any]]] = {case.name: [] for case in cases}
    with tempfile.TemporaryDirectory() as name:
        cut_tiles(options.data, Path(name))
        for turn, case in product(range(options.rounds), cases):
            found[case.name].append(run_case(case, options, Path(name), Path(name) / f"{turn}.json"))
            print(table([summary(case, found[case.name])]).splitlines()[-1], flush=True)
    rows = [summary(case, found[case.name]) for case in cases]
    title = f"{processor()}, {options.threads} threads, PyTorch {torch.__version__}, {options.rounds} rounds"
    print(f"\n{title}\n\n{table(rows)}")
    if options.table:
        options.table.write_text(f"{title}\n\n{table(rows)}\n", encoding="utf-8")
    if options.out:
        given = {key: value for key, value in vars(options).items() if key in ("steps", "rounds", "batch", "crop")}
        machine = {"cpu": processor(), "threads": options.threads, "torch": torch.__version__, "device": options.device}
        options.out.write_text(json.dumps({"machine": machine, "options": given, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
