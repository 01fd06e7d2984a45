"""Places in a config whose scenes are those of Earth Engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from jsonargparse import ArgumentParser
from pyproj import Transformer
from small_earth_engine import as_read, earth_engine, sentinel2, signed_in
from small_scenes import CORNER, S2_BANDS, numbers

from eo_data.dataset.place_splits import PlaceSplits


@pytest.fixture(autouse=True)
def _signed_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with signed_in(monkeypatch):
        yield


def test_a_config_names_the_project_and_reads_what_embed_reads(tmp_path: Path) -> None:
    """Bands of 10 and 20 m of an image with clouds, without a word on scale, offset or missing numbers."""
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(CORNER.c + 320, CORNER.f - 320)
    classes = np.full((64, 64), 4, np.uint8)
    classes[30:32, 30:32] = 9
    with earth_engine([sentinel2("20220601T102031_20220601T102555_T32TNR", numbers(), classes=classes)]) as engine:
        config = {
            "places": [{"id": "a", "lon": float(lon), "lat": float(lat), "buffer_m": 79.0}],
            "time": ["2022-06-01", "2022-07-01"],
            "source": {
                "class_path": "eo_data.catalog.scenes.catalogues.earth_engine.source.EarthEngine",
                "init_args": {"project": "a-project", "url": engine.url},
            },
            "modalities": {"S2": {"bands": ["BLUE", "SWIR_1"], "sensor": "sentinel2_l2a"}},
            "multiple": 4,
            "root": str(tmp_path),
            "preprocess": {
                "class_path": "eo_data.preprocess.DatasetNormalise",
                "init_args": {"means": {"S2": [0.0, 0.0]}, "stds": {"S2": [1.0, 1.0]}},
            },
        }
        parser = ArgumentParser()
        parser.add_class_arguments(PlaceSplits, "data")
        parsed = parser.parse_string(yaml.safe_dump({"data": config}))
        raster = parser.instantiate(parsed).data.dataset("predict").read(0).images["S2"].raster
    assert raster.transform is not None
    top, left = (int(own) for own in ((CORNER.f - raster.transform.f) / 10, (raster.transform.c - CORNER.c) / 10))
    rows, columns = slice(top, top + raster.height), slice(left, left + raster.width)
    expected = as_read(numbers())[[S2_BANDS.index("BLUE"), S2_BANDS.index("SWIR_1")]].astype(np.float32) * 1e-4
    expected[:, 30:32, 30:32] = np.nan
    assert raster.crs is not None
    np.testing.assert_allclose(raster.pixels[0], expected[:, rows, columns], atol=1e-6)
    assert np.isnan(raster.pixels).any()
