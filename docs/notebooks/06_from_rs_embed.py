# %% [markdown]
# # 6. From rs-embed: the same numbers, line by line
#
# rs-embed embeds a place in one call, with options in environment variables. Here the options are arguments. This
# notebook puts the two side by side. rs-embed is not imported: its line stands as text (version 0.3.1), and what the line
# must give is computed once more in plain numpy, from the files.
#
# Weights are **random** (there is no network here) and the scenes **made up**; equal input gives equal output with any weights. For published
# weights leave `pretrained=False` out. A difference is told by the standard deviation of the numbers over the cells, as with
# random weights all cells are much alike. The whole list, with the differences by design: [from rs-embed](../start/from_rs_embed.md).

# %%
import itertools
import os
import shutil
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from affine import Affine
from pyproj import Transformer
from rasterio.windows import Window

from anysat_ext import AnySatPreprocess
from eo_embed import PointBuffer, embed
from thor_terratorch_ext import ThorPreprocess
from thor_terratorch_ext.statistics import statistics_for

# Paths below begin at the root of the project.
os.chdir(next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "datasets").is_dir()))

BANDS = (
    *("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3"),
    *("NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"),
)
place = PointBuffer(121.5, 31.2, 240)
results = []


def compared(line: str, found: np.ndarray, wanted: np.ndarray) -> None:
    """Print the largest difference by the spread of the numbers over cells, and stop if it is more than rounding."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    spread = wanted.reshape(len(wanted), -1).std(axis=1).mean() if wanted.ndim > 1 else wanted.std()
    far = float(np.abs(found - wanted).max() / spread)
    results.append({"line": line, "numbers": found.size, "largest difference / spread": f"{far:.1e}"})
    print(f"{line}: {found.size} numbers, largest difference {far:.1e} of their spread")
    assert far < 5e-3, line


# %% [markdown]
# ## Scenes of a year
#
# One made-up Sentinel-2 scene a month, and a second one in June, around the place of the peer's examples (Shanghai, UTM 51 N).

# %%
DAYS = (*(f"2022-{month:02d}-15" for month in range(1, 13)), "2022-06-25")
SIDE = 160
x, y = Transformer.from_crs(4326, 32651, always_xy=True).transform(place.lon, place.lat)
corner = Affine(10, 0, round(x / 160) * 160 - SIDE * 5, 0, -10, round(y / 160) * 160 + SIDE * 5)
scenes = Path("output/notebooks/rs_embed/scenes")
shutil.rmtree(scenes, ignore_errors=True)
scenes.mkdir(parents=True)
for seed, day in enumerate(DAYS):
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(400, 4000, (10, SIDE // 8, SIDE // 8)).repeat(8, axis=1).repeat(8, axis=2)
    profile = {"driver": "GTiff", "count": 10, "height": SIDE, "width": SIDE, "dtype": "uint16"}
    name = f"S2A_MSIL2A_{day.replace('-', '')}.tif"
    with rasterio.open(scenes / name, "w", crs="EPSG:32651", transform=corner, **profile) as file:
        file.write((coarse + rng.normal(0, 20, coarse.shape)).astype(np.uint16))
        file.descriptions = BANDS
        file.scales = [1e-4] * 10

season = {"time": ("2022-06-01", "2022-09-01"), "source": scenes, "sensor": "sentinel2_l2a", "pretrained": False}
year = {**season, "time": ("2022-01-01", "2023-01-01")}
array_of = {
    "bands": BANDS,
    "sensor": "sentinel2_l2a",
    "unit": "digital_number",
    "offset": 0,
    "pixel_size": 10,
    "pretrained": False,
}


def pixels(found: object, days: tuple[str, ...]) -> np.ndarray:
    """The median of days on the square of an embedding, in digital numbers, by rasterio and numpy."""
    side = round(found.grid.shape[1] * found.transform.a / 10)
    column, row = ~corner * (found.transform.c, found.transform.f)
    window = Window(round(column), round(row), side, side)
    stack = []
    for day in days:
        with rasterio.open(scenes / f"S2A_MSIL2A_{day.replace('-', '')}.tif") as file:
            stack.append(file.read(window=window).astype(np.float64))
    return np.median(stack, axis=0)


# %% [markdown]
# ## THOR of a season
#
# ```python
# # rs-embed 0.3.1
# get_embedding("thor", spatial=PointBuffer(lon=121.5, lat=31.2, buffer_m=240),
#               temporal=TemporalSpec.range("2022-06-01", "2022-09-01"), output=OutputSpec.grid(), backend="gee")
# ```
#
# The season becomes one median composite. By numpy: the median of four files.

# %%
SUMMER = ("2022-06-15", "2022-06-25", "2022-07-15", "2022-08-15")
e = embed("thor_v1_tiny", place, **season)
median = pixels(e, SUMMER)
print(e)
compared("thor, median of the season", e.grid, embed("thor_v1_tiny", median, **array_of).grid)

# %% [markdown]
# What goes into the encoder is the composite as reflectance, less THOR's mean, by its deviation. By numpy:

# %%
prepared, *_ = ThorPreprocess().prepare_array(median, BANDS)
mean, std = (np.array([getattr(entry, part) for entry in statistics_for(BANDS)]) for part in ("mean", "std"))
by_hand = (np.clip(median / 1e4, 0, 1) - mean[:, None, None]) / std[:, None, None]
compared("RS_EMBED_THOR_NORMALIZE=thor_stats", prepared, by_hand)

# %% [markdown]
# ## Pooled vector and groups
#
# ```python
# output=OutputSpec.pooled()                        # the vector
# RS_EMBED_THOR_GROUP_MERGE=concat                  # or sum, or mean
# ```
#
# THOR makes a grid for each group of bands (10 m and 20 m here). `sum` and `mean` can be had from `concat`.

# %%
apart = embed("thor_v1_tiny", place, group_merge="concat", **season).grid.to_numpy()
added = embed("thor_v1_tiny", place, group_merge="sum", **season).grid.to_numpy()
width = len(apart) // 2
compared("RS_EMBED_THOR_GROUP_MERGE=sum", added, apart[:width] + apart[width:])
compared("RS_EMBED_THOR_GROUP_MERGE=mean", e.grid, added / 2)

# %% [markdown]
# ## Tiles
#
# ```python
# input_prep="tile", tile_size=288
# ```
#
# rs-embed lays tiles side by side and puts their grids together; here that is `halo=0`. By hand: each window on its own.

# %%
wide = PointBuffer(place.lon, place.lat, 400)
tiled = embed("thor_v1_tiny", wide, tile=48, halo=0, input_prep="tile", image_size=48, output="grid", **season)
square = pixels(tiled, SUMMER)
windows = [
    [
        embed(
            "thor_v1_tiny", square[:, r : r + 48, c : c + 48], input_prep="tile", image_size=48, **array_of
        ).grid.to_numpy()
        for c in range(0, square.shape[2], 48)
    ]
    for r in range(0, square.shape[1], 48)
]
compared("input_prep=tile", tiled.grid, np.block(windows))

# %% [markdown]
# ## AnySat of a year
#
# ```python
# get_embedding("anysat", spatial=..., temporal=TemporalSpec.range("2022-01-01", "2023-01-01"), output=OutputSpec.grid())
# ```
#
# The year is cut into eight equal parts. Each becomes a median composite, dated by the middle of its part, and each band
# gets a mean of 0 and a deviation of 1. By default the image is brought to 24 px, as rs-embed does; `image_size=None`
# keeps its pixels.

# %%
e = embed("anysat_tiny", place, image_size=None, patch_size=40, **year)
edges = [date(2022, 1, 1) + timedelta(days=365 * i // 8) for i in range(9)]
parts = [
    tuple(day for day in DAYS if start <= date.fromisoformat(day) < end) for start, end in itertools.pairwise(edges)
]
series = np.stack([pixels(e, days) for days in parts])
print([str(day) for day in e.dates])
print("acquisitions in each part:", [len(days) for days in parts])
again = embed("anysat_tiny", series, dates=list(e.dates), image_size=None, patch_size=40, **array_of)
compared("anysat, eight parts of the year", e.grid, again.grid)

# %%
prepared, days = AnySatPreprocess(start="2022-01-01", end="2023-01-01", image_size=None).prepare_array(series)
reflectance = np.clip(series / 1e4, 0, 1)
centre, spread = (getattr(reflectance, name)(axis=(0, 2, 3), keepdims=True) for name in ("mean", "std"))
compared("RS_EMBED_ANYSAT_NORM=per_tile_zscore", prepared, (reflectance - centre) / spread)
print("days of the year:", [int(day) for day in days])

# %% [markdown]
# ## Maximum instead of mean
#
# ```python
# output=OutputSpec.pooled(pooling="max")
# ```

# %%
highest = embed("anysat_tiny", place, image_size=None, patch_size=40, pooling="max", **year)
compared("pooling=max", highest.vector, highest.grid.to_numpy().max(axis=(1, 2)))
compared("pooling=mean", e.vector, e.grid.to_numpy().mean(axis=(1, 2)))

# %% [markdown]
# ## All lines

# %%
print(pd.DataFrame(results).to_string(index=False))

# %% [markdown]
# With the published weights, `tests/parity` of this project compares with rs-embed itself, in an environment of its own.
