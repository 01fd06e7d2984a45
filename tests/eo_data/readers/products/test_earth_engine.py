"""Pixels of Earth Engine: what is asked for, and what masked pixels become."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ee
import numpy as np
import pytest
from shapely.geometry import box
from small_earth_engine import MASKED, OUTSIDE, StoredBand, StoredImage, earth_engine, sentinel2, signed_in
from small_scenes import CORNER, numbers
from small_stac import bounds

from eo_data.catalog.hrefs import Href
from eo_data.catalog.scenes.catalogues.earth_engine.source import EarthEngine
from eo_data.catalog.sources import ImageSource
from eo_data.raster.sample import SampleError
from eo_data.readers.conversion import clear_pixels, convert_frames
from eo_data.readers.described.images import describe_image
from eo_data.readers.files import opened
from eo_data.readers.formats.facts import Part
from eo_data.readers.image_bands import read_file
from eo_data.readers.products import earth_engine as reader

INDEX = "20220601T102031_20220601T102555_T32TNR"
HERE = box(*bounds((64, 64)))


@pytest.fixture(autouse=True)
def _signed_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with signed_in(monkeypatch):
        yield


def href_of(url: str, *sensors: str) -> Href:
    (scene,) = EarthEngine("a-project", url=url).search(HERE, None, sensors)
    return scene.files[0]


def test_a_request_has_the_documented_form() -> None:
    """Field by field, by the reference of projects.image.computePixels: a window that starts at row 8, column 4."""
    with (
        earth_engine([sentinel2(INDEX, numbers())]) as engine,
        opened(href_of(engine.url, "sentinel2_l2a"), None) as layers,
    ):
        names = [band.name for band in layers[0].facts.bands]
        found = layers[0].stored([names.index("RED"), names.index("BLUE")], Part(8, 4, 16, 12))
    (body,) = engine.pixels
    assert engine.paths == {"/v1alpha/projects/a-project/image:computePixels"}
    assert body.keys() == {"expression", "fileFormat", "grid", "bandIds"}
    assert body["fileFormat"] == "NPY"
    assert body["bandIds"] == ["B4", "B2"]
    assert body["grid"] == {
        "dimensions": {"width": 12, "height": 16},
        "affineTransform": {
            "scaleX": 10, "shearX": 0, "translateX": CORNER.c + 40, "shearY": 0, "scaleY": -10,
            "translateY": CORNER.f - 80,
        },
        "crsCode": "EPSG:32632",
    }  # fmt: skip
    assert written(body["expression"]) == (
        f"toUint16(value=unmask(input=select(bandSelectors=['B4', 'B2'], input=load(id='COPERNICUS/S2_SR_HARMONIZED/"
        f"{INDEX}')), sameFootprint=False, value=constant(value=65535.0)))"
    )
    np.testing.assert_array_equal(found, numbers()[[2, 0], 8:24, 4:16])


def written(expression: dict[str, Any]) -> str:
    """Write a graph as calls."""
    values = expression["values"]

    def text(node: dict[str, Any]) -> str:
        if "valueReference" in node:
            return text(values[node["valueReference"]])
        if "arrayValue" in node:
            return f"[{', '.join(text(own) for own in node['arrayValue']['values'])}]"
        if "constantValue" in node:
            value = node["constantValue"]
            return str([*value]) if isinstance(value, list) else repr(value)
        call = node["functionInvocationValue"]
        given = ", ".join(f"{key}={text(own)}" for key, own in sorted(call["arguments"].items()))
        return f"{call['functionName'].removeprefix('Image.')}({given})"

    return text({"valueReference": expression["result"]})


def test_zero_is_a_value_and_what_is_masked_is_missing() -> None:
    """Dark water is 0 where the offset has been taken off; the service gives 0 for masked pixels, too."""
    made = numbers()
    made[0, :4] = 0
    state = np.zeros((64, 64), int)
    state[8:12], state[12:16] = MASKED, OUTSIDE
    with (
        earth_engine([sentinel2(INDEX, made, state=state)]) as engine,
        opened(href_of(engine.url, "sentinel2_l2a"), None) as layers,
    ):
        found = layers[0].stored([0], Part(0, 0, 64, 64))[0]
    expected = made[0].astype(np.float32)
    expected[8:16] = np.nan
    np.testing.assert_array_equal(found, expected)


def test_a_large_window_is_cut_below_what_the_service_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """48 MB at most; here 7 rows of 64 pixels of four bands, of which the last piece has 1."""
    monkeypatch.setattr(reader, "_LARGEST", 7 * 64 * 4 * 2 + 5)
    with (
        earth_engine([sentinel2(INDEX, numbers())]) as engine,
        opened(href_of(engine.url, "sentinel2_l2a"), None) as layers,
    ):
        names = [band.name for band in layers[0].facts.bands]
        found = layers[0].stored(range(4), Part(0, 0, 64, 64))
    assert [body["grid"]["dimensions"]["height"] for body in engine.pixels] == [7] * 9 + [1]
    ids = [("BLUE", "GREEN", "RED", "NIR_BROAD").index(str(name)) for name in names]
    np.testing.assert_array_equal(found, numbers()[[(0, 1, 2, 6)[i] for i in ids]])


def test_landsat_has_the_scales_of_its_product(tmp_path: Path) -> None:
    """Reflectance by 0.0000275 and -0.2; fill is missing, and clouds are told by bits."""
    stored = np.full((64, 64), 20000, np.uint16)
    quality = np.full((64, 64), 21824, np.uint16)  # clear land
    quality[:, :8] = 22280  # cloud
    state = np.zeros((64, 64), int)
    state[:, 56:] = MASKED
    bands = {f"SR_B{i}": StoredBand(stored + np.uint16(i), 30, state) for i in range(1, 8)}
    bands |= {"ST_B10": StoredBand(stored, 30, state), "QA_PIXEL": StoredBand(quality, 30, state)}
    properties = {"WRS_PATH": 193, "WRS_ROW": 24, "CLOUD_COVER": 3.5}
    image = StoredImage("LANDSAT/LC08/C02/T1_L2/LC08_193024_20220601", bands, properties=properties)
    with earth_engine([image]) as engine:
        (scene,) = EarthEngine("a-project", url=engine.url).search(HERE, None, ["landsat8"])
        found = describe_image(scene.files[0])
        source = ImageSource(
            sensor=found.sensor, bands=["RED", "BLUE", "QA_PIXEL"], unit=found.unit,
            cloud_band=found.quality_band, cloud_kind=found.quality_kind,
        )  # fmt: skip
        reading = read_file(scene.files[0], source)
    assert (scene.tile, scene.kind, scene.cloud) == ("193024", "Landsat C2 L2", 3.5)
    clear = clear_pixels("x", source, source.bands, reading.pixels[None])
    assert clear is not None
    np.testing.assert_array_equal(clear[0].any(axis=0), [False] * 8 + [True] * 48 + [False] * 8)
    only = source.with_bands(["RED", "BLUE"])
    pixels, _ = convert_frames("x", only, reading.pixels[None, :2], [reading], [scene.files[0]])
    np.testing.assert_allclose(pixels[0, :, 0, 10], np.array([20004, 20002]) * 2.75e-5 - 0.2, rtol=1e-6)
    assert np.isnan(pixels[0, :, :, 56:]).all()


def test_an_answer_that_was_not_asked_for_is_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of another size would lie beside its place."""
    with earth_engine([sentinel2(INDEX, numbers())]) as engine:
        href = href_of(engine.url, "sentinel2_l2a")
        asked = reader._asked_grid
        monkeypatch.setattr(reader, "_asked_grid", lambda grid: asked(grid.window(0, 0, 8, 8)))
        source = ImageSource(sensor="sentinel2_l2a", bands=["RED"], unit="digital_number")
        with pytest.raises(SampleError, match=rf"{INDEX}.*shape \(8, 8\).*expected \(64, 64\)"):
            read_file(href, source)


@pytest.mark.parametrize("answer", [b"", b"<html>sign in</html>", b"PK\x03\x04", b"\x93NUMPY\x01\x00"])
def test_an_answer_that_is_no_array_is_a_fault_of_the_image(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    """As of a proxy; some of these are neither ValueError nor OSError, and would end a run of many places."""
    with earth_engine([sentinel2(INDEX, numbers())]) as engine:
        href = href_of(engine.url, "sentinel2_l2a")
        monkeypatch.setattr(ee.data, "computePixels", lambda _: answer)
        source = ImageSource(sensor="sentinel2_l2a", bands=["RED"], unit="digital_number")
        with pytest.raises(SampleError, match=rf"{INDEX}.* gave {len(answer)} bytes that are no array"):
            read_file(href, source)
