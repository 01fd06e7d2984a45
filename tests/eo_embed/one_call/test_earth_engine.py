"""Places embedded from Earth Engine, through its real client; the service is a stand-in on this machine."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google.auth
import numpy as np
import pytest
from affine import Affine
from google.auth.exceptions import DefaultCredentialsError
from google.oauth2.credentials import Credentials
from pyproj import Transformer
from small_earth_engine import (
    MASKED,
    OUTSIDE,
    TOKEN,
    Engine,
    StoredBand,
    StoredImage,
    as_read,
    earth_engine,
    sentinel2,
    signed_in,
)
from small_scenes import CORNER, numbers, write_scene

from eo_data.catalog.scenes.catalogues.earth_engine.source import EarthEngine
from eo_embed import PointBuffer, embed

INDEX = "20220601T102031_20220601T102555_T32TNR"
#: The middle of a scene of 64 x 64 pixels at `CORNER`.
PLACE = PointBuffer(*Transformer.from_crs(32632, 4326, always_xy=True).transform(CORNER.c + 320, CORNER.f - 320), 160)
DAY: dict[str, Any] = {"time": ("2022-06-01", "2022-06-02"), "pretrained": False}
JUNE: dict[str, Any] = {"time": ("2022-06-01", "2022-07-01"), "pretrained": False}
S2: dict[str, Any] = {"sensor": "sentinel2_l2a", **DAY}


@pytest.fixture(autouse=True)
def _signed_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with signed_in(monkeypatch):
        yield


def source(engine: Engine, **given: Any) -> EarthEngine:
    return EarthEngine(project="a-project", url=engine.url, **given)


def write_numbers(folder: Path, pixels: np.ndarray, name: str = "S2A_20220601T102031_SR.tif", **given: Any) -> Path:
    """Write digital numbers as reflectance."""
    write_scene(folder / name, pixels.astype(np.float32) * 1e-4, scale=None, unit="reflectance", **given)
    return folder


def assert_same(found: Any, same: Any) -> None:
    assert 0 < float(found.valid.mean()) <= 1
    np.testing.assert_array_equal(found.valid, same.valid)
    np.testing.assert_allclose(found.vector, same.vector, atol=2e-6)


def test_a_place_is_that_of_the_same_numbers_in_a_file(tmp_path: Path) -> None:
    """Pixels of 10 and 20 m, clouds, and masked pixels within and beyond the outline, of which each would be a 0."""
    classes = np.full((64, 64), 4, np.uint8)
    classes[28:32, 28:32] = 9
    state = np.zeros((64, 64), int)
    state[20:24, 20:24], state[36:40, 40:44] = MASKED, OUTSIDE
    with earth_engine([sentinel2(INDEX, numbers(), classes=classes, state=state)]) as engine:
        found = embed("thor_v1_tiny", PLACE, source=source(engine), **S2)
    plain = as_read(numbers()).astype(np.float32)
    plain[:, (classes == 9) | (state != 0)] = np.nan
    same = embed("thor_v1_tiny", PLACE, source=write_numbers(tmp_path, plain), **S2)
    assert float(found.valid.mean()) < 1
    assert_same(found, same)
    # The pixels of 20 m, those of 10 m, and the classes: each in one request, in the grid of the image.
    assert sorted(len(body["bandIds"]) for body in engine.pixels) == [1, 4, 6]
    assert engine.tokens == {f"Bearer {TOKEN}"}


def test_two_tiles_of_a_solar_day_are_one_picture(tmp_path: Path) -> None:
    """Each tile lacks half of the place."""
    whole = numbers()
    west = sentinel2(INDEX, whole[:, :, :32])
    east = sentinel2(INDEX.replace("TNR", "TPR"), whole[:, :, 32:], corner=(CORNER.c + 320, CORNER.f))
    with earth_engine([west, east]) as engine:
        found = embed("thor_v1_tiny", PLACE, source=source(engine), **S2)
    assert_same(found, embed("thor_v1_tiny", PLACE, source=write_numbers(tmp_path, as_read(whole)), **S2))


def test_a_scene_of_the_next_zone_is_asked_for_in_its_own_grid(tmp_path: Path) -> None:
    """The stand-in refuses to resample; the service would do it, by its own rules."""
    crs, corner = "EPSG:32633", (250_000.0, 4_999_840.0)
    lon, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(corner[0] + 640, corner[1] - 640)
    assert lon < 12
    pixels, place = as_read(numbers(side=128)), PointBuffer(lon, lat, 160)
    with earth_engine([sentinel2(INDEX, pixels, corner=corner, crs=crs)]) as engine:
        found = embed("thor_v1_tiny", place, source=source(engine), **S2)
    folder = write_numbers(tmp_path, pixels, transform=Affine(10, 0, corner[0], 0, -10, corner[1]), crs=crs)
    assert_same(found, embed("thor_v1_tiny", place, source=folder, **S2))


def test_a_place_on_the_date_line_is_whole(tmp_path: Path) -> None:
    """Its footprint goes on beyond 180 degrees; half of the place would be missing, or all."""
    crs, side = "EPSG:32660", 64
    x, y = (10 * round(own / 10) for own in Transformer.from_crs(4326, crs, always_xy=True).transform(180, 10.5))
    corner = (float(x - 320), float(y + 320))
    ring = [[179.99, 10.49], [180.01, 10.49], [180.01, 10.51], [179.99, 10.51], [179.99, 10.49]]
    pixels = as_read(numbers(side=side))
    image = sentinel2(INDEX, pixels, corner=corner, crs=crs, geometry={"type": "Polygon", "coordinates": [ring]})
    place = PointBuffer(180, 10.5, 160)
    with earth_engine([image]) as engine:
        found = embed("thor_v1_tiny", place, source=source(engine), **S2)
    folder = write_numbers(tmp_path, pixels, transform=Affine(10, 0, corner[0], 0, -10, corner[1]), crs=crs)
    assert float(found.valid.mean()) == 1
    assert_same(found, embed("thor_v1_tiny", place, source=folder, **S2))


def test_level_1c_is_read_where_it_is_asked_for(tmp_path: Path) -> None:
    """Its collection is not searched unless it is named: both levels would show every place."""
    collection = "COPERNICUS/S2_HARMONIZED"
    options: dict[str, Any] = {"sensor": "sentinel2_l1c", **DAY}
    with earth_engine([sentinel2(INDEX, numbers(), collection=collection)]) as engine:
        found = embed("thor_v1_tiny", PLACE, source=source(engine, collections=(collection,)), **options)
        with pytest.raises(ValueError, match="no scene"):
            embed("thor_v1_tiny", PLACE, source=source(engine), **options)
    folder = write_numbers(tmp_path, as_read(numbers()))
    assert_same(found, embed("thor_v1_tiny", PLACE, source=folder, **options))


def test_an_offset_that_was_not_taken_off_is_stopped_by_dark_pixels() -> None:
    """Should Google's correction miss an image: a fifth is dark water, as a lake is beyond red."""
    made = numbers()
    made[:, :, :13] = np.random.default_rng(3).integers(5, 60, (10, 64, 13))
    place = PointBuffer(PLACE.lon, PLACE.lat, 310)
    bright = sentinel2(INDEX, made + np.uint16(1000))
    with earth_engine([bright]) as engine, pytest.raises(ValueError, match="1000 too high"):
        embed("thor_v1_tiny", place, source=source(engine), **S2)


