"""Weights load completely or not at all, whatever the encoder."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from torch import nn

from eo_models.weights.checkpoints import (
    CheckpointError,
    find_prefix,
    load_strictly,
    read_file,
    read_tensors,
    sha256_of_weights,
)


class Encoder(nn.Module):
    """One layer, one table that a formula gives."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.register_buffer("table", torch.zeros(3))
        self.register_buffer("count", torch.tensor(0))


def tensors(prefix: str = "encoder.") -> dict[str, torch.Tensor]:
    return {
        f"{prefix}layer.weight": torch.ones(2, 2),
        f"{prefix}layer.bias": torch.ones(2),
        f"{prefix}count": torch.tensor(7.0),  # whole: some tools store counters so
    }


def load(module: nn.Module, given: dict[str, torch.Tensor], **arguments: tuple[str, ...]) -> object:
    return load_strictly(module, given, source="w.pt", prefix="encoder.", **arguments)


def test_every_key_of_the_module_and_of_the_file_is_accounted_for() -> None:
    given = tensors() | {
        "encoder.pos_embed": torch.ones(1),
        "encoder.mask_token": torch.ones(1),
        "head.bias": torch.ones(1),
    }
    module = Encoder()
    report = load_strictly(
        module, given, source="w.pt", prefix="encoder.", ignore=("pos_embed",), given_by_formula=("table$",)
    )
    assert report.loaded == ("count", "layer.weight", "layer.bias")
    assert report.ignored == ("head.bias", "encoder.pos_embed")
    assert report.missing == ("table",)
    assert report.unexpected == ("encoder.mask_token",)
    assert torch.equal(module.layer.weight, torch.ones(2, 2))
    assert str(report) == (
        "w.pt [prefix 'encoder.']: 3 loaded, 2 ignored, 1 missing (given by formula) (table), 1 unexpected "
        "(encoder.mask_token)"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder.layer.bias": None}, "1 of 4 weights are missing: layer.bias"),
        ({"encoder.layer.bias": torch.ones(3)}, r"1 weights have another shape: layer.bias is \(3,\), expected \(2,\)"),
        ({"encoder.layer.bias": torch.tensor([1.0, torch.nan])}, "1 weights hold NaN or infinity: layer.bias"),
        (
            {"encoder.layer.bias": torch.tensor([1.0, 1e45], dtype=torch.float64)},
            r"1 weights hold NaN or infinity: layer.bias \(as torch.float32\)",
        ),
        ({"encoder.layer.bias": torch.ones(2, dtype=torch.int8)}, "layer.bias is torch.int8. Save them as"),
        ({"encoder.layer.bias": torch.ones(2, dtype=torch.bool)}, "layer.bias is torch.bool"),
        ({"encoder.layer.bias": torch.ones(2, dtype=torch.complex64)}, "layer.bias is torch.complex64"),
        ({"encoder.layer.bias": torch.ones(2).to_sparse()}, "layer.bias is torch.sparse_coo"),
        ({"encoder.layer.bias": torch.ones(2, device="meta")}, "layer.bias is on the device meta, without values"),
        ({"encoder.count": torch.tensor(1.5)}, "count is torch.float32, where torch.int64 belongs"),
    ],
)
def test_nothing_is_changed_unless_everything_fits(change: dict[str, torch.Tensor | None], message: str) -> None:
    module = Encoder()
    before = sha256_of_weights(module)
    given = {key: value for key, value in (tensors() | change).items() if value is not None}
    with pytest.raises(CheckpointError, match=message):
        load(module, given, given_by_formula=("table",))
    assert sha256_of_weights(module) == before


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_quantised_weights_are_named_so() -> None:
    given = tensors() | {"encoder.layer.bias": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}
    with pytest.raises(CheckpointError, match="layer.bias is quantised"):
        load(Encoder(), given, given_by_formula=("table",))


@pytest.mark.parametrize(
    ("keys", "wanted", "found"),
    [
        (["encoder.a.w"], "encoder", "encoder."),
        (["a.w", "head.w"], "encoder", ""),
        (["model.encoder.a.w"], "encoder", "model.encoder."),
        (["one.a.w", "two.a.w"], "two", "two."),
    ],
)
def test_the_prefix_is_where_the_encoder_stands(keys: list[str], wanted: str, found: str) -> None:
    assert find_prefix(keys, "a.w", wanted, "encoder") == found


@pytest.mark.parametrize(
    ("keys", "wanted", "message"),
    [
        (["b.w"], "encoder", "no key ends in 'a.w'.* .first keys: b.w."),
        (
            ["one.a.w", "two.a.w"],
            "encoder",
            "no encoder under 'encoder'; the file has one under each of: 'one.', 'two.'",
        ),
        (["one.a.w"], "mine", "no encoder under 'mine'"),
    ],
)
def test_a_prefix_is_not_guessed_among_several(keys: list[str], wanted: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        find_prefix(keys, "a.w", wanted, "encoder")


def test_a_file_that_is_no_checkpoint_is_named_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist or is no file"):
        read_file(tmp_path / "absent.pt")
    torch.save({"epoch": 3, "names": ["a"]}, tmp_path / "plain.pt")
    with pytest.raises(CheckpointError, match="expected named tensors.* a mapping with keys 'epoch', 'names'"):
        read_tensors(tmp_path / "plain.pt")
    (tmp_path / "text.pt").write_text("weights")
    with pytest.raises(CheckpointError, match=r"\(7 bytes\) is no checkpoint that can be loaded safely"):
        read_tensors(tmp_path / "text.pt")
    torch.save({"state_dict": tensors(), "epoch": 3}, tmp_path / "task.ckpt")
    assert read_tensors(tmp_path / "task.ckpt").keys() == tensors().keys()


def test_a_damaged_file_is_refused_whatever_it_raises_or_loads_the_same_numbers(tmp_path: Path) -> None:
    """A pickle with flipped bits can raise anything, and weights with flipped bits load without a word."""
    whole, file = tmp_path / "whole.pt", tmp_path / "damaged.pt"
    torch.save({"state_dict": tensors(), "epoch": 3}, whole)
    content, draw = whole.read_bytes(), random.Random(0)  # noqa: S311
    module = Encoder()
    load(module, tensors(), given_by_formula=("table",))
    expected, refused = sha256_of_weights(module), 0
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(draw.choice((1, 4))):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        file.write_bytes(damaged[: draw.choice((len(damaged), draw.randrange(len(damaged))))])
        try:
            load(module, read_tensors(file), given_by_formula=("table",))
        except CheckpointError:
            refused += 1
        assert sha256_of_weights(module) == expected
    assert refused > 100


def test_a_file_without_checksums_loads(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(compute_crc32=False)
    try:
        torch.save(tensors(), tmp_path / "w.pt")
    finally:
        torch.serialization.set_crc32_options(compute_crc32=True)
    assert read_tensors(tmp_path / "w.pt").keys() == tensors().keys()


def test_the_hash_of_weights_tells_names_and_values_apart() -> None:
    one, other = Encoder(), Encoder()
    other.load_state_dict(one.state_dict())
    assert sha256_of_weights(one) == sha256_of_weights(other)
    other.table[0] = 1
    assert sha256_of_weights(one) != sha256_of_weights(other)
    assert sha256_of_weights(nn.Sequential(one)) != sha256_of_weights(one)
