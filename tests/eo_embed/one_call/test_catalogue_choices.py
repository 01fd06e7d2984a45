"""Which scenes of a catalogue are taken for a place, and what is said before anything is read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer
from range_server import range_server
from small_earth_engine import earth_engine, sentinel2, signed_in
from small_scenes import CORNER, numbers, write_scene
from small_stac import bounds, item, sentinel2_item, stac_api, write_band, write_catalogue

from eo_data.catalog.scenes.catalogues.earth_engine.source import EarthEngine
from eo_data.raster.raster import to_map
from eo_data.readers.described.plan import Plan
from eo_embed import PointBuffer, embed
from eo_embed.cli import main


def at(right: float, down: float, metres: float, name: str) -> PointBuffer:
    """A place so many metres from the corner of the scenes of 64 x 64 pixels of 10 m."""
    lonlat = Transformer.from_crs(32632, 4326, always_xy=True).transform(CORNER.c + right, CORNER.f - down)
    return PointBuffer(*lonlat, metres, id=name)


PLACE = at(320, 320, 160, "middle")
JUNE: dict[str, Any] = {"time": ("2022-06-01", "2022-07-01"), "pretrained": False}


def optical(folder: Path, day: int, cloud: float | None, **given: Any) -> dict[str, Any]:
    stated = {} if cloud is None else {"eo:cloud_cover": cloud}
    made = numbers(seed=day) + 1000
    return sentinel2_item(folder, "copernicus", f"day{day}", made, f"2022-06-{day:02}T10:20:31Z", **stated, **given)


def radar(folder: Path, name: str, when: str, orbit: str, collection: str = "sentinel-1-rtc") -> dict[str, Any]:
    power = np.random.default_rng(int(when[8:10])).uniform(0.01, 0.3, (2, 64, 64)).astype(np.float32)
    assets = {
        key: {"href": str(write_band(folder / name / f"{key}.tif", values, nodata=-32768))}
        for key, values in zip(("vv", "vh"), power, strict=True)
    }
    stated = {"sat:orbit_state": orbit} if orbit else {}
    return item(name, collection, bounds((64, 64)), when, assets, **stated)


def read(found: Any, modality: str = "S2") -> set[str]:
    """Names of the scenes whose files were read."""
    return {Path(file).parent.name for file in found.provenance["images"][modality]["files"]}


def test_the_plan_of_a_catalogue_costs_no_request_for_files_and_is_what_is_read(tmp_path: Path) -> None:
    """Of 10 bands and the classes at 10 and 20 m, which the names of assets tell; then the same call reads them."""
    far = PointBuffer(100, 0, 100, id="far")
    with range_server(tmp_path) as files:
        address = {"address": f"http://{files.host}", "query": "?sig=SECRET"}
        classes = np.full((64, 64), 4, np.uint8)
        items = [optical(tmp_path, day, cloud, classes=classes, **address) for day, cloud in ((1, 12.34), (6, 81))]
        with stac_api(items) as api:
            call: dict[str, Any] = {"source": api.url, "max_cloud": 50, **JUNE}
            plan = embed("thor_v1_tiny", [PLACE, far], dry_run=True, **call)
            assert files.asked == []
            assert isinstance(plan, Plan)
            found = embed("thor_v1_tiny", PLACE, **call)
    (row,) = plan.items
    assert (row.place, str(row.day), row.cloud, len(row.files)) == ("middle", "2022-06-01", 12.34, 11)
    assert row.bytes == 32 * 32 * 2 * 4 + 16 * 16 * 2 * 6 + 16 * 16
    assert plan.places[0].grids == {"S2": (32, 10.0)}
    (failure,) = plan.failures
    assert failure.id == "far"
    assert "no scene shows it. It lies outside of all in" in failure.reason
    text = f"{plan} {plan!r} {plan.to_frame().to_csv()}"
    assert "SECRET" not in text
    assert "dates left out, above 50 % cloud: 2022-06-06" in text
    assert read(found) == {"day1"}
    assert {Path(file).name for file in row.files} == {Path(path).name for path in files.asked if path.endswith(".tif")}
    assert found.transform is not None
    assert found.provenance["images"]["S2"]["notes"].count("dates left out, above 50 % cloud: 2022-06-06") == 1


def test_a_plan_of_earth_engine_asks_for_no_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    image = sentinel2("20220601T102031_20220601T102555_T32TNR", numbers())
    with signed_in(monkeypatch), earth_engine([image]) as engine:
        source = EarthEngine(project="a-project", url=engine.url)
        plan = embed("thor_v1_tiny", PLACE, source=source, sensor="sentinel2_l2a", dry_run=True, **JUNE)
        assert engine.pixels == []
    assert isinstance(plan, Plan)
    assert plan.items[0].bytes >= 32 * 32 * 2 * 4
    assert plan.assumed == ()


def test_a_plan_of_a_folder_and_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without an encoder, weights or a folder to write to; a place that would fail is one that failed."""
    write_scene(tmp_path / "S2A_MSIL2A_20220603.tif", numbers())
    place = ("--point", PLACE.lon, PLACE.lat, PLACE.buffer_m, "--time", "2022-06-01", "2022-07-01")
    with pytest.raises(SystemExit) as end:
        main(list(map(str, ("embed", "thor_v1_tiny", *place, "--source", tmp_path, "--dry-run"))))
    assert not end.value.code
    told = capsys.readouterr().out
    assert f"1 place, 1 date, 1 file, at most {32 * 32 * 2 * 10 / 1000:.3g} kB of pixels." in told
    assert re.search(r"2022-06-03  S2 +\? +1 +20\.5 kB  S2A_MSIL2A_20220603\.tif", told)
    with pytest.raises(ValueError, match=r"dry_run is for places"):
        embed("thor_v1_tiny", tmp_path / "S2A_MSIL2A_20220603.tif", dry_run=True)


