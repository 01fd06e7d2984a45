"""Places where grids end - zones, the date line, 84 degrees north - are read from catalogues as pyproj has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer
from range_server import range_server
from shapely.geometry import Point
from small_stac import item, stac_api, write_band

from eo_data.catalog.records import Record
from eo_data.catalog.scenes.catalogues.stac.source import StacCatalogue
from eo_data.catalog.scenes.place_records import PlaceOptions, records_of_places
from eo_data.catalog.scenes.places import PointBuffer
from eo_data.catalog.scenes.scene import time_window
from eo_data.raster.footprint import crs_name
from eo_data.readers.described.place_images import images_of_places
from eo_data.readers.images import ImageReader

JUNE = PlaceOptions(time_window("2022-06-01", "2022-07-01"), multiple=4)
STATED = {"bands": ["RED"], "sensor": "sentinel2_l2a"}
SIDE = 128


@dataclass(frozen=True)
class Tile:
    """A scene of 128 x 128 pixels of 10 m."""

    code: int
    left: float
    top: float
    pixels: np.ndarray

    def at(self, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
        """Numbers of the pixels in which points lie; 0 outside. By pyproj and numpy alone."""
        x, y = Transformer.from_crs(4326, self.code, always_xy=True).transform(lon, lat)
        column, row = (np.floor((x - self.left) / 10).astype(int), np.floor((self.top - y) / 10).astype(int))
        inside = (column >= 0) & (column < SIDE) & (row >= 0) & (row < SIDE)
        return np.where(inside, self.pixels[row.clip(0, SIDE - 1), column.clip(0, SIDE - 1)], 0)

    def item(self, name: str, folder: Path, host: str) -> dict[str, Any]:
        """The item of it, whose outline is that of its corners, as catalogues have it also across the date line."""
        path = write_band(
            folder / name / "B04.tif", self.pixels, Affine(10, 0, self.left, 0, -10, self.top), f"EPSG:{self.code}"
        )
        back = Transformer.from_crs(self.code, 4326, always_xy=True)
        side = SIDE * 10
        corners = [(0, 0), (side, 0), (side, -side), (0, -side), (0, 0)]
        ring = [list(back.transform(self.left + x, self.top + y)) for x, y in corners]
        lats = [lat for _, lat in ring]
        assets = {"B04": {"href": f"http://{host}/{path.relative_to(folder).as_posix()}"}}
        stated = {"s2:processing_baseline": "02.14", "s2:mgrs_tile": name, "proj:epsg": self.code}
        box = (-180.0, min(lats), 180.0, max(lats))
        made = item(name, "sentinel-2-l2a", box, "2022-06-10T10:00:00Z", assets, platform="sentinel-2a", **stated)
        made["geometry"]["coordinates"] = [ring]
        return made


def tile(code: int, lon: float, lat: float, right: float = 0.0, seed: int = 0) -> Tile:
    """A scene around a point, so many metres east of its middle."""
    x, y = Transformer.from_crs(4326, code, always_xy=True).transform(lon, lat)
    left, top = (round(value / 10) * 10 for value in (x + right - SIDE * 5, y + SIDE * 5))
    return Tile(code, left, top, np.random.default_rng(seed).integers(300, 9000, (SIDE, SIDE)).astype(np.uint16))


def centres(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """Longitudes and latitudes of the pixels of a record."""
    grid = record.grids["S2"]
    assert grid.transform is not None
    assert grid.crs is not None
    columns, rows = np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5)
    x = grid.transform.c + columns * grid.transform.a
    y = grid.transform.f + rows * grid.transform.e
    lon, lat = Transformer.from_crs(grid.crs, 4326, always_xy=True).transform(x, y)
    return np.asarray(lon), np.asarray(lat)


@pytest.mark.parametrize(
    ("lon", "lat", "crs", "tiles"),
    [
        pytest.param(
            11.9995, 45.0, "EPSG:32632", [(32632, -560.0), (32633, 500.0)], id="border of two zones: a tile of each"
        ),
        pytest.param(12.003, 45.0, "EPSG:32633", [(32632, 0.0)], id="a scene of the neighbouring zone alone"),
        pytest.param(179.9995, -17.0, "EPSG:32760", [(32760, -560.0), (32701, 500.0)], id="date line: a tile of each"),
        pytest.param(-179.9995, -17.0, "EPSG:32701", [(32760, 0.0)], id="date line: a scene from the other side"),
        pytest.param(15.0, 83.99, "EPSG:32633", [(32633, 0.0)], id="the last of UTM"),
        pytest.param(15.0, 84.02, "EPSG:5041", [(32633, -560.0), (32634, 500.0)], id="beyond: scenes of two zones"),
    ],
)
def test_pixels_lie_where_pyproj_has_them(
    tmp_path: Path, lon: float, lat: float, crs: str, tiles: list[tuple[int, float]]
) -> None:
    """Shifted by a pixel, next to none of these random numbers would agree."""
    made = [tile(code, lon, lat, right, seed) for seed, (code, right) in enumerate(tiles)]
    with range_server(tmp_path) as files:
        items = [own.item(f"T{i}", tmp_path, files.host) for i, own in enumerate(made)]
        with stac_api(items) as api:
            source = StacCatalogue(api.url)
            first = min(source.search(_around(lon, lat), None, []), key=lambda scene: scene.id)
            image = images_of_places("S2", STATED, first)
            found = records_of_places([PointBuffer(lon, lat, 300, id="a")], source, {"S2": image}, JUNE)
            assert found.failures == ()
            (record,) = found.records
            raster = ImageReader("S2", image).read(record).raster
    assert crs_name(record.grids["S2"].crs or "") == crs
    order = [next(own for i, own in enumerate(made) if f"/T{i}/" in str(href)) for href in record.files["S2"]]
    assert len(order) == len(made)
    points = centres(record)
    expected = np.zeros(points[0].shape)
    for own in order:
        expected = np.where(expected == 0, own.at(*points), expected)
    assert (expected > 0).all()
    assert all((own.at(*points) == expected).mean() > 0.2 for own in order)
    # GDAL's transformation of a block is true to an eighth of a pixel: of a fraction of them, the neighbour is taken.
    agree = np.isclose(raster.pixels[0] if raster.pixels.ndim == 3 else raster.pixels[0, 0], expected * 1e-4)
    assert agree.mean() > 0.99


def _around(lon: float, lat: float) -> Any:
    return Point(lon, lat).buffer(0.0001)
