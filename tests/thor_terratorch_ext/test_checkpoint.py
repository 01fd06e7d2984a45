"""Weights load completely or not at all."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from eo_models.weights.checkpoints import CheckpointError
from thor_terratorch_ext import build_thor
from thor_terratorch_ext.checkpoint import hub_location


def state(golden: Any, variant: str = "tiny") -> dict[str, torch.Tensor]:
    backbone = build_thor(variant, pretrained=False, model_bands=["VV"])
    return {k: v.clone() for k, v in golden.fill.fill_module(backbone.model).state_dict().items()}


@pytest.fixture(scope="module")
def weights(golden: Any) -> dict[str, torch.Tensor]:
    return state(golden)


def prefixed(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in weights.items()}


def build(ckpt: Path, **arguments: Any) -> Any:
    return build_thor("tiny", ckpt=str(ckpt), pretrained=False, model_bands=["VV", "VH"], **arguments)


LEFTOVERS = {"encoder.pos_embed": torch.zeros(1, 4, 192), "decoder.blocks.0.norm1.weight": torch.ones(3)}


@pytest.mark.parametrize("layout", ["published", "state_dict", "bare", "terratorch", "safetensors", "half"])
def test_every_layout_loads_every_weight(layout: str, weights: Any, tmp_path: Path) -> None:
    file = tmp_path / ("w.safetensors" if layout == "safetensors" else "w.pt")
    content: Any = {
        "published": prefixed(weights, "encoder.") | LEFTOVERS,
        "state_dict": {"state_dict": prefixed(weights, "encoder.") | LEFTOVERS, "epoch": 3},
        "bare": weights,
        "terratorch": {
            "state_dict": prefixed(weights, "model.encoder.model.") | {"model.head.weight": torch.ones(2)},
            "hyper_parameters": {"model_args": {"backbone": "thor_v1_tiny"}},
        },
        "safetensors": prefixed(weights, "encoder."),
        "half": {k: v.half() for k, v in prefixed(weights, "encoder.").items()},
    }[layout]
    if layout == "safetensors":
        save_file(content, file)
    else:
        torch.save(content, file)
    backbone = build(file)
    for key, value in backbone.model.state_dict().items():
        torch.testing.assert_close(value, weights[key], rtol=1e-2 if layout == "half" else 0, atol=1e-3)
    report = backbone.load_report
    assert len(report.loaded) == 249
    assert not report.missing
    assert not report.unexpected
    assert report.source == str(file)


def test_a_path_with_a_comment_sign_is_not_cut_off(weights: Any, tmp_path: Path) -> None:
    """``runs/my #1/best.ckpt`` became ``runs/my`` when the path was parsed as YAML."""
    file = tmp_path / "my #1" / "w.pt"
    file.parent.mkdir()
    torch.save(weights, file)
    assert build(file).load_report.source == str(file)
    for nothing in ("none", "null", ""):
        assert build_thor("tiny", ckpt=nothing, pretrained=False, model_bands=["VV"]).load_report is None


