"""The scenes and places of the examples on rs-embed's pages, and each example as a line of `embed` and as a config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from affine import Affine
from pyproj import Transformer
from range_server import range_server
from small_scenes import numbers, write_scene
from small_stac import bounds, item, sentinel2_item, stac_api, write_band

from eo_embed import PointBuffer
from eo_models.contract import Features
from eo_models.precision.numbers import Arithmetic

UTM = "EPSG:32651"
PLACE = PointBuffer(121.5, 31.2, 2048)
SMALL = PointBuffer(121.5, 31.2, 240)
#: One acquisition a month, and one more in summer.
DAYS = (*(f"2022-{month:02d}-15" for month in range(1, 13)), "2022-06-25")
RADAR_DAY = "2022-06-20"
SEASON, YEAR = ("2022-06-01", "2022-09-01"), ("2022-01-01", "2023-01-01")
SUMMER = ("2022-06-15", "2022-06-25", "2022-07-15", "2022-08-15")
SIDE = 512


@dataclass(frozen=True)
class Row:
    """An example of the pages: what differs from the encoder's usual call, as a line and as a config.

    Parameters
    ----------
    encoder : str
        With the size that the page names.
    line : mapping
        Arguments of `embed`.
    config : mapping
        What changes in ``config/embed_places_*_s2.yaml``, by the path of a field.
    place : PointBuffer
        The page's, or a smaller one where its size does not matter.
    time : (str, str)
        Window.
    """

    encoder: str
    line: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    place: PointBuffer = SMALL
    time: tuple[str, str] = SEASON


_PREPROCESS = "data.init_args.preprocess.init_args"
_THOR = f"{_PREPROCESS}.preprocess.init_args"
_ARGUMENTS = "model.init_args.backbone_args"


def _patch(metres: int, side: int) -> dict[str, Any]:
    """Changes of a config for another size of THOR's patches."""
    return {
        f"{_THOR}.patch_size": metres,
        f"{_THOR}.image_size": side,
        f"{_ARGUMENTS}.input_params": {"flexivit_patch_size_seqs": [metres]},
        "data.init_args.multiple": 2 * metres,
    }


_DEFAULTS = {"resize_mode": "native_snap", "normalization": "thor_stats"}
_RADAR = {"bands": ["IW_VV", "IW_VH"], "sensor": "sentinel1"}
ROWS: Mapping[str, Row] = {
    "1": Row("thor_v1_base", place=PLACE),
    "2": Row(
        "thor_v1_base",
        {"sensor": "sentinel1", "normalization": "log1p_p99"},
        {
            "data.init_args.modalities": {"S1": {**_RADAR, "target_unit": "linear_power"}},
            "data.init_args.multiple": 8,
            f"{_THOR}.normalization": "log1p_p99",
            f"{_ARGUMENTS}.model_bands": _RADAR["bands"],
        },
    ),
    "3": Row("thor_v1_large", {}, {"model.init_args.backbone": "thor_v1_large"}),
    "4": Row(
        "thor_v1_small",
        {"output": "grid"},
        {"model.init_args.backbone": "thor_v1_small", "model.init_args.output": "grid"},
    ),
    "5": Row(
        "thor_v1_base",
        {**_DEFAULTS, "group_merge": "mean", "image_size": 288, "patch_size": 8},
        {**{f"{_THOR}.{name}": value for name, value in _DEFAULTS.items()}, "model.init_args.group_merge": "mean"},
    ),
    "7": Row("thor_v1_base", {"image_size": 288, "patch_size": 4}, _patch(4, 288)),
    "8": Row("thor_v1_base", {"image_size": 288, "patch_size": 12}, _patch(12, 288)),
    "9": Row("thor_v1_base", {"image_size": 280, "patch_size": 10}, _patch(10, 280)),
    "10": Row(
        "thor_v1_base",
        {"tile": 96, "input_prep": "tile", "image_size": 96, "output": "grid"},
        {
            "data.init_args.tile": 96,
            "data.init_args.tile_align": 16,
            f"{_THOR}.input_prep": "tile",
            f"{_THOR}.image_size": 96,
            "model.init_args.output": "grid",
        },
        PointBuffer(121.5, 31.2, 640),
    ),
    "11": Row("thor_v1_base", {"group_merge": "concat"}, {"model.init_args.group_merge": "concat"}),
    "11, sum": Row("thor_v1_base", {"group_merge": "sum"}, {"model.init_args.group_merge": "sum"}),
    "12": Row(
        "anysat_base",
        {},
        {
            f"{_PREPROCESS}.image_size": 24,
            f"{_PREPROCESS}.patch_size": 10,
            f"{_ARGUMENTS}.patch_size": 10,
            "data.init_args.multiple": 1,
            "data.init_args.frames": {"mode": "composites", "frames": 8, "start": YEAR[0], "end": YEAR[1]},
        },
        PLACE,
        YEAR,
    ),
    "13": Row(
        "anysat_base",
        {"frames": 4, "normalization": "unit_scale", "image_size": 48, "patch_size": 20, "pooling": "max"},
        {
            "data.init_args.frames": {"mode": "composites", "frames": 4, "start": YEAR[0], "end": YEAR[1]},
            f"{_PREPROCESS}.normalization": "unit_scale",
            f"{_PREPROCESS}.image_size": 48,
            f"{_PREPROCESS}.patch_size": 20,
            f"{_ARGUMENTS}.patch_size": 20,
            "data.init_args.multiple": 2,
            "model.init_args.pooling": "max",
        },
        time=YEAR,
    ),
}


