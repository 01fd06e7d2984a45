"""Places embedded from STAC catalogues."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from file_server import served
from pyproj import Transformer
from small_scenes import CORNER, numbers, write_scene
from small_stac import bounds, item, sentinel2_item, stac_api, write_band, write_catalogue

from eo_data.raster.raster import to_map
from eo_embed import PointBuffer, embed

#: The middle of a scene of 64 x 64 pixels at `CORNER`.
PLACE = PointBuffer(*Transformer.from_crs(32632, 4326, always_xy=True).transform(CORNER.c + 320, CORNER.f - 320), 160)
FORMS = ("earth-search", "planetary-computer", "copernicus")
DAY: dict[str, Any] = {"time": ("2022-06-01", "2022-06-02"), "pretrained": False}
JUNE: dict[str, Any] = {"time": ("2022-06-01", "2022-07-01"), "pretrained": False}


def scene_with_water(above: int = 0) -> np.ndarray:
    """Numbers without the offset, of which a fifth is dark water, as a lake is beyond red."""
    made = numbers()
    made[:, :, :13] = np.random.default_rng(3).integers(5, 60, (10, 64, 13))
    return made + np.uint16(above)


@pytest.mark.parametrize(("form", "baseline"), [*((form, True) for form in FORMS), ("earth-search", False)])
def test_a_place_of_a_catalogue_is_that_of_the_same_numbers_in_a_file(
    tmp_path: Path, form: str, baseline: bool
) -> None:
    """Each states the offset in its own way; the file has the numbers without it, and all that is read is equal."""
    classes = np.full((64, 64), 4, np.uint8)
    classes[28:32, 28:32] = 9
    made = sentinel2_item(tmp_path / "cogs", form, "a", numbers() + 1000, classes=classes)
    if not baseline:
        del made["properties"]["s2:processing_baseline"]
    found = embed("thor_v1_tiny", PLACE, source=str(write_catalogue(tmp_path, [made])), **DAY)
    plain = numbers().astype(np.float32)
    plain[:, 28:32, 28:32] = np.nan
    write_scene(tmp_path / "files" / "S2A_20220601T102031_SR.tif", plain * 1e-4, scale=None, unit="reflectance")
    same = embed("thor_v1_tiny", PLACE, source=tmp_path / "files", sensor="sentinel2_l2a", **DAY)
    assert 0 < float(found.valid.mean()) < 1
    np.testing.assert_array_equal(found.valid, same.valid)
    np.testing.assert_allclose(found.vector, same.vector, atol=2e-6)


def test_real_scenes_through_an_api_are_those_of_their_files(tmp_path: Path, shared: Path) -> None:
    """Three dates of eo-learn's series, two on the first page: a series of AnySat."""
    bands = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
    items = []
    (tmp_path / "files").mkdir()
    for day in ("20150711T100008", "20150731T100009", "20150830T100547"):
        path = shared / "data" / "s2_l1c_timeseries_eolearn" / f"S2L1C_{day}.tif"
        shutil.copy(path, tmp_path / "files" / path.name.replace("L1C", "L2A"))
        with rasterio.open(path) as file:
            pixels = file.read([file.descriptions.index(band) + 1 for band in bands])
            transform, crs = file.transform, file.crs.to_string()
        when = f"{day[:4]}-{day[4:6]}-{day[6:8]}T{day[9:11]}:{day[11:13]}:{day[13:]}Z"
        items.append(
            sentinel2_item(
                tmp_path / "cogs",
                "planetary-computer",
                day,
                pixels,
                when,
                baseline="02.04",
                transform=transform,
                crs=crs,
            )
        )
    middle = to_map(transform, 50, 50)
    lon, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(*middle)
    options: dict[str, Any] = {
        "time": ("2015-07-01", "2015-09-01"), "sensor": "sentinel2_l2a", "pretrained": False,
        "image_size": None, "frames": "all",
    }  # fmt: skip
    with stac_api(items) as api:
        found = embed("anysat_tiny", PointBuffer(lon, lat, 120), source=api.url, **options)
    same = embed("anysat_tiny", PointBuffer(lon, lat, 120), source=tmp_path / "files", offset=0, **options)
    assert [str(day) for day in found.dates] == ["2015-07-11", "2015-07-31", "2015-08-30"]
    np.testing.assert_allclose(found.vector, same.vector, atol=2e-6)


def test_two_baselines_in_one_mosaic_each_have_their_own_offset(tmp_path: Path) -> None:
    """Of one day the western tile was processed again: with one offset for both, a half would be 0.1 off."""
    whole = numbers()
    half = Affine(10, 0, CORNER.c + 320, 0, -10, CORNER.f)
    west = sentinel2_item(tmp_path, "planetary-computer", "w", whole[:, :, :32] + 1000, baseline="05.00")
    east = sentinel2_item(
        tmp_path, "planetary-computer", "e", whole[:, :, 32:], baseline="02.14", transform=half, tile="32TPR"
    )
    found = embed("thor_v1_tiny", PLACE, source=str(write_catalogue(tmp_path, [west, east])), **JUNE)
    one = sentinel2_item(tmp_path, "planetary-computer", "o", whole, baseline="02.14")
    same = embed("thor_v1_tiny", PLACE, source=str(write_catalogue(tmp_path / "one", [one])), **JUNE)
    np.testing.assert_allclose(found.vector, same.vector, atol=2e-6)


