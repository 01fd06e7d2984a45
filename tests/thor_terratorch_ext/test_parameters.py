"""Arguments of the published loader are understood as text and as values, and what has no effect is refused."""

from __future__ import annotations

import pytest

from thor_terratorch_ext.parameters import InputParams, read_config


def test_text_and_values_say_the_same() -> None:
    text = "{ground_covers: [960], flexivit_patch_size_seqs: [4, 8], select_patch_strategy: equal-max}"
    values = {"ground_covers": 960, "flexivit_patch_size_seqs": [4, 8], "select_patch_strategy": "equal-max"}
    assert InputParams.parse(text) == InputParams.parse(values) == InputParams(960, True, (4, 8), "equal-max")
    assert InputParams.parse(None) == InputParams()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ground_cover": [960]}, "Unknown input_params: ground_cover"),
        ({"aggr_type": "mean"}, "aggr_type is fixed to 'subsetmean'"),
        ({"ground_covers": [960, 480]}, "ground_covers must hold one value"),
        ({"flexivit_patch_size_seqs": [0]}, "flexivit_patch_size_seqs must be positive"),
        ({"select_patch_strategy": "mean"}, "must be one of min, max, equal-min, equal-max, got 'mean'"),
        ([1], "input_params must be a mapping"),
    ],
)
def test_what_makes_no_sense_is_refused(given: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InputParams.parse(given)


def test_a_config_without_the_section_is_refused() -> None:
    assert read_config(None, "encoder") == {}
    assert read_config({"models": {"encoder": {"ckpt": "x.pt"}}}, "encoder") == {"ckpt": "x.pt"}
    with pytest.raises(ValueError, match="needs the section models.teacher"):
        read_config({"models": {"encoder": {}}}, "teacher")
    with pytest.raises(ValueError, match="does not exist"):
        read_config("no/such.yaml", "encoder")
