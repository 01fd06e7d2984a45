"""UniverSat behind TerraTorch: bands by name or wavelength, dates in three forms and never guessed, one map out."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from universat_ext import UniverSatBackbone, build_universat
from universat_ext.model.grid import CAREFUL

S2 = ["BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"]
DAYS = torch.tensor([[10, 150, 300], [40, 90, 364]])
DRONE = {"drone": {"pixel_metres": 2.5, "subpatch_pixels": 2, "bands": {"BLUE": 0.49, "R": 0.665, "H": "nDEM"}}}


@pytest.fixture(scope="module")
def tiny(golden: Any) -> Any:
    """Build backbones with golden weights: fresh ones ignore dates and nearly all else."""

    def build(**arguments: Any) -> UniverSatBackbone:
        arguments = {"pretrained": False, "bands": {"s2": S2}, "patch_size": 20} | arguments
        backbone = build_universat("tiny", **arguments).eval()
        golden.fill_module(backbone.model)
        return backbone

    return build


def images(channels: int = 10, frames: int = 3, side: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, channels, frames, side, side, generator=torch.Generator().manual_seed(seed))


def run(backbone: UniverSatBackbone, *arguments: Any, **batch: Any) -> torch.Tensor:
    with torch.no_grad():
        (feature,) = backbone(*arguments, **batch)
    return feature


def same(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_the_published_dictionary_and_terratorchs_layout_give_the_same_map(tiny: Any) -> None:
    backbone, image = tiny(), images()
    with torch.no_grad():
        published = backbone.model({"s2": image.transpose(1, 2), "s2_dates": DAYS}, 20)
    same(run(backbone, {"s2": image, "s2_dates": DAYS}), published.transpose(1, 2).unflatten(2, (4, 4)))


def test_dates_arrive_in_all_three_forms_and_differ_per_sample(tiny: Any) -> None:
    image = images()
    expected = run(tiny(), {"s2": image, "s2_dates": DAYS})
    same(run(tiny(), image, s2_dates=DAYS), expected)
    same(run(tiny(), image, dates=DAYS), expected)
    plane = DAYS[:, None, :, None, None].expand(2, 1, 3, 8, 8).float()
    with_plane = tiny(bands={"s2": [*S2, "DATE"]})
    same(run(with_plane, torch.cat([image, plane], dim=1)), expected)
    assert not torch.allclose(run(tiny(), image, dates=DAYS.flip(0)), expected, rtol=1e-3)
    left_out = plane.clone()
    left_out[:, :, 1] = -1
    kept = run(tiny(), image[:, :, [0, 2]], dates=DAYS[:, [0, 2]])
    same(run(with_plane, torch.cat([image, left_out], dim=1)), kept)


def test_series_need_dates_and_single_frames_do_not(tiny: Any) -> None:
    image = images()
    with pytest.raises(ValueError, match=r"without dates, and UniverSat's features.*\(2, 3\).*default_date"):
        run(tiny(), image)
    expected = run(tiny(), image, dates=torch.full((2, 3), 260))
    for default in (260, "2019-09-18", {"s2": "2019-09-18"}):
        same(run(tiny(default_date=default), image), expected)
    single = run(tiny(), image[:, :, :1], dates=DAYS[:, :1])
    for given in (image[:, :, :1], image[:, :, 0]):
        same(run(tiny(), given), single)


def test_bands_are_read_by_name_in_any_order_and_spelling(tiny: Any) -> None:
    image, order = images(), [9, 3, 0, 7, 1, 8, 2, 6, 4, 5]
    expected = run(tiny(), image, dates=DAYS)
    same(run(tiny(bands={"s2": [S2[k] for k in order]}), image[:, order], dates=DAYS), expected)
    esa = tiny(bands={"s2": ["B02", "b3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"]})
    same(run(esa, image, dates=DAYS), expected)


def test_some_of_the_bands_of_an_optical_sensor_keep_their_own_wavelengths(tiny: Any) -> None:
    backbone, image = tiny(bands={"s2": ["RED", "BLUE"]}), images(2)
    with torch.no_grad():
        data = {"s2": image.flip(1).transpose(1, 2), "s2_dates": DAYS}
        expected = backbone.model(data, 20, wavelengths={"s2": [0.49, 0.665]})
    same(run(backbone, image, dates=DAYS), expected.transpose(1, 2).unflatten(2, (4, 4)))


def test_a_radar_without_its_ratio_is_refused() -> None:
    """Broadcast or left out, the third channel is missed by nobody but the weights."""
    with pytest.raises(ValueError, match="bands of 's1' must be those of UniverSat's 's1'.*Missing: VV/VH"):
        build_universat("tiny", pretrained=False, modalities=["s1"], bands={"s1": ["VV", "VH"]})


def test_a_sensor_of_ones_own_is_described_by_wavelengths_and_bandwidths(tiny: Any) -> None:
    sensors = copy.deepcopy(DRONE)
    sensors["drone"]["bands"]["R"] = {"wavelength": 0.665, "bandwidth": 0.03}  # type: ignore[index]
    backbone = tiny(modalities={"RGB": "drone"}, bands={"RGB": ["H", "R", "BLUE"]}, sensors=sensors)
    assert backbone.bandwidths == {"drone": {"R": 0.03}}
    assert backbone.input_bands == {"RGB": ("H", "R", "BLUE")}
    image = images(3, frames=1, side=16)[:, :, 0]
    with torch.no_grad():
        data = {"drone": image.flip(1)}
        described = {"wavelengths": {"drone": [0.49, 0.665, "nDEM"]}, "input_res": {"drone": 2.5}}
        expected = backbone.model(data, 20, "grid", output_grid=2, subpatches={"drone": 2}, **described)
    same(run(backbone, {"RGB": image}), expected.transpose(1, 2).unflatten(2, (2, 2)))


def test_a_sensor_of_the_table_may_have_other_pixels(tiny: Any) -> None:
    coarse = tiny(sensors={"s2": {"pixel_metres": 20}}, patch_size=40)
    assert run(coarse, images(), dates=DAYS).shape == (2, 192, 4, 4)
    assert run(tiny(patch_size=40), images(), dates=DAYS).shape == (2, 192, 2, 2)


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({}, (4, 4)),
        ({"output": "dense"}, (8, 8)),
        ({"output": "dense", "cell_metres": 40}, (2, 2)),
        ({"output": "tile"}, (1, 1)),
    ],
)
def test_out_channels_and_shapes_tell_what_comes_out(arguments: Any, shape: tuple[int, int], tiny: Any) -> None:
    backbone = tiny(**arguments)
    assert backbone.out_channels == [192]
    assert run(backbone, images(), dates=DAYS).shape == (2, 192, *shape)


def test_the_tile_is_the_mean_of_the_patch_grid(tiny: Any) -> None:
    image = images()
    patches = run(tiny(), image, dates=DAYS)
    same(run(tiny(output="tile"), image, dates=DAYS), patches.mean(dim=(2, 3), keepdim=True))


def test_dense_cells_lie_where_they_belong(tiny: Any) -> None:
    """Rows and columns that are swapped, or patches in another order than cells, move a change elsewhere."""
    backbone, image = tiny(output="dense", patch_size=40), images(frames=1, side=16)
    changed = image.clone()
    changed[:, :, 0, 8:12, 0:4] += 5
    moved = (run(backbone, changed) - run(backbone, image))[0].norm(dim=0).unflatten(0, (4, 4)).unflatten(2, (4, 4))
    per_patch = moved.mean(dim=(1, 3))
    assert divmod(int(per_patch.argmax()), 4) == (2, 0)


def test_the_order_of_modalities_changes_nothing(tiny: Any) -> None:
    """H1: 27 % other features, as the first key decides the patch grid."""
    data = {"s2": images(side=12), "s2_dates": DAYS, "dsm": images(1, frames=1, side=4)[:, :, 0]}
    with pytest.warns(UserWarning, match="Patches of 'dsm' are 30 m"):
        found = [
            run(tiny(modalities=list(order), bands=None, patch_size=40, output="dense", cell_metres=40), data)
            for order in (("s2", "dsm"), ("dsm", "s2"))
        ]
    same(found[0], found[1])
    named = tiny(modalities=["dsm", "s2"], bands=None, patch_size=40, latent_from="s2")
    with pytest.warns(UserWarning, match="not the stated 40 m"):
        assert run(named, data).shape == (2, 192, 3, 3)


def test_a_modality_that_a_batch_lacks_is_left_out_only_if_allowed(tiny: Any) -> None:
    arguments: dict[str, Any] = {"modalities": ["s2", "s1"], "bands": None, "default_date": 100}
    radar = images(3, seed=1)
    backbone = tiny(**arguments, allow_missing=True, latent_from="s2")
    with torch.no_grad():
        expected = backbone.model({"s1": radar.transpose(1, 2), "s1_dates": torch.full((2, 3), 100)}, 20)
    same(run(backbone, {"s1": radar}), expected.transpose(1, 2).unflatten(2, (4, 4)))
    with pytest.raises(ValueError, match=r"\['s2'\] are missing.*allow_missing"):
        run(tiny(**arguments), {"s1": radar})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"patch_size": 0}, ValueError, "patch_size .* must be a positive number of metres"),
        ({"patch_size": "large"}, ValueError, "patch_size .* must be a positive number of metres"),
        ({"output": "all"}, ValueError, "patch, dense, tile"),
        ({"cell_metres": 10}, ValueError, "cell_metres is for output='dense'"),
        ({"output": "dense", "cell_metres": -1}, ValueError, "cell_metres must be a positive number of metres"),
        ({"latent_from": "s1"}, ValueError, "latent_from must be one of s2, got 's1'"),
        ({"last_day": 750}, ValueError, "last_day must be in 0..749"),
        ({"modalities": ["sentinel2"]}, ValueError, "modalities of UniverSat.*unknown: 'sentinel2'"),
        ({"modalities": ["s2", "s2"]}, ValueError, "each once"),
        ({"bands": {"s2": [*S2, "CIRRUS"]}}, ValueError, "Not read by UniverSat: CIRRUS"),
        ({"bands": {"s2": [*S2, "B2"]}}, ValueError, "Named twice: B2"),
        ({"bands": {"s2": ["BLEU"]}}, ValueError, "Nearest: BLUE"),
        ({"bands": {"s2": ["DATE"]}}, ValueError, "Missing: B2"),
        ({"sensors": {"cam": {"bands": {"R": 0.6}}}}, ValueError, "none of the table, so it needs pixel_metres"),
        ({"sensors": {"cam": {"gsd": 3}}}, ValueError, "settings among bands, pixel_metres, subpatch_pixels"),
        ({"sensors": ["cam"]}, ValueError, "sensors must be a mapping"),
        ({"sensors": {"s2": {"bands": {"R": 665}}}}, ValueError, "got 665. In nanometres. Then it is 0.665"),
        ({"sensors": {"s2": {"bands": {"R": {"bandwidth": 1}}}}}, ValueError, "must have wavelength and bandwidth"),
        ({"sensors": {"s2": {"bands": {"R": {"wavelength": 0.6, "bandwidth": 0}}}}}, ValueError, "bandwidth of 'R'"),
        ({"default_date": "autumn"}, ValueError, "YYYY-MM-DD"),
        ({"model_bands": S2}, TypeError, "Name the bands per modality"),
        ({"patchsize": 10}, TypeError, "Did you mean 'patch_size'"),
        ({"output_grid": 10}, TypeError, "A finer map is output='dense' with cell_metres"),
        ({"pretrained": True}, ValueError, "no published weights of UniverSat tiny"),
    ],
)
def test_wrong_arguments_are_refused_with_the_remedy(arguments: Any, error: type, message: str) -> None:
    arguments = {"pretrained": False, "bands": {"s2": S2}, "patch_size": 20} | arguments
    with pytest.raises(error, match=message):
        build_universat("tiny", **arguments)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.randn(2, 13, 8, 8), "C = 10 channels .BLUE, .*got shape"),
        (torch.randn(2, 10, 1, 8, 9), "square"),
        (torch.randn(2, 10, 1, 7, 7), "do not tile exactly"),
        (torch.full((2, 10, 1, 8, 8), float("nan")), "NaN"),
        ({"s1": torch.randn(2, 2, 8, 8)}, "missing from the input"),
    ],
)
def test_wrong_input_is_refused_with_the_remedy(image: Any, message: str, tiny: Any) -> None:
    with pytest.raises(ValueError, match=message):
        run(tiny(), image)
    with pytest.raises(ValueError, match=message):
        tiny().check_values(image)


def test_cells_that_do_not_tile_are_refused(tiny: Any) -> None:
    with pytest.raises(ValueError, match="Cells of 30 m do not tile 80 m of 's2'"):
        run(tiny(output="dense", cell_metres=30), images(), dates=DAYS)


def test_an_output_that_costs_more_than_all_the_rest_is_told() -> None:
    from universat_ext.model.grid import PatchGrid, warn_if_costly
    from universat_ext.model.modalities import MODALITIES

    grids = {MODALITIES["s2"]: PatchGrid(32, 8, 8, 1)}
    warn_if_costly(64, grids)
    with pytest.warns(UserWarning, match="256 x 256 output cells attend to 65536 sub-patches: 4.3e.09 pairs"):
        warn_if_costly(256, grids)


def test_cropping_and_days_of_a_second_year_are_asked_for(tiny: Any) -> None:
    image = images(side=9)
    same(run(tiny(crop=True), image, dates=DAYS), run(tiny(), image[..., :8, :8], dates=DAYS))
    with pytest.raises(ValueError, match="got values from 310 to 664.*last_day=749"):
        run(tiny(), images(), dates=DAYS + 300)
    assert torch.isfinite(run(tiny(last_day=749), images(), dates=DAYS + 300)).all()
    assert CAREFUL.last_day == 366


def test_unknown_batch_keys_are_swallowed_and_terratorch_finds_no_patch_size(tiny: Any) -> None:
    backbone = tiny(default_date=10)
    run(backbone, images(), crs=["EPSG:4326"], bounds=torch.zeros(2, 4), image_size=(8, 8))
    assert backbone.patch_size is None
    assert next(m for m in backbone.modules() if hasattr(m, "patch_size")) is backbone


def test_frozen_means_eval_mode(tiny: Any) -> None:
    backbone = tiny()
    backbone.freeze()
    backbone.train()
    assert not any(module.training for module in backbone.modules())


def test_names_are_registered_and_no_key_error_leaves_a_constructor() -> None:
    from terratorch.registry import BACKBONE_REGISTRY

    import universat_ext  # noqa: F401
    from eo_models.registry import find_encoder

    for name in ("universat", "universat_base", "universat_tiny"):
        assert name in BACKBONE_REGISTRY
        assert find_encoder(name) is UniverSatBackbone
    backbone = BACKBONE_REGISTRY.build("universat_tiny", pretrained=False, modalities=["s2"], default_date=0)
    assert backbone.out_channels == [192]
    with pytest.raises(ValueError, match="positive number of metres"):
        BACKBONE_REGISTRY.build("universat_tiny", pretrained=False, patch_size=-40)


def test_the_import_alone_loads_neither_terratorch_nor_torch(tmp_path: Path) -> None:
    code = """
