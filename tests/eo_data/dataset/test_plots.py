"""Quick-looks show the right channels as red, green and blue, in the forms that TerraTorch's tasks hand over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from eo_data.catalog.sources import ImageSource
from eo_data.datamodules import ChipDataModule
from eo_data.dataset.plots import plot_sample, rgb_indices, stretched

BANDS = ("NIR_BROAD", "BLUE", "GREEN", "RED")


def _image(frames: int | None = None) -> torch.Tensor:
    """Make a ramp per band: red rises to the right, green downwards, blue is high in one corner, NIR is noise."""
    ramp = torch.linspace(0, 1, 32)
    red, green = ramp.repeat(32, 1), ramp.repeat(32, 1).T
    blue = ((red < 0.3) & (green < 0.3)).float() + 0.01 * red
    image = torch.stack([torch.rand(32, 32), blue, green, red])
    return image if frames is None else image[:, None].repeat(1, frames, 1, 1)


def _mask() -> torch.Tensor:
    mask = torch.zeros(32, 32, dtype=torch.long)
    mask[8:16], mask[16:24], mask[24:, :8] = 1, 2, -1
    return mask


def _panels(figure: Figure) -> dict[str, np.ndarray]:
    return {axes.get_title(): np.ma.asarray(axes.images[0].get_array()) for axes in figure.axes}


def test_red_is_red(tmp_path: Path) -> None:
    shown = _panels(plot_sample({"image": _image()}, "S2", BANDS))["S2"]
    assert shown.shape == (32, 32, 3)
    assert (shown[16, 31, 0], shown[16, 0, 0]) == pytest.approx((1, 0), abs=0.05)
    assert (shown[31, 16, 1], shown[0, 16, 1]) == pytest.approx((1, 0), abs=0.05)
    assert (shown[0, 0, 2], shown[31, 31, 2]) == pytest.approx((1, 0), abs=0.05)


@pytest.mark.parametrize("with_prediction", [False, True])
@pytest.mark.parametrize(
    "form",
    [
        {"image": _image()},
        {"image": _image(frames=3)},
        {"image": {"S2": _image(), "S1": _image()[:2]}},
        {"image": {"S2": _image(frames=3), "S2_dates": torch.zeros(3), "S2_mask": torch.ones(3, dtype=torch.bool)}},
        {"S2": _image(), "S1": _image()[:2]},  # TerraTorch flattens the dictionary
        {"image": torch.cat([_image(), torch.full((1, 32, 32), 150.0)])},  # the plane of dates
        {"image": _image().numpy()},
    ],
    ids=["tensor", "series", "dict", "dated series", "flat", "date plane", "numpy"],
)
def test_every_form_of_a_sample_gives_a_figure(form: Mapping[str, Any], *, with_prediction: bool) -> None:
    sample = dict(form) | {"mask": _mask(), "filename": "a.tif"}
    if with_prediction:
        sample["prediction"] = _mask()
    figure = plot_sample(sample, "S2", BANDS, classes=3, suptitle="a chip")
    assert isinstance(figure, Figure)
    assert list(_panels(figure)) == ["S2", "mask", *(["prediction"] if with_prediction else [])]
    np.testing.assert_allclose(
        _panels(figure)["S2"][..., 0], _panels(plot_sample({"image": _image()}, "S2", BANDS))["S2"][..., 0]
    )


def test_label_and_prediction_have_one_scale() -> None:
    figure = plot_sample({"image": _image(), "mask": _mask(), "prediction": _mask() * 0}, "S2", BANDS, classes=3)
    assert [axes.images[0].get_clim() for axes in figure.axes[1:]] == [(0, 2), (0, 2)]
    assert _panels(figure)["mask"].mask.sum() == (_mask() == -1).sum().item()
    values = torch.linspace(2, 4, 32).repeat(32, 1)
    values[0, 0] = -1
    figure = plot_sample({"image": _image(), "mask": values, "prediction": values * 10}, "S2", BANDS)
    assert [axes.images[0].get_clim() for axes in figure.axes[1:]] == [(2, 4), (2, 4)]


def test_scalar_labels_are_not_drawn() -> None:
    assert list(_panels(plot_sample({"image": _image(), "label": torch.tensor(3)}, "S2", BANDS))) == ["S2"]


def test_missing_pixels_are_white_and_do_not_stretch() -> None:
    image = _image()
    valid = torch.ones(32, 32, dtype=torch.bool)
    image[:, 5, 6], valid[5, 6] = 1e6, False
    shown = _panels(plot_sample({"image": image, "valid": valid}, "S2", BANDS))["S2"]
    assert shown[5, 6].tolist() == [1, 1, 1]
    assert shown[16, 16, 0] == pytest.approx(0.5, abs=0.05)
    assert stretched(np.full((1, 4, 4), np.nan, dtype=np.float32)).tolist() == np.ones((4, 4, 3)).tolist()
    assert stretched(np.full((3, 4, 4), 7, dtype=np.float32)).shape == (4, 4, 3)


def test_which_channels_are_shown() -> None:
    assert rgb_indices(BANDS) == [3, 2, 1]
    assert rgb_indices(BANDS, ["NIR_BROAD", "RED", "GREEN"]) == [0, 3, 2]
    assert rgb_indices(["B02", "B03", "B04"]) == [2, 1, 0]
    assert rgb_indices(["VV", "VH"]) == [0]
    assert rgb_indices(["B5", "B6", "B7"]) == [0, 1, 2]
    with pytest.raises(ValueError, match=r"rgb names \['SWIR_1'\], but the bands are \['NIR_BROAD', 'BLUE'"):
        rgb_indices(BANDS, ["SWIR_1", "RED", "GREEN"])


def test_the_names_of_the_sensor_count(
    chips: Callable[..., Path], chip_module: Callable[..., ChipDataModule], write_tif: Callable[..., Path]
) -> None:
    """B3 of Landsat 7 is red; of Sentinel-2, green."""
    root = chips(["a"])
    pixels = np.stack([np.full((16, 16), value, dtype=np.uint16) for value in (1, 2, 3, 4)])
    pixels[1, :, 8:] = 900  # B3, red
    write_tif(root / "l7" / "a.tif", pixels, ("B4", "B3", "B2", "B1"), size=30)
    source = ImageSource("l7/{id}.tif", ["B4", "B3", "B2", "B1"], sensor="landsat7", unit="native")
    module = chip_module(root, modalities={"L7": source}, label=None)
    module.setup("predict")
    dataset = module.predict_dataset
    assert dataset is not None
    shown = _panels(dataset.plot(dataset[0]))["L7"]
    assert shown[0, 15].tolist() == [1, 0, 0]
    dataset.rgb = ("B7", "B2", "B1")
    with pytest.raises(ValueError, match=r"rgb names \['SWIR_2'\], but the bands are \['NIR_BROAD', 'RED'"):
        dataset.plot(dataset[0])
    dataset.rgb = ("B3", "GREEN", "B01")
    assert _panels(dataset.plot(dataset[0]))["L7"][0, 15].tolist() == [1, 0, 0]


def test_a_sample_that_lacks_the_first_modality_is_drawn_too(
    chips: Callable[..., Path], chip_module: Callable[..., ChipDataModule], write_tif: Callable[..., Path]
) -> None:
    root = chips(["a"])
    write_tif(root / "s1" / "a.tif", np.full((2, 16, 16), -10, dtype=np.float32), ("VV", "VH"))
    modalities = {
        "S2": ImageSource("gone/{id}.tif", ["B2"], sensor="sentinel2_l2a", optional=True),
        "S1": ImageSource("s1/{id}.tif", ["VV", "VH"], sensor="sentinel1", unit="decibel"),
    }
    (root / "gone").mkdir()
    module = chip_module(root, modalities=modalities)
    module.setup("predict")
    dataset = module.predict_dataset
    assert dataset is not None
    assert list(_panels(dataset.plot(dataset[0]))) == ["S1"]
    with pytest.raises(ValueError, match="The sample has no image of S2, S1; it has filename"):
        dataset.plot({"filename": "a"})


def test_a_figure_can_be_saved(tmp_path: Path) -> None:
    sample = {"image": _image(), "mask": _mask(), "prediction": _mask()}
    plot_sample(sample, "S2", BANDS, classes=3, suptitle="a chip").savefig(tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000
