"""Bad input is refused with what is expected, what came, what is valid and what to do; never with a KeyError.

Numbers such as H9 are those of the hazards in the project's specification of UniverSat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from universat_ext.model.encoder import UniverSat
from universat_ext.model.grid import CAREFUL, PUBLISHED

NAN = float("nan")


@pytest.fixture(scope="module")
def encoder() -> UniverSat:
    return UniverSat("tiny").eval().requires_grad_(requires_grad=False)


def changed(data: dict[str, Any], **new: Any) -> dict[str, Any]:
    """Replace entries; None removes one."""
    return {key: value for key, value in (data | new).items() if value is not None}


def spoil(value: torch.Tensor, fill: float = NAN) -> torch.Tensor:
    spoilt = value.clone()
    spoilt[1].view(-1)[7] = fill
    return spoilt


# What is wrong with a good dictionary of s2 (2, 3, 10, 6, 6), s1 (2, 3, 3, 6, 6) and spot (2, 3, 60, 60).
BAD_DATA: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "H2 extents differ": (
        lambda d: changed(d, s1=d["s1"][..., :4, :4]),
        r"same extent on the ground, to a pixel of 10 m, got s2 60 m \(6 px\), s1 40 m \(4 px\), spot 60 m.*40 m",
    ),
    "H9 one channel for ten": (lambda d: changed(d, s2=d["s2"][:, :, :1]), r"'s2' must have 10 channels \(B2.*got 1 "),
    "H9 no ratio": (lambda d: changed(d, s1=d["s1"][:, :, :2]), r"'s1' must have 3 channels \(VV, VH, VV/VH\).*got 2"),
    "H10 negative day": (lambda d: changed(d, s2_dates=d["s2_dates"] - 1000), r"0 \(1 January\) to 749, got .* -"),
    "H11 day beyond the table": (lambda d: changed(d, s1_dates=d["s1_dates"] + 750), "beyond them|to 749, got"),
    "H11 day that is NaN": (lambda d: changed(d, s2_dates=d["s2_dates"] * NAN), "Every frame needs a date"),
    "H12 dates of another batch": (lambda d: changed(d, s2_dates=d["s2_dates"][:1]), r"\(2, 3\), got \(1, 3\)"),
    "H12 dates without batch": (lambda d: changed(d, s2_dates=d["s2_dates"][0]), r"got \(3,\).*dates\.expand\(2, 3\)"),
    "H13 three dates of one frame": (
        lambda d: changed(d, s2=d["s2"][:, :1]),
        r"shape \(B, T\) = \(2, 1\), got \(2, 3\)",
    ),
    "H14 fraction of a day": (lambda d: changed(d, s2_dates=d["s2_dates"] + 0.9), "whole days, got fractions such as"),
    "H15 series without dates": (
        lambda d: changed(d, s2_dates=None),
        r"'s2' is a series of 3 frames without dates. Add 's2_dates'",
    ),
    "H15 image with dates": (
        lambda d: changed(d, spot_dates=torch.zeros(2, 1)),
        r"'spot' \(2, 3, 60, 60\) has dates but no axis of frames.*leave out 'spot_dates'",
    ),
    "H16 not square": (lambda d: changed(d, s2=d["s2"][..., :4]), r"'s2' must be square, got 6 x 4 px"),
    "H19 unknown modality": (lambda d: changed(d, sentinel2=d["s2"]), "unknown keys 'sentinel2'"),
    "H19 label": (lambda d: changed(d, label=torch.zeros(2)), "unknown keys 'label'"),
    "H19 dates of nothing": (lambda d: changed(d, l8_dates=torch.zeros(2, 1)), "unknown keys 'l8_dates'"),
    "H19 mask of an image": (lambda d: changed(d, spot_mask=torch.ones(2, 1)), "'spot_mask' without 'spot_dates'"),
    "H19 mask of pixels": (lambda d: changed(d, s2_mask=torch.ones(2, 3, 6, 6)), r"'s2_mask' must have shape \(B, T\)"),
    "H23 modis alone": (lambda d: {"modis": d["s2"][:, 0, :7, :1, :1]}, "give at least one other modality"),
    "H23 modis as a grid": (lambda d: d | {"modis": d["s2"][:, 0, :7]}, "one pixel of 250 m for the whole tile.*6 x 6"),
    "H24 integers": (lambda d: changed(d, spot=d["spot"].to(torch.uint8)), "floating point values, got torch.uint8"),
    "H25 no frame": (lambda d: changed(d, s2=d["s2"][:, :0], s2_dates=d["s2_dates"][:, :0]), "'s2' is empty"),
    "H25 no sample": (lambda d: {key: value[:0] for key, value in d.items()}, "is empty"),
    "NaN spoils its whole sample": (
        lambda d: changed(d, s2=spoil(d["s2"])),
        r"'s2' holds 1 NaN .* samples \[1\].*s2_mask",
    ),
    "infinity": (lambda d: changed(d, spot=spoil(d["spot"], float("inf"))), r"'spot' holds 1 .* in samples \[1\]"),
    "no valid frame": (
        lambda d: changed(d, s2_mask=torch.tensor([[1, 1, 0], [0, 0, 0]])),
        r"'s2_mask' leaves no valid frame in samples \[1\]",
    ),
    "batches differ": (lambda d: changed(d, spot=d["spot"][:1]), "same number of samples, got s2 2, s1 2, spot 1"),
    "no tensor": (lambda d: changed(d, s2=d["s2"].numpy()), "must be a torch tensor, got ndarray"),
    "no dictionary": (lambda d: d["s2"], "must be a dictionary of tensors"),
    "nothing": (lambda _d: {}, "no image in it"),
    "series with a table that has no metres": (lambda d: changed(d, gf5_ahsi_vnir=d["spot"]), "unknown keys 'gf5"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_is_refused(name: str, encoder: UniverSat, series: Any) -> None:
    spoilt, message = BAD_DATA[name]
    with pytest.raises(ValueError, match=message):
        encoder(spoilt(series("s2", "s1", "spot")), 20)
    if name not in ("no dictionary", "nothing"):
        with pytest.raises(ValueError, match=message.replace("749", "366")):
            encoder.check_values(spoilt(series("s2", "s1", "spot")), 20, rules=CAREFUL)


@pytest.mark.parametrize("patch_size", [0, -40, NAN, float("inf"), "40", True, None])
def test_patch_sizes_that_are_no_positive_number_are_refused(patch_size: Any, encoder: UniverSat, series: Any) -> None:
    """H6: -40 gave patches of one pixel."""
    with pytest.raises(ValueError, match="patch_size .* must be a positive number of metres"):
        encoder(series("s2"), patch_size)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latent_grid": 8}, "latent_grid is the number of patches of a square, got 8. Take 4 or 9"),
        ({"latent_grid": 2.5}, "latent_grid .* positive whole number, got 2.5"),
        ({"output_grid": 2.5}, "output_grid .* positive whole number, got 2.5"),
        ({"output_grid": 0}, "output_grid .* positive whole number, got 0"),
        ({"output": "dense"}, "output must be one of grid, all, subpatches, tokens/s2, got 'dense'"),
        ({"output": "tokens/s1"}, "tokens/s2, got 'tokens/s1'"),
        ({"output": None}, "got None"),
        ({"wavelengths": {"s2": [490.0] * 10}}, "micrometres from 0.2 to 20 .*got 490.0. In nanometres.*0.49"),
        ({"wavelengths": {"s2": [490] * 10}}, "got 490"),
        ({"wavelengths": {"s2": [NAN] * 10}}, "micrometres from 0.2 to 20 .*got nan"),
        ({"wavelengths": {"s2": ["VV"] * 9 + ["vh"]}}, "'vh' in the wavelengths of 's2' is no code. Valid: VV, VH"),
        ({"wavelengths": {"s2": [True] * 10}}, "got True"),
        ({"wavelengths": {"s2": [0.5]}}, r"'s2' must have 1 channels \(0.5 um\)"),
        ({"wavelengths": {"s2": "RGB"}}, "must be a list with one entry a channel"),
        ({"wavelengths": [0.5]}, "wavelengths must be a mapping by modality"),
        ({"input_res": {"s2": 0}}, "input_res of 's2' must be a positive number of metres, got 0"),
        ({"input_res": 10}, "input_res must be a mapping by modality"),
        ({"subpatches": {"s2": 1.5}}, "subpatches of 's2' must be a positive whole number, got 1.5"),
        ({"subpatches": {"s2": 3}}, "less than its sub-patch of 3 px. The smallest patch_size for it is 30 m"),
    ],
)
def test_bad_arguments_are_refused(arguments: Any, message: str, encoder: UniverSat, series: Any) -> None:
    """H17, H18: sides of 2.5 and lists in nanometres computed something."""
    with pytest.raises(ValueError, match=message):
        encoder(series("s2"), 20, **arguments)


def test_an_unseen_sensor_needs_wavelengths_and_pixel_size(encoder: UniverSat) -> None:
    data = {"drone": torch.randn(1, 2, 8, 8)}
    with pytest.raises(ValueError, match="unknown keys 'drone'"):
        encoder(data, 20)
    with pytest.raises(ValueError, match="'drone' is no sensor of the table.*input_res .*must be stated"):
        encoder(data, 20, wavelengths={"drone": [0.5, "nDEM"]})
    assert encoder(data, 20, wavelengths={"drone": [0.5, "nDEM"]}, input_res={"drone": 5}).shape == (1, 4, 192)


def test_patches_smaller_than_a_sub_patch_name_the_smallest(encoder: UniverSat) -> None:
    """H7: a RuntimeError from unfold."""
    with pytest.raises(ValueError, match="'naip'.*The smallest patch_size for it is 12.5 m"):
        encoder({"naip": torch.randn(1, 4, 64, 64)}, 10)


CAREFUL_CASES = [
    ("s2", (1, 10, 7, 7), 20, "7 px .70 m. per side.*do not tile exactly.*Take 6 px.*crop=True.*last 1 rows"),
    ("s2", (1, 10, 3, 3), 40, "Take a patch_size of at most 30 m"),
    ("s2", (1, 10, 6, 6), 25, "2.5 px of 's2' .10 m., no whole number. Take patch_size 20 or 30"),
    ("s2", (1, 10, 6, 6), 5, "patch_size 5 m is less than a pixel of 's2'"),
    ("aerial", (1, 4, 90, 90), 3, "sub-patches of 10 px leave 5 unread. Take patch_size 2 or 4, or pass crop=True"),
]


@pytest.mark.parametrize(("name", "shape", "metres", "message"), CAREFUL_CASES)
def test_what_the_published_encoder_drops_in_silence_is_refused_unless_asked_for(
    name: str, shape: Any, metres: float, message: str, encoder: UniverSat
) -> None:
    """H5, H6, H8."""
    data = {name: torch.randn(shape)}
    with pytest.raises(ValueError, match=message):
        encoder(data, metres, rules=CAREFUL)
    if "crop" in message:
        assert torch.isfinite(encoder(data, metres, "subpatches", rules=replace(CAREFUL, crop=True))).all()


@pytest.mark.filterwarnings("error")
def test_the_published_rules_warn_of_nothing_that_is_published_use(encoder: UniverSat) -> None:
    encoder({"alos": torch.randn(1, 3, 4, 4)}, 40, rules=PUBLISHED)


def test_odd_patches_and_odd_values_are_told(encoder: UniverSat) -> None:
    """H3, H5, H8: raw digital numbers give finite features that mean nothing."""
    with pytest.warns(UserWarning, match="Patches of 'alos' are 30 m .*not the stated 40 m"):
        encoder({"alos": torch.randn(1, 3, 4, 4)}, 40, rules=CAREFUL)
    with pytest.warns(UserWarning, match="leave 2 of the 32 rows and columns of every patch of 'naip' unread"):
        encoder({"naip": torch.randn(1, 4, 64, 64)}, 40, rules=CAREFUL)
    with pytest.warns(UserWarning, match=r"Values of 's2' are 3e\+03 on average, but UniverSat takes standard scores"):
        encoder({"s2": torch.full((1, 10, 4, 4), 3000.0)}, 40, rules=CAREFUL)


def test_heights_in_metres_are_no_odd_values(encoder: UniverSat, recwarn: pytest.WarningsRecorder) -> None:
    encoder({"ndemneon": torch.full((1, 1, 16, 16), 30.0)}, 8, rules=CAREFUL)
    assert not recwarn.list


def test_days_of_a_second_year_are_an_opt_out(encoder: UniverSat, series: Any) -> None:
    data = series("s2") | {"s2_dates": torch.tensor([[400, 10, 20], [1, 2, 3]])}
    with pytest.raises(ValueError, match="0 .1 January. to 366, got values from 1 to 400.*last_day=749"):
        encoder(data, 20, rules=CAREFUL)
    encoder(data, 20, rules=replace(CAREFUL, last_day=749))


def test_a_rule_that_names_a_modality_that_is_not_there_is_refused(encoder: UniverSat, series: Any) -> None:
    with pytest.raises(ValueError, match=r"'first', 'finest' or a modality of the input \(s2\), got 's1'"):
        encoder(series("s2"), 20, rules=replace(CAREFUL, latent_from="s1"))


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(ValueError, match="Unknown UniverSat size 'large'. Valid: tiny, base"):
        UniverSat("large")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="memory_budget must be a positive whole number"):
        UniverSat("tiny", memory_budget=0)


def test_the_import_neither_switches_off_the_compiler_nor_changes_the_path() -> None:
    """H22: the published hub file disables dynamo for the whole process and puts ``models`` on the path."""
    import subprocess
    import sys

    code = (
        "import sys, torch._dynamo as d; path = list(sys.path); before = d.config.disable\n"
        "import universat_ext; universat_ext.UniverSat\n"
        "assert (d.config.disable, sys.path) == (before, path); assert 'models' not in sys.modules\n"
        "assert 'terratorch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
