"""Weights load completely or not at all."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from anysat_ext import build_anysat
from anysat_ext.checkpoint import HUB_FILE, HUB_REPOSITORY, hub_location, load_checkpoint
from anysat_ext.model.encoder import SIZES, AnySat
from eo_models.weights.checkpoints import CheckpointError

N_KEYS = 318


@pytest.fixture(scope="module")
def weights(filled: Any) -> dict[str, torch.Tensor]:
    return filled("tiny").state_dict()


def prefixed(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in weights.items()}


def other(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of the same shapes that must not be the ones that are loaded."""
    return {key: value + 1 for key, value in weights.items()}


LAYOUTS = ("published", "bare", "training", "wrapper", "terratorch", "safetensors", "half")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_loads_every_weight(layout: str, weights: Any, tmp_path: Path) -> None:
    file = tmp_path / ("w.safetensors" if layout == "safetensors" else "w.pth")
    content: Any = {
        "published": {"state_dict": weights},
        "bare": weights,
        "training": {
            "state_dict": prefixed(other(weights), "model.encoder.")
            | prefixed(weights, "target_encoder.")
            | {"model.predictor.blocks.0.norm1.weight": torch.ones(3)},
            "epoch": 3,
        },
        # The published hub object registers its spatial encoder twice.
        "wrapper": prefixed(weights, "model.") | {k: v for k, v in weights.items() if k.startswith("spatial_encoder.")},
        "terratorch": {
            "state_dict": prefixed(weights, "model.encoder.model.") | {"model.head.weight": torch.ones(2)},
            "hyper_parameters": {"model_args": {"backbone": "anysat_tiny"}},
        },
        "safetensors": weights,
        "half": {key: value.half() for key, value in weights.items()},
    }[layout]
    if layout == "safetensors":
        save_file(content, file)
    else:
        torch.save(content, file)
    encoder = AnySat("tiny")
    report = load_checkpoint(encoder, file)
    for key, value in encoder.state_dict().items():
        torch.testing.assert_close(value, weights[key], rtol=1e-2 if layout == "half" else 0, atol=1e-3)
    assert len(report.loaded) == N_KEYS
    assert (report.missing, report.unexpected) == ((), ())
    expected = {"training": "target_encoder.", "wrapper": "model.", "terratorch": "model.encoder.model."}
    assert report.prefix == expected.get(layout, "")


def test_a_path_with_a_comment_sign_is_not_cut_off(weights: Any, tmp_path: Path) -> None:
    """``runs/my #1/best.ckpt`` became ``runs/my`` when the path was parsed as YAML."""
    file = tmp_path / "my #1" / "w.pth"
    file.parent.mkdir()
    torch.save(weights, file)
    report = build_anysat("tiny", ckpt=str(file), pretrained=False).load_report
    assert report is not None
    assert report.source == str(file)
    for nothing in ("none", "null", ""):
        assert build_anysat("tiny", ckpt=nothing, pretrained=False).load_report is None


