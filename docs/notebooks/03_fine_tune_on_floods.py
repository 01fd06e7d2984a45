# %% [markdown]
# # 3. Fine-tune on floods, and read the panels
#
# TerraTorch trains; this project gives it an encoder, data and pictures. Here THOR tiny learns to find water on eight
# chips, for a few epochs. It begins with **random** weights, and the chips are **synthetic**: the numbers below show that learning works, not
# how well floods can be mapped.
#
# The same as a config: [a first fine-tuning, line by line](../start/first_finetuning.md).

# %%
import io
import logging
import os
import shutil
import warnings
from contextlib import redirect_stderr
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Image, Markdown, display

# What Lightning, TerraTorch and PyTorch say of themselves is left out here. This takes some twenty seconds.
with redirect_stderr(io.StringIO()):
    from albumentations import D4
    from lightning.pytorch import Trainer, seed_everything
    from lightning.pytorch.loggers import CSVLogger
    from terratorch.tasks import SemanticSegmentationTask

    from eo_data.datamodules import ChipDataModule, ImageSource, LabelSource
    from eo_finetune import BestCheckpoint, MatmulPrecision, MetricsTable, PredictionPanels
    from thor_terratorch_ext import ThorPreprocess
    from thor_terratorch_ext.registration import RegisterBackbones
for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
    logging.getLogger(name).setLevel(logging.ERROR)
warnings.filterwarnings("ignore")

# Paths below begin at the root of the project.
os.chdir(next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / "datasets").is_dir()))
out = Path("output/notebooks/finetune")
shutil.rmtree(out, ignore_errors=True)  # of an earlier run

# %% [markdown]
# ## Data
#
# `{id}` in a pattern names the samples, and joins image and label. What the files do not say is said once here; what they
# do say is compared with it. The same `ThorPreprocess` would prepare images for embeddings.

# %%
BANDS = [
    *("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3"),
    *("NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"),
]
chips = "data/flood_events/HandLabeled"
splits = "splits/flood_handlabeled"
data = ChipDataModule(
    root="datasets/sample/v1.1",
    task="segmentation",
    modalities={
        "S2L1C": ImageSource(
            files=f"{chips}/S2Hand/{{id}}_S2Hand.tif",
            sensor="sentinel2_l1c",
            bands=BANDS,
            unit="digital_number",  # reflectance is the number / 10000: made as scenes of before 2022
            offset=0,
        )
    },
    label=LabelSource(files=f"{chips}/LabelHand/{{id}}_LabelHand.tif", classes=2),
    train_split=f"{splits}/flood_train_data.txt",
    val_split=f"{splits}/flood_valid_data.txt",
    test_split=f"{splits}/flood_test_data.txt",
    batch_size=2,
    num_workers=0,
    dates_as="none",
    train_transform=[D4()],
    preprocess=ThorPreprocess(patch_size=8),
)

# %% [markdown]
# ## Task
#
# The task is TerraTorch's. The encoder is found by its name once `RegisterBackbones` is imported. For the published
# weights: `backbone_pretrained=True`, and a learning rate of 1e-4.

# %%
seed_everything(0, verbose=False)
task = SemanticSegmentationTask(
    model_factory="EncoderDecoderFactory",
    model_args={
        "backbone": "thor_v1_tiny",
        "backbone_pretrained": False,
        "backbone_model_bands": BANDS,
        "backbone_input_gsd": 10,
        "backbone_input_params": {"flexivit_patch_size_seqs": [8]},
        "backbone_merge_method": "concat",
        "backbone_out_indices": [11],
        "decoder": "FCNDecoder",
        "decoder_channels": 64,
        "decoder_num_convs": 3,
        "num_classes": 2,
    },
    loss="ce",
    ignore_index=-1,
    class_names=["land", "water"],
    optimizer="AdamW",
    lr=1e-3,
    freeze_backbone=False,
    plot_on_val=False,
)

# %% [markdown]
# ## Fit
#
# Twelve epochs of four steps each. From random weights the loss stands still at first: all is called land. Then water is
# found, and the scores jump up and down, as eight chips are few. `BestCheckpoint` keeps the epoch with the lowest loss.

# %%
trainer = Trainer(
    max_epochs=12,
    accelerator="cpu",
    default_root_dir=out,
    logger=CSVLogger(out, name="metrics", version=0),
    log_every_n_steps=1,
    enable_progress_bar=False,
    enable_model_summary=False,
    num_sanity_val_steps=0,
    callbacks=[
        RegisterBackbones(),
        MatmulPrecision(),
        BestCheckpoint(monitor="val/loss", mode="min"),
        PredictionPanels(samples=4),
        MetricsTable(),
    ],
)
trainer.fit(task, data)

# %% alt="Two lines over twelve epochs: the loss of the validation chips stands still and then falls, their IoU of water rises, and both jump up and down after that."
curves = pd.read_csv(out / "metrics/version_0/metrics.csv").groupby("epoch").first()
water = next(name for name in curves if name.startswith("val/") and "water" in name and "IoU" in name)
figure, axes = plt.subplots(figsize=(6, 2.6), layout="constrained")
axes.plot(curves.index, curves["val/loss"], color="#D55E00", label="loss")
axes.plot(curves.index, curves[water], color="#0072B2", linestyle="--", label="IoU of water")
axes.set_xlabel("epoch")
axes.set_ylim(0, 1)
axes.legend(title="validation (4 synthetic chips)", ncols=2)
plt.show()

# %% [markdown]
# ## Test
#
# With the weights of the best epoch. `MetricsTable` writes the scores by class, and `PredictionPanels` a picture of each test chip.

# %%
trainer.test(task, data, ckpt_path=out / "best.ckpt", verbose=False)
display(Markdown((out / "test_metrics.md").read_text()))

# %% [markdown]
# ## Read the panels
#
# From left to right: the image, the label, the prediction, and the errors. In the last one the class that is looked for
# (water) is "positive":
#
# - **false positive**: land that was called water. Look at the image: shadows of clouds and dark fields are usual.
# - **false negative**: water that was missed. Thin streams are usual: a patch has 8 x 8 pixels.
# - **stripes**: no label, because of a cloud or a pixel that was not seen. Such pixels count neither as right nor as wrong.
#
# Errors along the shore are of another kind than errors in the middle of a field. The first are a matter of resolution,
# the second of what was learned.

# %% alt="Panels of a test chip: image, label, prediction and errors. Most of the water is found; most errors lie along the shores." tags=["panels"]
panels = sorted((out / "panels").glob("*.png"))
for panel in panels[:2]:
    display(Image(filename=panel))

# %% [markdown]
# Compare with a U-Net before you believe in a foundation model (`config/sen1floods11_unet_S2.yaml`).
# [How good is it?](../models/results.md) has what came out on real data.
