"""Bad input is refused with what is expected, what came, what is valid and what to do; never with a KeyError."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

from anysat_ext.model.encoder import AnySat

NAN = float("nan")


@pytest.fixture(scope="module")
def encoder() -> AnySat:
    return AnySat("tiny").eval().requires_grad_(requires_grad=False)


def changed(data: dict[str, Any], **new: Any) -> dict[str, Any]:
    """Replace entries; None removes one."""
    return {key: value for key, value in (data | new).items() if value is not None}


def spoil(value: torch.Tensor, fill: float = NAN) -> torch.Tensor:
    spoilt = value.clone()
    spoilt[1].view(-1)[7] = fill
    return spoilt


# What is wrong with a good dictionary of s2 (2, 3, 10, 6, 6), s1 (2, 3, 3, 6, 6) and spot (2, 3, 60, 60).
BAD_DATA: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "not square": (lambda d: changed(d, s2=d["s2"][..., :4]), r"'s2' must be square, got 6 x 4 px. Crop it to 4 px"),
    "extents differ": (
        lambda d: changed(d, s1=d["s1"][..., :4, :4]),
        r"same extent on the ground, got s2 60 m \(6 px\), s1 40 m \(4 px\), spot 60 m \(60 px\).*40 m",
    ),
    "no dates": (lambda d: changed(d, s2_dates=None), r"'s2' is a series of 3 frames without dates. Add 's2_dates'"),
    "dates of another length": (
        lambda d: changed(d, s2_dates=d["s2_dates"][:, :2]),
        r"'s2_dates' must have one day per frame of 's2', shape \(B, T\) = \(2, 3\), got \(2, 2\)",
    ),
    "dates of another batch": (lambda d: changed(d, s2_dates=d["s2_dates"][:1]), r"\(2, 3\), got \(1, 3\)"),
    "dates without batch": (
        lambda d: changed(d, s2_dates=d["s2_dates"][0]),
        r"\(2, 3\), got \(3,\).*dates\.expand\(2, 3\)",
    ),
    "negative date": (
        lambda d: changed(d, s2_dates=d["s2_dates"] - 1000),
        r"0 \(1 January\) to 366, got values from -",
    ),
    "date beyond the year": (lambda d: changed(d, s1_dates=d["s1_dates"] + 367), "check_dates=False"),
    "date with NaN": (lambda d: changed(d, s2_dates=d["s2_dates"] * NAN), "Every frame needs a date"),
    "rounded dates": (lambda d: changed(d, s2_dates=d["s2_dates"].bfloat16()), "tells all days apart.*bfloat16"),
    "dates that are no tensor": (lambda d: changed(d, s2_dates=[[1, 2, 3]] * 2), "'s2_dates' must be a torch tensor"),
    "image that is no tensor": (lambda d: changed(d, s2=d["s2"].numpy()), "must be a torch tensor, got ndarray"),
    "image that is None": (lambda d: d | {"s2": None}, "'s2' must be a torch tensor, got None"),
    "no valid frame": (
        lambda d: changed(d, s2_mask=torch.tensor([[1, 1, 0], [0, 0, 0]])),
        r"'s2_mask' leaves no valid frame in samples \[1\]",
    ),
    "mask of another shape": (
        lambda d: changed(d, s2_mask=torch.ones(2, 3, 6, 6)),
        r"'s2_mask' must have shape \(B, T\)",
    ),
    "no frame": (lambda d: changed(d, s2=d["s2"][:, :0], s2_dates=d["s2_dates"][:, :0]), "'s2' is empty"),
    "no sample": (lambda d: {key: value[:0] for key, value in d.items()}, "is empty"),
    "channel count": (lambda d: changed(d, s2=d["s2"][:, :, :9]), r"10 channels \(B2, B3, .*got 9"),
    "channels behind time": (lambda d: changed(d, s1=d["s1"][:, :2].transpose(1, 2)), "'s1' must have 3 channels"),
    "no time axis": (lambda d: changed(d, s2=d["s2"][:, 0]), r"shape \(B, T, C, H, W\), got .*one frame a T of 1"),
    "time axis of an image": (lambda d: changed(d, spot=d["spot"][:, None]), r"shape \(B, C, H, W\).*no time axis"),
    "dates of an image": (lambda d: changed(d, spot_dates=torch.zeros(2, 1)), "unknown keys 'spot_dates'"),
    "dates of nothing": (lambda d: changed(d, l8_dates=torch.zeros(2, 1)), "unknown keys 'l8_dates'"),
    "unknown modality": (lambda d: changed(d, hls=d["s2"]), "unknown keys 'hls'"),
    "sensor without projector": (lambda d: d | {"s1-des": d["s1"]}, "unknown keys 's1-des'"),
    "label": (lambda d: changed(d, label=torch.zeros(2)), "unknown keys 'label'"),
    "nothing": (lambda _d: {}, "no image in it"),
    "a tensor": (lambda d: d["s2"], "must be a dictionary of tensors"),
    "batches differ": (lambda d: changed(d, spot=d["spot"][:1]), "same number of samples, got s2 2, s1 2, spot 1"),
    "NaN": (lambda d: changed(d, s2=spoil(d["s2"])), r"'s2' holds 1 NaN or infinite values in samples \[1\].*s2_mask"),
    "infinity": (lambda d: changed(d, spot=spoil(d["spot"], float("inf"))), r"'spot' holds 1 .* in samples \[1\]"),
    "integers": (
        lambda d: changed(d, spot=d["spot"].to(torch.uint8)),
        "normalised floating point values, got torch.uint8",
    ),
    "modis alone": (
        lambda d: {"modis": d["s2"][:, :, :7, :1, :1], "modis_dates": d["s2_dates"]},
        "give at least one other modality",
    ),
    "modis as a grid": (
        lambda d: d | {"modis": d["s2"][:, :, :7], "modis_dates": d["s2_dates"]},
        "one pixel of 250 m for the whole tile.*6 x 6",
    ),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_is_refused(name: str, encoder: AnySat, series: Any) -> None:
    spoilt, message = BAD_DATA[name]
    data = spoilt(series("s2", "s1", "spot"))
    with pytest.raises(ValueError, match=message):
        encoder(data, 20)


@pytest.mark.parametrize(
    ("patch_size", "advice"),
    [
        (0, "10 or 20"),
        (5, "10 or 20"),
        (25, "20 or 30"),
        (-10, "10 or 20"),
        (20.0, ""),
        ("20", ""),
        (True, ""),
        (None, ""),
    ],
)
def test_patch_sizes_that_are_no_positive_multiple_of_10_are_refused(
    patch_size: Any, advice: str, encoder: AnySat, series: Any
) -> None:
    with pytest.raises(ValueError, match=f"positive multiple of 10, got {patch_size!r}. Take for example {advice}"):
        encoder(series("s2"), patch_size)


def test_a_side_that_patches_do_not_tile_is_refused_unless_cropping_is_asked_for(encoder: AnySat, series: Any) -> None:
    data = series("s2", side=7)
    message = r"'s2' is 7 px \(70 m\).*patches of 20 m \(2 px\).*Take 6 px or patch_size 10, 70, or pass crop=True"
    with pytest.raises(ValueError, match=message):
        encoder(data, 20)
    cropped = data | {"s2": data["s2"][..., :6, :6]}
    for output in ("patch", "dense"):
        assert torch.equal(encoder(data, 20, output, crop=True), encoder(cropped, 20, output))


def test_aerial_images_of_304_px_are_not_cropped_in_silence(encoder: AnySat, series: Any) -> None:
    data = {"aerial": torch.randn(1, 4, 304, 304)}
    with pytest.raises(ValueError, match=r"'aerial' is 304 px \(60.8 m\).*Take 300 px"):
        encoder(data, 10)
    both = data | series("s2", batch=1)
    with pytest.raises(ValueError, match=r"same extent.*aerial 60.8 m.*s2 60 m"):
        encoder(both, 10, crop=True)


def test_patches_larger_than_the_tile_are_refused(encoder: AnySat, series: Any) -> None:
    with pytest.raises(ValueError, match=r"patch_size of at most 60 m"):
        encoder(series("s2"), 70, crop=True)


def test_days_beyond_the_year_need_a_named_option(encoder: AnySat, series: Any) -> None:
    data = series("s2")
    data["s2_dates"] = torch.tensor([[0, 365, 430], [366, -5, 10000]])
    with pytest.raises(ValueError, match=r"got values from -5 to 10000.*check_dates=False"):
        encoder(data, 20)
    assert torch.isfinite(encoder(data, 20, check_dates=False)).all()
    encoder(data | {"s2_dates": torch.tensor([[0, 365, 366], [366, 1, 2]])}, 20)


@pytest.mark.parametrize("name", ["s1", "modis", "x"])
@pytest.mark.parametrize("output", ["dense", "patch"])
def test_an_output_modality_that_is_not_there_is_refused(name: str, output: str, encoder: AnySat, series: Any) -> None:
    with pytest.raises(ValueError, match=rf"output_modality must be one of .*\(s2, spot\), got '{name}'"):
        encoder(series("s2", "spot", "modis"), 20, output, name)


def test_the_published_way_to_name_no_output_modality_works(encoder: AnySat, series: Any) -> None:
    data = series("s2", "spot")
    assert torch.equal(encoder(data, 20, "dense", ""), encoder(data, 20, "dense", "s2"))


@pytest.mark.parametrize("output", ["pixel", None, ["patch"]])
def test_unknown_outputs_are_refused(output: Any, encoder: AnySat, series: Any) -> None:
    with pytest.raises(ValueError, match="output must be one of patch, tile, dense, all, got"):
        encoder(series("s2"), 20, output)


def test_more_than_1024_patches_is_a_warning_with_the_numbers(encoder: AnySat, series: Any) -> None:
    message = r"1089 patches \(33 x 33 of 10 m\) per tile; the model card recommends at most 1024, .* patch_size 20"
    with pytest.warns(UserWarning, match=message):
        encoder(series("s2", side=33, frames=1, batch=1), 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder(series("s2", side=32, frames=1, batch=1), 10)


def test_sensors_of_30_m_need_the_reduce_scale_of_the_training(encoder: AnySat, series: Any) -> None:
    alone, together = series("l7", side=12), series("s2", "l7", side=12)
    assert encoder(alone, 10).shape == (2, 4, 4, 256)
    for data in (alone, together):
        with pytest.raises(ValueError, match=r"can only cut it at patch_size 10 and alone.*reduce_scale='training'"):
            encoder(data, 30)
    with pytest.raises(ValueError, match=r"different numbers of patches at patch_size 10: s2 12 x 12, l7 4 x 4"):
        encoder(together, 10)
    trained = AnySat("tiny", ["s2", "l7"], reduce_scale="training")
    assert trained(together, 30).shape == (2, 4, 4, 256)
    with pytest.raises(ValueError, match=r"multiple of that, got 40. Take for example 30 or 60"):
        trained(together, 40)


def test_modalities_that_were_not_built_are_named(series: Any) -> None:
    with pytest.raises(ValueError, match=r"built without 's1' \(it has aerial, s2\)"):
        AnySat("tiny", ["s2", "aerial"])(series("s2", "s1"), 20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": "large"}, "Unknown AnySat size 'large'. Valid: tiny, small, base"),
        ({"size": None}, "Unknown AnySat size None"),
        ({"modalities": ["s2", "hls"]}, "unknown: 'hls'"),
        ({"modalities": []}, r"each once \(got \[\]\)"),
        ({"modalities": ["s2", "s2"]}, r"each once \(got \['s2', 's2'\]\)"),
        ({"reduce_scale": 3}, "reduce_scale must be one of published, training, got 3"),
        ({"attention": "flash"}, "Valid: sdpa, math; sdpa uses a flash kernel"),
        ({"memory_budget": 0}, "memory_budget must be a positive whole number"),
        ({"memory_budget": 1.5}, "memory_budget must be a positive whole number"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AnySat(**({"size": "tiny", "modalities": ["s2"]} | arguments))


def test_a_single_modality_may_be_named_by_a_string() -> None:
    assert list(AnySat("tiny", "s2").modalities) == ["s2"]
