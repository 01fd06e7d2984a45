"""What would be read is counted right, from headers on this machine and from what catalogues say of servers' files."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer
from shapely.geometry import box
from small_scenes import CORNER, S2_BANDS, write_scene

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record
from eo_data.catalog.scenes.place_records import PlaceOptions, PlaceRecords, records_of_places
from eo_data.catalog.scenes.place_tables import PlaceFailure
from eo_data.catalog.scenes.places import PointBuffer
from eo_data.catalog.scenes.scene import Scene, time_window
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid
from eo_data.readers.described.plan import Plan, PlannedPlace, PlannedScene, listed_images, plan_of
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
    found = listed_images(on_server())
    assert (found.sensor, found.pixel_size, found.quality_band, found.quality_kind) == (
        "sentinel2_l2a", None, "SCL", "scl",
    )  # fmt: skip
    coarse = listed_images(on_server(said=(said(gsd=20.0), said(gsd=60.0), said(), said(gsd=20.0))))
    assert coarse.pixel_size == 20


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
