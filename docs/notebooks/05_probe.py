# %% [markdown]
# # 5. Probe: how much of a label is in the vectors?
#
# A probe is a small model on frozen vectors. If it finds the label, the label is in the vectors. The number alone says
# little: it must stand beside the same probe on something simpler, and beside a model without any encoder. Here these
# are the **raw pixels**, a mean and a deviation of each band, and a small **U-Net** from scratch. On real data its recipe
# is `config/sen1floods11_unet_S2.yaml`; [how good is it?](../models/results.md) has numbers.
#
# The weights are **random** and the chips **synthetic**. So expect vectors that are no better than raw pixels: that is
# the result that a probe has to be able to show.

# %%
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import rasterio
import torch
from rasterio.windows import Window

from eo_embed import open_embeddings
from eo_embed.probe import ProbeOptions, probe
from eo_embed.reading.probing.bootstrap import Bootstrap, classification_scores
from eo_embed.reading.probing.table import Columns

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of bars that are not used here
    import segmentation_models_pytorch as smp

# Paths below begin at the root of the project.
os.chdir(next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "datasets").is_dir()))
out = Path("output/notebooks/probe")
shutil.rmtree(out, ignore_errors=True)  # of an earlier run
sample = Path("datasets/sample/v1.1/data/flood_events/HandLabeled")
TILE = 32

# %% [markdown]
# ## Vectors
#
# The config of the quick start embeds each chip; `tile: 32` cuts it into 16 squares, and each gets a vector. For the
# published weights: `--model.init_args.backbone thor_v1_base --model.init_args.backbone_args.pretrained true`.

# %%
command = [
    *(sys.executable, "-m", "terratorch", "predict", "--config", "config/embed_quickstart.yaml"),
    *("--data.init_args.tile", str(TILE), "--data.init_args.halo", "0"),
    *("--model.init_args.out", str(out / "tiles"), "--model.init_args.output", "pooled"),
]
run = subprocess.run(command, capture_output=True, text=True, check=False)
assert run.returncode == 0, run.stderr[-3000:]
export = open_embeddings(out / "tiles")
print(export)
print(export.ids[:3])

# %% [markdown]
# ## Labels
#
# The label of a square is what covers most of it. Squares without any label (clouds) are left out.

# %%
rows = []
for name in export.ids:
    chip, _, square = name.partition("/")
    row, column = (int(part[1:]) for part in square.split("_"))
    window = Window(column, row, TILE, TILE)
    with rasterio.open(sample / "LabelHand" / f"{chip}_LabelHand.tif") as file:
        label = file.read(1, window=window)
    seen = label >= 0
    if seen.mean() > 0.5:
        rows.append({"id": name, "cover": "water" if (label[seen] == 1).mean() > 0.5 else "land", "chip": chip})
labels = pd.DataFrame(rows)
print(labels["cover"].value_counts().to_string())

# %% [markdown]
# ## Two probes
#
# `probe` (on the command line `eo probe`) fits kNN and a logistic regression, and scores them on chips that they have not
# seen. Squares of one chip are never divided between training and test: neighbours are alike, and would give the answer away.
# The baseline sees no vector at all. In brackets: 95 % bootstrap intervals.

# %%
columns, options = Columns("cover", group="chip"), ProbeOptions(test_fraction=0.5, seed=0)
of_vectors = probe(export, labels, columns, options)
print(of_vectors.table())


# %% [markdown]
# Now the same probe, the same squares and the same division, on ten means and ten deviations of the pixels.


# %%
def pixel_statistics(name: str) -> np.ndarray:
    """Mean and standard deviation of ten bands of a square, in reflectance, float32 ``(20,)``."""
    chip, _, square = name.partition("/")
    row, column = (int(part[1:]) for part in square.split("_"))
    with rasterio.open(sample / "S2Hand" / f"{chip}_S2Hand.tif") as file:
        pixels = file.read([2, 3, 4, 5, 6, 7, 8, 9, 12, 13], window=Window(column, row, TILE, TILE)) / 1e4
    return np.concatenate([pixels.mean(axis=(1, 2)), pixels.std(axis=(1, 2))]).astype(np.float32)


pixels = export.pooled.copy()
pixels["embedding"] = [pixel_statistics(name) for name in pixels["id"]]
pixels.to_parquet(out / "pixels.parquet")
of_pixels = probe(out / "pixels.parquet", labels, columns, options)
print(of_pixels.table())