def corner() -> Affine:
    """Corner of the scenes, of which `PLACE` is the middle."""
    x, y = Transformer.from_crs(4326, UTM, always_xy=True).transform(PLACE.lon, PLACE.lat)
    half = SIDE * 5
    return Affine(10, 0, round(x / 160) * 160 - half, 0, -10, round(y / 160) * 160 + half)


def power() -> np.ndarray:
    """Radar in linear power, VV and VH."""
    made: np.ndarray = np.random.default_rng(0).gamma(4, [[[0.03]], [[0.006]]], (2, SIDE, SIDE)).astype(np.float32)
    return made


def write_folder(folder: Path) -> Path:
    """Write Sentinel-2 digital numbers of 13 days and Sentinel-1 in decibel, as files that say what they are."""
    for seed, day in enumerate(DAYS):
        path = folder / f"S2A_MSIL2A_{day.replace('-', '')}.tif"
        write_scene(path, numbers(side=SIDE, seed=seed), transform=corner(), crs=UTM)
    radar: dict[str, Any] = {"bands": ["VV", "VH"], "scale": None, "transform": corner(), "crs": UTM}
    path = folder / f"S1A_IW_GRDH_{RADAR_DAY.replace('-', '')}.tif"
    write_scene(path, 10 * np.log10(power()), unit="dB", **radar)
    return folder


@contextmanager
def catalogue(folder: Path) -> Iterator[str]:
    """Serve the same scenes by a STAC API: numbers with an offset, linear power, and a cloudy day of other numbers."""
    with range_server(folder) as server:
        address = f"http://{server.host}"
        place: dict[str, Any] = {"transform": corner(), "crs": UTM, "tile": "51RUQ", "address": address}
        items = []
        for seed, day in enumerate((*DAYS, "2022-07-05")):
            made = numbers(side=SIDE, seed=seed) + 1000
            cloud: dict[str, Any] = {"eo:cloud_cover": 10.0 if day in DAYS else 30.5}
            items.append(sentinel2_item(folder, "earth-search", day, made, f"{day}T02:40:31Z", **place, **cloud))
        for orbit, day, factor in (("descending", RADAR_DAY, 1.0), ("ascending", "2022-10-20", 9.0)):
            assets = {}
            for key, values in zip(("vv", "vh"), power() * np.float32(factor), strict=True):
                write_band(folder / day / f"{key}.tif", values, corner(), UTM, nodata=-32768)
                assets[key] = {"href": f"{address}/{day}/{key}.tif"}
            box = bounds((SIDE, SIDE), corner(), UTM)
            tags = {"sat:orbit_state": orbit}
            items.append(item(f"S1_{day}", "sentinel-1-rtc", box, f"{day}T09:55:00Z", assets, **tags))
        with stac_api(items, page=20) as api:
            yield api.url


class Recorder:
    """An encoder that keeps what it is given."""

    weights_sha256 = "0" * 64
    arithmetic = Arithmetic("32-true", "highest", torch.device("cpu"))
    extractor = SimpleNamespace(backbone=SimpleNamespace(load_report=None))

    def __init__(self) -> None:
        self.images: list[np.ndarray] = []
        self.extras: list[dict[str, Any]] = []

    def __call__(self, image: Any, **extras: Any) -> list[Features]:
        pixels = next(iter(image.values())) if isinstance(image, Mapping) else image
        frames_first = pixels[0].movedim(0, -3) if pixels.ndim == 5 else pixels[0]
        self.images.append(frames_first.numpy())
        self.extras.append({**(image if isinstance(image, Mapping) else {}), **extras})
        grid = torch.nn.functional.avg_pool2d(pixels.flatten(1, -3), 8)
        return [Features(grid.flatten(2).transpose(1, 2), None, grid)]

    @property
    def days(self) -> list[int]:
        """Days of the year of the frames of the last image."""
        (found,) = (value for name, value in self.extras[-1].items() if "dates" in name)
        while isinstance(found, Mapping):
            found = next(iter(found.values()))
        return [int(day) for day in found[0]]
