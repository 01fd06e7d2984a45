"""Bands that data and backbone name differently do not run in silence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from torch import nn

from anysat_ext import build_anysat
from eo_data.catalog.sources import ImageSource
from eo_data.dataset.consistency import check_adapters, check_bands, check_classes, check_dates
from thor_terratorch_ext import build_thor

S2 = ["BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"]


def source(bands: list[str], sensor: str | None = "sentinel2_l2a") -> ImageSource:
    return ImageSource("{id}.tif", bands, sensor=sensor)


def thor(bands: Any) -> nn.Module:
    return nn.Sequential(build_thor("tiny", pretrained=False, model_bands=bands))


def test_the_same_bands_in_other_spellings_agree() -> None:
    check_bands(thor(["BLUE", "GREEN", "RED"]), {"s2": source(["B02", "B3", "red"])})
    both = {"a": source(["B2", "B3"]), "b": source(["VV", "VH"], "sentinel1")}
    check_bands(thor({"a": ["S2:Blue", "GREEN"], "b": ["VV_10", "IW_VH_10"]}), both)
    olci = build_thor("tiny", pretrained=False, model_bands=["OA01_REFLECTANCE"], input_gsd=300)
    check_bands(olci, {"s3": source(["Oa01"], "sentinel3_olci")})
    check_bands(nn.Linear(1, 1), both)
    anysat = build_anysat("tiny", pretrained=False, modalities=["s2"], bands={"s2": [*S2, "DATE"]})
    check_bands(anysat, {"s2": source(S2)})
    ratio = build_anysat("tiny", pretrained=False, modalities=["s1"])
    check_bands(ratio, {"s1": source(["VV", "VH"], "sentinel1")})


def test_a_swapped_order_is_refused_with_the_channel() -> None:
    with pytest.raises(ValueError, match=r"channel 0 is B02 in the data and S2:Red in the backbone"):
        check_bands(thor(["RED", "GREEN", "BLUE"]), {"s2": source(["B02", "B03", "B04"])})
    swapped = build_anysat("tiny", pretrained=False, modalities={"x": "s2"}, bands={"x": [*S2[1:], S2[0]]})
    with pytest.raises(ValueError, match="The bands of 'x' do not agree: channel 0 is BLUE"):
        check_bands(swapped, {"x": source(S2)})


def test_a_missing_band_is_refused_before_anything_runs() -> None:
    with pytest.raises(ValueError, match="the data has 2 and the backbone expects 3"):
        check_bands(thor(["BLUE", "GREEN", "RED"]), {"s2": source(["BLUE", "GREEN"])})


def test_dates_for_an_encoder_that_reads_none_name_the_setting() -> None:
    """The batch became a dict of image, dates and mask, and the error asked for the bands of each."""
    dated = {"s2": replace(source(["BLUE"]), dated=True)}
    for dates_as, how in (("dict", "entries beside the image"), ("plane", "one more channel")):
        with pytest.raises(ValueError, match=f"'s2' is dated, .*as {how}, but it reads none. Set dates_as: none"):
            check_dates(thor(["BLUE"]), dated, dates_as)
    check_dates(thor(["BLUE"]), dated, "none")
    check_dates(thor(["BLUE"]), {"s2": source(["BLUE"])}, "dict")
    # It picks its images by name, so entries beside them do no harm; a channel does.
    check_dates(thor({"s2": ["BLUE"]}), dated, "dict")
    with pytest.raises(ValueError, match="Set dates_as: none"):
        check_dates(thor({"s2": ["BLUE"]}), dated, "plane")
    anysat = build_anysat("tiny", pretrained=False, modalities=["s2"], bands={"s2": [*S2, "DATE"]})
    for other in (anysat, nn.Linear(1, 1)):
        check_dates(other, {"s2": replace(source(S2), dated=True)}, "plane")


def test_several_encoders_share_dates_that_one_of_them_reads() -> None:
    wrapper = Several({None: ("BLUE", "DATE")}, thor(["BLUE"]))
    check_dates(nn.Sequential(wrapper), {"s2": replace(source(["BLUE"]), dated=True)}, "plane")


def test_only_channels_that_the_backbone_itself_derives_are_left_out() -> None:
    """A ratio in the files was ignored for every backbone; one that does not make it counts it as a channel."""
    radar = {"s1": source(["VV", "VH", "VV/VH"], "sentinel1")}
    with pytest.raises(ValueError, match="the data has 3 and the backbone expects 2"):
        check_bands(thor(["VV", "VH"]), radar)
    check_bands(build_anysat("tiny", pretrained=False, modalities=["s1"]), radar)
    dated = Several({None: ("VV", "VH", "DATE")})
    check_bands(dated, {"s1": source(["VV", "VH"], "sentinel1")})


class Several(nn.Module):
    """Backbones that share the channels of one image."""

    input_bands_include_children = True

    def __init__(self, input_bands: dict[str | None, tuple[str, ...]], *encoders: nn.Module) -> None:
        super().__init__()
        self.input_bands = input_bands
        self.encoders = nn.ModuleList(encoders)


def test_a_module_that_speaks_for_its_children_is_asked_instead_of_them() -> None:
    both = nn.Sequential(Several({None: ("BLUE", "GREEN", "RED")}, thor(["RED"]), thor(["BLUE", "GREEN"])))
    check_bands(both, {"s2": source(["B02", "B03", "B04"])})
    with pytest.raises(ValueError, match="channel 0 is RED in the data and BLUE in the backbone"):
        check_bands(both, {"s2": source(["RED", "GREEN", "BLUE"])})
    with pytest.raises(ValueError, match="the data has 3 and the backbone expects 1"):
        check_bands(nn.Sequential(both, thor(["BLUE"])), {"s2": source(["BLUE", "GREEN", "RED"])})


class Task(nn.Module):
    """With the arguments of a task of TerraTorch."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.hparams = arguments


def test_a_class_that_never_occurs_does_not_count_in_a_mean() -> None:
    agreeing = [
        Task(model_args={"num_classes": 2}, class_names=["land", "water"]),
        Task(model_args={"num_classes": 2}, class_names=None),
        Task(model_args={}),
        Task(backbone="x"),
        nn.Linear(1, 1),
    ]
    for task in agreeing:
        check_classes(task, 2)
        check_classes(task, None)
    with pytest.raises(ValueError, match="label.classes of the data 2, num_classes of the model 3. Make them the same"):
        check_classes(Task(model_args={"num_classes": 3}), 2)
    with pytest.raises(ValueError, match="num_classes of the model 2, class_names of the task 3"):
        check_classes(Task(model_args={"num_classes": 2}, class_names=["land", "water", "cloud"]), None)


def test_adapters_that_are_frozen_do_not_train_in_silence() -> None:
    model = nn.ModuleDict({"lora_A": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    check_adapters(model)
    model["lora_A"].requires_grad_(requires_grad=False)
    with pytest.raises(ValueError, match="2 adapters of LoRA and all of them are frozen.* Leave freeze_backbone out"):
        check_adapters(model)
    check_adapters(nn.Linear(2, 2).requires_grad_(requires_grad=False))
