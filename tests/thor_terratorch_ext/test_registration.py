"""Registration is light, works in both import orders, and leaves timm and TerraTorch as they were."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from thor_terratorch_ext.backbone import MODEL_NAMES

NAMES = [
    *(f"thor_v1_{v}" for v in ("tiny", "small", "base", "large")),
    *(f"thor_vit_{v}_encoder_alibi_patch_size_embed_v1" for v in ("tiny", "small", "base", "large")),
]


def run(code: str, cwd: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_import_alone_loads_neither_terratorch_nor_torch(tmp_path: Path) -> None:
    code = """
import sys
import thor_terratorch_ext
heavy = {"torch", "terratorch", "timm", "lightning", "torchgeo"} & set(sys.modules)
if heavy:
    raise SystemExit(f"loaded: {heavy}")
from thor_terratorch_ext import ThorEncoder, THORGroupReshapeTokensToImage
if "terratorch" in sys.modules:
    raise SystemExit("the encoder pulled TerraTorch in")
"""
    run(code, tmp_path)


VIT = """
import torch

def output_of(build, channels, side):
    torch.manual_seed(0)
    model = build().eval()
    with torch.inference_mode():
        out = model(torch.linspace(-1, 1, 2 * channels * side * side).reshape(2, channels, side, side))
    return out if isinstance(out, list) else [out]

def same(first, second):
    return len(first) == len(second) and all(torch.equal(a, b) for a, b in zip(first, second))
"""


def test_timm_is_bit_identical_and_the_readme_example_works_in_its_order(tmp_path: Path) -> None:
    code = (
        VIT
        + """
import timm
from timm.models import vision_transformer

def small():
    return timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=5)

forwards = (vision_transformer.Attention.forward, vision_transformer.Block.forward)
before = output_of(small, 3, 32)
import thor_terratorch_ext
arguments = dict(
    pretrained=False, model_bands=["BLUE", "GREEN", "RED", "VV", "VH"],
    input_params=dict(ground_covers=[2880], flexivit_patch_size_seqs=[8]),
)
thor_terratorch_ext.build_thor("tiny", **arguments)(torch.randn(1, 5, 288, 288))
if not same(before, output_of(small, 3, 32)):
    raise SystemExit("timm's ViT changed")

from terratorch import BACKBONE_REGISTRY
names = [name for name in BACKBONE_REGISTRY if "thor" in name]
print(len(names), *names)
backbone = BACKBONE_REGISTRY.build("thor_v1_tiny", **arguments)
print([tuple(f.shape) for f in backbone(torch.randn(1, 5, 288, 288))][-1])
if forwards != (vision_transformer.Attention.forward, vision_transformer.Block.forward):
    raise SystemExit("timm was patched")
"""
    )
    lines = run(code, tmp_path).splitlines()
    count, *names = lines[-2].split()
    assert int(count) == len(NAMES)
    assert names == [f"terratorch_{name}" for name in NAMES]
    assert lines[-1] == "(1, 2592, 192)"


def test_terratorchs_own_vit_is_bit_identical_before_and_after_importing_and_running_ours(tmp_path: Path) -> None:
    # The import of TerraTorch itself moves timm's numbers by 3e-7, so it comes before the first measurement.
    code = (
        VIT
        + """
from terratorch.registry import BACKBONE_REGISTRY

def prithvi():
    return BACKBONE_REGISTRY.build(
        "prithvi_eo_v1_100", pretrained=False, num_frames=1, bands=["RED", "GREEN"], encoder_depth=2
    )

before = output_of(prithvi, 2, 224)
if any("thor" in name for name in BACKBONE_REGISTRY):
    raise SystemExit("registered before the import")
import thor_terratorch_ext
ours = BACKBONE_REGISTRY.build(
    "thor_v1_tiny", pretrained=False, model_bands=["VV"], input_params={"ground_covers": [320]}
)
ours(torch.randn(1, 1, 32, 32))
if not same(before, output_of(prithvi, 2, 224)):
    raise SystemExit("Prithvi changed")
"""
    )
    run(code, tmp_path)


def test_all_names_are_registered_when_terratorch_is_loaded_first() -> None:
    from terratorch import registry

    import thor_terratorch_ext  # noqa: F401

    assert list(MODEL_NAMES) == NAMES
    for name in NAMES:
        assert name in registry.BACKBONE_REGISTRY
    assert "THORGroupReshapeTokensToImage" in registry.NECK_REGISTRY


def test_errors_in_the_factory_are_not_hidden_by_the_registry() -> None:
    from terratorch.registry import BACKBONE_REGISTRY

    with pytest.raises(ValueError, match="Unknown band 'BLEU'"):
        BACKBONE_REGISTRY.build("thor_v1_tiny", pretrained=False, model_bands=["BLEU"])


def test_a_key_error_does_not_leave_the_factory(monkeypatch: pytest.MonkeyPatch) -> None:
    from terratorch.registry import BACKBONE_REGISTRY

    from thor_terratorch_ext import backbone

    def broken(*_: object, **__: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(backbone, "build_thor", broken)
    with pytest.raises(RuntimeError, match="missing key 'x'"):
        BACKBONE_REGISTRY.build("thor_v1_tiny", pretrained=False)