def test_only_max_cloud_stands_between(tmp_path: Path) -> None:
    """For one place and for many, the days and their clouds are said."""
    source = str(write_catalogue(tmp_path, [optical(tmp_path, 1, 45.5), optical(tmp_path, 6, 81)]))
    said = r"2 acquisitions .*, all above 30 % cloud: 2022-06-01 \(45.5 % cloud\), 2022-06-06 \(81 % cloud\). Raise max"
    for given in (PLACE, [PLACE, at(100, 100, 60, "b")]):
        with pytest.raises(ValueError, match=said):
            embed("thor_v1_tiny", given, source=source, max_cloud=30, **JUNE)


def test_scenes_without_a_share_of_clouds_are_taken_and_said(tmp_path: Path) -> None:
    source = str(write_catalogue(tmp_path, [optical(tmp_path, 1, None), optical(tmp_path, 6, 81)]))
    found = embed("thor_v1_tiny", PLACE, source=source, max_cloud=30, **JUNE)
    assert read(found) == {"day1"}
    said = "scenes taken that do not state their clouds: sentinel-2-l2a/day1"
    assert said in found.provenance["images"]["S2"]["notes"]


def test_passes_of_radar_are_those_of_most_dates_or_those_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mixed, a slope would be the mean of its bright and its dark side."""
    items = [
        radar(tmp_path, "up", "2022-06-02T17:10:00Z", "ascending"),
        radar(tmp_path, "down1", "2022-06-03T05:20:31Z", "descending"),
        radar(tmp_path, "down2", "2022-06-15T05:20:31Z", "descending"),
    ]
    source = str(write_catalogue(tmp_path, items))
    found = embed("thor_v1_tiny", PLACE, source=source, **JUNE)
    only = embed("thor_v1_tiny", PLACE, source=str(write_catalogue(tmp_path / "down", items[1:])), **JUNE)
    np.testing.assert_array_equal(found.vector, only.vector)
    said = ["only descending passes, which have the most dates", "dates left out that have only other passes: 1"]
    assert found.provenance["images"]["S1"]["notes"][:2] == said
    asked = embed("thor_v1_tiny", PLACE, source=source, orbit="ascending", **JUNE)
    assert read(asked, "S1") == {"up"}
    said = ["only ascending passes, as asked for", "dates left out that have only other passes: 2"]
    assert asked.provenance["images"]["S1"]["notes"][:2] == said
    embed("thor_v1_tiny", [PLACE], source=source, out=tmp_path / "out", progress=False, **JUNE)
    assert not capsys.readouterr().out  # as no progress is asked for
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["provenance"]["notes"]["S1"]["only descending passes, which have the most dates"] == 1
    with pytest.raises(ValueError, match=r"of ascending passes: 2022-06-03 \(descending\).*Leave orbit"):
        embed("thor_v1_tiny", PLACE, source=source, orbit="ascending", time=("2022-06-03", "2022-06-04"))


def test_radar_in_the_geometry_of_its_swath_is_refused(tmp_path: Path) -> None:
    """Two catalogues invent a transform for it; by that, pixels would lie anywhere. The others go on."""
    grd = radar(tmp_path, "grd", "2022-06-03T05:20:31Z", "descending", "sentinel-1-grd")
    for asset in grd["assets"].values():
        asset |= {"proj:transform": list(CORNER)[:6], "proj:shape": [64, 64], "proj:code": "EPSG:32632"}
        with rasterio.open(asset["href"], "r+") as file:
            corners = [(0, 0), (0, 64), (64, 0), (64, 64)]
            points = [rasterio.control.GroundControlPoint(row, col, *to_map(CORNER, col, row)) for row, col in corners]
            file.gcps = (points, file.crs)
    source = str(write_catalogue(tmp_path, [grd]))
    with pytest.raises(ValueError, match=r"vv\.tif: it has no georeference but ground control points.*of radar: RTC"):
        embed("thor_v1_tiny", PLACE, source=source, unit="linear_power", **JUNE)


def missing(items: list[dict[str, Any]], _tmp_path: Path) -> tuple[list[dict[str, Any]], str]:
    del items[1]["assets"]["B04_10m"]
    return items, r"bad.*RED"


def gone(items: list[dict[str, Any]], tmp_path: Path) -> tuple[list[dict[str, Any]], str]:
    (tmp_path / "bad" / "B04_10m.tif").unlink()
    return items, r"bad/B04_10m\.tif"


@pytest.mark.parametrize("fault", [missing, gone])
def test_a_place_whose_scene_lacks_a_band_fails_and_the_others_go_on(
    tmp_path: Path, fault: Callable[..., tuple[list[dict[str, Any]], str]]
) -> None:
    beside = Affine(10, 0, CORNER.c + 640, 0, -10, CORNER.f)
    items = [
        sentinel2_item(tmp_path, "copernicus", name, numbers() + 1000, transform=transform)
        for name, transform in (("good", CORNER), ("bad", beside))
    ]
    items, said = fault(items, tmp_path)
    source = str(write_catalogue(tmp_path, items))
    with pytest.warns(UserWarning, match="1 of 2 places failed"):
        found = embed("thor_v1_tiny", [PLACE, at(960, 320, 160, "east")], source=source, progress=False, **JUNE)
    assert [own.id for own in found.entries] == ["middle"]
    assert re.search(said, found.failures["east"])


def test_a_scene_that_lacks_an_asset_is_no_example_for_the_others_and_one_alone_is_told(tmp_path: Path) -> None:
    """Its bands would be those of all places, and infrared would be missing from all of them in silence."""
    whole = sentinel2_item(tmp_path / "cogs", "earth-search", "b", numbers() + 1000)
    poor = sentinel2_item(tmp_path / "cogs", "earth-search", "a", numbers() + 1000, "2022-06-02T10:20:31Z")
    del poor["assets"]["nir"]
    options: dict[str, Any] = {"pretrained": False, "time": ("2022-06-01", "2022-06-03"), "device": "cpu"}
    with pytest.raises(ValueError, match="NIR_BROAD"):  # of the second date, not of both
        embed("thor_v1_tiny", PLACE, source=str(write_catalogue(tmp_path / "both", [poor, whole])), **options)
    with pytest.warns(UserWarning, match=r"a has no file of NIR_BROAD, .*embedded without"):
        embed("thor_v1_tiny", PLACE, source=str(write_catalogue(tmp_path / "one", [poor])), **options)
