"""TerraTorch's decoders on the features of both encoders: maps of the input's size, gradients everywhere, tiles.

THOR sees 64 px of Sentinel-2 in patches of 8 px. AnySat sees 24 px in patches of 40 m, one dated frame, once as a map
of patches (6 x 6) and once dense (24 x 24).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

CLASSES = 3
S2 = ["BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"]
THOR: dict[str, Any] = {
    "backbone": "thor_v1_tiny",
    "backbone_pretrained": False,
    "backbone_model_bands": S2,
    "backbone_input_gsd": 10,
    "backbone_merge_method": "mean",
    "backbone_out_indices": [2, 5, 8, 11],
}
ANYSAT: dict[str, Any] = {
    "backbone": "anysat_tiny",
    "backbone_pretrained": False,
    "backbone_modalities": ["s2"],
    "backbone_bands": {"s2": [*S2, "DATE"]},
    "backbone_patch_size": 40,
    "backbone_padding": None,
}
ENCODERS = {
    "thor": THOR,
    "anysat_patch": ANYSAT | {"backbone_output": "patch"},
    "anysat_dense": ANYSAT | {"backbone_output": "dense"},
}
CHANNELS = {"thor": 192, "anysat_patch": 256, "anysat_dense": 512}
#: Beginnings of encoder parameters that take no part, see test_what_trains.py.
UNUSED = {
    "thor": ("S1:", "S3:", "S2:CoastAerosal", "S2:WaterVapor", "band_embed.", "model.norm."),
    "anysat_patch": ("pad_parameter", "fc1_k.bias", "predictor_blocks.1.attn.rpe_k."),
    "anysat_dense": ("pad_parameter", "fc1_k.bias"),
}

#: AnySat has one feature; four times the same is what decoders of several features get.
FOUR = {"name": "SelectIndices", "indices": [0, 0, 0, 0]}
LEARNED = {"name": "LearnedInterpolateToPyramidal"}
MAXPOOL = {"name": "MaxpoolToPyramidal"}
INTERPOLATE = {"name": "InterpolateToPyramidal"}
FPN = {"name": "FeaturePyramidNetworkNeck", "out_channel": 16, "output_ordered_dict": False}
#: smp's decoders leave the first feature out, as it is the image itself in their encoders.
FIRST_TWICE = {"name": "SelectIndices", "indices": [0, 0, 1, 2, 3]}
#: A pyramid of three or four sizes; dense features have the size of the image already and only need smaller ones.
PYRAMID = {"thor": LEARNED, "anysat_patch": LEARNED, "anysat_dense": MAXPOOL}

UPERNET = {"decoder": "UperNetDecoder", "decoder_channels": 8}
ASPP = {"decoder": "ASPPRegressionHead", "decoder_in_channels": "all", "decoder_channels": 8, "decoder_out_channels": 8}
#: Decoder and its necks; "pyramid" stands for the encoder's own, "four" for four features of one size.
RECIPES: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "fcn": ({"decoder": "FCNDecoder", "decoder_channels": 8, "decoder_num_convs": 2}, []),
    "mlp": ({"decoder": "MLPDecoder"}, []),
    "identity": ({"decoder": "IdentityDecoder"}, []),
    "linear": ({"decoder": "LinearDecoder", "decoder_upsampling_size": 4, "decoder_num_classes": CLASSES}, []),
    "unet": ({"decoder": "UNetDecoder", "decoder_channels": [16, 8, 8, 8]}, ["pyramid"]),
    "upernet": (UPERNET, ["pyramid"]),
    "upernet-one-size": (UPERNET, ["four"]),
    "upernet-fpn": (UPERNET, ["pyramid", FPN]),
    "aspp": (ASPP, []),
    "smp_Unet": ({"decoder": "smp_Unet", "decoder_decoder_channels": [16, 8, 8, 8]}, ["pyramid", FIRST_TWICE]),
    "smp_FPN": ({"decoder": "smp_FPN"}, ["pyramid", FIRST_TWICE]),
    "smp_Segformer": ({"decoder": "smp_Segformer"}, ["pyramid", FIRST_TWICE]),
}


@pytest.fixture(scope="module")
def build() -> Callable[..., nn.Module]:
    """Build a model as a task does it."""
    from terratorch.models import EncoderDecoderFactory

    import anysat_ext
    import thor_terratorch_ext

    thor_terratorch_ext.register()
    anysat_ext.register()

    def make(encoder: str, decoder: dict[str, Any], necks: list[Any] = [], **more: Any) -> nn.Module:  # noqa: B006
        torch.manual_seed(0)
        chosen = [FOUR] if encoder != "thor" and {"pyramid", "four"} & {str(neck) for neck in necks} else []
        chosen += [PYRAMID[encoder] if neck == "pyramid" else neck for neck in necks if neck != "four"]
        arguments = ENCODERS[encoder] | decoder
        if arguments.get("decoder_in_channels") == "all":
            arguments["decoder_in_channels"] = CHANNELS[encoder]
        given = {"task": "segmentation", "num_classes": CLASSES, "necks": chosen} | more
        return EncoderDecoderFactory().build_model(**(arguments | {k: v for k, v in given.items() if v is not None}))

    return make


def images(encoder: str, side: int | None = None) -> torch.Tensor:
    """Two samples; those of AnySat are from different days."""
    generator = torch.Generator().manual_seed(0)
    if encoder == "thor":
        return torch.randn(2, 10, side or 64, side or 64, generator=generator)
    series = torch.randn(2, 11, 1, side or 24, side or 24, generator=generator)
    series[:, 10] = torch.tensor([20.0, 200.0])[:, None, None, None]
    return series


def gradients(model: nn.Module) -> tuple[set[str], set[str]]:
    """Names of encoder parameters with a gradient, and of others without a finite one."""
    encoder, bad = set(), set()
    for name, parameter in model.named_parameters():
        given = parameter.grad is not None
        if name.startswith("encoder."):
            encoder |= {name} if given else set()
        elif not given or not torch.isfinite(parameter.grad).all():
            bad.add(name)
        parameter.grad = None
    return encoder, bad


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_decoders_train_with_a_free_and_a_frozen_encoder(encoder: str, recipe: str, build: Any) -> None:
    model, image = build(encoder, *RECIPES[recipe]).train(), images(encoder)
    output = model(image).output
    assert output.shape == (2, CLASSES, *image.shape[-2:])
    output.square().mean().backward()
    names = {name for name, _ in model.encoder.named_parameters(prefix="encoder")}
    with_gradient, bad = gradients(model)
    assert bad == set()
    last = UNUSED[encoder]
    assert with_gradient == {name for name in names if not any(part in name for part in last)}

    model.freeze_encoder()
    model.train()
    assert not model.encoder.training
    model(image).output.square().mean().backward()
    assert gradients(model) == (set(), set())


def test_every_decoder_of_terratorch_is_here(build: Any) -> None:
    from terratorch.registry import TERRATORCH_DECODER_REGISTRY

    covered = {str(decoder["decoder"]) for decoder, _ in RECIPES.values()}
    without = {
        "ASPPModule",  # part of the heads
        "ASPPHead",  # the heads' base, see below
        "ASPPSegmentationHead",  # see below
        "SatMAEHead",  # reconstructs masked patches of SatMAE: its forward pass wants the order of the mask
        "QuickFCNDecoder",  # ours, see tests/eo_models/decoders
        "SklearnDecoder",  # an estimator of scikit-learn for whole images: no gradients, and a task of its own
    }
    own = set(TERRATORCH_DECODER_REGISTRY)
    assert own == {name for name in covered if not name.startswith("smp_")} | without


@pytest.mark.terratorch_defect
@pytest.mark.parametrize("name", ["ASPPSegmentationHead", "ASPPHead"])
def test_aspp_for_segmentation_does_not_fit_terratorchs_own_factory(name: str, build: Any) -> None:
    """It does not say how many channels it returns; ASPPRegressionHead with decoder_out_channels does."""
    with pytest.raises(AttributeError, match=f"'{name}' object has no attribute 'out_channels'"):
        build("thor", {"decoder": name, "decoder_in_channels": 192, "decoder_channels": 8})


@pytest.mark.terratorch_defect
def test_aspp_needs_its_dropout(build: Any) -> None:
    model = build("thor", ASPP | {"decoder_head_dropout_ratio": 0.0})
    with pytest.raises(AttributeError, match="has no attribute 'dropout'"):
        model(images("thor"))


@pytest.mark.terratorch_defect
def test_linear_decoder_wants_its_classes_named(build: Any) -> None:
    """TerraTorch does not see that it has a head: the classes must be stated twice, and a second head follows."""
    decoder = {"decoder": "LinearDecoder", "decoder_upsampling_size": 8}
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'num_classes'"):
        build("thor", decoder)
    head = build("thor", decoder | {"decoder_num_classes": CLASSES}).head
    assert [tuple(weight.shape) for weight in head.parameters()] == [(CLASSES, CLASSES, 1, 1), (CLASSES,)]


def test_batch_norms_of_pooled_features_need_two_samples(build: Any) -> None:
    """UPerNet and ASPP pool to one pixel: a last batch of one sample breaks training, not inference."""
    model = build("thor", *RECIPES["upernet"]).train()
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        model(images("thor")[:1])
    assert model.eval()(images("thor")[:1]).output.shape == (1, CLASSES, 64, 64)


def test_pyramid_network_neck_hands_over_names_unless_told(build: Any) -> None:
    model = build("thor", UPERNET, [LEARNED, {"name": "FeaturePyramidNetworkNeck", "out_channel": 8}])
    with pytest.raises(AttributeError, match="'str' object has no attribute 'clone'"):
        model(images("thor"))


def test_learned_pyramid_wants_four_features(build: Any) -> None:
    with pytest.raises(Exception, match="exactly 4 input embeddings"):
        build("thor", UPERNET | {"backbone_out_indices": [5, 11]}, [LEARNED])


def test_pyramids_by_pooling_and_by_interpolation(build: Any) -> None:
    """Pooling needs a grid of 8 x 8; interpolation gives 16 times the grid, too much for dense features of AnySat."""
    for neck in (MAXPOOL, INTERPOLATE):
        assert build("thor", UPERNET, [neck])(images("thor")).output.shape == (2, CLASSES, 64, 64)
    with pytest.raises(RuntimeError, match="Output size is too small"):
        build("anysat_patch", UPERNET, ["four", MAXPOOL])(images("anysat_patch"))


def test_token_necks_make_the_maps_of_the_merging_backbone(build: Any) -> None:
    """THOR's own neck for any groups; TerraTorch's for a single group only, without a class token."""
    image, identity = images("thor"), {"decoder": "IdentityDecoder"}
    merged = build("thor", identity).eval()(image).output
    tokens = {"backbone_merge_method": None, "backbone_return_channel_params": True}
    own = build("thor", identity | tokens, [{"name": "THORGroupReshapeTokensToImage", "merge": "mean"}])
    torch.testing.assert_close(own.eval()(image).output, merged)

    ten_metres = {"backbone_model_bands": ["BLUE", "GREEN", "RED", "NIR_BROAD"]}
    merged = build("thor", identity | ten_metres).eval()(image[:, :4]).output
    reshape = {"name": "ReshapeTokensToImage", "remove_cls_token": False}
    single = build("thor", identity | ten_metres | {"backbone_merge_method": None}, [reshape])
    torch.testing.assert_close(single.eval()(image[:, :4]).output, merged)
    several = build("thor", identity | {"backbone_merge_method": None}, [reshape])
    with pytest.raises(ValueError, match="Cannot infer grid shape"):
        several(image)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_regression_and_classification(encoder: str, build: Any) -> None:
    image = images(encoder)
    regression = build(encoder, RECIPES["fcn"][0], task="regression", num_classes=None, num_outputs=1)
    assert regression(image).output.shape == (2, *image.shape[-2:])
    # AggregateTokens keeps the last feature and counts the channels of all.
    single = {"backbone_out_indices": [11]} if encoder == "thor" else {}
    for decoder, necks in (("IdentityDecoder", []), ("MLPDecoder", [{"name": "AggregateTokens", "pooling": "mean"}])):
        model = build(encoder, {"decoder": decoder} | single, necks, task="classification")
        output = model(image).output
        assert output.shape == (2, CLASSES)
        output.sum().backward()
        assert gradients(model)[1] == set()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_auxiliary_heads(encoder: str, build: Any) -> None:
    from terratorch.models.model import AuxiliaryHead

    heads = [AuxiliaryHead("fcn", "FCNDecoder", {"decoder_channels": 8, "decoder_num_convs": 1, "decoder_in_index": 1})]
    decoder, necks = RECIPES["unet"]
    model, image = build(encoder, decoder, necks, aux_decoders=heads), images(encoder)
    output = model(image)
    assert output.auxiliary_heads["fcn"].shape == output.output.shape == (2, CLASSES, *image.shape[-2:])
    (output.output.square().mean() + output.auxiliary_heads["fcn"].square().mean()).backward()
    assert gradients(model)[1] == set()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_tiles_are_those_of_a_plain_pass(encoder: str, build: Any) -> None:
    """With the date plane, each tile of AnySat keeps the date of its sample."""
    from terratorch.tasks.tiled_inference import tiled_inference

    side = images(encoder).shape[-1]
    model = build(encoder, RECIPES["fcn"][0]).eval()

    def forward(x: torch.Tensor) -> torch.Tensor:
        return model(x).output

    with torch.no_grad():
        small = images(encoder)
        assert torch.equal(tiled_inference(forward, small, crop=side, stride=side // 2), forward(small))
        large = images(encoder, 2 * side)
        apart = tiled_inference(forward, large, crop=side, stride=side, delta=0, padding=False, batch_size=3)
        for top in (0, side):
            for left in (0, side):
                tile = (..., slice(top, top + side), slice(left, left + side))
                torch.testing.assert_close(apart[tile], forward(large[tile]), atol=1e-5, rtol=1e-4)
        blended = tiled_inference(forward, large, crop=side, stride=side // 2, delta=2)
    assert blended.shape == (2, CLASSES, 2 * side, 2 * side)
    assert torch.isfinite(blended).all()


@pytest.mark.terratorch_defect
def test_dates_in_a_mapping_do_not_go_through_tiles(build: Any) -> None:
    """TerraTorch tiles images only: dates beside them need the date plane."""
    from terratorch.tasks.tiled_inference import tiled_inference

    model = build("anysat_patch", {"decoder": "IdentityDecoder", "backbone_bands": {"s2": S2}}).eval()
    image = {"s2": images("anysat_patch", 48)[:, :10], "s2_dates": torch.tensor([[20], [200]])}
    assert model(image).output.shape == (2, CLASSES, 48, 48)
    with pytest.raises(ValueError, match="same height and width for tiled inference"):
        tiled_inference(lambda x: model(x).output, image, crop=24, stride=16)
