"""OpenVINO gives the encoder's numbers for batches of any size, and is not used where it does not."""

from __future__ import annotations

import pytest
import torch

from eo_models.engines.compiled import OtherNumbersError
from eo_models.engines.openvino import OpenVinoEncoder
from eo_models.precision.hardware import has_bf16
from eo_models.precision.numbers import Arithmetic
from tests.eo_models.engines.test_compiled import Kind, batch, encoder, worst

FLOAT32 = Arithmetic("32-true", "highest", torch.device("cpu"))


@pytest.mark.parametrize("kind", ["image", "series"])
def test_one_graph_gives_the_features_of_batches_of_any_size(kind: Kind) -> None:
    extractor = encoder(kind)
    engine = OpenVinoEncoder(extractor, reduced=False)
    with FLOAT32.computing():
        errors = [worst(engine, extractor, kind, count, seed) for seed, count in enumerate((3, 1, 2, 5))]
    assert max(errors) < 2e-5, errors


def test_float32_is_not_what_openvino_takes_by_default() -> None:
    """On CPUs with bfloat16, it computes in that unless it is told."""
    extractor = encoder("image")
    with FLOAT32.computing():
        assert worst(OpenVinoEncoder(extractor, reduced=False), extractor, "image", 2, 0) < 2e-5
        reduced = worst(OpenVinoEncoder(extractor, reduced=True), extractor, "image", 2, 0)
    assert 1e-4 < reduced < 0.05 if has_bf16(torch.device("cpu")) else reduced < 0.05


def test_numbers_too_far_from_the_encoder_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenVinoEncoder, "reduced_tolerance", 1e-9)
    with FLOAT32.computing(), pytest.raises(OtherNumbersError, match="engine: openvino gives tokens_0"):
        OpenVinoEncoder(encoder("image"), reduced=True)(batch("image", 2, 0)[0])
