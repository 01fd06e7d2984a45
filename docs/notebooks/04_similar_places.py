# %% [markdown]
# # 4. A place and a time, similar places, a map
#
# A place is a point with its surroundings, a box or a polygon. Together with a window of time and a source of scenes it
# can be embedded in one call. The source here is a folder on disk, so no network is needed. A catalogue works in the same
# way: `source="earth-search"`, see [sources](../sources.md).
#
# The landscape is **made up**, and the weights are **random**: "similar" means similar pixels here. Trained weights are
# what makes places similar that mean the same.

# %%
import os
import shutil
from pathlib import Path

import geopandas
import matplotlib.pyplot as plt
import numpy as np
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer
from scipy.ndimage import gaussian_filter, zoom

from eo_embed import PointBuffer, embed
from eo_embed.map import write_map

# Paths below begin at the root of the project.
os.chdir(next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "datasets").is_dir()))
out = Path("output/notebooks/places")
shutil.rmtree(out, ignore_errors=True)  # of an earlier run

# %% [markdown]
# ## A folder of scenes
#
# Three Sentinel-2 scenes of a made-up landscape with a lake, woods, fields and a town, in UTM zone 32 N. The files say of
# themselves what must be known: names of bands, scale, CRS, and the date in the name.

# %%
BANDS = (
    *("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3"),
    *("NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"),
)
#: Digital numbers of each cover.
COVERS = {
    "water": (620, 560, 380, 330, 270, 250, 230, 210, 140, 100),
    "woods": (320, 480, 310, 720, 1900, 2300, 2450, 2600, 1250, 560),
    "fields": (520, 820, 620, 1300, 2700, 3200, 3400, 3550, 2100, 1150),
    "bare soil": (950, 1250, 1650, 1850, 2050, 2200, 2350, 2450, 3000, 2600),
    "town": (1250, 1350, 1450, 1550, 1700, 1800, 1900, 1950, 2050, 1900),
}
SIDE = 384
CORNER = Affine(10, 0, 600_000, 0, -10, 5_300_160)
rng = np.random.default_rng(3)

parcels = zoom(rng.choice([2, 2, 3], (24, 24)), 16, order=0)
height = gaussian_filter(rng.normal(size=(SIDE, SIDE)), 34)
height = (height - height.mean()) / height.std()
cover = np.where(height > 0.8, 1, parcels)
cover[height < -1.1] = 0
town = gaussian_filter(rng.normal(size=(SIDE, SIDE)), 3)
yy, xx = np.mgrid[:SIDE, :SIDE]
cover[(np.hypot(yy - 120, xx - 270) < 55) & (town > -0.05) & (cover != 0)] = 4

numbers = np.array(list(COVERS.values()))[cover].transpose(2, 0, 1)
scenes = out / "scenes"
scenes.mkdir(parents=True, exist_ok=True)
for day in ("20220615", "20220710", "20220814"):
    pixels = np.clip(numbers * rng.normal(1, 0.06, numbers.shape), 1, 10_000).astype(np.uint16)
    profile = {"driver": "GTiff", "count": 10, "height": SIDE, "width": SIDE, "dtype": "uint16"}
    with rasterio.open(scenes / f"S2A_MSIL2A_{day}.tif", "w", crs="EPSG:32632", transform=CORNER, **profile) as file:
        file.write(pixels)
        file.descriptions = BANDS
        file.scales = [1e-4] * 10
print(sorted(path.name for path in scenes.glob("*.tif")))

# %% [markdown]
# ## One place
#
# Look before you read: `dry_run=True` says which scenes would be read, and how many bytes, before a pixel is.

# %%
season = {"time": ("2022-06-01", "2022-09-01"), "source": scenes, "sensor": "sentinel2_l2a"}
to_lonlat = Transformer.from_crs(32632, 4326, always_xy=True)
lon, lat = to_lonlat.transform(CORNER.c + 2700, CORNER.f - 1200)
town_centre = PointBuffer(lon, lat, 160, id="town")
print(embed("thor_v1_tiny", town_centre, dry_run=True, pretrained=False, **season))

# %%
e = embed("thor_v1_tiny", town_centre, pretrained=False, **season)
print(e)

# %% [markdown]
# The place became a square of whole patches on the pixels of the scenes. Its three acquisitions became one median
# composite, because THOR reads single images. With the published weights: leave `pretrained=False` out.
#
# ## Many places
#
# A table of places gives one row each. These are the squares of a lattice; a GeoPackage of fields works in the same way.

# %%
step = 320
corners = [(CORNER.c + x, CORNER.f - y) for y in range(0, SIDE * 10, step) for x in range(0, SIDE * 10, step)]
table = geopandas.GeoDataFrame(
    {"name": [f"r{i // 12:02d}c{i % 12:02d}" for i in range(len(corners))]},
    geometry=[shapely.box(x, y - step, x + step, y) for x, y in corners],
    crs="EPSG:32632",
)
export = embed("thor_v1_tiny", table, id_column="name", pretrained=False, out=out / "export", progress=False, **season)
print(export)
print(export.pooled[["id", "datetime", "valid_fraction"]].head(3).to_string(index=False))

# %% [markdown]
# ## Similar places
#
# Which squares are most like the one in the middle of the town? `similar` compares with all of them. It takes ids or
# vectors, several at once, and also ids that the places should *not* be like.

# %%
middle = table[table.contains(shapely.Point(CORNER.c + 2700, CORNER.f - 1200))]["name"].iloc[0]
found = export.similar(middle, k=8)
print(found[["id", "score"]].to_string(index=False))

# %% alt="Left, a made-up landscape with a lake, woods, fields and a town, in true colour; the square that was asked for and the eight most similar ones are framed, most of them in the town. Right, the similarity of every square."
everything = export.similar(middle, k=len(table) - 1, with_query=False).set_index("id")["score"]
shown = table.assign(score=table["name"].map(everything))
extent = (CORNER.c, CORNER.c + SIDE * 10, CORNER.f - SIDE * 10, CORNER.f)
figure, axes = plt.subplots(1, 2, figsize=(9.4, 4.3), layout="constrained")
axes[0].imshow(np.clip(numbers[[2, 1, 0]].transpose(1, 2, 0) / 2400, 0, 1), extent=extent)
table[table["name"].isin(found["id"])].boundary.plot(ax=axes[0], color="white", linewidth=1.6)
table[table["name"] == middle].boundary.plot(ax=axes[0], color="black", linewidth=2.4)
axes[0].set_title("asked for (black) and found (white)")
shown.plot("score", ax=axes[1], cmap="cividis", legend=True, legend_kwds={"label": "cosine", "shrink": 0.8})
table[table["name"] == middle].boundary.plot(ax=axes[1], color="black", linewidth=2.4)
axes[1].set_title("similarity (random weights)")
for one in axes:
    one.set_xticks([])
    one.set_yticks([])
axes[0].plot([extent[0] + 200, extent[0] + 1200], [extent[2] + 200] * 2, color="white", linewidth=4)
axes[0].text(extent[0] + 200, extent[2] + 290, "1 km", color="white")
plt.show()

# %% [markdown]
# All cosines are close to one, because vectors of one encoder have much in common; their order is what counts.
#
# ## A map
#
# `write_map` (on the command line `eo map`) makes one HTML page of the export: footprints, colours, pictures, and the
# most similar places of each, by mouse or keyboard. It needs no server and asks no address. The
# [gallery](../gallery.md) shows this one.

# %%
page, notes = write_map(out / "export", root=scenes)
print(page, f"{page.stat().st_size / 1e6:.1f} MB")
for note in notes:
    print("note:", note)