def test_dates_are_those_of_the_images(tmp_path: Path) -> None:
    """A series of AnySat over three pages of the list; one scene is of the day after the last."""
    days = ("2022-06-01", "2022-06-04", "2022-06-06", "2022-06-11", "2022-07-01")
    images = []
    for i, day in enumerate(days):
        stamp = f"{day.replace('-', '')}T102031"
        made = numbers(seed=i)
        images.append(sentinel2(f"{stamp}_{stamp}_T32TNR", made, when=f"{day}T10:20:31Z"))
        write_numbers(tmp_path, as_read(made), f"S2A_{stamp}_SR.tif")
    options: dict[str, Any] = {"sensor": "sentinel2_l2a", "image_size": None, "frames": "all", **JUNE}
    with earth_engine(images) as engine:
        found = embed("anysat_tiny", PLACE, source=source(engine), **options)
    assert [str(day) for day in found.dates] == list(days[:4])
    assert_same(found, embed("anysat_tiny", PLACE, source=tmp_path, **options))


def test_radar_is_decibel_of_one_orbit(tmp_path: Path) -> None:
    """Of two descending days and one ascending, and an image with VV alone."""
    decibel = np.random.default_rng(0).uniform(-25, -5, (3, 2, 64, 64))

    def image(i: int, when: str, orbit: str, bands: tuple[str, ...] = ("VV", "VH")) -> StoredImage:
        properties = {"instrumentMode": "IW", "orbitProperties_pass": orbit}
        planes = {name: StoredBand(values) for name, values in zip(bands, decibel[i], strict=False)}
        return StoredImage(f"COPERNICUS/S1_GRD/S1A_IW_GRDH_{i}{len(bands)}", planes, when, properties=properties)

    images = [
        image(0, "2022-06-01T05:20:31Z", "DESCENDING"),
        image(1, "2022-06-13T05:20:31Z", "DESCENDING"),
        image(2, "2022-06-04T17:20:31Z", "ASCENDING"),
        image(2, "2022-06-05T17:20:31Z", "DESCENDING", ("VV",)),
    ]
    options: dict[str, Any] = {"sensor": "sentinel1", "frames": "median", **JUNE}
    with earth_engine(images) as engine:
        found = embed("thor_v1_tiny", PLACE, source=source(engine), **options)
        rising = embed("thor_v1_tiny", PLACE, source=source(engine, orbit="ascending"), **options)
    notes = found.provenance["images"]["S1"]["notes"]
    assert {"only descending passes, which have the most dates", "dates left out that have only other passes: 1"} <= {
        *notes
    }
    assert "sigma0, corrected for terrain by Google" in notes
    for given, days in ((found, (0, 1)), (rising, (2,))):
        folder = tmp_path / str(len(days))
        for i in days:
            day = ("20220601T052031", "20220613T052031", "20220604T172031")[i]
            pixels = decibel[i].astype(np.float32)
            write_scene(folder / f"S1A_IW_{day}.tif", pixels, ("VV", "VH"), scale=None, unit="dB")
        assert_same(given, embed("thor_v1_tiny", PLACE, source=folder, **options))


