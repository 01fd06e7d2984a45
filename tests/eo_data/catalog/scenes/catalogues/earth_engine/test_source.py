"""Images of Earth Engine are found by place and time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import ee
import numpy as np
import pytest
from shapely.geometry import MultiPolygon, box
from small_earth_engine import StoredImage, earth_engine, sentinel2, signed_in
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
        nothing = EarthEngine("a-project", url=f"{engine.url}/").search(
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


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"startTime": None}, "fromisoformat"),
        ({"bands": [{"id": "B2"}]}, "'grid' is missing"),
        ({"bands": [{"id": "QA60", "grid": {}}]}, "none of the bands B1, B2"),
        ({"bands": [{"id": "B2", "dataType": {"precision": "INT", "range": {"max": 4294967295}}}]}, "whole numbers"),
        ({"bands": [{"id": "B2", "grid": {"crsWkt": "..."}}]}, "no code of its CRS"),
        ({"bands": [{"id": "B2", "grid": {"affineTransform": {}}}]}, "pixels have no area"),
    ],
)
def test_an_image_that_cannot_be_used_is_left_out_with_its_reason(change: dict[str, Any], reason: str) -> None:
    """One of thousands must not stop the others, nor be read in a guessed way."""
    strange, good = (
        replace(own, name=f"COPERNICUS/S2_SR_HARMONIZED/{name}_T32TNR")
        for own, name in zip(days(2), ("strange", "good"), strict=True)
    )
    said = strange.said
    usual = said["bands"][0]
    if "bands" in change:
        change = {"bands": [_filled(own, usual) for own in change["bands"]]}
    odd = _Said(**{key: getattr(strange, key) for key in strange.__dataclass_fields__}, changed={**said, **change})
    with earth_engine([odd, good]) as engine, pytest.warns(UserWarning, match="is left out") as warned:
        found = EarthEngine("a-project", url=engine.url).search(HERE, None, ["sentinel2_l2a"])
    assert re.search(
        rf"COPERNICUS/S2_SR_HARMONIZED/strange_T32TNR cannot be understood: .*{reason}", str(warned[0].message)
    )
    assert [scene.id for scene in found] == [good.name]


def _filled(own: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    """Return a description of a band: of what it says of its grid, only what is stated; without a grid, none."""
    if own.keys() == {"id"}:
        return own
    grid = {**usual["grid"], **own.get("grid", {})}
    if "crsWkt" in grid:
        del grid["crsCode"]
    return {**usual, **own, "grid": grid}


@dataclass(frozen=True)
class _Said(StoredImage):
    """An image with another description."""

    changed: dict[str, Any] = field(default_factory=dict)

    @property
    def said(self) -> dict[str, Any]:
        return self.changed or super().said


def test_an_unknown_collection_is_refused_and_the_known_ones_are_named() -> None:
    """Level 2A with the offset still in it has another meaning for each baseline."""
    with pytest.raises(ValueError, match="COPERNICUS/S2_SR_HARMONIZED"):
        EarthEngine(collections=("COPERNICUS/S2_SR",))
    with pytest.raises(ValueError, match="scheme and host"):
        EarthEngine(url="https://someone:secret@example.com/path")
    with pytest.raises(ValueError, match="ascending"):
        EarthEngine(orbit="up")  # type: ignore[arg-type]


def test_a_process_signs_in_once_for_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sign-in asks for all algorithms; a forked process must not share the connections of its parent."""
    with earth_engine([]) as engine:
        first, second = Session("a-project", engine.url), Session("b-project", engine.url)
        assert client(first) is client(first) is ee
        assert engine.sign_ins == 1
        client(second)
        client(first)
        assert engine.sign_ins == 3
        monkeypatch.setattr(os, "getpid", lambda: -1)
        client(first)
        assert engine.sign_ins == 4


def test_a_service_that_is_down_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the remedy of a network, not that of credentials."""
    waits: list[float] = []
    monkeypatch.setattr("googleapiclient.http.time.sleep", waits.append)
    with pytest.raises(OSError, match=r"S2_SR_HARMONIZED of Earth Engine cannot be searched: .*Check the network"):
        EarthEngine("a-project", url="http://127.0.0.1:9").search(HERE, JUNE, ["sentinel2_l2a"])
    assert len(waits) == 5


@pytest.mark.parametrize("content", ["", "{4711", "[]"])
def test_damaged_credentials_are_told_with_the_remedy_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str
) -> None:
    """The client's own error is one of JSON, and has the whole file with it."""
    monkeypatch.undo()
    (tmp_path / "credentials").write_text(content)
    monkeypatch.setattr("ee.oauth.get_credentials_path", lambda: str(tmp_path / "credentials"))
    with pytest.raises(ValueError, match="cannot be read. Run `earthengine authenticate` again") as error:
        EarthEngine("a-project", url="http://127.0.0.1:9").search(HERE, JUNE, ["sentinel2_l2a"])
    assert error.value.__cause__ is None
