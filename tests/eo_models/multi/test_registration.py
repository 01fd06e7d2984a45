"""The wrapper of several encoders registers itself, whichever package is imported."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_package_brings_the_wrapper_and_loads_nothing_heavy() -> None:
    for package in ("eo_models.multi", "thor_terratorch_ext", "anysat_ext", "universat_ext"):
        code = f"""
import sys
import {package}
if "eo_models.multi" not in sys.modules:
    raise SystemExit("the wrapper will not be registered")
heavy = {{"torch", "terratorch", "numpy"}} & set(sys.modules)
if heavy:
    raise SystemExit(f"loaded: {{heavy}}")
"""
        run(code)


def test_the_wrapper_alone_is_registered_before_and_after_terratorch_is_loaded() -> None:
    code = """
import eo_models.multi
from terratorch.registry import BACKBONE_REGISTRY, TERRATORCH_BACKBONE_REGISTRY
if "MultiBackboneWrapper" not in BACKBONE_REGISTRY:
    raise SystemExit("not registered when TerraTorch is loaded later")
if any("thor" in name or "anysat" in name or "universat" in name for name in BACKBONE_REGISTRY):
    raise SystemExit("an encoder came along")
del TERRATORCH_BACKBONE_REGISTRY._registry["MultiBackboneWrapper"], sys.modules["eo_models.multi"]
import eo_models.multi
if "terratorch_MultiBackboneWrapper" not in BACKBONE_REGISTRY:
    raise SystemExit("not registered when TerraTorch is loaded already")
import thor_terratorch_ext
from eo_models.multi.backbone import MultiBackboneWrapper
if thor_terratorch_ext.MultiBackboneWrapper is not MultiBackboneWrapper:
    raise SystemExit("thor_terratorch_ext.MultiBackboneWrapper is another class")
"""
    run("import sys" + code)
