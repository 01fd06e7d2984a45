"""STAC catalogues of exports: valid by the core's schemas and the extension's rules, and true."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
import shapely
from affine import Affine
from embedding_schemas import COLLECTION, ITEM, validate
from placed_exports import placed, write_export
from published_tiles import CELL, LEFT, TOP, values
from pyproj import CRS, Transformer
from pystac.validation.local_validator import get_local_schema_cache

from eo_embed.reading.publishing.stac import Publication, bbox_of, write_catalogue

PUBLISHED = Publication("CC-BY-4.0", model="https://example.org/model", sources=("https://example.org/s2",))


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_file_is_valid_by_the_core_and_by_the_extension(
    make_tiles: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_catalogue(make_tiles(), PUBLISHED)
    assert path == tmp_path / "export" / "stac" / "collection.json"
    validate(read(path), COLLECTION)
    collection = pystac.Collection.from_file(str(path))
    items = list(collection.get_items())
    assert [item.id for item in items] == ["t/0", "t/1", "t/2"]
    for file in (path.parent / "items").rglob("*.json"):
        validate(read(file), ITEM)
    core = {"item": items[0].to_dict(), "collection": collection.to_dict()}
    for kind, content in core.items():
        check_core(kind, content)
    # What the file itself says, before pystac brings it to its own version of STAC.
    assert read(path)["stac_version"] == "1.0.0"


def check_core(kind: str, content: dict[str, Any]) -> None:
    """Validate by the core's schemas that pystac brings; those of extensions are on the web."""
    from jsonschema import Draft7Validator
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT7

    cache = get_local_schema_cache()
    registry: Registry = Registry().with_resources(
        (uri, Resource.from_contents(schema, default_specification=DRAFT7)) for uri, schema in cache.items()
    )
    name = f"https://schemas.stacspec.org/v{pystac.get_stac_version()}/{kind}-spec/json-schema/{kind}.json"
    Draft7Validator(cache[name], registry=registry).validate(content)


