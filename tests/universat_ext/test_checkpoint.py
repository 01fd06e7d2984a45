"""Weights load completely or not at all."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from eo_models.weights.checkpoints import CheckpointError
from universat_ext.checkpoint import HUB_FILE, HUB_REPOSITORY, hub_location, load_checkpoint
from universat_ext.model.encoder import UniverSat


@pytest.fixture(scope="module")
def weights(filled: Any) -> dict[str, torch.Tensor]:
    return filled("tiny").state_dict()


@pytest.fixture(scope="module")
def heads(golden: Any) -> dict[str, torch.Tensor]:
    """The heads of the pre-training, as the published file has them."""
    published = golden.read_json("state_dict_tiny.json")
    return {key: torch.zeros(e["shape"]) for key, e in published.items() if key.startswith("projector__")}


def prefixed(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in weights.items()}


def write(file: Path, content: Any) -> Path:
    if file.suffix == ".safetensors":
        save_file(content, file)
    else:
        torch.save(content, file)
    return file


LAYOUTS = {
    "published": ("w.safetensors", "model."),
    "training": ("w.ckpt", "model.encoder."),
    "terratorch": ("w.ckpt", "model.encoder.model."),
    "bare": ("w.pth", ""),
    "half": ("w.pth", ""),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_loads_every_weight(layout: str, weights: Any, heads: Any, tmp_path: Path) -> None:
    name, prefix = LAYOUTS[layout]
    content: Any = prefixed(weights | heads, prefix)
    if layout == "half":
        content = {key: value.half() for key, value in weights.items()}
    if layout in ("training", "terratorch"):
        content = {"state_dict": content | {"model.predictor.norm.scale": torch.ones(3)}, "epoch": 3}
    encoder = UniverSat("tiny")
    report = load_checkpoint(encoder, write(tmp_path / name, content))
    for key, value in encoder.state_dict().items():
        torch.testing.assert_close(value, weights[key], rtol=1e-2 if layout == "half" else 0, atol=1e-3)
    assert len(report.loaded) == len(weights)
    assert (report.prefix, report.missing, report.unexpected) == (prefix, (), ())
    if layout == "published":
        assert (len(report.ignored), len(weights) + len(heads)) == (len(heads), 337)


@pytest.mark.parametrize("lost", ["spatial_encoder.embed.freqs", "spatial_encoder.spectral_embed.phases", "registers"])
def test_a_file_without_the_random_frequencies_is_refused(lost: str, weights: Any, tmp_path: Path) -> None:
    """H20: the published loader takes it, and the features are others each time."""
    partial = {key: value for key, value in prefixed(weights, "model.").items() if key != f"model.{lost}"}
    file, encoder = write(tmp_path / "w.safetensors", partial), UniverSat("tiny")
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    with pytest.raises(CheckpointError, match=f"1 of .* weights are missing: {lost}.*No weight was changed"):
        load_checkpoint(encoder, file)
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, before[key])


def test_a_foreign_key_is_reported(weights: Any, tmp_path: Path) -> None:
    content = prefixed(weights | {"spatial_encoder.new": torch.ones(1)}, "model.")
    report = load_checkpoint(UniverSat("tiny"), write(tmp_path / "w.safetensors", content))
    assert report.unexpected == ("model.spatial_encoder.new",)


def test_a_checkpoint_of_another_size_says_which(golden: Any, weights: Any, tmp_path: Path) -> None:
    published = golden.read_json("state_dict_base.json")
    flat = torch.zeros(1)
    base = {f"model.{key}": flat.expand(entry["shape"]) for key, entry in published.items()}
    file = write(tmp_path / "w.pth", base)
    with pytest.raises(CheckpointError, match=r"does not fit UniverSat tiny.*looks like UniverSat base: build univ"):
        load_checkpoint(UniverSat("tiny"), file)
    with torch.device("meta"):
        encoder = UniverSat("base")
    with pytest.raises(CheckpointError, match="does not fit UniverSat base.*looks like UniverSat tiny"):
        load_checkpoint(encoder, write(tmp_path / "t.safetensors", prefixed(weights, "model.")))


def test_files_of_other_encoders_truncated_files_and_pickles_are_refused(weights: Any, tmp_path: Path) -> None:
    thor = {"encoder.blocks.0.norm1.weight": torch.ones(1)}
    with pytest.raises(CheckpointError, match="no key ends in 'spatial_encoder.registers_spatial'"):
        load_checkpoint(UniverSat("tiny"), write(tmp_path / "thor.pth", thor))
    anysat = {"spatial_encoder.cls_token": torch.ones(1), "blocks.6.attn.q_learned": torch.ones(1)}
    with pytest.raises(CheckpointError, match="no checkpoint of this encoder"):
        load_checkpoint(UniverSat("tiny"), write(tmp_path / "anysat.pth", anysat))
    whole = write(tmp_path / "whole.safetensors", prefixed(weights, "model."))
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.read_bytes()[:1_000_000])
    with pytest.raises(CheckpointError, match="cannot be read as safetensors, it may be truncated"):
        load_checkpoint(UniverSat("tiny"), cut)
    foreign = tmp_path / "w.pth"
    foreign.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_checkpoint(UniverSat("tiny"), foreign)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_checkpoint(UniverSat("tiny"), tmp_path / "absent.safetensors")


def test_weights_with_nan_are_refused(weights: Any, tmp_path: Path) -> None:
    spoilt = weights | {"registers": torch.full((1, 4, 192), float("nan"))}
    with pytest.raises(CheckpointError, match="NaN or infinity: registers"):
        load_checkpoint(UniverSat("tiny"), write(tmp_path / "w.safetensors", spoilt))


def test_several_encoders_in_one_file_must_be_told_apart(weights: Any, tmp_path: Path) -> None:
    file = write(tmp_path / "w.pth", prefixed(weights, "a.") | prefixed({k: v + 1 for k, v in weights.items()}, "b."))
    with pytest.raises(CheckpointError, match=r"'a\.', 'b\.'"):
        load_checkpoint(UniverSat("tiny"), file)
    encoder = UniverSat("tiny")
    assert load_checkpoint(encoder, file, "a").prefix == "a."
    assert torch.equal(encoder.registers, weights["registers"])


def test_only_base_has_published_weights() -> None:
    assert hub_location("base") == (HUB_REPOSITORY, HUB_FILE) == ("g-astruc/UniverSat", "model.safetensors")
    with pytest.raises(CheckpointError, match="no published weights of UniverSat tiny, only of base.*`ckpt`"):
        load_checkpoint(UniverSat("tiny"), None)


@pytest.mark.parametrize("there", [True, False])
def test_published_weights_come_from_the_local_cache_when_offline_or_not_at_all(
    there: bool, golden: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with torch.device("meta"):
        encoder = UniverSat("base")
    if there:
        folder = tmp_path / "models--g-astruc--UniverSat"
        file = folder / "snapshots" / "abc123" / HUB_FILE
        file.parent.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("abc123")
        # A file that lacks everything but the anchor: it is found and read, and refused for what it lacks.
        save_file({"model.spatial_encoder.registers_spatial": torch.zeros(1, 4, 768)}, file)
    message = (
        "432 of|weights are missing" if there else r"model\.safetensors.*g-astruc/UniverSat.*not in the local cache"
    )
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(encoder, None)
