"""Images of Earth Engine are found by place and time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import ee
import numpy as np
import pytest
from shapely.geometry import MultiPolygon, box
from small_earth_engine import StoredBand, StoredImage, earth_engine, sentinel2, signed_in
from small_scenes import numbers
from small_stac import bounds

from eo_data.catalog.scenes.catalogues.earth_engine.session import Session, client
from eo_data.catalog.scenes.catalogues.earth_engine.source import EarthEngine

HERE = box(*bounds((64, 64)))
JUNE = (date(2022, 6, 1), date(2022, 7, 1))


@pytest.fixture(autouse=True)
def _signed_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with signed_in(monkeypatch):
        yield


def days(count: int) -> list[StoredImage]:
    stamps = [f"202206{day:02}T102031" for day in range(1, count + 1)]
    return [
        sentinel2(f"{stamp}_{stamp}_T32TNR", numbers(), when=f"2022-06-{stamp[6:8]}T10:20:31.024Z") for stamp in stamps
    ]


def test_all_pages_of_a_list_are_read_and_only_what_is_asked_for() -> None:
    """Five images come on three pages; one of July, one elsewhere, and those of other sensors do not."""
    elsewhere = replace(days(1)[0], name="COPERNICUS/S2_SR_HARMONIZED/elsewhere_T32TQR", corner=(700_000.0, 4e6))
    july = replace(days(1)[0], name="COPERNICUS/S2_SR_HARMONIZED/july_T32TNR", when="2022-07-01T00:00:00Z")
    with earth_engine([elsewhere, *days(5), july]) as engine:
        found = EarthEngine("a-project", url=engine.url).search(HERE, JUNE, ["sentinel2_l2a"])
        all_of_it = EarthEngine("a-project", url=engine.url).search(HERE, None, ["sentinel2_l2a"])
    assert [scene.day.day for scene in found] == [1, 2, 3, 4, 5]
    assert len(all_of_it) == 6
    assert {own["path"].partition("/v1alpha/")[2] for own in engine.lists} == {
        "projects/earthengine-public/assets/COPERNICUS/S2_SR_HARMONIZED:listAssets"
    }
    assert engine.lists[0]["filter"].startswith(
        'startTime >= "2022-06-01T00:00:00Z" AND startTime < "2022-07-01T00:00:00Z" AND intersects("{\'type\':'
    )
    assert [own.get("pageToken") for own in engine.lists[:3]] == [None, "2", "4"]


def test_a_scene_is_what_its_description_says() -> None:
    """Tile, time, bands by their canonical names, and the outline of the image, not of its grid."""
    west, south, east, north = bounds((64, 64))
    half = [[west, south], [east, south], [east, (south + north) / 2], [west, (south + north) / 2], [west, south]]
    image = sentinel2(
        "20220601T102031_20220601T102555_T32TNR",
        numbers(),
        classes=np.full((64, 64), 4, np.uint8),
        geometry={"type": "LinearRing", "coordinates": half},
    )
    with earth_engine([image]) as engine:
        (scene,) = EarthEngine("a-project", url=engine.url).search(HERE, JUNE, ["sentinel2_l2a"])
        nothing = EarthEngine("a-project", url=engine.url).search(
            box(west, (2 * north + south) / 3, east, north), JUNE, ["sentinel2_l2a"]
        )
    assert scene.id == "COPERNICUS/S2_SR_HARMONIZED/20220601T102031_20220601T102555_T32TNR"
    assert (scene.tile, scene.kind, scene.crs) == ("T32TNR", "Sentinel-2 L2A", "EPSG:32632")
    assert str(scene.started) == "2022-06-01 10:20:31.024000+00:00"
    assert (scene.cloud, scene.orbit) == (12.5, "")
    assert sorted(scene.bands[:4]) == ["BLUE", "GREEN", "NIR_BROAD", "RED"]
    assert {"RED_EDGE_1", "SWIR_2", "SCL"} < {*scene.bands}
    assert scene.footprint.area == pytest.approx(HERE.area / 2)
    assert not nothing
    assert not re.search("a-project", str(scene.files[0]))


def test_across_the_date_line_both_sides_are_asked_for() -> None:
    """A box around both would go around the earth; a footprint beyond 180 degrees lies on both sides."""
    ring = [[179.5, 10], [180.5, 10], [180.5, 11], [179.5, 11], [179.5, 10]]
    image = sentinel2(
        "20220601T102031_20220601T102555_T60PXS", numbers(), geometry={"type": "Polygon", "coordinates": [ring]}
    )
    with earth_engine([image]) as engine:
        place = MultiPolygon([box(179.9, 10.4, 180, 10.6), box(-180, 10.4, -179.9, 10.6)])
        found = EarthEngine("a-project", url=engine.url).search(place, JUNE, ["sentinel2_l2a"])
        east = EarthEngine("a-project", url=engine.url).search(box(-180, 10.4, -179.9, 10.6), JUNE, [])
    regions = [re.findall(r"-?\d+\.?\d*", own["filter"].partition("intersects")[2]) for own in engine.lists]
    assert [{float(x) for x in region[::2]} for region in regions[:2]] == [{179.9, 180.0}, {-180.0, -179.9}]
    assert [scene.id for scene in found] == [image.name]
    # The stand-in finds nothing on the east side, as it knows no date line; what it finds is cut there.
    assert found[0].footprint.bounds[:1] + found[0].footprint.bounds[2:3] == (-180, 180)
    assert found[0].footprint.area == pytest.approx(1)
    assert not east


def test_an_image_that_cannot_be_used_is_left_out_with_its_reason() -> None:
    """Numbers that are not those of the product: the number for masked pixels would not fit."""
    strange = StoredImage(
        "COPERNICUS/S2_SR_HARMONIZED/strange_T32TNR", {"B2": StoredBand(np.zeros((64, 64), np.uint32))}
    )
    reason = r"strange_T32TNR cannot be understood: B2 holds whole numbers .*4.29"
    with earth_engine([strange, *days(1)]) as engine, pytest.warns(UserWarning, match=reason):
        found = EarthEngine("a-project", url=engine.url).search(HERE, JUNE, ["sentinel2_l2a"])
    assert len(found) == 1


def test_an_unknown_collection_is_refused_and_the_known_ones_are_named() -> None:
    """Level 2A with the offset still in it has another meaning for each baseline."""
    with pytest.raises(ValueError, match="COPERNICUS/S2_SR_HARMONIZED"):
        EarthEngine(collections=("COPERNICUS/S2_SR",))
    with pytest.raises(ValueError, match="scheme and host"):
        EarthEngine(url="https://someone:secret@example.com/path")
    with pytest.raises(ValueError, match="ascending"):
        EarthEngine(orbit="up")  # type: ignore[arg-type]


def test_a_process_signs_in_once_for_a_session_and_anew_for_another() -> None:
    """Each sign-in asks for the list of all algorithms."""
    with earth_engine([]) as engine:
        first = Session("a-project", engine.url)
        assert client(first) is client(first) is ee
        assert ee.data.getUserAgent() is None
        client(Session("b-project", engine.url))
        assert ee.data._get_projects_path() == "projects/b-project"
        client(first)
        assert ee.data._get_projects_path() == "projects/a-project"


def test_a_service_that_is_down_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the remedy of a network, not that of credentials."""
    waits: list[float] = []
    monkeypatch.setattr("googleapiclient.http.time.sleep", waits.append)
    with pytest.raises(OSError, match=r"S2_SR_HARMONIZED of Earth Engine cannot be searched: .*Check the network"):
        EarthEngine("a-project", url="http://127.0.0.1:9").search(HERE, JUNE, ["sentinel2_l2a"])
    assert len(waits) == 5