def test_the_report_names_ignored_and_unexpected_keys(
    weights: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "w.pt"
    torch.save(prefixed(weights, "encoder.") | LEFTOVERS | {"encoder.mask_token": torch.ones(192)}, file)
    with caplog.at_level(logging.INFO, logger="eo_models.weights.checkpoints"):
        report = build(file).load_report
    assert set(report.ignored) == set(LEFTOVERS)
    assert report.unexpected == ("encoder.mask_token",)
    assert "249 loaded, 2 ignored" in caplog.text
    assert "encoder.mask_token" in caplog.text


def test_formula_entries_may_be_absent(weights: Any, tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    lean = {k: v for k, v in weights.items() if k != "encoder_slopes" and not k.startswith("band_embed.")}
    torch.save(prefixed(lean, "encoder."), file)
    report = build(file).load_report
    assert len(report.missing) == 11
    assert len(report.loaded) == 238


@pytest.mark.parametrize(
    "lost", ["blocks.3.mlp.fc1.weight", "norm.bias", "ind_patch_embed.patch_embed.S3:S7_BT_in.bias"]
)
def test_a_missing_weight_is_an_error_not_a_random_tensor(lost: str, weights: Any, tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    torch.save(prefixed({k: v for k, v in weights.items() if k != lost}, "encoder."), file)
    with pytest.raises(CheckpointError, match=f"1 of 249 weights are missing: {lost}"):
        build(file)


def test_a_failed_load_changes_nothing(weights: Any, tmp_path: Path) -> None:
    from thor_terratorch_ext.checkpoint import load_checkpoint

    backbone = build_thor("tiny", pretrained=False, model_bands=["VV"])
    before = {k: v.clone() for k, v in backbone.model.state_dict().items()}
    file = tmp_path / "w.pt"
    torch.save(prefixed({k: v for k, v in weights.items() if k != "norm.bias"}, "encoder."), file)
    with pytest.raises(CheckpointError):
        load_checkpoint(backbone.model, file)
    for key, value in backbone.model.state_dict().items():
        assert torch.equal(value, before[key])


def test_a_checkpoint_of_another_variant_says_which(golden: Any, tmp_path: Path) -> None:
    file = tmp_path / "small.pt"
    torch.save(prefixed(state(golden, "small"), "encoder."), file)
    with pytest.raises(CheckpointError, match="does not fit THOR tiny.*looks like THOR small: build thor_v1_small"):
        build(file)


def test_weights_with_nan_are_refused(weights: Any, tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    spoilt = weights | {"norm.bias": torch.full((192,), float("nan"))}
    torch.save(prefixed(spoilt, "encoder."), file)
    with pytest.raises(CheckpointError, match=r"NaN or infinity: norm\.bias"):
        build(file)


def test_a_truncated_file_is_named_so(weights: Any, tmp_path: Path) -> None:
    for suffix in (".pt", ".safetensors"):
        whole, cut = tmp_path / f"w{suffix}", tmp_path / f"cut{suffix}"
        if suffix == ".pt":
            torch.save(weights, whole)
        else:
            save_file(weights, whole)
        cut.write_bytes(whole.read_bytes()[:100_000])
        with pytest.raises(CheckpointError, match="truncated"):
            build(cut)
        cut.write_bytes(b"")
        with pytest.raises(CheckpointError, match="truncated"):
            build(cut)


class Evil:
    """An object that runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (print, ("code ran",))


@pytest.mark.parametrize("content", [Evil(), {"state_dict": {"a": Evil()}}, [1, 2], {"a": 1}, "text"])
def test_a_pickle_that_is_no_checkpoint_is_refused_and_not_run(
    content: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for writer in (lambda f: f.write_bytes(pickle.dumps(content)), lambda f: torch.save(content, f)):
        file = tmp_path / "w.pt"
        writer(file)
        with pytest.raises(CheckpointError, match="no checkpoint"):
            build(file)
    assert "code ran" not in capsys.readouterr().out


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    torch.save({"encoder.foo.bar": torch.ones(1)}, file)
    with pytest.raises(CheckpointError, match=r"no key ends in 'blocks\.0\.norm1\.weight'"):
        build(file)


def test_a_folder_or_nothing_is_no_checkpoint(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.pt"):
        with pytest.raises(CheckpointError, match="does not exist or is no file"):
            build(path)


def test_several_encoders_in_one_file_must_be_told_apart(weights: Any, tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    torch.save(prefixed(weights, "model.encoder.a.model.") | prefixed(weights, "model.encoder.b.model."), file)
    with pytest.raises(CheckpointError, match=r"model\.encoder\.a\.model\."):
        build(file)
    assert build(file, model_ckpt_type="model.encoder.b.model").load_report.prefix == "model.encoder.b.model."
    with pytest.raises(CheckpointError, match="no encoder under 'ema'"):
        build(file, model_ckpt_type="ema")


def test_pretrained_without_network_and_file_is_an_error_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="FM4CS/THOR-1.0-tiny.*not in the local cache.*pretrained: false"):
        build_thor("tiny", model_bands=["VV"])


def test_pretrained_weights_come_from_the_local_cache_when_offline(
    weights: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    repo, name = hub_location("tiny")
    snapshot = tmp_path / f"models--{repo.replace('/', '--')}" / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("abc123")
    torch.save({"state_dict": prefixed(weights, "encoder.")}, snapshot / name)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    backbone = build_thor("tiny", model_bands=["VV"])
    assert len(backbone.load_report.loaded) == 249
    assert torch.equal(backbone.model.norm.bias, weights["norm.bias"])
