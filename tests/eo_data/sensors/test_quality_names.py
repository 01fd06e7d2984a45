"""A quality layer whose name says what it is must not be read with the table of another one."""

from __future__ import annotations

import pytest

from eo_data.sensors.quality_names import check_name, kind_of_name


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SCL", "scl"),
        ("scl_20m", "scl"),
        ("S2-L2A-SCL", "scl"),
        ("scene_classification", "scl"),
        ("QA_PIXEL", "qa_pixel"),
        ("LC09_L2SP_196022_20220101_20230501_02_T1_QA_PIXEL", "qa_pixel"),
        ("Fmask", "fmask"),
        ("HLS.S30.T32UNU.2020166T103031.v2.0.Fmask", "fmask"),
        ("QA60", "qa60"),
        ("MSK_CLASSI_OPAQUE", "msk_classi"),
        ("MSK_CLASSI_B00", "msk_classi"),
        ("MSK_CLDPRB", "probability"),
        ("conditions/mask/l2a_classification/r20m/scl", "scl"),
        ("cloud_probability", "probability"),
        ("cloud mask", "mask"),
        ("CLM", "mask"),
        # Names of several meanings, and of layers that were made of others.
        ("pixel_qa", None),
        ("CFMask", None),
        ("SCL_mask", None),
        ("fmask_and_scl", None),
        ("quality", None),
        ("B02", None),
        ("muscle", None),
        ("", None),
    ],
)
def test_what_a_name_says(name: str, kind: str | None) -> None:
    assert kind_of_name(name) == kind


@pytest.mark.parametrize("kind", ["qa_pixel", "mask", "scl"])
def test_a_layer_called_fmask_is_read_as_nothing_else(kind: str) -> None:
    with pytest.raises(ValueError, match=f"'Fmask' is the Fmask of HLS .* is '{kind}'.*Set cloud_kind: fmask"):
        check_name("Fmask", kind)


def test_names_that_say_nothing_go_with_every_kind() -> None:
    for kind in ("scl", "qa_pixel", "fmask", "mask"):
        check_name("quality", kind)
    check_name("SCL_mask", "mask")
    check_name("fmask", "fmask")


def test_the_snow_band_of_msk_classi_is_no_cloud_band() -> None:
    check_name("MSK_CLASSI_CIRRUS", "msk_classi")
    with pytest.raises(ValueError, match="MSK_CLASSI_SNOW_ICE' shows snow and ice.*MSK_CLASSI_OPAQUE"):
        check_name("MSK_CLASSI_SNOW_ICE", "msk_classi")
