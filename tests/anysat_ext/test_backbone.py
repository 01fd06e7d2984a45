"""AnySat behind TerraTorch: bands by name, dates in three forms and never guessed, one map out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from anysat_ext import AnySatBackbone, build_anysat

S2 = ["BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"]
DAYS = torch.tensor([[10, 150, 300], [40, 90, 364]])


def tiny(**arguments: Any) -> AnySatBackbone:
    arguments = {"pretrained": False, "bands": {"s2": S2}, "patch_size": 20} | arguments
    torch.manual_seed(0)
    return build_anysat("tiny", **arguments).eval()


def series(channels: int = 10, frames: int = 3, side: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, channels, frames, side, side, generator=torch.Generator().manual_seed(seed))


def run(backbone: AnySatBackbone, *arguments: Any, **batch: Any) -> torch.Tensor:
    with torch.no_grad():
        (feature,) = backbone(*arguments, **batch)
    return feature


def test_the_published_dictionary_and_terratorchs_layout_give_the_same_map() -> None:
    backbone = tiny()
    image = series()
    with torch.no_grad():
        published = backbone.model({"s2": image.transpose(1, 2), "s2_dates": DAYS}, 20)
    torch.testing.assert_close(run(backbone, {"s2": image, "s2_dates": DAYS}), published.permute(0, 3, 1, 2))


def test_dates_arrive_in_all_three_forms_and_differ_per_sample() -> None:
    image = series()
    expected = run(tiny(), {"s2": image, "s2_dates": DAYS})
    torch.testing.assert_close(run(tiny(), image, s2_dates=DAYS), expected)
    torch.testing.assert_close(run(tiny(), image, dates=DAYS), expected)
    plane = DAYS[:, None, :, None, None].expand(2, 1, 3, 8, 8).float()
    with_plane = tiny(bands={"s2": [*S2, "DATE"]})
    torch.testing.assert_close(run(with_plane, torch.cat([image, plane], dim=1)), expected)
    rotated = plane.clone()
    rotated[..., :2, :3] = 0  # corners that an augmentation filled with zeros
    torch.testing.assert_close(run(with_plane, torch.cat([image, rotated], dim=1)), expected)
    assert not torch.allclose(run(tiny(), image, dates=DAYS.flip(0)), expected)


def test_no_dates_is_an_error_unless_a_default_is_set() -> None:
    image = series()
    with pytest.raises(ValueError, match=r"without dates.*\(2, 3\).*default_date"):
        run(tiny(), image)
    expected = run(tiny(), image, dates=torch.full((2, 3), 260))
    for default in (260, "260", "2019-09-18", {"s2": "2019-09-18"}):
        torch.testing.assert_close(run(tiny(default_date=default), image), expected)
    # Dates of the sample win over the default.
    torch.testing.assert_close(run(tiny(default_date=1), image, dates=torch.full((2, 3), 260)), expected)


@pytest.mark.parametrize(
    ("date", "day"), [("2019-01-01", 0), ("2019-12-31", 364), ("2020-12-31", 364), ("2020-03-01", 60)]
)
def test_day_of_year_counts_from_zero(date: str, day: int) -> None:
    assert tiny(default_date=date).input_spec.images[0].default_day == day


def test_misbatched_dates_of_tiled_inference_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(B, T\) = \(2, 3\), got \(1, 3\).*constant plane"):
        run(tiny(), series(), dates=DAYS[:1])


def test_a_date_plane_that_was_normalised_or_interpolated_is_refused() -> None:
    plane = torch.rand(2, 1, 3, 8, 8)
    with pytest.raises(ValueError, match="same in every pixel"):
        run(tiny(bands={"s2": [*S2, "DATE"]}), torch.cat([series(), plane], dim=1))


def test_tiled_inference_gives_every_window_its_own_samples_dates() -> None:
    from terratorch.tasks.tiled_inference import tiled_inference

    class PerPixel(torch.nn.Module):
        """Day of year that reaches the encoder, as a map."""

        def __init__(self, backbone: AnySatBackbone) -> None:
            super().__init__()
            self.backbone = backbone

        def forward(self, x: torch.Tensor, **_: Any) -> torch.Tensor:
            dates = self.backbone.input_spec.match(x, {})["s2_dates"].float()
            return dates.mean(1)[:, None, None, None].expand(-1, 1, *x.shape[-2:])

    plane = torch.tensor([10.0, 300.0])[:, None, None, None, None].expand(2, 1, 1, 32, 32)
    image = torch.cat([series(frames=1, side=32), plane], dim=1)[:, :, 0]
    model = PerPixel(tiny(bands={"s2": [*S2, "DATE"]}))
    out = tiled_inference(model, image, crop=16, stride=8, delta=2, batch_size=3)
    torch.testing.assert_close(out[:, 0], plane[:, 0, 0])


def test_a_frame_marked_in_the_date_plane_is_left_out() -> None:
    image = series()
    plane = DAYS[:, None, :, None, None].expand(2, 1, 3, 8, 8).float().clone()
    plane[:, :, 1] = -1
    masked = run(tiny(bands={"s2": [*S2, "DATE"]}), torch.cat([image, plane], dim=1))
    kept = run(tiny(), image[:, :, [0, 2]], dates=DAYS[:, [0, 2]])
    torch.testing.assert_close(masked, kept)


def test_a_modality_that_a_batch_lacks_is_left_out_only_if_allowed() -> None:
    arguments: dict[str, Any] = {"modalities": ["s2", "s1-asc"], "bands": None, "default_date": 100}
    backbone = tiny(**arguments, allow_missing=True)
    radar = torch.randn(2, 2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    alone = run(backbone, {"s1-asc": radar})
    with torch.no_grad():
        days = torch.full((2, 3), 100)
        expected = backbone.model({"s1-asc": radar.transpose(1, 2), "s1-asc_dates": days}, 20)
    torch.testing.assert_close(alone, expected.permute(0, 3, 1, 2))
    dense = tiny(**arguments, allow_missing=True, output="dense")
    assert run(dense, {"s1-asc": radar}).shape == (2, 512, 8, 8)
    with pytest.raises(ValueError, match=r"\['s2'\] are missing.*allow_missing"):
        run(tiny(**arguments), {"s1-asc": radar})
    with pytest.raises(ValueError, match="are missing from the input"):
        run(backbone, {"other": radar})


def test_bands_are_read_by_name_in_any_order_and_spelling() -> None:
    image, order = series(), [9, 3, 0, 7, 1, 8, 2, 6, 4, 5]
    expected = run(tiny(), image, dates=DAYS)
    shuffled = tiny(bands={"s2": [S2[k] for k in order]})
    torch.testing.assert_close(run(shuffled, image[:, order], dates=DAYS), expected)
    esa = tiny(bands={"s2": ["B02", "b3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"]})
    torch.testing.assert_close(run(esa, image, dates=DAYS), expected)


def test_modalities_may_have_other_names_in_the_data() -> None:
    backbone = tiny(
        modalities={"S2L1C": "s2", "S1GRD": "s1-asc"}, bands={"S2L1C": S2, "S1GRD": ["VH", "VV"]}, default_date=10
    )
    image = {"S2L1C": series(), "S1GRD": series(2)[:, :, 0]}
    own = tiny(modalities=["s2", "s1-asc"], bands={"s2": S2, "s1-asc": ["VV", "VH"]}, default_date=10)
    expected = run(own, {"s2": image["S2L1C"], "s1-asc": image["S1GRD"].flip(1)})
    torch.testing.assert_close(run(backbone, image), expected)


@pytest.mark.parametrize(
    ("output", "shape"), [("patch", (2, 256, 4, 4)), ("dense", (2, 512, 8, 8)), ("tile", (2, 256, 1, 1))]
)
def test_out_channels_tell_what_comes_out(output: str, shape: tuple[int, ...]) -> None:
    backbone = tiny(output=output)
    assert isinstance(backbone.out_channels, list)
    assert backbone.out_channels == [shape[1]]
    assert run(backbone, series(), dates=DAYS).shape == shape


def test_dense_pixels_lie_where_they_belong() -> None:
    """Change one pixel: the sub-patch part of the map changes most at that pixel."""
    backbone = tiny(output="dense")
    image = series(frames=1)
    changed = image.clone()
    changed[:, :, 0, 5, 2] += 5
    days = DAYS[:, :1]
    moved = (run(backbone, changed, dates=days) - run(backbone, image, dates=days))[0, 256:].norm(dim=0)
    assert divmod(int(moved.argmax()), 8) == (5, 2)


def test_dense_sub_patches_of_aerial_images_are_not_scrambled() -> None:
    backbone = tiny(modalities=["aerial"], bands=None, output="dense", patch_size=20)
    torch.manual_seed(1)
    image = torch.randn(1, 4, 200, 200)
    changed = image.clone()
    changed[:, :, 60:70, 130:140] += 5  # sub-patch in row 6, column 13 of 20
    moved = (run(backbone, changed) - run(backbone, image))[0, 256:].norm(dim=0)
    assert moved.shape == (20, 20)
    assert divmod(int(moved.argmax()), 20) == (6, 13)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"patch_size": 0}, ValueError, "positive multiple of 10"),
        ({"patch_size": 5}, ValueError, "positive multiple of 10"),
        ({"patch_size": 25}, ValueError, "positive multiple of 10"),
        ({"patch_size": -10}, ValueError, "positive multiple of 10"),
        ({"output": "all"}, ValueError, "patch, dense, tile"),
        ({"output_modality": "s1"}, ValueError, "output_modality must be one of s2"),
        ({"modalities": ["s3"]}, ValueError, "unknown: 's3'"),
        ({"modalities": ["s2", "s2"]}, ValueError, "each once"),
        ({"bands": {"s2": S2[:9]}}, ValueError, "Missing: B12"),
        ({"bands": {"s2": [*S2, "CIRRUS"]}}, ValueError, "Not read by AnySat: CIRRUS"),
        ({"bands": {"s2": [*S2, "B2"]}}, ValueError, "Named twice: B2"),
        ({"bands": {"s1": ["VV"]}}, ValueError, "the modalities are .'s2'."),
        ({"bands": {"s2": ["BLEU", *S2[1:]]}}, ValueError, "Nearest: BLUE"),
        ({"default_date": "autumn"}, ValueError, "YYYY-MM-DD"),
        ({"default_date": 400}, ValueError, "0..365"),
        ({"model_bands": S2}, TypeError, "Name the bands per modality"),
        ({"patchsize": 10}, TypeError, "Did you mean 'patch_size'"),
        ({"pretrained": True}, ValueError, "no published weights of AnySat tiny"),
    ],
)
def test_wrong_arguments_are_refused_with_the_remedy(arguments: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        tiny(**arguments)


def test_20_0_is_20_metres_and_text_is_understood() -> None:
    assert tiny(patch_size=20.0).patch_metres == tiny(patch_size="20").patch_metres == 20
    assert tiny(pretrained="false", crop="false", modalities="[s2]").load_report is None


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.randn(2, 13, 8, 8), "C = 10 channels .BLUE, .*got shape"),
        (torch.randn(2, 11, 8, 8), "same list; the extra channel may be the plane of dates .*names by DATE"),
        (torch.randn(2, 10, 1, 8, 9), "square"),
        (torch.randn(2, 10, 1, 7, 7), "7"),
        (torch.full((2, 10, 1, 8, 8), float("nan")), "NaN"),
        ({"s1": torch.randn(2, 2, 8, 8)}, "missing from the input"),
    ],
)
def test_wrong_input_is_refused_with_the_remedy(image: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(tiny(default_date=10), image)


def test_cropping_is_asked_for() -> None:
    cropped = run(tiny(default_date=10, crop=True), series(side=9))
    torch.testing.assert_close(cropped, run(tiny(default_date=10), series(side=9)[..., :8, :8]))


def test_unknown_batch_keys_are_swallowed_and_terratorch_finds_no_patch_size() -> None:
    backbone = tiny(default_date=10)
    run(backbone, series(), crs=["EPSG:4326"], bounds=torch.zeros(2, 4), image_size=(8, 8))
    assert next(m for m in backbone.modules() if hasattr(m, "patch_size")) is backbone
    assert backbone.patch_size is None


def test_frozen_means_eval_mode() -> None:
    backbone = tiny()
    backbone.freeze()
    backbone.train()
    assert not any(module.training for module in backbone.modules())


def test_names_are_registered_and_build() -> None:
    from terratorch.registry import BACKBONE_REGISTRY

    import anysat_ext  # noqa: F401

    for name in ("anysat", "anysat_base", "anysat_small", "anysat_tiny"):
        assert name in BACKBONE_REGISTRY
    backbone = BACKBONE_REGISTRY.build("anysat_tiny", pretrained=False, modalities=["s2"], default_date=0)
    assert backbone.out_channels == [256]
    with pytest.raises(ValueError, match="multiple of 10"):
        BACKBONE_REGISTRY.build("anysat_tiny", pretrained=False, patch_size=15)


def test_the_import_alone_loads_neither_terratorch_nor_torch(tmp_path: Path) -> None:
    code = """
import sys
import anysat_ext
heavy = {"torch", "terratorch", "timm", "lightning", "thor_terratorch_ext"} & set(sys.modules)
if heavy:
    raise SystemExit(f"loaded: {heavy}")
from anysat_ext import AnySat
if {"terratorch", "thor_terratorch_ext"} & set(sys.modules):
    raise SystemExit("the encoder pulled its host or its sister in")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("output", ["patch", "dense", "tile"])
def test_what_trains_is_what_gets_a_gradient(output: str) -> None:
    """One weight without a gradient stops `strategy: ddp` at the second step."""
    bands = {"s2": S2, "aerial": ["R", "G", "B", "NIR"]}
    backbone = tiny(modalities=["s2", "aerial"], bands=bands, output=output, default_date=100)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    images = {"s2": series(), "s2_mask": mask, "aerial": torch.randn(2, 4, 400, 400)}
    backbone.train()(images)[0].square().sum().backward()
    without = {name for name, value in backbone.named_parameters() if value.grad is None}
    assert without == {name for name, value in backbone.named_parameters() if not value.requires_grad}
    assert len(without) == {"patch": 3, "dense": 2, "tile": 4}[output]
