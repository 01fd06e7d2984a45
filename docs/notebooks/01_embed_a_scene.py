# %% [markdown]
# # 1. Embed a scene and look at it
#
# An encoder turns a satellite image into numbers: one vector for the image, and a grid of vectors, one for each patch of
# the ground. This notebook makes both and looks at them. It needs no network, no GPU and no account.
#
# Two things here are not real. The image is **synthetic**: a made-up flood in the form of a Sentinel-2 chip
# (`datasets/sample`). The weights are **random**, because published weights have to be fetched. So the pictures show how
# the pieces fit together. They say nothing about the world, and nothing about how good an encoder is.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import rasterio

from eo_embed import describe, embed, open_embeddings
from eo_embed.pictures.projection import fit_projection

# Paths below begin at the root of the project.
os.chdir(next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "datasets").is_dir()))
chip = Path("datasets/sample/v1.1/data/flood_events/HandLabeled/S2Hand/Spain_SYN01_S2Hand.tif")

# %% [markdown]
# ## What the encoder takes
#
# `describe` says which bands an encoder reads, in which units, and what it gives.

# %%
print(describe("thor_v1_tiny"))

# %% [markdown]
# ## One call
#
# The file names its bands and its unit, so nothing has to be said about them. One thing it cannot know: Sentinel-2 files
# from 2022 on add 1000 to every number. This one is made like those of 2019, so the offset is 0. Leave `offset` out, and
# the call asks for it instead of guessing.

# %%
try:
    embed("thor_v1_tiny", chip, pretrained=False)
except ValueError as error:
    print(error)

# %%
# With a network: embed("thor_v1_base", chip, offset=0) fetches the published weights.
e = embed("thor_v1_tiny", chip, offset=0, patch_size=4, pretrained=False)
print(e)
print("vector:", e.vector.shape, e.vector.dtype)
print("grid:  ", e.grid.dims, e.grid.shape)
print("cells are", e.transform.a, "by", -e.transform.e, "in the units of", rasterio.CRS.from_wkt(e.crs))

# %% [markdown]
# ## Look at it
#
# Nobody can look at 192 numbers per cell. A principal component analysis (PCA) finds the three directions in which the
# cells differ most; these become red, green and blue. The colours have no meaning of their own. Cells of one colour are
# alike to the encoder, and that is all.


# %% alt="Left, a synthetic Sentinel-2 chip with a river, fields and a flood. Right, the same ground as a grid of 32 by 32 coloured cells, in which the river and the flood have colours of their own."
def true_colour(path: Path) -> np.ndarray:
    """Red, green and blue of a chip, 0..1, ``(row, column, 3)``."""
    with rasterio.open(path) as file:
        return np.clip(file.read([4, 3, 2]) / 2800, 0, 1).transpose(1, 2, 0)


def colours(grid: np.ndarray) -> np.ndarray:
    """The first three principal components of a grid, ``(row, column, 4)``."""
    cells = grid.reshape(len(grid), -1).T
    return fit_projection(cells[np.isfinite(cells).all(axis=1)]).colours(grid).transpose(1, 2, 0)


figure, axes = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
axes[0].imshow(true_colour(chip))
axes[0].set_title("Sentinel-2 (synthetic), true colour")
axes[1].imshow(colours(e.grid.to_numpy()))
axes[1].set_title("three components of the grid (random weights)")
for one in axes:
    one.axis("off")
plt.show()

# %% [markdown]
# Even with random weights the river shows. That is no sign of learning: cells with different pixels get different
# numbers, whatever the weights are. What trained weights add is that cells which *mean* the same come close to one another.
#
# ## Patch size
#
# THOR can be asked for patches of several sizes with the same weights. Smaller patches see finer detail and cost more:
# half the side means four times the cells.

# %% alt="Three grids of the same chip, with 8 by 8, 16 by 16 and 32 by 32 cells. The river becomes a thin line only in the last one."
figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
for one, size in zip(axes, (16, 8, 4), strict=True):
    grid = embed("thor_v1_tiny", chip, offset=0, patch_size=size, pretrained=False).grid.to_numpy()
    one.imshow(colours(grid), interpolation="nearest")
    one.set_title(f"patches of {size} px: {grid.shape[1]} x {grid.shape[2]} cells")
    one.axis("off")
plt.show()

# %% [markdown]
# ## Where is it like here?
#
# The similarity of two cells is the cosine of the angle between their vectors. Vectors of one encoder have much in
# common, so the mean is taken away first. Pick a cell in the water and compare it with all others.

# %% alt="Left, the chip with a cross in the water. Right, the similarity of every cell with the marked one, from dark blue to yellow: the rest of the water is the most similar."
label_file = Path(str(chip).replace("S2Hand", "LabelHand"))
with rasterio.open(label_file) as file:
    water = (file.read(1) == 1).reshape(32, 4, 32, 4).mean(axis=(1, 3))
grid = e.grid.to_numpy()
row, column = np.argwhere(water == 1)[len(np.argwhere(water == 1)) // 2]
centred = grid - np.nanmean(grid, axis=(1, 2), keepdims=True)
unit = centred / np.linalg.norm(centred, axis=0)
similar = np.einsum("d,dyx->yx", unit[:, row, column], unit)

figure, axes = plt.subplots(1, 2, figsize=(8.6, 4), layout="constrained")
axes[0].imshow(true_colour(chip))
axes[0].plot(column * 4 + 2, row * 4 + 2, "+", color="white", markersize=16, markeredgewidth=3)
axes[0].set_title("a cell in the water")
shown = axes[1].imshow(similar, cmap="cividis", vmin=-1, vmax=1)
axes[1].set_title("similarity with it (random weights)")
figure.colorbar(shown, ax=axes[1], shrink=0.8, label="cosine")
for one in axes:
    one.axis("off")
plt.show()

# %% [markdown]
# ## What made these numbers
#
# A vector without its history cannot be compared with another one. `provenance` has all of it: the encoder and the
# SHA-256 of its weights, bands, units, dates, geometry and the versions of the software.

# %%
told = e.provenance
print("weights:", told["weights"])
print("encoder:", told["task"]["backbone"])
for name, image in told["images"].items():
    print(f"{name}: unit {image['unit']}, files {', '.join(image['files'])}")

# %% [markdown]
# ## Keep it
#
# `save` writes an export: a georeferenced grid, a table of vectors, and a manifest. `open_embeddings` reads it back.

# %%
folder = e.save("output/notebooks/one", overwrite=True)
export = open_embeddings(folder)
print(export.ids, export.grid(export.ids[0]).shape)
print(export.pooled[["id", "valid_fraction"]].to_string(index=False))

# %% [markdown]
# Next: [a series of dates with AnySat](02_a_dated_series.ipynb). Your own files: [a first embedding](../start/first_embedding.md).
