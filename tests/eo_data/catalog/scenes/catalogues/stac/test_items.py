"""Items of catalogues as scenes."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
from small_scenes import S2_BANDS
from small_stac import KEYS, item, sentinel2_item

from eo_data.catalog.scenes.catalogues.stac.items import scene_of_item
from eo_data.catalog.scenes.scene import Scene

TOKENS, STORE = "https://example.org/token", "https://store.example.org"
BOX = (11.0, 45.0, 11.1, 45.1)
FLAT = np.full((10, 8, 8), 1500, np.uint16)


def scene_of(content: dict[str, Any], *, tokens: str = "", store: str = "") -> Scene | None:
    return scene_of_item(pystac.Item.from_dict(content), tokens=tokens, store=store)


@pytest.mark.parametrize(
    ("form", "scale"), [("earth-search", 1e-4), ("planetary-computer", None), ("copernicus", 1e-4)]
)
def test_each_catalogue_says_bands_scale_and_offset_in_its_own_way(
    tmp_path: Path, form: str, scale: float | None
) -> None:
    """An offset that is not taken over makes everything 0.1 too bright, and a swapped key another band."""
    made = sentinel2_item(tmp_path, form, "a", FLAT, "2022-06-01T10:20:31Z", classes=np.full((8, 8), 4, np.uint8))
    found = scene_of(made)
    assert found is not None
    assert found.sensor == "sentinel2_l2a"
    assert found.bands == found.band_files == (*S2_BANDS, "SCL")
    assert [href.stem for href in found.files] == list(KEYS[form])
    assert (found.day, found.started) == (date(2022, 6, 1), datetime(2022, 6, 1, 10, 20, 31, tzinfo=UTC))
    assert found.tile == "T32TNR"
    said = [own.scaling(0) for own in found.said]
    assert said[-1] is None
    if scale is None:
        assert said == [None] * 11
        assert found.said[0].tags["s2:processing_baseline"] == "05.09"
    else:
        assert {(own.scale, own.offset) for own in said[:-1] if own} == {(scale, -0.1)}


def test_an_offset_that_was_taken_off_does_not_count_though_it_is_stated(tmp_path: Path) -> None:
    """Earth Search states it all the same (issue 9): taken off twice, everything would be 0.1 too dark."""
    made = sentinel2_item(tmp_path, "earth-search", "a", FLAT, **{"earthsearch:boa_offset_applied": True})
    found = scene_of(made)
    assert found is not None
    assert {own.scaling(0).offset for own in found.said} == {0.0}  # type: ignore[union-attr]


def test_of_several_sizes_of_pixels_a_band_has_the_one_of_its_sensor(tmp_path: Path) -> None:
    """Copernicus has B02 at 10, 20 and 60 m, and band 1 also at 20 m, where it is interpolated."""
    keys = (
        "B02_60m",
        "B02_20m",
        "B02_10m",
        "B01_20m",
        "B01_60m",
        "B8A_20m",
        "B8A_60m",
        "B04_20m",
        "B04_60m",
        "WVP_10m",
    )
    made = item("a", "sentinel-2-l2a", BOX, "2022-06-01T10:00:00Z", {key: {"href": f"/x/{key}.jp2"} for key in keys})
    found = scene_of(made)
    assert found is not None
    assert dict(zip(found.bands, (href.stem for href in found.files), strict=True)) == {
        "COASTAL_AEROSOL": "B01_60m",
        "BLUE": "B02_10m",
        "RED": "B04_20m",
        "NIR_NARROW": "B8A_20m",
    }


def test_real_items_of_planetary_computer(shared: Path) -> None:
    """Bands, tile and baseline of Sentinel-2; the sensor of Landsat by its platform, and 8 apart from 7."""
    folder = shared / "data" / "stac_items"
    by_start = {path.name[:4]: scene_of(json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))}
    sentinel2, landsat8, landsat7 = by_start["S2B_"], by_start["LC08"], by_start["LE07"]
    assert sentinel2 is not None
    assert landsat8 is not None
    assert landsat7 is not None
    assert (sentinel2.tile, sentinel2.crs, len(sentinel2.bands)) == ("T06VVN", "EPSG:32606", 13)
    assert sentinel2.said[0].tags["s2:processing_baseline"] == "02.12"
    assert (landsat8.sensor, landsat8.tile) == ("landsat8", "028030")
    files = dict(zip(landsat8.bands, (href.name for href in landsat8.files), strict=True))
    assert files["NIR_NARROW"].endswith("_SR_B5.TIF")
    assert files["QA_PIXEL"].endswith("_QA_PIXEL.TIF")
    assert landsat7.sensor == "landsat7"


def test_files_are_listed_without_a_signature_and_with_who_signs() -> None:
    """A signature in the address would be over before the last of many places is read."""
    url = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/B02.tif"
    cases = (
        (url, TOKENS),
        (f"{url}?se=2030&sig=x", ""),  # somebody signed it
        ("https://example.org/B02.tif", ""),
        ("s3://eodata/Sentinel-2/B02_10m.jp2", STORE),
    )
    for text, service in cases:
        made = item("a", "sentinel-2-l2a", BOX, "2022-06-01T10:00:00Z", {"B02": {"href": text}})
        found = scene_of(made, tokens=TOKENS, store=STORE)
        assert found is not None
        assert [(href.text, href.service) for href in found.files] == [(text, service)]


def test_radar_has_its_pass_in_its_kind_and_its_unit_from_the_collection() -> None:
    """Scenes of two kinds are never merged; float32 alone does not say whether values are dB or power."""
    assets = {"vv": {"href": "/x/vv.tif", "raster:bands": [{"nodata": -32768}]}, "vh": {"href": "/x/vh.tif"}}
    made = item("a", "sentinel-1-rtc", BOX, "2022-06-01T05:00:00Z", assets, **{"sat:orbit_state": "ascending"})
    found = scene_of(made)
    assert found is not None
    assert (found.sensor, found.kind, found.bands) == ("sentinel1", "sentinel-1-rtc ascending", ("IW_VV", "IW_VH"))
    assert found.said[0].bands[0].unit == "linear_power"
    assert found.said[0].bands[0].nodata == -32768
    assert (found.orbit, found.cloud) == ("ascending", None)
    wide = scene_of({**made, "properties": {**made["properties"], "sar:instrument_mode": "EW"}})
    assert wide is not None
    assert wide.bands == ("EW_VV", "EW_VH")


def test_a_footprint_that_seems_to_go_around_the_earth_crosses_the_date_line() -> None:
    """Else it would show every place at its latitude."""
    assets = {"B02": {"href": "/x/B02.tif"}}
    found = scene_of(item("a", "sentinel-2-l2a", (-179.5, -18.0, 179.5, -17.0), "2022-06-01T22:00:00Z", assets))
    assert found is not None
    assert found.footprint.area == pytest.approx(1.0)
    assert found.footprint.bounds == (-180, -18, 180, -17)


def test_what_is_not_known_is_no_scene_and_what_is_broken_is_named() -> None:
    """Platforms whose bands are not known are passed over; an item that lacks what it must have is not."""
    landsat5 = item("a", "landsat-c2-l2", BOX, "2000-06-01T10:00:00Z", {"blue": {"href": "x"}}, platform="landsat-5")
    assert scene_of(landsat5) is None
    assert scene_of(item("a", "io-lulc", BOX, "2000-06-01T10:00:00Z", {"data": {"href": "x"}})) is None
    empty = item("a", "sentinel-2-l2a", BOX, "2022-06-01T10:00:00Z", {"thumbnail": {"href": "x"}})
    with pytest.raises(
        ValueError, match=r"item a of sentinel-2-l2a has no band of sentinel2_l2a; its assets: thumbnail"
    ):
        scene_of(empty)
    asset = {"href": "x", "raster:bands": [{"scale": "many"}]}
    broken = item("a", "sentinel-2-l2a", BOX, "2022-06-01T10:00:00Z", {"B02": asset})
    with pytest.raises(ValueError, match=r"item a of sentinel-2-l2a cannot be understood: .*'many'"):
        scene_of(broken)
