"""What scene files are, by what they say; what they do not say is a reason, with the line to add."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer
from shapely.geometry import Point
from small_files import constant_bands
from small_landsat import LEVEL2, write_landsat
from small_products import LEFT, TOP, write_sentinel2, zipped
from small_sentinel1 import HEIGHT, NAME, WIDTH, write_grd

from eo_data.catalog.scenes.catalogues.stac.source import StacCatalogue
from eo_data.catalog.scenes.place_records import PlaceOptions, records_of_places
from eo_data.catalog.scenes.places import BBox, PointBuffer
from eo_data.catalog.scenes.scene import time_window
from eo_data.catalog.scenes.scene_folder import FolderOfScenes
from eo_data.catalog.sources import ImageSource
from eo_data.readers.described.images import Stated
from eo_data.readers.described.scenes import folder_of_scenes, scenes_from
from eo_data.readers.images import ImageReader

BANDS = ("B2", "B3")


def write_named(write_tif: Callable[..., Path], path: Path, **options: object) -> None:
    write_tif(path, constant_bands(1000, 2000, side=8), BANDS, **options)


def test_an_image_says_sensor_bands_date_time_and_place(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    write_named(write_tif, tmp_path / "S2L2A_20220601T102031.tif")
    (scene,) = folder_of_scenes(tmp_path).scenes
    assert (scene.id, scene.sensor, scene.kind, scene.crs) == (
        "S2L2A_20220601T102031.tif",
        "sentinel2_l2a",
        "file",
        "EPSG:32632",
    )
    assert scene.bands == ("BLUE", "GREEN")
    assert (scene.day, scene.started) == (date(2022, 6, 1), datetime(2022, 6, 1, 10, 20, 31, tzinfo=UTC))
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(500000, 5000000)
    assert scene.footprint.exterior.distance(Point(lon, lat)) < 1e-7  # type: ignore[attr-defined]


def test_files_of_bands_are_one_scene(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    for band in ("B02", "B03", "B8A", "SCL"):
        write_tif(tmp_path / f"T32UQV_20220601_{band}.tif", np.ones((1, 8, 8), np.uint16))
    (scene,) = folder_of_scenes(tmp_path).scenes
    assert (scene.id, scene.sensor) == ("T32UQV_20220601", "sentinel2_l2a")
    assert scene.bands == ("BLUE", "GREEN", "NIR_NARROW", "SCL")
    assert scene.band_files == ("B02", "B03", "B8A", "SCL")
    assert [href.name for href in scene.files] == [f"T32UQV_20220601_{band}.tif" for band in scene.band_files]


def test_files_of_bands_have_kind_tile_and_time_of_their_product(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    """Else level 1 and 2, which lie side by side, would be merged: both are reflectance of Landsat 8."""
    ids = [f"LC08_{level}_195025_20220601_20220608_02_T1" for level in ("L1TP", "L2SP")]
    for name in (f"{ids[0]}_B4", f"{ids[1]}_SR_B4", "HLS.S30.T32UQV.2022152T102031.v2.0.B04"):
        write_tif(tmp_path / f"{name}.tif", np.ones((1, 8, 8), np.uint16))
    hls, *landsat = folder_of_scenes(tmp_path).scenes
    assert [(own.id, own.kind, own.tile) for own in landsat] == [
        (ids[0], "Landsat C2 L1", "195025"),
        (ids[1], "Landsat C2 L2", "195025"),
    ]
    # Midnight is no time of day: west of Greenwich it would be of the solar day before.
    assert [own.started for own in landsat] == [None, None]
    assert (hls.kind, hls.tile) == ("HLS S30", "T32UQV")
    assert hls.started == datetime(2022, 6, 1, 10, 20, 31, tzinfo=UTC)


def test_files_that_are_named_after_bands_are_dated_by_their_folder_if_asked(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    """By itself, the date of a folder may be that of the download."""
    folder = tmp_path / "S2A_32UQV_20220601_0_L2A"
    for band in ("B02", "SCL"):
        write_tif(folder / f"{band}.tif", np.ones((1, 8, 8), np.uint16))
    (lost,) = folder_of_scenes(tmp_path, Stated(sensor="sentinel2_l2a")).unusable
    assert "date_pattern" in lost.reason
    stated = Stated(sensor="sentinel2_l2a", date_pattern=r"_(?P<date>\d{8})_")
    (scene,) = folder_of_scenes(tmp_path, stated).scenes
    assert (scene.id, scene.day, scene.bands) == (folder.name, date(2022, 6, 1), ("BLUE", "SCL"))


def test_a_name_that_ends_in_a_band_may_be_an_image_of_several(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    write_named(write_tif, tmp_path / "S2L2A_20220601_red.tif")
    (scene,) = folder_of_scenes(tmp_path).scenes
    assert (scene.bands, scene.band_files) == (("BLUE", "GREEN"), ())


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_what_is_not_known_is_a_reason(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    write_named(write_tif, tmp_path / "S2L2A.tif")
    write_tif(tmp_path / "nameless_20220601.tif", constant_bands(1, 2))
    write_named(write_tif, tmp_path / "S2L2A_20220602.tif", crs=None, transform=Affine.identity())
    (tmp_path / "S2L2A_20220603.tif").write_text("no image")
    write_named(write_tif, tmp_path / "S2L2A_20220604_B02.tif")
    write_tif(tmp_path / "S2L2A_20220604_B03.tif", np.ones((1, 8, 8), np.uint16))
    source = folder_of_scenes(tmp_path)
    reasons = {own.name: own.reason for own in source.unusable}
    assert source.scenes == []
    assert "does not say when it was acquired" in reasons["S2L2A.tif"]
    assert "date_pattern" in reasons["S2L2A.tif"]
    assert "does not say what its 2 bands are" in reasons["nameless_20220601.tif"]
    assert "has no georeference" in reasons["S2L2A_20220602.tif"]
    assert "cannot be read" in reasons["S2L2A_20220603.tif"]
    assert "2 bands, but lies beside files of single bands" in reasons["S2L2A_20220604"]


def test_what_is_stated_counts_where_files_say_nothing(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    write_tif(tmp_path / "2022_152.tif", constant_bands(1, 2))
    stated = Stated(("VV", "VH"), "sentinel1", date_pattern=r"(?P<year>\d{4})_(?P<doy>\d{3})")
    assert folder_of_scenes(tmp_path).scenes == []
    (scene,) = folder_of_scenes(tmp_path, stated).scenes  # and so the index is made anew
    assert (scene.sensor, scene.day) == ("sentinel1", date(2022, 6, 1))


def test_a_cube_of_dates_is_no_scene(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    times = np.array(["2022-06-01", "2022-06-02"], "datetime64[ns]")
    layer = (("time", "y", "x"), np.ones((2, 4, 4), np.float32))
    variables = {"B2": layer, "B3": layer, "crs": ((), 0)}
    write_cube(tmp_path / "S2L2A_cube.nc", variables, {"time": times} | pixel_centres(4))
    (own,) = folder_of_scenes(tmp_path).unusable
    assert "is a cube of several dates, and a scene has one" in own.reason


def test_products_are_scenes_of_which_the_newest_processing_counts(tmp_path: Path) -> None:
    """The same acquisition of baselines 02.14 and 05.09 (offset -1000), the latter also as an archive."""
    blue = np.full((120, 120), 1850, np.uint16)
    scl = np.full((60, 60), 4, np.uint8)
    scl[:30, :30] = 9
    newer = write_sentinel2(tmp_path, "2A", "05.09", {"B02": blue, "SCL": scl})
    write_sentinel2(tmp_path, "2A", "02.14", {"B02": blue})
    zipped(newer)
    source = folder_of_scenes(tmp_path)
    assert [own.kind for own in source.scenes] == ["Sentinel-2 L2A"] * 3
    assert {(own.sensor, own.tile, own.day) for own in source.scenes} == {
        ("sentinel2_l2a", "T32UQV", date(2023, 8, 23))
    }
    image = ImageSource(bands=["B02", "B11"], sensor="sentinel2_l2a", unit="digital_number", cloud_band="SCL")
    place = BBox(LEFT, TOP - 1200, LEFT + 1200, TOP, "EPSG:32632", "tile")
    time = time_window("2023-08-23", "2023-08-24")
    found = records_of_places([place], source, {"S2": image}, PlaceOptions(time, multiple=4))
    (record,) = found.records
    assert [[own.files[0].name.split("_")[3] for own in frame] for frame in record.frames["S2"]] == [["N0509"]]
    read = ImageReader("S2", image).read(record)
    np.testing.assert_allclose(read.raster.pixels[0, 60:], 0.085, atol=1e-7)
    assert np.isnan(read.raster.pixels[:, :60, :60]).all()
    assert read.raster.valid.mean() == 0.75


def test_products_state_their_clouds_and_radar_its_pass(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    """By what their own metadata say; Landsat writes -1 where nobody knows. The index keeps it."""
    optical = write_sentinel2(tmp_path, "2A", "05.09", {"B02": np.full((120, 120), 1850, np.uint16)})
    metadata = optical / "MTD_MSIL2A.xml"
    share = "<Quality_Indicators_Info><Cloud_Coverage_Assessment>12.5</Cloud_Coverage_Assessment>"
    end = "</n1:Level-2A_User_Product>"
    metadata.write_text(metadata.read_text().replace(end, f"{share}</Quality_Indicators_Info>{end}"))
    mtl = write_landsat(tmp_path) / f"{LEVEL2}_MTL.txt"
    clouds = "  GROUP = IMAGE_ATTRIBUTES\n    CLOUD_COVER_LAND = 7.0\n    CLOUD_COVER = -1"
    mtl.write_text(mtl.read_text().replace("  GROUP = IMAGE_ATTRIBUTES", clouds))
    write_grd(tmp_path, {"VV": np.full((HEIGHT, WIDTH), 100, np.uint16)})
    write_named(write_tif, tmp_path / "s2_l2a_20220601.tif")
    item = {"type": "Feature", "stac_version": "1.0.0", "id": "x", "assets": {}, "properties": {"eo:cloud_cover": 3}}
    (tmp_path / "s2_l2a_20220601.json").write_text(json.dumps(item))
    for source in (folder_of_scenes(tmp_path), folder_of_scenes(tmp_path)):  # the second one by the index
        said = {own.id[:8]: (own.cloud, own.orbit) for own in source.scenes}
        assert said == {
            optical.name[:8]: (12.5, ""), LEVEL2[:8]: (None, ""), NAME[:8]: (None, "descending"), "s2_l2a_2": (3.0, ""),
        }  # fmt: skip


@pytest.mark.parametrize(
    ("lon", "lat", "crs"), [(180.0, -17.0, "EPSG:32760"), (-180.0, -17.0, "EPSG:32701"), (0.0, 90.0, "EPSG:3413")]
)
def test_scenes_on_the_date_line_and_around_the_pole_are_found_and_read(
    write_tif: Callable[..., Path], tmp_path: Path, lon: float, lat: float, crs: str
) -> None:
    """A scene of 4 km around the point; places 1 km off on all sides lie within it."""
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    pixels = constant_bands(1000, 2000, side=400)
    write_tif(tmp_path / "S2L2A_20220601.tif", pixels, BANDS, crs=crs, corner=(x - 2000, y + 2000))
    back = Transformer.from_crs(crs, 4326, always_xy=True)
    there = [back.transform(x + right, y + up) for right in (-1000, 0, 1000) for up in (-1000, 0, 1000)]
    places = [PointBuffer(*lonlat, 200, id=str(i)) for i, lonlat in enumerate(there)]
    image = ImageSource(bands=["B2"], sensor="sentinel2_l2a", unit="digital_number", offset=0)
    found = records_of_places(places, folder_of_scenes(tmp_path), {"S2": image}, PlaceOptions(multiple=4))
    assert found.failures == ()
    for record in found.records:
        raster = ImageReader("S2", image).read(record).raster
        assert raster.valid.all()
        np.testing.assert_allclose(raster.pixels, 0.1, rtol=1e-5)


def test_a_source_is_a_catalogue_by_its_name_or_address_and_a_path_is_below_the_root(tmp_path: Path) -> None:
    """Else a config would find other files from another working directory."""
    (tmp_path / "scenes").mkdir()
    told: dict[str, Any] = {"collections": ["sentinel-1-rtc"]}
    for given, where in (
        ("earth-search", "earth-search"),
        ("https://host/v1", "https://host/v1"),
        ("stac/catalog.json", str(tmp_path / "stac" / "catalog.json")),
    ):
        found = scenes_from(given, root=tmp_path, **told)
        assert isinstance(found, StacCatalogue)
        assert (found.catalogue, found.collections) == (where, ("sentinel-1-rtc",))
        assert scenes_from(found, root=tmp_path) is found
    folder = scenes_from("scenes", root=tmp_path)
    assert isinstance(folder, FolderOfScenes)
    assert folder.folder == tmp_path / "scenes"


def test_a_source_that_is_none_or_cannot_do_what_is_stated_is_refused(tmp_path: Path) -> None:
    """A misspelt catalogue would be a folder without scenes; an orbit that nobody heeds would mix both."""
    valid = "earth-search, planetary-computer, copernicus, earth-engine"
    with pytest.raises(ValueError, match=rf"needs a source of scenes: .*{valid}"):
        scenes_from(None)
    with pytest.raises(ValueError, match=rf"no catalogue is called 'earthsearch'. .*{valid}"):
        scenes_from("earthsearch", root=tmp_path)
    with pytest.raises(ValueError, match="collections are of a catalogue"):
        scenes_from(tmp_path, collections=["sentinel-1-rtc"])
