"""What would be read is counted right, from headers on this machine and from what catalogues say of servers' files."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from affine import Affine
from pyproj import Transformer
from range_server import range_server
from shapely.geometry import box
from small_scenes import CORNER, S2_BANDS, numbers, write_scene
from small_stac import sentinel2_item, stac_api

from eo_data import inspect
from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record
from eo_data.catalog.scenes.place_records import PlaceOptions, PlaceRecords, records_of_places
from eo_data.catalog.scenes.place_tables import PlaceFailure
from eo_data.catalog.scenes.places import PointBuffer
from eo_data.catalog.scenes.scene import Scene, time_window
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid
from eo_data.readers.described.images import Stated
from eo_data.readers.described.place_images import describe_scene_images
from eo_data.readers.described.plan import Plan, PlannedPlace, PlannedScene, plan_of
from eo_data.readers.described.scenes import folder_of_scenes
from eo_data.sensors.beside import Sidecar, SidecarBand

#: 32 x 32 pixels of 10 m.
GRID = PixelGrid(32, 32, Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32632")


def said(dtype: str | None = None, gsd: float | None = None) -> Sidecar:
    return Sidecar({}, Path("item"), (SidecarBand(dtype=dtype, gsd=gsd),))


def on_server(sensor: str = "sentinel2_l2a", **fields: object) -> Scene:
    bands = ("RED", "RED_EDGE_1", "SCL", "BLUE")
    files = tuple(Href(f"https://user:SECRET@host/{band}.tif?sig=SECRET") for band in bands)
    area, when = box(8, 44, 10, 46), datetime(2022, 6, 1, tzinfo=UTC)
    known = (said("uint16", 10.0), said(), said("uint8", 20.0), said("float32"))
    usual = {"band_files": bands, "said": known, "cloud": 12.34}
    return Scene("c/x", sensor, "c", files, bands, area, date(2022, 6, 1), when, **(usual | fields))  # type: ignore[arg-type]


def planned(scene: Scene, source: ImageSource) -> Plan:
    record = Record("a", {"S2": scene.files}, dates={"S2": (scene.day,)}, grids={"S2": GRID})
    return plan_of(PlaceRecords((record,), scenes={"a": {"S2": [[scene]]}}), {"S2": source})


S2 = ImageSource(bands=["B04", "RED_EDGE_1"], sensor="sentinel2_l2a", cloud_band="SCL")


def test_of_files_on_servers_bytes_are_those_that_their_items_tell() -> None:
    """A band of 20 m has a quarter of the pixels; bands that nobody asks for do not count."""
    plan = planned(on_server(), S2)
    (item,) = plan.items
    assert item.bytes == 32 * 32 * 2 + 16 * 16 * 2 + 16 * 16 * 1
    assert plan.assumed == ("uint16 of sentinel2_l2a",)
    assert [file.rpartition("/")[2] for file in item.files] == ["RED.tif", "RED_EDGE_1.tif", "SCL.tif"]
    assert "SECRET" not in f"{plan!r} {plan} {plan.to_frame().to_csv()}"
    assert (item.day, item.cloud, item.scene, item.orbit) == (date(2022, 6, 1), 12.34, "c/x", "")
    assert plan.places == (PlannedPlace("a", "EPSG:32632", {"S2": (32, 10.0)}),)
    assert plan.to_frame().to_dict("records")[0]["bytes"] == item.bytes


def test_what_nobody_says_is_assumed_and_said() -> None:
    """Types that numpy does not have count as not stated."""
    scene = on_server(said=(said("cint16"), said(), said(), said()))
    plan = planned(scene, S2)
    assert plan.assumed == ("uint16 of sentinel2_l2a", "uint8 of classes of sentinel2_l2a")
    assert "assumed to count bytes: uint16 of sentinel2_l2a" in str(plan)


def test_half_a_scene_holds_half_of_the_place() -> None:
    back = Transformer.from_crs(32632, 4326, always_xy=True)
    middle = back.transform(500_160, 4_999_840)[0]
    plan = planned(replace(on_server(), footprint=box(8, 44, middle, 46)), replace(S2, cloud_band=None))
    assert plan.bytes == pytest.approx((32 * 32 + 16 * 16) * 2 / 2, rel=0.01)


def test_a_scene_on_servers_is_described_by_its_item() -> None:
    """Nothing is opened: these files are not there."""
    found = describe_scene_images(on_server(), Stated(), opened=False)
    assert (found.sensor, found.pixel_size, found.quality_band, found.quality_kind) == (
        "sentinel2_l2a", None, "SCL", "scl",
    )  # fmt: skip
    coarse = on_server(said=(said(gsd=20.0), said(gsd=60.0), said(), said(gsd=20.0)))
    assert describe_scene_images(coarse, Stated(), opened=False).pixel_size == 20


def test_of_files_on_this_machine_their_headers_count(tmp_path: Path) -> None:
    """Float32 of 20 m, which their sensor does not have: twice the bytes a number, a quarter of the pixels."""
    coarse = Affine(20, 0, CORNER.c, 0, -20, CORNER.f)
    write_scene(tmp_path / "S2A_MSIL2A_20220601.tif", np.ones((10, 32, 32), np.float32), S2_BANDS, coarse, scale=None)
    lonlat = Transformer.from_crs(32632, 4326, always_xy=True).transform(CORNER.c + 320, CORNER.f - 320)
    image = ImageSource(bands=["RED", "BLUE"], sensor="sentinel2_l2a")
    june = PlaceOptions(time_window("2022-06-01", "2022-07-01"))
    found = records_of_places([PointBuffer(*lonlat, 160, id="a")], folder_of_scenes(tmp_path), {"S2": image}, june)
    plan = plan_of(found, {"S2": image})
    assert plan.places[0].grids == {"S2": (32, 10.0)}
    assert plan.bytes == 16 * 16 * 2 * 4
    assert plan.files == 1


def test_the_table_fits_a_terminal_and_cuts_long_lists_with_their_totals() -> None:
    name = "S2A_MSIL2A_20220601T102031_N0509_R065_T32TNR_20220601T150000"
    places = tuple(PlannedPlace(f"field-{i}", "EPSG:32632", {"S2": (1024, 10.0)}, ("left out",)) for i in range(14))
    items = tuple(
        PlannedScene(place.id, "S2", date(2022, 6, day), f"sentinel-2-l2a/{name}", 100.0, "", ("https://x",), 2_000_000)
        for place in places
        for day in range(1, 11)
    )
    reason = "no acquisition from 2022-06-01 on and before 2022-07-01. The nearest days are 2022-05-28. Widen the time."
    failures = tuple(PlaceFailure(f"p{i}", reason) for i in range(8))
    lines = str(Plan(places, items, failures)).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "14 places, 140 dates, 1 file, at most 280 MB of pixels."
    assert lines.count("  ... 2 more scenes, 4 MB") == 10
    assert "... 4 more places, 80 MB" in lines
    assert "8 places would fail:" in lines
    assert lines[-1] == "  ... 3 more"
    assert sum("R065_T32TNR_20220601T150000" in line for line in lines) == 80


def test_a_config_of_places_is_planned_without_a_request_for_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the same config would be read: one scene is too cloudy, one place has none, and ends the command with 1."""
    config = tmp_path / "config.yaml"
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(CORNER.c + 320, CORNER.f - 320)
    with range_server(tmp_path) as files, stac_api(_items(tmp_path, files.host)) as api:
        data = {
            "class_path": "eo_data.datamodules.PlaceDataModule",
            "init_args": {
                "places": [[lon, lat, 79], [100, 0, 79]], "time": ["2022-06-01", "2022-07-01"], "source": api.url,
                "modalities": {"S2": {"bands": ["BLUE", "RED"], "sensor": "sentinel2_l2a"}}, "max_cloud": 50,
                "root": str(tmp_path), "preprocess": {
                    "class_path": "eo_data.preprocess.DatasetNormalise",
                    "init_args": {"means": {"S2": [0, 0]}, "stds": {"S2": [1, 1]}},
                },
            },
        }  # fmt: skip
        config.write_text(yaml.safe_dump({"data": data}))
        with pytest.raises(SystemExit) as end:
            inspect.main(["--config", str(config), "--dry-run"])
        assert files.asked == []
    told = capsys.readouterr().out
    assert end.value.code == 1
    assert f"1 place, 1 date, 2 files, at most {16 * 16 * 2 * 2 / 1000:.3g} kB of pixels." in told
    assert re.search(r"2022-06-01  S2 +20\.0 % +2 +1\.02 kB +clear", told)
    assert "1 place would fail:\n  1: 'S2' of PointBuffer(lon=100" in told


def _items(folder: Path, host: str) -> list[dict[str, Any]]:
    return [
        sentinel2_item(
            folder, "earth-search", name, numbers() + 1000, when, address=f"http://{host}", **{"eo:cloud_cover": cloud}
        )
        for name, when, cloud in (("clear", "2022-06-01T10:20:31Z", 20), ("cloudy", "2022-06-06T10:20:31Z", 80))
    ]


def test_a_plan_is_of_places_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"data": {"class_path": "eo_data.datamodules.ChipDataModule", "init_args": {
        "root": str(tmp_path), "modalities": {"S2": {"files": "{id}.tif", "bands": ["RED"]}},
        "preprocess": {"class_path": "eo_data.preprocess.DatasetNormalise", "init_args": {
            "means": {"S2": [0]}, "stds": {"S2": [1]}}},
    }}}))  # fmt: skip
    with pytest.raises(SystemExit):
        inspect.main(["--config", str(config), "--dry-run"])
    assert "--dry-run is for places" in capsys.readouterr().err