import sys
import universat_ext
heavy = {"torch", "terratorch", "timm", "lightning", "thor_terratorch_ext", "anysat_ext"} & set(sys.modules)
if heavy:
    raise SystemExit(f"loaded: {heavy}")
from universat_ext import UniverSat
if {"terratorch", "thor_terratorch_ext", "anysat_ext"} & set(sys.modules):
    raise SystemExit("the encoder pulled its host or a sister in")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("output", ["patch", "dense", "tile"])
@pytest.mark.parametrize("names", [("s2",), ("s1",), ("s2", "aerial")])
def test_what_trains_is_what_gets_a_gradient(output: str, names: tuple[str, ...], tiny: Any) -> None:
    """One weight without a gradient stops `strategy: ddp` at the second step."""
    backbone = tiny(modalities=names, bands=None, output=output, default_date=100)
    every = {"s2": images(), "s1": images(3), "aerial": torch.randn(2, 4, 400, 400)}
    backbone.train()({name: every[name] for name in names})[0].square().sum().backward()
    without = {name for name, value in backbone.named_parameters() if value.grad is None}
    assert without == {name for name, value in backbone.named_parameters() if not value.requires_grad}


def test_the_backbone_can_be_exported_with_planes_of_dates(tiny: Any) -> None:
    backbone = tiny(bands={"s2": [*S2, "DATE"]})
    backbone.freeze()

    def example(seed: int) -> torch.Tensor:
        plane = DAYS[:, None, :, None, None].expand(-1, 1, -1, 8, 8).float().clone()
        plane[0, 0, seed] = -1  # a frame to leave out
        return torch.cat([images(seed=seed), plane], dim=1)

    program = torch.export.export(backbone, (example(0),)).module()
    same(program(example(1))[0], run(backbone, example(1)))
