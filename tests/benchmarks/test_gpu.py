"""The GPU benchmark on a CPU: it runs where there is little but PyTorch, and what it counts is what there is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

#: Hides what is neither PyTorch nor what PyTorch needs, as on a machine that has nothing else.
BARE = """
import json, sys
refused = set({refused!r})
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in refused else self.finder.find_spec(name, path, target)
sys.meta_path[:] = map(Without, sys.meta_path)
sys.path.insert(0, {folder!r})
sys.argv = {command!r}
import gpu
gpu.main()
print(json.dumps({{"loaded": sorted(refused & set(sys.modules) - {{"wrapt"}})}}), file=sys.stderr)
"""


#: How each part uses bfloat16: exports turn weights, training does not.
HALF = {"golden": "bf16", "encoder": "bf16", "fit": "bf16-mixed"}


def needed(name: str, known: set[str]) -> set[str]:
    """A distribution and all that it needs, without extras."""
    if name in known:
        return known
    known.add(name)
    try:
        wanted = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return known
    for line in wanted:
        if "extra ==" not in line:
            needed(re.split(r"[\s;<>=!~\[(]", line)[0].lower().replace("_", "-"), known)
    return known


def run(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.run(  # noqa: S603
        [sys.executable, *command], capture_output=True, text=True, check=False, cwd=root, env=environment
    )


@pytest.fixture(scope="module")
def refused() -> list[str]:
    allowed = needed("torch", set()) | {"numpy", "thor-anysat-terratorch"}
    owners = metadata.packages_distributions()
    found = [
        module
        for module, distributions in owners.items()
        if not {name.lower().replace("_", "-") for name in distributions} & allowed
    ]
    assert {"wrapt", "rasterio", "terratorch", "lightning", "yaml", "timm"} <= set(found)
    return found


@pytest.fixture(scope="module")
def ran(
    root: Path, shared: Path, refused: list[str], tmp_path_factory: pytest.TempPathFactory
) -> subprocess.CompletedProcess[str]:
    """A quick run on a machine that has PyTorch and nothing else."""
    out = tmp_path_factory.mktemp("gpu") / "found.json"
    command = ["gpu.py", "--device", "cpu", "--quick", "--parts", "golden,attention,encoder,fit,stream"]
    command += ["--golden", str(shared / "golden"), "--out", str(out)]
    done = run(root, "-c", BARE.format(refused=refused, folder=str(root / "benchmarks"), command=command))
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == json.loads(out.read_text())
    return done


@pytest.fixture(scope="module")
def quick(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return dict(json.loads(ran.stdout))


def test_it_needs_nothing_but_pytorch_and_our_encoders(ran: subprocess.CompletedProcess[str]) -> None:
    """A device machine has no TerraTorch and no GDAL, and nothing can be installed there."""
    assert json.loads(ran.stderr.splitlines()[-1]) == {"loaded": []}


def test_each_part_measures_both_encoders_in_both_precisions(quick: dict[str, Any]) -> None:
    for part in ("golden", "encoder", "fit"):
        kinds = {(row["encoder"].split()[0], row["precision"]) for row in quick["rows"][part]}
        assert kinds == {(name, kind) for name in ("THOR", "AnySat") for kind in ("float32", HALF[part])}, part
    assert {row["way"] for row in quick["rows"]["attention"]} == {"flex", "shared_bias", "chunked"}
    assert quick["device"]["features"] is not None
    assert quick["quick"]


def test_a_wrong_encoder_is_not_called_equal(quick: dict[str, Any]) -> None:
    exact = [row for row in quick["rows"]["golden"] if row["precision"] == "float32"]
    assert all(row["equal"] and row["error"] < 1e-4 for row in exact)
    rounded = [row for row in quick["rows"]["golden"] if row["precision"] == "bf16"]
    assert all(row["equal"] is None and 1e-3 < row["error"] < 0.1 for row in rounded)


def test_attention_is_compared_with_float64_by_every_way(quick: dict[str, Any]) -> None:
    for row in quick["rows"]["attention"]:
        assert row["error"] < (1e-6 if row["precision"] == "float32" else 1e-2), row


def test_what_is_not_measured_says_why(quick: dict[str, Any]) -> None:
    assert quick["left_out"] == [{"part": "stream", "why": "there are no copies without a GPU"}]


def test_nothing_begins_after_the_time_is_up() -> None:
    from throughput.cases import QUICK
    from throughput.clock import Budget
    from throughput.encoders import compiled_rows, encoder_rows
    from throughput.fit import fit_rows

    budget = Budget(0)
    for rows in (encoder_rows, compiled_rows, fit_rows):
        assert list(rows(QUICK, "cpu", budget, 1)) == []
    assert {one["part"].split()[0] for one in budget.left_out} == {"encoder", "fit"}
    assert all("out of time" in one["why"] for one in budget.left_out)


def test_operations_are_all_products_of_the_encoder() -> None:
    """A share of the peak is wrong if the counter misses attention, which PyTorch's fused kernels hide from it."""
    from throughput.cases import Case
    from throughput.encoders import flop_of

    tokens, dim, depth = 4 * 4 + 2 * 2, 192, 12
    layers = 2 * tokens * dim * 12 * dim + 2 * 2 * tokens**2 * dim
    patches = 2 * dim * 8 * 8 * (16 * 4 + 4 * 6)
    assert flop_of(Case("THOR tiny", "tiny", 32, (1,)), "cpu") == pytest.approx(depth * layers + patches, rel=0.02)


class Kept:
    """A case whose model can be looked at afterwards."""

    def __init__(self, case: Any) -> None:
        self.own, self.batch = case.model(), case.batch

    def model(self) -> torch.nn.Module:
        return self.own


def test_a_frozen_encoder_is_not_trained() -> None:
    from throughput.cases import QUICK
    from throughput.fit import _step

    for case in QUICK:
        built = Kept(case)
        _step(built, 1, "float32", "cpu", whole=False)()  # type: ignore[arg-type]
        assert not any(parameter.requires_grad for parameter in built.own.parameters())
        assert all(parameter.grad is None for parameter in built.own.parameters())


def test_no_gpu_is_an_error_with_the_remedy(root: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = run(root, "benchmarks/gpu.py")
    assert done.returncode == 2
    assert "--device cpu" in done.stderr
    done = run(root, "benchmarks/gpu.py", "--device", "cpu", "--parts", "goldn")
    assert "unknown goldn; valid: golden" in done.stderr
