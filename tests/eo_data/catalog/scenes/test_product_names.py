"""Names of products as the agencies write them: what each part means, and that no other name counts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from eo_data.catalog.scenes.product_names import EXAMPLES, product_of_name
from eo_data.sensors.tables import SENSORS
from eo_data.temporal.product_names import date_from_name

S2 = "S2A_MSIL2A_20220601T102031_N0400_R065_T32UQV_20220601T170000"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"{S2}.SAFE", ("Sentinel-2 L2A", "sentinel2_l2a", "S2A", "T32UQV", datetime(2022, 6, 1, 10, 20, 31))),
        (
            "S2B_MSIL1C_20170105T013442_N0204_R031_T53NMJ_20170105T013443.zip",
            ("Sentinel-2 L1C", "sentinel2_l1c", "S2B", "T53NMJ", datetime(2017, 1, 5, 1, 34, 42)),
        ),
        (
            # The relative orbit of this and of the next is the one that the Copernicus catalogue states for that orbit.
            "S1B_IW_GRDH_1SDV_20210810T044805_20210810T044830_028179_035C9B_E562.SAFE.zip",
            ("Sentinel-1 IW GRDH", "sentinel1", "S1B", "R153", datetime(2021, 8, 10, 4, 48, 5)),
        ),
        (
            "S1A_IW_GRDH_1SDV_20210806T043234_20210806T043259_039104_049D48_7A57.SAFE",
            ("Sentinel-1 IW GRDH", "sentinel1", "S1A", "R007", datetime(2021, 8, 6, 4, 32, 34)),
        ),
        (
            # After its manoeuvre the formula of S1C does not hold: the orbit is not guessed.
            "S1C_IW_GRDH_1SDV_20260801T043234_20260801T043259_009000_049D48_7A57_COG.SAFE",
            ("Sentinel-1 IW GRDH", "sentinel1", "S1C", "A009000", datetime(2026, 8, 1, 4, 32, 34)),
        ),
        (
            "S3A_OL_1_EFR____20220601T095512_20220601T095812_20220602T131842_0179_086_022_2160_PS1_O_NT_003.SEN3",
            ("Sentinel-3 OL_1_EFR", "sentinel3_olci", "S3A", "R022_2160", datetime(2022, 6, 1, 9, 55, 12)),
        ),
        (
            "S3B_OL_1_ERR____20220601T083512_20220601T091930_20220602T131842_2658_066_364______PS2_O_NT_003.SEN3",
            ("Sentinel-3 OL_1_ERR", "sentinel3_olci", "S3B", "R364", datetime(2022, 6, 1, 8, 35, 12)),
        ),
        (
            "S3B_SL_1_RBT____20220601T095512_20220601T095812_20220602T131842_0179_086_022_2160_PS2_O_NT_004.SEN3",
            ("Sentinel-3 SL_1_RBT", "sentinel3_slstr", "S3B", "R022_2160", datetime(2022, 6, 1, 9, 55, 12)),
        ),
        (
            "LC09_L1TP_195025_20220601_20230416_02_T1.tar",
            ("Landsat C2 L1", "landsat8", "LC09", "195025", datetime(2022, 6, 1)),
        ),
        (
            "LE07_L2SP_195025_20000601_20200918_02_T1",
            ("Landsat C2 L2", "landsat7", "LE07", "195025", datetime(2000, 6, 1)),
        ),
        (
            "OPERA_L2_RTC-S1_T064-135518-IW1_20220501T015035Z_20230101T100506Z_S1A_30_v1.0",
            ("OPERA RTC-S1", "sentinel1", "S1A", "T064-135518-IW1", datetime(2022, 5, 1, 1, 50, 35)),
        ),
        (
            "HLS.L30.T32UQV.2022152T101500.v2.0",
            ("HLS L30", "landsat8", "L30", "T32UQV", datetime(2022, 6, 1, 10, 15)),
        ),
    ],
)
def test_each_part_of_a_name_is_read(name: str, expected: tuple[object, ...]) -> None:
    found = product_of_name(name)
    assert found is not None
    *rest, started = expected
    assert [found.kind, found.sensor, found.platform, found.tile] == rest
    assert found.started == started.replace(tzinfo=UTC)  # type: ignore[attr-defined]
    assert found.sensor in SENSORS
    assert found.started.date() == date_from_name(name)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (S2, S2.replace("N0400", "N0510")),
        (S2.replace("T170000", "T150000"), S2),
        ("LC08_L2SP_195025_20220601_20220602_02_RT", "LC08_L2SP_195025_20220601_20220608_02_T1"),
        ("LC08_L1TP_195025_20220601_20220608_02_RT", "LC08_L1TP_195025_20220601_20220608_02_T2"),
        ("LC08_L2SP_195025_20220601_20220608_02_T1", "LC08_L2SP_195025_20220601_20230608_02_T1"),
        (
            "OPERA_L2_RTC-S1_T064-135518-IW1_20220501T015035Z_20220501T100506Z_S1A_30_v1.0",
            "OPERA_L2_RTC-S1_T064-135518-IW1_20220501T015035Z_20230101T100506Z_S1A_30_v1.0",
        ),
        ("HLS.S30.T32UQV.2022152T102031.v1.5", "HLS.S30.T32UQV.2022152T102031.v2.0"),
        (
            # Near real time and not: the start differs by a second.
            "S3A_OL_1_EFR____20220601T095511_20220601T095811_20220601T120000_0179_086_022_2160_PS1_O_NR_003",
            "S3A_OL_1_EFR____20220601T095512_20220601T095812_20220602T131842_0179_086_022_2160_PS1_O_NT_003",
        ),
    ],
)
def test_the_newer_processing_of_an_acquisition_is_known(older: str, newer: str) -> None:
    old, new = product_of_name(older), product_of_name(newer)
    assert old is not None
    assert new is not None
    assert old.acquisition == new.acquisition
    assert (old.version or ()) < (new.version or ())


def test_two_satellites_levels_or_passes_are_no_reprocessing() -> None:
    names = [S2, S2.replace("S2A", "S2B"), S2.replace("L2A", "L1C"), S2.replace("T102031", "T120031")]
    names += [S2.replace("T32UQV", "T32UQU"), "HLS.S30.T32UQV.2022152T102031.v2.0"]
    found = [product_of_name(name) for name in names]
    assert len({own.acquisition for own in found if own is not None}) == len(names)


@pytest.mark.parametrize(
    "name",
    [
        f"{S2}_QL.jpg",
        f"x_{S2}.SAFE",
        "S1A_IW_SLC__1SDV_20220604T052442_20220604T052507_043509_0531E5_1234.SAFE",
        "S3A_OL_2_LFR____20220601T095512_20220601T095812_20220602T131842_0179_086_022_2160_LN1_O_NT_002.SEN3",
        "LC08_L2SP_195025_20220601_20220608_02_T1_SR_B4.TIF",
        # Terrain-corrected, by the Planetary Computer.
        "S1A_IW_GRDH_1SDV_20220604T052442_20220604T052507_043509_0531E5_rtc",
        "LC08_L1TP_195025_20170601_20170608_01_T1",
        "HLS.S30.T32UQV.2022152T102031.v2.0.B04.tif",
        "GRANULE",
        "",
    ],
)
def test_files_within_products_and_products_that_are_not_read_do_not_count(name: str) -> None:
    assert product_of_name(name) is None


def test_a_date_or_time_that_does_not_exist_is_refused_with_the_name() -> None:
    with pytest.raises(ValueError, match=r"S2A_MSIL2A_20220631.*impossible date"):
        product_of_name(S2.replace("20220601T102031", "20220631T102031"))
    with pytest.raises(ValueError, match=r"holds the time 256031, which is none of a day"):
        product_of_name(S2.replace("T102031", "T256031"))


def test_examples_for_messages_are_such_names() -> None:
    assert all(product_of_name(example) for example in EXAMPLES)