def test_projectors_that_are_not_built_count_as_ignored_not_as_unexpected(
    weights: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "w.pth"
    torch.save({"state_dict": weights | {"projector_s2.new": torch.ones(1)}}, file)
    encoder = AnySat("tiny", ["s2", "s1"])
    with caplog.at_level(logging.INFO, logger="eo_models.weights.checkpoints"):
        report = load_checkpoint(encoder, file)
    assert len(report.loaded) == len(encoder.state_dict())
    assert len(report.loaded) + len(report.ignored) == N_KEYS
    # Not even those whose names begin like the name of one that is built.
    assert {key.split(".")[0] for key in report.ignored} >= {"projector_s1-asc", "projector_aerial-flair"}
    assert report.unexpected == ("projector_s2.new",)
    assert "projector_s2.new" in caplog.text


@pytest.mark.parametrize("lost", ["projector_s2.pad_parameter", "blocks.2.attn.wk.bias", "spatial_encoder.cls_token"])
def test_a_missing_weight_is_an_error_and_changes_nothing(lost: str, weights: Any, tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    torch.save({"state_dict": {key: value for key, value in weights.items() if key != lost}}, file)
    encoder = AnySat("tiny", ["s2"])
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    with pytest.raises(CheckpointError, match=f"1 of .* weights are missing: {lost}.*No weight was changed"):
        load_checkpoint(encoder, file)
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, before[key])


def test_a_modality_that_the_file_lacks_is_an_error(weights: Any, tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    torch.save({key: value for key, value in weights.items() if not key.startswith("projector_l8")}, file)
    load_checkpoint(AnySat("tiny", ["s2"]), file)
    with pytest.raises(CheckpointError, match=r"does not fit AnySat tiny with s2, l8: .*missing: projector_l8\."):
        load_checkpoint(AnySat("tiny", ["s2", "l8"]), file)


def test_a_checkpoint_of_another_size_says_which(weights: Any, tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    torch.save(weights, file)
    with pytest.raises(CheckpointError, match="does not fit AnySat small.*looks like AnySat tiny: build anysat_tiny"):
        load_checkpoint(AnySat("small", ["s2"]), file)


def test_weights_with_nan_are_refused(weights: Any, tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    torch.save(weights | {"cls_token": torch.full((1, 1, 256), float("nan"))}, file)
    with pytest.raises(CheckpointError, match="NaN or infinity: cls_token"):
        load_checkpoint(AnySat("tiny"), file)


def test_several_encoders_in_one_file_must_be_told_apart(weights: Any, tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    torch.save(prefixed(weights, "a.") | prefixed(other(weights), "b."), file)
    with pytest.raises(CheckpointError, match=r"'a\.', 'b\.'"):
        load_checkpoint(AnySat("tiny"), file)
    encoder = AnySat("tiny")
    assert load_checkpoint(encoder, file, "a").prefix == "a."
    assert torch.equal(encoder.cls_token, weights["cls_token"])
    with pytest.raises(CheckpointError, match="no encoder under 'ema'"):
        load_checkpoint(AnySat("tiny"), file, "ema")


class Evil:
    """An object that runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (print, ("code ran",))


@pytest.mark.parametrize("content", [Evil(), {"state_dict": {"a": Evil()}}, [1, 2], {"a": 1}])
def test_a_pickle_that_is_no_checkpoint_is_refused_and_not_run(
    content: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for writer in (lambda f: f.write_bytes(pickle.dumps(content)), lambda f: torch.save(content, f)):
        file = tmp_path / "w.pth"
        writer(file)
        with pytest.raises(CheckpointError, match="no checkpoint"):
            load_checkpoint(AnySat("tiny"), file)
    assert "code ran" not in capsys.readouterr().out


def test_a_file_of_another_model_or_no_file_is_refused(weights: Any, tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    torch.save({"encoder.blocks.0.norm1.weight": torch.ones(1)}, file)
    with pytest.raises(CheckpointError, match=r"no key ends in 'blocks\.2\.attn\.q_learned'"):
        load_checkpoint(AnySat("tiny"), file)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_checkpoint(AnySat("tiny"), tmp_path / "absent.pth")
    whole, cut = tmp_path / "whole.pth", tmp_path / "cut.pth"
    torch.save(weights, whole)
    cut.write_bytes(whole.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="truncated"):
        load_checkpoint(AnySat("tiny"), cut)


@pytest.mark.parametrize("size", [size for size in SIZES if size != "base"])
def test_only_base_has_published_weights(size: str) -> None:
    with pytest.raises(CheckpointError, match=f"no published weights of AnySat {size}, only of base.*`ckpt`"):
        load_checkpoint(AnySat(size, ["s2"]), None)


def test_published_weights_without_network_and_file_are_an_error_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with torch.device("meta"):
        encoder = AnySat("base")
    with pytest.raises(CheckpointError, match=r"models/AnySat\.pth.*g-astruc/AnySat.*not in the local cache"):
        load_checkpoint(encoder, None)


def test_published_weights_come_from_the_local_cache_when_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    assert hub_location("base") == (HUB_REPOSITORY, HUB_FILE)
    folder = tmp_path / "models--g-astruc--AnySat"
    file = folder / "snapshots" / "abc123" / HUB_FILE
    file.parent.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc123")
    encoder = AnySat("base", ["spot"])
    # Stored once per distinct tensor: as large as one block.
    torch.save({"state_dict": {key: torch.zeros(1).expand(v.shape) for key, v in encoder.state_dict().items()}}, file)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    report = load_checkpoint(encoder, None)
    assert len(report.loaded) == len(encoder.state_dict())
    assert not encoder.cls_token.any()
