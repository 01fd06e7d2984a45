"""Commands answer at once: what takes seconds to load is not loaded before it is needed."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from small_scenes import numbers, write_scene

#: Each takes from a third of a second to many seconds to import.
HEAVY = (
    "albumentations", "ee", "geopandas", "googleapiclient", "jsonargparse", "lightning", "matplotlib", "pandas",
    "scipy", "sklearn", "terratorch", "torch", "torchgeo", "torchmetrics", "torchvision", "transformers", "xarray",
)  # fmt: skip
#: What only fitting, exporting or tables need.
NOT_TO_LOOK_AT_A_SAMPLE = tuple(name for name in HEAVY if name not in ("jsonargparse", "matplotlib", "torch"))
SCRIPTS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["scripts"]
RUN = """
import importlib, sys
module, function = sys.argv.pop(1).split(":")
try:
    getattr(importlib.import_module(module), function)()
except SystemExit as end:
    assert not end.code, end.code
sys.stderr.write("loaded: " + " ".join(sorted(sys.modules)))
"""


def loaded_by(root: Path, *command: str) -> set[str]:
    run = [sys.executable, "-c", RUN, *command]
    done = subprocess.run(run, cwd=root, capture_output=True, text=True, check=True)  # noqa: S603
    return set(done.stderr.partition("loaded: ")[2].split())


@pytest.mark.parametrize("command", SCRIPTS)
def test_help_loads_nothing_that_takes_seconds(root: Path, command: str) -> None:
    """eo-inspect --help took 7 to 18 s, eo-config --help as long."""
    loaded = loaded_by(root, SCRIPTS[command], "--help")
    assert SCRIPTS[command].partition(":")[0] in loaded
    assert not loaded & set(HEAVY)


def test_inspect_of_a_config_loads_no_lightning(root: Path, tmp_path: Path) -> None:
    """It took 7 s, of which Lightning was five."""
    config = ("--config", "config/embed_quickstart.yaml", "--out", str(tmp_path))
    loaded = loaded_by(root, SCRIPTS["eo-inspect"], *config)
    assert "eo_data.dataset.chip_splits" in loaded
    assert not loaded & set(NOT_TO_LOOK_AT_A_SAMPLE)
    assert list(tmp_path.glob("*.png"))


def test_rasters_and_exports_are_looked_at_without_pytorch(root: Path) -> None:
    """Only resampling needs it; opening an export, or asking a file for its size, need not wait for it."""
    names = "eo_data.raster.raster, eo_data.readers.images, eo_embed.export.opening"
    run = [sys.executable, "-c", f"import sys, {names}; print('torch' in sys.modules)"]
    done = subprocess.run(run, cwd=root, capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "False"


def test_the_first_vector_loads_nothing_but_pytorch(root: Path, tmp_path: Path) -> None:
    """One chip by THOR tiny takes two to three seconds; TerraTorch alone takes ten to import."""
    file = write_scene(tmp_path / "S2A_MSIL2A_20220603.tif", numbers(side=128))
    call = "from eo_embed import embed; found = embed('thor_v1_tiny', sys.argv[1], pretrained=False, device='cpu')"
    code = f"import sys; {call}; print(found.vector.shape); print(*sys.modules)"
    run = [sys.executable, "-c", code, str(file)]
    done = subprocess.run(run, cwd=root, capture_output=True, text=True, check=True)  # noqa: S603
    shape, _, loaded = done.stdout.partition("\n")
    assert shape == "(192,)"
    assert not set(loaded.split()) & ({*HEAVY, "torch._dynamo"} - {"torch"})
