"""Through the whole pipeline of every config, each physical band of the files lands in its own encoder channel.

The published configs of THOR feed 13 bands to a 10-band model by position: COASTAL_AEROSOL is read as BLUE and CIRRUS
as VV, and nothing fails.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from eo_data.sensors.tables import SENTINEL2
from thor_terratorch_ext.model.channels import weight_name

#: File order of the chips and the kernel that each band must reach; None for bands that THOR must not see.
S2_KERNELS = {
    "B1": None,
    "B2": "S2:Blue",
    "B3": "S2:Green",
    "B4": "S2:Red",
    "B5": "S2:RE1",
    "B6": "S2:RE2",
    "B7": "S2:RE3",
    "B8": "S2:NIR",
    "B8A": "S2:RE4",
    "B9": None,
    "B10": None,
    "B11": "S2:SWIR1",
    "B12": "S2:SWIR2",
}
S1_KERNELS = {"VV": "S1:VV", "VH": "S1:VH"}
SIDE = 288
THOR_CONFIGS = {
    "quickstart_fit": S2_KERNELS,
    "sen1floods11_thor_S2": S2_KERNELS,
    "sen1floods11_thor_S1": S1_KERNELS,
    "sen1floods11_thor_multimodal": S2_KERNELS | S1_KERNELS,
    "pangaea_sen1floods11_thor_fcn": S2_KERNELS,
    "pangaea_sen1floods11_thor_upernet": S2_KERNELS,
    "sen1floods11_thor_anysat_S2": S2_KERNELS,
    "sen1floods11_thor_timm_S2": S2_KERNELS,
}
#: Of encoders that read dated series, the channel of each physical band.
S2_CHANNELS = {esa: ("s2", esa) if kernel else None for esa, kernel in S2_KERNELS.items()}
SERIES_READERS = {
    "quickstart_anysat": S2_CHANNELS,
    "sen1floods11_anysat_S2": S2_CHANNELS,
    "sen1floods11_anysat_S1S2": S2_CHANNELS | {"VV": ("s1-asc", "VV"), "VH": ("s1-asc", "VH")},
    "sen1floods11_anysat_S1S2_probe": S2_CHANNELS | {"VV": ("s1", "VV"), "VH": ("s1", "VH")},
    "sen1floods11_thor_anysat_S2": S2_CHANNELS,
    "quickstart_universat": S2_CHANNELS,
    "sen1floods11_universat_S2": S2_CHANNELS,
    "sen1floods11_universat_S1S2": S2_CHANNELS | {"VV": ("s1", "VV"), "VH": ("s1", "VH")},
}
#: Models that take a plain tensor: the bands in the order of their channels.
S2_ORDER = [esa for esa, kernel in S2_KERNELS.items() if kernel]
PLAIN_CONFIGS = {
    "sen1floods11_unet_S1": ["VV", "VH"],
    "sen1floods11_unet_S2": S2_ORDER,
    "sen1floods11_thor_timm_S2": ["B4", "B3", "B2"],  # what the second encoder gets of it
}


#: Exports, ours and with TerraTorch's own task.
EXPORT_CONFIGS = {
    "embed_quickstart": S2_KERNELS,
    "embed_thor_s2": S2_KERNELS,
    "embed_thor_s1": S1_KERNELS,
    "embed_thor_s1s2": S2_KERNELS | S1_KERNELS,
    "embedding_generation_sen1floods11_S2": S2_KERNELS,
    "embedding_generation_sen1floods11_S1": S1_KERNELS,
}
#: Series: the hand-computed pixels of test_data_configs.py cover the same data section.
SERIES_CONFIGS = {"embed_anysat_s2"}
#: Exports of the embedded sample: test_runs.py compares the vectors with those of the encoder called by hand.
SAMPLE_CONFIGS = {"embed_universat_quickstart"}
#: Places: test_places.py compares them with embed, by a catalogue and by files that name their bands.
PLACE_CONFIGS = {"embed_places_thor_s2", "embed_places_anysat_s2"}
#: Of other data sets: test_other_recipes.py, and test_data_configs.py for TerraMesh's data section.
OTHER_CONFIGS = {
    "biomassters_anysat_S1S2",
    "eurosat_thor_S2",
    "hls_burnscars_thor",
    "olci_thor_S3",
    "pastis_anysat_S1S2",
    "pastis_universat_S1S2",
    "terramesh_thor_S1S2",
}


def test_every_config_is_covered_here(root: Path) -> None:
    covered = {*THOR_CONFIGS, *SERIES_READERS, *PLAIN_CONFIGS, *EXPORT_CONFIGS, *SERIES_CONFIGS, *OTHER_CONFIGS}
    covered |= SAMPLE_CONFIGS
    assert {file.stem for file in (root / "config").glob("*.yaml")} == covered | PLACE_CONFIGS
    assert list(S2_KERNELS) == [band.aliases[0] for band in SENTINEL2.bands]


def write(file: Path, pixels: np.ndarray, nodata: float | None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    transform = rasterio.transform.from_origin(500_000, 4_000_000, 10, 10)
    count, height, width = pixels.shape
    profile = {"count": count, "height": height, "width": width, "dtype": pixels.dtype, "nodata": nodata}
    with rasterio.open(file, "w", driver="GTiff", crs="EPSG:32630", transform=transform, **profile) as target:
        target.write(pixels)


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    """Chips of a known event, in both layouts.

    Chip 00 is flat; in chip 01, 02, ... the first, second, ... physical band is brighter.
    """
    folder = tmp_path_factory.mktemp("chips")
    events = "Sen1Floods11_Metadata.geojson"
    (folder / events).write_bytes((shared / "data" / "sen1floods11_v1.1" / events).read_bytes())
    names = [*S2_KERNELS, *S1_KERNELS]
    ids = [f"Somalia_{k:02d}" for k in range(len(names) + 1)]
    hand = "data/flood_events/HandLabeled"
    layouts = (
        ("data/S2L1CHand", "data/S1GRDHand", "data/LabelHand", "splits"),
        (f"{hand}/S2Hand", f"{hand}/S1Hand", f"{hand}/LabelHand", "splits/flood_handlabeled"),
    )
    for s2_folder, s1_folder, label_folder, split_folder in layouts:
        for k, chip in enumerate(ids):
            s2 = np.full((13, SIDE, SIDE), 1000, np.int16)
            s1 = np.full((2, SIDE, SIDE), -12, np.float32)
            if 1 <= k <= 13:
                s2[k - 1] += 500
            elif k > 13:
                s1[k - 14] += 5
            write(folder / s2_folder / f"{chip}_S2Hand.tif", s2, 0)
            write(folder / s1_folder / f"{chip}_S1Hand.tif", s1, float("nan"))
            write(folder / label_folder / f"{chip}_LabelHand.tif", np.zeros((1, SIDE, SIDE), np.int16), None)
        (folder / split_folder).mkdir(parents=True, exist_ok=True)
        for split in ("train", "valid", "test"):
            (folder / split_folder / f"flood_{split}_data.txt").write_text("\n".join(ids) + "\n")
    return folder


class _Reached(Exception):  # noqa: N818
    """Carries what a part of a model got, before it computes anything."""


def reached(part: torch.nn.Module, call: Callable[[], Any]) -> Any:
    """What a part of a model gets in a call, which ends there."""

    def stop(_module: Any, inputs: Any) -> None:
        raise _Reached(inputs[0])

    hook = part.register_forward_pre_hook(stop)
    try:
        call()
    except _Reached as caught:
        return caught.args[0]
    finally:
        hook.remove()
    pytest.fail(f"{type(part).__name__} got nothing.")


def kernel_gradients(encoder: Any, image: Any) -> dict[str, torch.Tensor]:
    """Gradient of the patch tokens with respect to each kernel, which is linear in the pixels that it reads."""
    encoder.zero_grad()
    tokens: list[torch.Tensor] = []
    hook = encoder.model.ind_patch_embed.register_forward_hook(lambda _m, _i, out: tokens.append(out))
    reached(encoder.model.blocks[0], lambda: encoder(image))  # the blocks take all the time, and come after the tokens
    hook.remove()
    torch.stack([t.sum() for t in tokens]).sum().backward()
    kernels = encoder.model.ind_patch_embed.patch_embed
    return {name: conv.weight.grad.clone() for name, conv in kernels.items() if conv.weight.grad is not None}


def batches_by_chip(file: Path) -> tuple[Any, dict[str, Any]]:
    """Model of a config, and the normalised image of each chip as it gets it."""
    from terratorch.cli_tools import build_lightning_cli

    cli = build_lightning_cli(["--config", str(file)], run=False)
    data = cli.datamodule
    data.setup("validate")
    images = {}
    for batch in data.val_dataloader():
        names = batch.pop("filename")
        chip = Path(next(iter(names.values()))[0] if isinstance(names, dict) else names[0]).name[:10]
        images[chip] = data.on_after_batch_transfer(batch, 0)["image"]
    return cli.model.model, images


def routed(wrapper: Any, images: dict[str, Any], index: int) -> dict[str, Any]:
    """What one encoder of a MultiBackboneWrapper gets of each image; those before it answer once, for the first."""
    with torch.no_grad():
        for earlier in list(wrapper.encoders)[:index]:
            first = images["Somalia_00"]
            answer = earlier(reached(earlier, lambda: wrapper(first)))  # noqa: B023
            earlier.forward = lambda *_, answer=answer, **__: answer
        part = wrapper.encoders[index]
        return {chip: reached(part, lambda: wrapper(image)) for chip, image in images.items()}  # noqa: B023


@pytest.mark.parametrize("name", THOR_CONFIGS)
def test_each_physical_band_moves_its_own_thor_channel(name: str, chips: Path, adapted: Callable[..., Path]) -> None:
    multi = "_thor_anysat_" in name or "_timm_" in name
    levels = {} if multi or name.endswith("upernet") else {"backbone_out_indices": [0]}
    model, images = batches_by_chip(adapted(name, chips, batch_size=1, **levels))
    encoder = model.encoder.requires_grad_(requires_grad=True)
    if multi:
        images = routed(encoder, images, 0)
        encoder = encoder.encoders[0]
    gradients = {chip: kernel_gradients(encoder, image) for chip, image in images.items()}
    expected = THOR_CONFIGS[name]
    flat = gradients["Somalia_00"]
    assert set(flat) == {k for k in expected.values() if k} == {weight_name(c) for c in encoder.bands}
    for k, band in enumerate([*S2_KERNELS, *S1_KERNELS], start=1):
        bright = gradients[f"Somalia_{k:02d}"]
        moved = {kernel for kernel in flat if not torch.allclose(flat[kernel], bright[kernel], rtol=1e-4, atol=1e-4)}
        kernel = expected.get(band)
        assert moved == ({kernel} if kernel else set()), f"{band} moved {moved}"


@pytest.mark.parametrize("name", EXPORT_CONFIGS)
def test_each_physical_band_moves_its_own_channel_of_an_export(
    name: str, chips: Path, exported: Callable[..., Path]
) -> None:
    from terratorch.cli_tools import build_lightning_cli

    cli = build_lightning_cli(["--config", str(exported(name, chips))], run=False)
    cli.datamodule.setup("predict")
    encoder = cli.model.model.backbone if "embed_" in name else cli.model.model.encoder
    encoder.requires_grad_(requires_grad=True)
    gradients = {
        Path(batch["filename"][0]).name[:10]: kernel_gradients(encoder, batch["image"])
        for batch in cli.datamodule.predict_dataloader()
    }
    expected = EXPORT_CONFIGS[name]
    flat = gradients["Somalia_00"]
    assert set(flat) == {k for k in expected.values() if k}
    for k, band in enumerate([*S2_KERNELS, *S1_KERNELS], start=1):
        bright = gradients[f"Somalia_{k:02d}"]
        moved = {kernel for kernel in flat if not torch.allclose(flat[kernel], bright[kernel], rtol=1e-4, atol=1e-4)}
        kernel = expected.get(band)
        assert moved == ({kernel} if kernel else set()), f"{band} moved {moved}"


@pytest.mark.parametrize("name", SERIES_READERS)
def test_each_physical_band_moves_its_own_channel_of_a_series(
    name: str, chips: Path, adapted: Callable[..., Path]
) -> None:
    model, images = batches_by_chip(adapted(name, chips, batch_size=1))
    encoder = model.encoder
    if "_thor_anysat_" in name:
        images = routed(encoder, images, 1)
        encoder = encoder.encoders[1]

    def channels(image: Any) -> dict[tuple[str, str], torch.Tensor]:
        data = encoder.input_spec.match(image, {})
        return {
            (own.kind.name, band): data[own.kind.name][..., k, :, :]
            for own in encoder.input_spec.images
            for k, band in enumerate(own.chosen)
            if band != "VV/VH"  # moves with either
        }

    expected = SERIES_READERS[name]
    flat = channels(images["Somalia_00"])
    assert set(flat) == {channel for channel in expected.values() if channel}
    for k, band in enumerate([*S2_KERNELS, *S1_KERNELS], start=1):
        bright = channels(images[f"Somalia_{k:02d}"])
        moved = {channel for channel in flat if not torch.equal(flat[channel], bright[channel])}
        channel = expected.get(band)
        assert moved == ({channel} if channel else set()), f"{band} moved {moved}"


@pytest.mark.parametrize("name", PLAIN_CONFIGS)
def test_each_physical_band_moves_its_own_channel_of_a_plain_tensor(
    name: str, chips: Path, adapted: Callable[..., Path]
) -> None:
    model, images = batches_by_chip(adapted(name, chips, batch_size=1))
    if "_timm_" in name:
        images = routed(model.encoder, images, 1)
    order = PLAIN_CONFIGS[name]
    assert images["Somalia_00"].shape[1] == len(order)
    for k, band in enumerate([*S2_KERNELS, *S1_KERNELS], start=1):
        apart = (images[f"Somalia_{k:02d}"] - images["Somalia_00"]).abs().amax(dim=(0, 2, 3))
        assert apart.nonzero().flatten().tolist() == ([order.index(band)] if band in order else []), band
