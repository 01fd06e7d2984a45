"""The benchmark of training: cases differ in what their name says and in nothing else."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

OPTIONS = argparse.Namespace(batch=2, crop=96, steps=1, device="cpu")


def config(name: str) -> dict[str, Any]:
    from training import CASES, adapted

    found = adapted(CASES[name], Path("tiles"), OPTIONS, Path("out.json"))
    found["trainer"].pop("callbacks")
    return found


@pytest.mark.parametrize("changed", ["thor tiny full", "thor base lora", "anysat base full"])
def test_checkpointing_changes_one_argument(changed: str) -> None:
    plain, other = config(changed), config(f"{changed} checkpointing")
    assert other["model"]["init_args"]["model_args"].pop("backbone_gradient_checkpointing") is True
    assert plain == other


def test_precision_and_decoder_change_alone() -> None:
    plain, bf16, quick = (config(f"thor tiny frozen{more}") for more in ("", " bf16", " quick"))
    assert (plain["trainer"].pop("precision"), bf16["trainer"].pop("precision")) == ("32-true", "bf16-mixed")
    assert plain["model"] == bf16["model"]
    decoders = [found["model"]["init_args"]["model_args"].pop("decoder") for found in (plain, quick)]
    assert decoders == ["FCNDecoder", "QuickFCNDecoder"]
    assert plain["model"] == quick["model"]


def test_frozen_lora_and_full_train_what_they_say() -> None:
    frozen, lora, full = (
        config(f"thor base {weights}")["model"]["init_args"] for weights in ("frozen", "lora", "full")
    )
    assert [found["freeze_backbone"] for found in (frozen, lora, full)] == [True, False, False]
    assert lora["model_args"].pop("peft_config")["method"] == "LORA"
    assert frozen["model_args"] == lora["model_args"] == full["model_args"]


@pytest.mark.slow
def test_losses_say_that_all_ways_are_the_same_training(root: Path, shared: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = [sys.executable, str(root / "benchmarks/training.py"), str(shared / "data"), "--out", str(out)]
    command += ["--only", "thor tiny full", "--batch", "2", "--crop", "96", "--steps", "1"]
    place = os.environ | {"PYTHONPATH": str(root)}
    subprocess.run(command, check=True, capture_output=True, cwd=root, env=place)  # noqa: S603
    rows = {row["name"]: row for row in json.loads(out.read_text())["rows"]}
    plain = rows["thor tiny full"]
    for name, row in rows.items():
        near = 0.02 if "bf16" in name else 1e-4
        assert row["last_loss"] == pytest.approx(plain["last_loss"], rel=near), name
        assert row["trained"] == plain["trained"]
        assert row["seconds_a_step"] > 0