# %% [markdown]
# ## A U-Net
#
# It learns from every pixel of the same training chips, and answers for the same squares of the same test chips: water, if
# that is what it finds in most of the labelled pixels. The first three stages of a ResNet-18, ten bands,
# random weights, forty epochs: some thirty seconds on two cores.


# %%
def read(kind: str, chip: str, bands: list[int]) -> np.ndarray:
    """Numbers of a chip, ``(band, row, column)``."""
    with rasterio.open(sample / kind / f"{chip}_{kind}.tif") as file:
        return file.read(bands)


division = of_vectors.predictions.assign(chip=lambda table: table["id"].str.partition("/")[0])
chips = {split: sorted(set(rows["chip"])) for split, rows in division.groupby("split")}
images = {
    name: read("S2Hand", name, [2, 3, 4, 5, 6, 7, 8, 9, 12, 13]) / np.float32(1e4) for name in division["chip"].unique()
}
train = torch.from_numpy(np.stack([images[name] for name in chips["train"]])).float()
labelled = torch.from_numpy(np.stack([read("LabelHand", name, [1])[0] for name in chips["train"]])).long()
mean, std = train.mean((0, 2, 3), keepdim=True), train.std((0, 2, 3), keepdim=True)

torch.manual_seed(0)
small = {"encoder_depth": 3, "decoder_channels": (64, 32, 16)}
unet = smp.Unet("resnet18", encoder_weights=None, in_channels=10, classes=2, **small)
optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-3)
for _ in range(40):
    for part in torch.randperm(len(train)).split(4):
        turns = int(torch.randint(4, ()))
        turned = [torch.rot90(whole[part], turns, (-2, -1)) for whole in ((train - mean) / std, labelled)]
        loss = torch.nn.functional.cross_entropy(unet(turned[0]), turned[1], ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
unet.eval()
with torch.inference_mode():
    found = {
        name: unet((torch.from_numpy(images[name]).float()[None] - mean) / std)[0].argmax(0).numpy()
        for name in chips["test"]
    }

true, answered = [], []
tested = division[division["split"] == "test"]
for name, cover in zip(tested["id"], tested["label"], strict=True):
    chip, _, square = name.partition("/")
    row, column = (int(part[1:]) for part in square.split("_"))
    inside = np.s_[row : row + TILE, column : column + TILE]
    seen = read("LabelHand", chip, [1])[0][inside] >= 0
    true.append(int(cover == "water"))
    answered.append(int(found[chip][inside][seen].mean() > 0.5))
scored = classification_scores(
    np.array(true), np.array(answered), 2, tested["chip"].to_numpy(), Bootstrap(1000, seed=0)
)
of_unet = scored[1]  # balanced accuracy, and its interval
print(
    f"U-Net: balanced accuracy {of_unet[0]:.3f} [{of_unet[1]:.3f}, {of_unet[2]:.3f}] on {len(true)} squares of {len(chips['test'])} chips"
)

# %% alt="Balanced accuracy with 95 % intervals: the baseline at one half, kNN and logistic regression on vectors and on pixel statistics, and a U-Net; but for the baseline, all intervals overlap."
named = {"THOR tiny, random weights": of_vectors, "pixel statistics": of_pixels}
figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
for offset, (name, report), colour, marker in zip(
    (-0.12, 0.12), named.items(), ("#0072B2", "#D55E00"), "os", strict=True
):
    scores = [score for score in report.scores if score.metric == "balanced_accuracy"]
    places = np.arange(len(scores)) + offset
    value, low, high = (np.array([getattr(score, part) for score in scores]) for part in ("value", "low", "high"))
    axes.errorbar(value, places, xerr=[value - low, high - value], fmt=marker, color=colour, label=name, capsize=3)
value, low, high = of_unet
reach = [[value - low], [high - value]]
axes.errorbar(value, len(scores), xerr=reach, fmt="D", color="#333333", label="all pixels, no encoder", capsize=3)
axes.set_yticks(range(len(scores) + 1), [*(score.probe for score in scores), "U-Net"])
axes.invert_yaxis()
axes.set_xlabel("balanced accuracy on unseen synthetic chips, 95 % interval")
axes.legend(loc="lower left", fontsize=8)
plt.show()

# %% [markdown]
# Read it like this: if the intervals overlap, the probe has shown no difference. Sixteen chips are few, and a made-up river
# is easy. With trained weights and real labels, the question is whether the vectors lie clearly to the right of the pixels, and of the U-Net.
#
# More: [probing](../howto/probing.md).
