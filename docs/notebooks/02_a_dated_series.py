# %% [markdown]
# # 2. A dated series with AnySat
#
# AnySat reads series: several acquisitions of one place, each with its date. The date is part of the input. This notebook
# makes a series of a year, embeds it, and shows what happens when the dates are wrong.
#
# The fields are **made up** and the weights are **random** (AnySat tiny has no published ones). So the sizes of the effects below are
# not those of a trained encoder; that there is an effect, and when there must be none, holds for both.

# %%
from datetime import date, timedelta

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from eo_embed import embed

BANDS = (
    *("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3"),
    *("NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"),
)

# %% [markdown]
# ## Fields of a year
#
# Sixteen fields of three crops. Each crop greens up and is harvested at a time of its own. A pixel is a mixture of
# green leaves and bare soil, in reflectance (0 to 1).

# %%
SOIL = np.array([0.10, 0.12, 0.16, 0.18, 0.20, 0.21, 0.23, 0.24, 0.30, 0.26])
LEAVES = np.array([0.03, 0.06, 0.03, 0.09, 0.26, 0.33, 0.36, 0.38, 0.19, 0.09])
#: Day of the year of green-up and of harvest.
CROPS = {"winter wheat": (75, 195), "maize": (160, 270), "grass": (60, 320)}
DAYS = [date(2022, 1, 20) + timedelta(days=40 * i) for i in range(9)]


def greenness(crop: str, day: date) -> float:
    """Share of the ground that leaves cover."""
    start, end = CROPS[crop]
    own = day.timetuple().tm_yday
    return 0.1 + 0.8 / (1 + np.exp(-(own - start) / 10)) / (1 + np.exp((own - end) / 10))


rng = np.random.default_rng(0)
side, field = 48, 12
crop_of = rng.integers(0, len(CROPS), (side // field, side // field)).repeat(field, 0).repeat(field, 1)
frames = []
for day in DAYS:
    leaves = np.choose(crop_of, [greenness(crop, day) for crop in CROPS])[None]
    pixels = LEAVES[:, None, None] * leaves + SOIL[:, None, None] * (1 - leaves)
    frames.append(np.clip(pixels + rng.normal(0, 0.006, pixels.shape), 0.001, 1))
series = np.stack(frames).astype(np.float32)
print("series:", series.shape, "(dates, bands, rows, columns)")

# %% alt="Nine small pictures of the same sixteen fields through a year in near infrared, red and green: bare in winter, one crop after the other turns red and is bare again."
figure, axes = plt.subplots(1, len(DAYS), figsize=(10, 1.6), layout="constrained")
for one, frame, day in zip(axes, series, DAYS, strict=True):
    one.imshow(np.clip(frame[[6, 2, 1]].transpose(1, 2, 0) / 0.45, 0, 1))
    one.set_title(f"{day:%d %b}", fontsize=8)
    one.axis("off")
plt.show()

# %% [markdown]
# ## Embed it
#
# An array says nothing of itself, so bands, unit, pixel size and dates are given. `image_size=None` keeps the pixels as
# they are, and a patch covers 20 m.


# %%
def encode(pixels: np.ndarray, days: list[date]) -> np.ndarray:
    """The grid of vectors, ``(D, row, column)``."""
    found = embed(
        "anysat_tiny",
        pixels,
        bands=BANDS,
        sensor="sentinel2_l2a",
        unit="reflectance",
        pixel_size=10,
        dates=days,
        image_size=None,
        patch_size=20,
        pretrained=False,  # anysat_base with pretrained=True fetches the published weights
    )
    return found.grid.to_numpy()


right = encode(series, DAYS)
print("grid:", right.shape)

# %% [markdown]
# ## Dates are asked for
#
# Without dates there is no embedding. The call does not number the frames, or spread them over a year.

# %%
for wrong in ([], DAYS[:3], ["2022-13-01", *DAYS[1:]]):
    try:
        encode(series, wrong)
    except ValueError as error:
        print("-", error, "\n")

# %% [markdown]
# ## Wrong dates, wrong numbers
#
# The same pixels with other dates. Nothing fails: the numbers look as they should, and are others. How far do they move?
# The unit is the distance of a field of one crop from a field of another: at 1, a wrong date changes a vector as much as another crop does.


# %%
def of_crop(grid: np.ndarray, crop: int) -> np.ndarray:
    """The mean vector of the cells of a crop."""
    return grid[:, crop_of[::2, ::2] == crop].mean(axis=1)


pairs = [(0, 1), (0, 2), (1, 2)]
between_crops = np.mean([np.linalg.norm(of_crop(right, one) - of_crop(right, other)) for one, other in pairs])


def moved(found: np.ndarray) -> float:
    """How far the cells moved from where they are with the right dates, by the distance between crops."""
    return float(np.median(np.linalg.norm(found - right, axis=0)) / between_crops)


shuffle = rng.permutation(len(DAYS))
cases = {
    "one day late": (series, [day + timedelta(days=1) for day in DAYS]),
    "a month late": (series, [day + timedelta(days=30) for day in DAYS]),
    "half a year late": (series, [day + timedelta(days=182) for day in DAYS]),
    "dates in another order": (series, [DAYS[i] for i in shuffle]),
    "frames and dates in another order": (series[shuffle], [DAYS[i] for i in shuffle]),
}
far = {name: moved(encode(pixels, days)) for name, (pixels, days) in cases.items()}
print(pd.Series(far, name="moved").round(3).to_string())

# %% [markdown]
# The last line is a check: when each frame keeps its own date, the order in which they are given does not matter. All
# other lines are silent mistakes, and even one day moves a vector farther than another crop would. With random weights
# dates outweigh pixels; a trained encoder has learned how much they should count. Wrong dates stay silent with both, which is why this project reads dates from files, names and tags, and never guesses one.

# %% alt="Bars of how far the embedding moves: not at all where frames and dates are moved together; for all wrong dates by many times the distance between two crops."
figure, axes = plt.subplots(figsize=(7.4, 2.4), layout="constrained")
axes.barh(list(far), list(far.values()), color="#0072B2")
axes.invert_yaxis()
axes.set_xlabel("moved, in distances between two crops (random weights)")
plt.show()

# %% [markdown]
# ## Missing frames
#
# A cloudy date is a frame of missing pixels (NaN). It is masked, not filled: the result is that of the series without it.

# %%
cloudy = series.copy()
cloudy[3] = np.nan
without = np.delete(series, 3, axis=0), [day for i, day in enumerate(DAYS) if i != 3]
difference = np.abs(encode(cloudy, DAYS) - encode(*without)).max()
print(f"largest difference: {difference:.2e}")

# %% [markdown]
# [Series of your own files](../howto/series.md). [How dates become frames](../concepts/dates_and_frames.md).