@pytest.mark.parametrize(("above", "applied", "said"), [(0, False, "taken off already"), (1000, True, "1000 too high")])
def test_a_wrong_flag_about_the_offset_is_stopped_by_dark_pixels(
    tmp_path: Path, above: int, applied: bool, said: str
) -> None:
    """As on Earth Search, in both directions (issues 71 and 66)."""
    flag = {"earthsearch:boa_offset_applied": applied}
    made = sentinel2_item(tmp_path, "earth-search", "a", scene_with_water(above), baseline="05.11", **flag)
    place = PointBuffer(PLACE.lon, PLACE.lat, 310)
    with pytest.raises(ValueError, match=said):
        embed("thor_v1_tiny", place, source=str(write_catalogue(tmp_path, [made])), **JUNE)


def test_nothing_found_names_the_nearest_dates(tmp_path: Path) -> None:
    """Else a typing error in the year looks like a gap of the archive."""
    made = sentinel2_item(tmp_path, "copernicus", "a", numbers() + 1000)
    with stac_api([made]) as api, pytest.raises(ValueError, match=r"nearest days are 2022-06-01"):
        embed("thor_v1_tiny", PLACE, source=api.url, time=("2021-06-01", "2021-07-01"), pretrained=False)


def test_what_neither_item_nor_file_says_is_asked_for(tmp_path: Path) -> None:
    """Sentinel-2 without baseline and scale: a default of either kind would be wrong for half of the archive."""
    made = sentinel2_item(tmp_path, "planetary-computer", "a", numbers())
    del made["properties"]["s2:processing_baseline"]
    with pytest.raises(ValueError, match=r"B02\.tif does not say .*offset=-1000"):
        embed("thor_v1_tiny", PLACE, source=str(write_catalogue(tmp_path, [made])), **JUNE)


def test_a_scene_without_one_of_its_files_is_named(tmp_path: Path) -> None:
    """Without the band, the mean of the archive would stand in for it."""
    first = sentinel2_item(tmp_path, "planetary-computer", "a", numbers(), baseline="02.14")
    later = sentinel2_item(tmp_path, "planetary-computer", "later", numbers(), "2022-06-06T10:20:31Z", baseline="02.14")
    del later["assets"]["B04"]
    with pytest.raises(ValueError, match=r"later/B02\.tif.*RED"):
        embed("thor_v1_tiny", PLACE, source=str(write_catalogue(tmp_path, [first, later])), frames="median", **JUNE)


def test_radar_of_a_catalogue_is_power_and_without_a_place_it_is_refused(tmp_path: Path) -> None:
    """Float32 does not say whether it is dB; what only ground control points place would lie anywhere."""
    power = np.random.default_rng(0).uniform(0.01, 0.3, (2, 64, 64)).astype(np.float32)
    assets = {
        key: {"href": str(write_band(tmp_path / f"{key}.tif", values, nodata=-32768))}
        for key, values in zip(("vv", "vh"), power, strict=True)
    }
    orbit = {"sat:orbit_state": "descending"}
    made = item("a", "sentinel-1-rtc", bounds((64, 64)), "2022-06-01T05:20:31Z", assets, **orbit)
    found = embed("thor_v1_tiny", PLACE, source=str(write_catalogue(tmp_path, [made])), **JUNE)
    write_scene(tmp_path / "files" / "S1A_IW_20220601T052031.tif", power, ("VV", "VH"), scale=None, unit="linear_power")
    same = embed("thor_v1_tiny", PLACE, source=tmp_path / "files", **JUNE)
    np.testing.assert_allclose(found.vector, same.vector, atol=2e-6)
    assert "only descending passes, which have the most dates" in found.provenance["images"]["S1"]["notes"]
    for asset in assets.values():
        with rasterio.open(asset["href"], "r+") as file:
            corners = [(0, 0), (0, 64), (64, 0), (64, 64)]
            points = [rasterio.control.GroundControlPoint(row, col, *to_map(CORNER, col, row)) for row, col in corners]
            file.gcps = (points, file.crs)
    with pytest.raises(ValueError, match=r"vv\.tif"):
        embed("thor_v1_tiny", PLACE, source=str(write_catalogue(tmp_path, [made])), **JUNE)


def test_signatures_of_addresses_are_in_nothing_that_is_kept(tmp_path: Path) -> None:
    """Whoever gets the export could read with them."""
    (tmp_path / "cogs").mkdir()
    with served(tmp_path / "cogs") as address:
        where = {"address": f"http://{address}", "query": "?se=2099&sig=SECRET1"}
        made = sentinel2_item(tmp_path / "cogs", "planetary-computer", "a", numbers(), baseline="02.14", **where)
        source = str(write_catalogue(tmp_path, [made]))
        found = embed("thor_v1_tiny", PLACE, source=source, **JUNE)
        embed("thor_v1_tiny", [PLACE], source=source, out=tmp_path / "out", progress=False, **JUNE)
        expired = json.loads(json.dumps(made).replace("SECRET1", "SECRET9"))
        with pytest.raises(ValueError, match="B02") as error:
            embed("thor_v1_tiny", PLACE, source=str(write_catalogue(tmp_path / "expired", [expired])), **JUNE)
    assert "SECRET" not in str(error.value)
    assert "SECRET" not in f"{found!r} {found.provenance}"
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"SECRET" in path.read_bytes()]
