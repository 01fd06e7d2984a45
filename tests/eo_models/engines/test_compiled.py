"""A graph gives the encoder's numbers for batches of any size, and refuses what the encoder refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytest
import torch

from eo_models.engines.compiled import CompiledEncoder, FlatEncoder, OtherNumbersError, Run
from eo_models.features import FeatureExtractor
from eo_models.precision.numbers import Arithmetic
from eo_models.preset import find_preset

Kind = Literal["image", "series"]
CPU = torch.device("cpu")
BANDS = ["BLUE", "GREEN", "RED", "NIR_BROAD"]


def encoder(kind: Kind) -> FeatureExtractor:
    """Two blocks of THOR tiny on one image, or AnySat tiny on dated series."""
    torch.manual_seed(0)
    if kind == "image":
        arguments: dict[str, Any] = {"model_bands": BANDS, "input_gsd": 10}
        name, layers = "thor_v1_tiny", (0, 1)
    else:
        arguments, name, layers = {"modalities": ["s2"], "patch_size": 20}, "anysat_tiny", (-1,)
    backbone = find_preset(name).build(name, {**arguments, "pretrained": False}, layers)
    return FeatureExtractor(backbone, {}, layers).requires_grad_(requires_grad=False).eval()


def batch(kind: Kind, count: int, seed: int) -> tuple[Any, dict[str, torch.Tensor]]:
    """What `encoder` takes, and the dates beside it."""
    numbers = torch.Generator().manual_seed(seed)
    if kind == "image":
        return torch.randn(count, 4, 48, 48, generator=numbers), {}
    days = torch.randint(0, 365, (count, 3), generator=numbers)
    return {"s2": torch.randn(count, 10, 3, 6, 6, generator=numbers)}, {"s2_dates": days}


def worst(engine: Any, extractor: FeatureExtractor, kind: Kind, count: int, seed: int) -> float:
    """Largest difference of tokens and grids, relative to the largest value."""
    image, extras = batch(kind, count, seed)
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
    for found, wanted in zip(engine(image, **extras), extractor(image, **extras), strict=True):
        assert (found.cls_token is None) == (wanted.cls_token is None)
        pairs.append((found.tokens, wanted.tokens))
        assert found.grid is not None
        assert wanted.grid is not None
        pairs.append((found.grid, wanted.grid))
    assert all(found.shape == wanted.shape for found, wanted in pairs)
    return max(float((found - wanted).abs().max() / wanted.abs().max()) for found, wanted in pairs)


@pytest.mark.parametrize("kind", ["image", "series"])
def test_the_compiler_gets_one_graph_for_batches_of_any_size(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs: list[Any] = []

    def eager(module: torch.fx.GraphModule, _example: Sequence[Any]) -> Any:
        graphs.append(module)
        return module.forward

    monkeypatch.setattr("eo_models.engines.compiled.BACKEND", eager)  # the graph is under test, not the compiler
    torch.compiler.reset()
    extractor = encoder(kind)
    engine = CompiledEncoder(extractor, reduced=False)
    with Arithmetic.of("32", "highest", CPU).computing():
        errors = [worst(engine, extractor, kind, count, seed) for seed, count in enumerate((3, 2, 1, 5))]
    assert max(errors) < 2e-5, errors
    assert len(graphs) == 1


@pytest.mark.slow
def test_the_compiler_itself_gives_the_features() -> None:
    torch.compiler.reset()
    extractor = encoder("image")
    engine = CompiledEncoder(extractor, reduced=False)
    with Arithmetic.of("32", "highest", CPU).computing():
        assert max(worst(engine, extractor, "image", count, count) for count in (3, 2, 1)) < 2e-5


class Copying(CompiledEncoder):
    """Runs the encoder as it is, and changes its features by a factor."""

    factor = 1.0

    def graph(self, flat: FlatEncoder, _example: Sequence[torch.Tensor]) -> Run:
        """See `CompiledEncoder`."""
        return lambda own: [value * self.factor for value in flat(*own)]


@pytest.mark.parametrize(
    ("reduced", "factor", "refused"), [(False, 1.001, True), (True, 1.001, False), (True, 1.2, True)]
)
def test_a_graph_with_other_numbers_is_not_used(reduced: bool, factor: float, refused: bool) -> None:
    engine = Copying(encoder("image"), reduced=reduced)
    engine.factor = factor
    image, _ = batch("image", 2, 0)
    if refused:
        with pytest.raises(OtherNumbersError, match="away from what the encoder gives"):
            engine(image)
    else:
        engine(image)


def test_a_first_batch_of_one_sample_does_not_pass_for_the_comparison() -> None:
    """It runs without the compiler, so it says nothing of the graph."""
    engine = Copying(encoder("image"), reduced=False)
    engine.factor = 1.001
    engine(batch("image", 1, 0)[0])
    with pytest.raises(OtherNumbersError):
        engine(batch("image", 2, 0)[0])


def test_what_is_not_handed_on_and_matters_is_noticed() -> None:
    """A list beside the image is no part of a graph; an encoder that reads it would give other features in silence."""

    class Scaled(torch.nn.Module):
        def forward(self, image: torch.Tensor, places: list[str] | None = None) -> list[torch.Tensor]:
            return [image * len(places or ["one"])]

    engine = Copying(FeatureExtractor(Scaled(), {}), reduced=False)
    image, _ = batch("image", 2, 0)
    engine(image, places=["one"])
    with pytest.raises(OtherNumbersError, match="compile: true"):
        Copying(FeatureExtractor(Scaled(), {}), reduced=False)(image, places=["one", "two"])


def test_a_graph_refuses_what_a_trace_does_not_see() -> None:
    """NaN and days outside the year become numbers in a trace."""
    engine = Copying(encoder("image"), reduced=False)
    image, _ = batch("image", 2, 0)
    engine(image)
    image[1, 2, 3, 4] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        engine(image)
    series, extras = batch("series", 2, 0)
    engine = Copying(encoder("series"), reduced=False)
    engine(series, **extras)
    extras["s2_dates"][0, 1] = 400
    with pytest.raises(ValueError, match="400"):
        engine(series, **extras)


def test_another_size_of_images_has_its_own_graph() -> None:
    extractor = encoder("image")
    engine = Copying(extractor, reduced=False)
    for side in (48, 64, 48):
        image = torch.randn(2, 4, side, side)
        for found, wanted in zip(engine(image), extractor(image), strict=True):
            assert torch.equal(found.tokens, wanted.tokens)
