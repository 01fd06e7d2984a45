"""Exports of version 0.1 go on with this version: the same fingerprint, nothing made again, the same numbers."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pyarrow import parquet

import eo_embed

MADE = Path(__file__).with_name("version_0_1")


@pytest.fixture(scope="module")
def maker() -> Any:
    spec = importlib.util.spec_from_file_location("export_0_1", MADE / "export_0_1.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(maker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the chips, changed when they were, and both exports."""
    shutil.copytree(MADE, tmp_path, dirs_exist_ok=True)
    for chip in (tmp_path / "data").rglob("*.tif"):
        os.utime(chip, (maker.CHANGED, maker.CHANGED))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predict(maker: Any, kind: str, out: str) -> dict[str, Any]:
    """Run the export of version 0.1 with this version, into ``out``, and return the manifest."""
    from terratorch.cli_tools import build_lightning_cli
    from terratorch.registry import BACKBONE_REGISTRY

    import anysat_ext
    import thor_terratorch_ext

    assert anysat_ext.register is not thor_terratorch_ext.register
    weights = Path(f"{kind}.pt")
    content = maker.config(kind, weights)
    model = content["model"]["init_args"]
    if not weights.exists():
        arguments = {key: value for key, value in model["backbone_args"].items() if key != "ckpt"}
        maker.write_weights(BACKBONE_REGISTRY.build(model["backbone"], **arguments).model, weights)
    model["out"] = out
    Path(f"{kind}.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    build_lightning_cli(["predict", "--config", f"{kind}.yaml"])
    manifest: dict[str, Any] = json.loads(Path(out, "manifest.json").read_text(encoding="utf-8"))
    return manifest


def contents(folder: Path) -> dict[str, object]:
    """Files of an export by name: bytes, but of tables their rows, which another version of pyarrow packs otherwise."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        path.name: parquet.read_table(path).to_pylist() if path.suffix == ".parquet" else path.read_bytes()
        for path in files
    }


def test_an_interrupted_export_of_version_0_1_is_resumed_not_refused_nor_made_again(maker: Any, folder: Path) -> None:
    before = json.loads((folder / "thor" / "manifest.json").read_text(encoding="utf-8"))
    assert before["state"] == "running"
    grids = {path: path.read_bytes() for path in (folder / "thor" / "grids").rglob("*.tif")}
    assert len(grids) == 2
    after = predict(maker, "thor", "thor")
    assert (after["state"], after["fingerprint"], after["facts"]) == (
        "complete",
        before["fingerprint"],
        before["facts"],
    )
    assert tuple(entry["id"] for entry in after["inputs"]) == maker.CHIPS
    assert {path: path.read_bytes() for path in grids} == grids
    fresh = predict(maker, "thor", "fresh")
    assert fresh["fingerprint"] == before["fingerprint"]
    old, new = eo_embed.open_embeddings(folder / "thor"), eo_embed.open_embeddings(folder / "fresh")
    for chip in maker.CHIPS:
        np.testing.assert_allclose(old.grid(chip).values, new.grid(chip).values, rtol=2e-3, atol=2e-4)
    vectors = [np.stack(list(export.pooled.set_index("id").loc[list(maker.CHIPS)].embedding)) for export in (old, new)]
    np.testing.assert_allclose(*vectors, rtol=1e-4, atol=1e-5)


def test_a_complete_dated_export_of_version_0_1_stays_as_it_is_and_has_the_numbers_of_today(
    maker: Any, folder: Path
) -> None:
    kept = contents(folder / "anysat")
    before = json.loads((folder / "anysat" / "manifest.json").read_text(encoding="utf-8"))
    after = predict(maker, "anysat", "anysat")
    assert after == before
    assert contents(folder / "anysat") == kept
    fresh = predict(maker, "anysat", "fresh")
    assert (fresh["fingerprint"], fresh["facts"]) == (before["fingerprint"], before["facts"])
    old, new = (eo_embed.open_embeddings(folder / name).pooled.set_index("id") for name in ("anysat", "fresh"))
    assert list(old.index) == ["a", "b"]
    for chip in old.index:
        np.testing.assert_allclose(old.loc[chip].embedding, new.loc[chip].embedding, rtol=1e-4, atol=1e-5)