def test_the_catalogue_leads_to_the_pixels_and_says_where_they_lie(
    make_tiles: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_catalogue(make_tiles(), PUBLISHED, tmp_path / "elsewhere")
    item = next(item for item in pystac.Collection.from_file(str(path)).get_items() if item.id == "t/1")
    asset = item.assets["embeddings"]
    with rasterio.open(asset.get_absolute_href()) as file:
        assert asset.extra_fields["proj:shape"] == [file.height, file.width]
        assert asset.extra_fields["proj:transform"] == list(file.transform[:6])
        assert file.read(1)[8, 7] == values(8, 27, 1, 1)[0, 0, 0]
    assert asset.extra_fields["proj:code"] == "EPSG:32633"
    assert asset.extra_fields["proj:bbox"] == [LEFT + 200, TOP - 200, LEFT + 400, TOP]
    assert item.datetime is not None
    assert item.datetime.date() == date(2024, 5, 2)
    lon, lat = Transformer.from_crs(32633, 4326, always_xy=True).transform(LEFT + 20.5 * CELL, TOP - 5.5 * CELL)
    assert shapely.geometry.shape(item.geometry).contains(shapely.Point(lon, lat))


def test_the_extent_of_the_collection_is_that_of_its_items(make_tiles: Callable[..., Path]) -> None:
    path = write_catalogue(make_tiles(), PUBLISHED)
    told = read(path)
    to_degrees = Transformer.from_crs(32633, 4326, always_xy=True)
    west, _ = to_degrees.transform(LEFT, TOP - 200)
    _, south = to_degrees.transform(LEFT + 800, TOP - 600)
    box = told["extent"]["spatial"]["bbox"][0]
    np.testing.assert_allclose((box[0], box[1]), (west, south), atol=1e-4)
    assert told["extent"]["temporal"]["interval"] == [["2024-05-01T00:00:00Z", "2024-05-03T00:00:00Z"]]
    assert told["license"] == "CC-BY-4.0"


def test_an_item_across_the_antimeridian_has_two_polygons_and_a_box_that_is_narrow(tmp_path: Path) -> None:
    # UTM zone 1 begins at 180 degrees; 60 km west of its first metre is the other side.
    place = Affine(1000, 0, 150_000, 0, -1000, 1_000_000)
    grid = np.ones((2, 60, 60), np.float32)
    write_export(tmp_path / "export", [placed("a", grid, place, "EPSG:32601", dates=(date(2024, 1, 1),))])
    path = write_catalogue(tmp_path / "export", PUBLISHED)
    item = read(path.parent / "items" / "a.json")
    assert item["geometry"]["type"] == "MultiPolygon"
    west, _, east, _ = item["bbox"]
    assert west > 179
    assert -180 < east < -179
    assert read(path)["extent"]["spatial"]["bbox"] == [item["bbox"]]


def test_a_crs_without_a_code_is_told_as_wkt2_not_as_the_older_text(tmp_path: Path) -> None:
    own = "+proj=laea +lat_0=52 +lon_0=10 +x_0=4321000 +y_0=3210000 +ellps=GRS80"
    place = Affine(1000, 0, 4_321_000, 0, -1000, 3_210_000)
    write_export(
        tmp_path / "export", [placed("a", np.ones((2, 6, 6), np.float32), place, own, dates=(date(2024, 1, 1),))]
    )
    item = read(write_catalogue(tmp_path / "export", PUBLISHED).parent / "items" / "a.json")
    validate(item, ITEM)
    told = item["assets"]["embeddings"]
    assert told["proj:code"] is None
    assert CRS(told["proj:wkt2"]).equals(CRS(own), ignore_axis_order=True)


def test_the_box_of_boxes_leaves_out_the_widest_gap() -> None:
    assert bbox_of([[170, 0, 175, 1], [-178, -3, -170, 2]]) == [170, -3, -170, 2]
    assert bbox_of([[10, 0, 20, 1], [15, -1, 30, 3]]) == [10, -1, 30, 3]
    assert bbox_of([[-10, 0, 20, 1], [100, -1, 110, 3]]) == [-10, -1, 110, 3]
    assert bbox_of([[179, 0, -179, 1], [-170, 0, -160, 1]]) == [179, 0, -160, 1]


def test_int8_tells_the_scale_of_each_band(tmp_path: Path, make_tiles: Callable[..., Path]) -> None:
    from eo_embed.writers.geotiff import GridWriter
    from eo_embed.writers.quantise import Encoding

    export = make_tiles([(0, 0)])
    place = Affine(CELL, 0, LEFT, 0, -CELL, TOP)
    GridWriter(export, Encoding("int8")).write(placed("t/0", values(0, 0), place, dates=(date(2024, 5, 1),)))
    path = write_catalogue(export, PUBLISHED)
    bands = read(path.parent / "items" / "t" / "0.json")["assets"]["embeddings"]["raster:bands"]
    expected = np.abs(values(0, 0)).reshape(6, -1).max(axis=1) / 127
    np.testing.assert_allclose([band["scale"] for band in bands], expected, rtol=1e-6)
    assert {(band["data_type"], band["nodata"]) for band in bands} == {("int8", -128)}


def test_an_export_of_vectors_is_one_item_and_undated_items_need_a_period(tmp_path: Path) -> None:
    place = Affine(CELL, 0, LEFT, 0, -CELL, TOP)
    items = [placed(name, None, place, pooled=np.ones(4, np.float32), shape=(5, 5)) for name in ("a", "b")]
    write_export(tmp_path / "export", items)
    with pytest.raises(ValueError, match="vectors has no date.*--period"):
        write_catalogue(tmp_path / "export", PUBLISHED)
    period = (date(2024, 1, 1), date(2024, 12, 31))
    path = write_catalogue(tmp_path / "export", Publication("other", period=period))
    item = read(path.parent / "items" / "vectors.json")
    validate(item, ITEM)
    validate(read(path), COLLECTION)
    check_core("item", pystac.Item.from_file(str(path.parent / "items" / "vectors.json")).to_dict())
    assert item["properties"]["datetime"] is None
    assert item["properties"]["end_datetime"] == "2024-12-31T00:00:00Z"
    assert (path.parent / "items" / item["assets"]["embeddings"]["href"]).resolve().name == "embeddings.parquet"
    with pytest.raises(ValueError, match="needs a licence"):
        Publication("")