def test_a_second_run_asks_for_no_pixels_and_keeps_no_token(tmp_path: Path) -> None:
    """The bytes of the first stay near those that the windows hold; an image that was changed is asked for again."""
    images = [sentinel2(INDEX, numbers(side=256), classes=np.full((256, 256), 4, np.uint8))]
    out, cache = tmp_path / "out", tmp_path / "cache"
    place = PointBuffer(PLACE.lon, PLACE.lat, 160)
    options: dict[str, Any] = {"remote_cache": cache, "progress": False, **S2}
    with earth_engine(images) as engine:
        first = embed("thor_v1_tiny", place, source=source(engine), **options)
        asked = len(engine.pixels)
        second = embed("thor_v1_tiny", [place], source=source(engine), out=out, **options)
        assert len(engine.pixels) == asked == 3
        side = 32
        held = 2 * 4 * side**2 + (2 * 6 + 1) * (side // 2) ** 2
        assert engine.given < 2 * held
        engine.images = [sentinel2(INDEX, numbers(side=256, seed=1), updated="2023-01-01T00:00:00Z")]
        other = embed("thor_v1_tiny", place, source=source(engine), **options)
        assert len(engine.pixels) > asked
    assert not second.failures
    assert not np.allclose(first.vector, other.vector)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > asked
    for path in files:
        content = path.read_bytes()
        assert TOKEN.encode() not in content
        assert b"a-project" not in content, path
    assert TOKEN not in f"{first!r} {first.provenance}"


def test_what_passes_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client waits and asks again: after too many requests, an ill server, and an answer that ends early."""
    waits: list[float] = []
    monkeypatch.setattr("googleapiclient.http.time.sleep", waits.append)
    with earth_engine([sentinel2(INDEX, numbers())]) as engine:
        plain = embed("thor_v1_tiny", PLACE, source=source(engine), **S2)
        engine.pixels.clear()
        engine.pixel_faults = [(429, "Too many concurrent aggregations."), (503, "unavailable"), (0, "")]
        found = embed("thor_v1_tiny", PLACE, source=source(engine), **S2)
        assert not engine.pixel_faults
    assert len(waits) == 3
    np.testing.assert_array_equal(found.vector, plain.vector)


@pytest.mark.parametrize(
    ("status", "reason", "remedy"),
    [
        (403, "Caller does not have required permission to use project a-project.", "register the project"),
        (401, "Request had invalid authentication credentials.", "earthengine authenticate"),
        (429, "Quota exceeded.", "fewer workers"),
        (400, "Image.load: asset not found.", "Check the network"),
    ],
)
def test_refusals_name_the_remedy_and_the_other_places_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, reason: str, remedy: str
) -> None:
    """Pixels of one of two places are refused, and then the search; of 401, the client tries to sign in anew."""
    wanted = "refresh the access token" if status == 401 else f"status {status}: {reason}"
    monkeypatch.setattr("googleapiclient.http.time.sleep", lambda _: None)
    far = INDEX.replace("TNR", "TPR")
    images = [sentinel2(INDEX, numbers()), sentinel2(far, numbers(), corner=(CORNER.c + 32_000, CORNER.f))]
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(CORNER.c + 32_320, CORNER.f - 320)
    places = [PointBuffer(lon, lat, 160, id="far"), PointBuffer(PLACE.lon, PLACE.lat, 160, id="near")]
    with earth_engine(images) as engine:
        engine.refused = {far: (status, reason)}
        with pytest.warns(UserWarning, match="1 of 2 places failed"):
            found = embed("thor_v1_tiny", places, source=source(engine), out=tmp_path, progress=False, **S2)
        assert list(found.failures) == ["far"]
        said = found.failures["far"]
        assert re.search(rf"{far} of Earth Engine cannot be read: .*{wanted}.*{remedy}", said)
        engine.faults = [(status, reason)] * 6
        with pytest.raises(OSError, match=rf"S2_SR_HARMONIZED of Earth Engine .* searched: .*{remedy}"):
            embed("thor_v1_tiny", PLACE, source=source(engine), **S2)
    with earth_engine(images) as engine:  # at another address: what is done stays
        found = embed("thor_v1_tiny", places, source=source(engine), out=tmp_path, progress=False, **S2)
        assert not found.failures
        assert {far in str(body) for body in engine.pixels} == {True}
    assert TOKEN not in said


def test_without_credentials_project_or_client_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by its own name, before anything is asked for. A service account needs scopes, which the client forgets."""
    with earth_engine([]) as engine, pytest.raises(ValueError, match=r'EarthEngine\(project="my-project"\)'):
        embed("thor_v1_tiny", PLACE, source=EarthEngine(url=engine.url), **S2)
    monkeypatch.undo()

    def none(*_: Any, **__: Any) -> None:
        raise DefaultCredentialsError("none")

    monkeypatch.setattr(google.auth, "default", none)
    monkeypatch.setattr("ee.oauth.get_credentials_path", lambda: "/nowhere/credentials")
    with pytest.raises(ValueError, match="earthengine authenticate"):
        embed("thor_v1_tiny", PLACE, source="earth-engine", **S2)
    monkeypatch.setattr(google.auth, "default", lambda scopes=None: (Credentials(TOKEN), None) if scopes else none())
    with earth_engine([sentinel2(INDEX, numbers())]) as engine:
        found = embed("thor_v1_tiny", PLACE, source=source(engine), **S2)
    assert found.vector.shape == (192,)
    monkeypatch.setitem(sys.modules, "ee", None)
    with pytest.raises(ValueError, match=r"pip install .*\[gee\]"):
        embed("thor_v1_tiny", PLACE, source="earth-engine", **S2)
